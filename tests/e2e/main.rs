//! The built daemon, driven from outside: messages in over HTTP, an agent endpoint and a far end in the test's hands, and
//! kills in between. Each file is one question; [`world`] is what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod agent_answers;
mod agent_unwell;
mod attachments;
mod bad_input;
mod cli;
mod cli_acting;
mod cli_init;
mod cli_insight;
mod cli_reading;
mod cli_store;
mod cli_tail;
mod cli_terminal;
mod far_end_unwell;
mod first_light;
mod folder;
mod full_disk;
mod hostile_clients;
mod hostile_ends;
mod hostile_readers;
mod kill_at_each_step;
mod logs;
mod openai;
mod readme;
mod redis;
mod reload;
mod rogue;
mod stopping;
mod supervisor;
mod telegram;
mod telegram_webhook;
mod ten_kills;
mod world;
