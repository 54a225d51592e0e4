//! The channels that speak HTTP with the business's own systems. Kind `webhook`: messages in and out as signed requests.

mod webhook;

pub use webhook::{Arrived, Refusal, WebhookKind, decode};
