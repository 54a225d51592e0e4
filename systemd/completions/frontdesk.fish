# The program knows its own commands.
frontdesk completions fish | source
