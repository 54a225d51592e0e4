//! What `--help` says beyond the line for each argument.

pub(crate) const ALL: &str = "\
One daemon for every channel a customer writes on.

It takes messages in, keeps them in one conversation model, and forwards them to one agent endpoint; replies go out where the customer \
wrote. Without a command it runs.";

pub(crate) const AFTER_ALL: &str = "Start with `frontdesk init`; more about each: `frontdesk help COMMAND`.";

pub(crate) const AFTER_ALL_LONG: &str = "\
Environment:
  FRONTDESK_CONFIG                   The configuration, where --config does not name it
  FRONTDESK_LOG                      error, warn, info (the default), debug, trace or off
  FRONTDESK__SERVER__LISTEN=...      Sets a key of the configuration: the pieces of its path in capital letters,
                                     two underscores before each; a list of texts with commas between
  NO_COLOR                           No colours on a terminal either

Exit codes: 0 fine, 1 failed, 2 wrong usage or configuration.

First steps:
  frontdesk init
  frontdesk check
  frontdesk run
  frontdesk status";

pub(crate) const RUN: &str = "\
Take messages in and carry replies out, until SIGTERM or Ctrl-C (the default).

It says on standard error what it runs with, what a power cut can lose, and where the keys are that it made; then come the log lines. \
FRONTDESK_LOG is their level: error, warn, info, debug, trace or off. With --json every line is a JSON object.";

pub(crate) const CHECK: &str = "\
Say everything that is wrong with the configuration, each with its line, its key and the mend.

It opens no store, makes no key and connects to nothing. Ends with 0 when a daemon would start, else with 2.

With --online every channel's far end is asked how it is set up, and what to switch where is said; nothing is sent to anybody and \
nothing is changed. Ends with 1 when a daemon would start and a channel of it would not work.";

pub(crate) const INIT: &str = "\
Write a first configuration, with the secrets that it names in files beside it, and say what to do next.

On a terminal it asks where the agent is and what the channel is called, unless these are given or --yes is; elsewhere it asks nothing. \
A configuration that is there is not touched without --force, and secrets that are there are never replaced.";

pub(crate) const AFTER_INIT: &str = "\
Examples:
  frontdesk init
  frontdesk init --agent https://bot.example.com/frontdesk --channel shop
  frontdesk init --config desk/channels.toml --no-agent --yes";

pub(crate) const STATUS: &str = "\
How everything is: the daemon, its store, the agent, each channel, what waits, and what was given up. What is unwell comes first, with \
what to do about it.

Ends with 0 when the daemon answers; with --check only when all is well, so that a monitor can ask.";

pub(crate) const AFTER_STATUS: &str = "\
Examples:
  frontdesk status
  frontdesk status --check > /dev/null || echo 'look at the desk'
  frontdesk status --json | jq .channels";

pub(crate) const TAIL: &str = "\
Show what happens, as it happens: a line for each message, delivery and change, with time (UTC), channel, conversation, direction, who, \
and what. What is written is shown with --text only.

It waits for a daemon that is restarted and goes on where it was: nothing is missing, nothing is there twice. Ctrl-C ends it.";

pub(crate) const AFTER_TAIL: &str = "\
Examples:
  frontdesk tail
  frontdesk tail --channel shop --text
  frontdesk tail --json | jq -c 'select(.type == \"delivery.updated\")'";

pub(crate) const SEND: &str = "\
Say something to a customer, or leave a note that only our side sees.

What is sent is delivered as any reply is; `frontdesk tail` shows how it fares. It is said in the name of `operator`, and the desk then has the \
conversation: the agent gets nothing of it until it is handed back (`frontdesk conversations hand-back ID`). A note changes nothing.

Should the connection break on the way, it is sent again under the same key, so that it is said once.";

pub(crate) const AFTER_SEND: &str = "\
Examples:
  frontdesk send cnv_01k... 'It ships today.'
  frontdesk send cnv_01k... --private 'Called her, all settled.'
  frontdesk send cnv_01k... --if-version 12 'Only if nothing new came.'
  frontdesk send cnt_01k... --markdown - < reply.md";

pub(crate) const CONVERSATIONS: &str = "\
List conversations, the latest first; read one; change who goes on with it.

Without a command it lists. What changes a conversation takes --if-version N, so that it counts only if nothing has happened meanwhile.";

