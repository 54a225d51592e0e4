//! Channels that speak plain HTTP.
//!
//! Today that is one kind, `webhook`: the business's own systems post what a customer wrote, and get what is answered
//! posted to an address of theirs. Both ways carry the headers of Standard Webhooks.

mod webhook;

pub use webhook::{Arrived, WebhookKind, decode};
