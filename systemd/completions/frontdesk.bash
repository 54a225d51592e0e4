# The program knows its own commands.
eval "$(frontdesk completions bash)"