pub(crate) const AFTER_CONVERSATIONS: &str = "\
Examples:
  frontdesk conversations --status open --channel shop
  frontdesk conversations --attention handoff
  frontdesk conversations show cnv_01k...
  frontdesk conversations take cnv_01k...
  frontdesk conversations assign cnv_01k... mia
  frontdesk conversations snooze cnv_01k... '3 days'
  frontdesk conversations resolve cnv_01k... --if-version 12
  frontdesk conversations hand-back cnv_01k...";

pub(crate) const DEAD_LETTERS: &str = "\
What was given up after its last attempt: events that the agent did not take, messages that did not go out. Nothing of it is lost: it is tried \
anew with `replay`, or given up for good with `drop`.";

pub(crate) const AFTER_DEAD_LETTERS: &str = "\
Examples:
  frontdesk dead-letters list
  frontdesk dead-letters show dlt_01k...
  frontdesk dead-letters replay dlt_01k...
  frontdesk dead-letters replay --all --channel shop
  frontdesk dead-letters drop dlt_01k... --yes";

pub(crate) const AFTER_STORE: &str = "\
Examples:
  frontdesk store check
  frontdesk store check --json | jq .findings";

pub(crate) const BACKUP: &str = "\
Copy the store to a file, while the daemon runs or not: everything that was taken when the copy began. It is checked, and on the disk, before it \
has its name; it is for its owner's eyes only, as customers' messages and the store's keys are in it. Nothing is overwritten.

To go back to it: stop the daemon, put the copy as frontdesk.db into an empty data folder, start. Tokens and secrets that a first start made \
(*.token, agent.secret) lie beside the store: copy them too, or new ones are made.";

pub(crate) const AFTER_BACKUP: &str = "\
Examples:
  frontdesk backup /var/backups/frontdesk-$(date +%F).db
  sudo frontdesk backup /var/backups/frontdesk.db";

pub(crate) const OPENAPI: &str = "\
Print the description of the API (OpenAPI 3.1), with the routes of every kind of channel that this build has. A running daemon serves the same at \
/openapi.json, with the channels that it has. It needs no configuration.";

pub(crate) const AFTER_OPENAPI: &str = "\
Examples:
  frontdesk openapi > openapi.json
  frontdesk openapi | jq '.paths | keys'";

pub(crate) const COMPLETIONS: &str = "Print completions for a shell, to be put where it looks for them.";

pub(crate) const AFTER_COMPLETIONS: &str = "\
Examples:
  frontdesk completions bash > ~/.local/share/bash-completion/completions/frontdesk
  frontdesk completions zsh > ~/.zfunc/_frontdesk
  frontdesk completions fish > ~/.config/fish/completions/frontdesk.fish";

pub(crate) const DECODE: &str = "\
Show what a channel makes of an input: one raw input on standard input, what it was understood as on standard output, as JSON. The \
running daemon goes through the same code. Nothing is sent, stored or looked up, and no configuration is needed.

The input is the bytes of an e-mail, an update of Telegram's Bot API, a frame of Discord's gateway, the body of a webhook, or a \
visitor's message {\"id\", \"text\"}. With --jsonl each line is a request of its own, {\"id\": ..., \"input\": {...}} or \
{\"id\": ..., \"input_b64\": \"...\"}, and gets one line, in the same order: {\"id\", \"ok\": true, \"result\"} or \
{\"id\", \"ok\": false, \"error\": {\"code\", \"message\"}}.

Ends with 0, or with 1 when the input cannot be decoded; with --jsonl with 0 at the end of the input, whatever stood in it.";

pub(crate) const AFTER_DECODE: &str = "\
Examples:
  frontdesk decode email < message.eml
  frontdesk decode telegram < update.json | jq -r .markdown
  frontdesk decode discord --jsonl < frames.jsonl";

pub(crate) const RENDER: &str = "\
Show what a channel would send: {\"markdown\": \"...\"} or {\"text\": \"...\"} on standard input, with reply_to, buttons and attachments \
where wanted; the requests on standard output, as JSON, and what the channel cannot show as it was written, in degraded. Where they \
would go is not known and left out. Nothing is sent, stored or looked up, and no configuration is needed.

With --jsonl as `frontdesk decode` has it: {\"id\": ..., \"input\": {\"markdown\": \"...\"}} on each line.";

pub(crate) const AFTER_RENDER: &str = "\
Examples:
  echo '{\"markdown\": \"It ships **today**.\"}' | frontdesk render telegram
  frontdesk render discord --jsonl < answers.jsonl";
