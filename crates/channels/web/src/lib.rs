//! The channels that speak HTTP with the business's own systems. Kind `webhook`: messages in and out as signed requests. Kind
//! `webchat`: what a page's visitors write and see; so far only a look into it.

mod webchat;
mod webhook;

pub use webchat::WebchatInsight;
pub use webhook::{Arrived, Refusal, WebhookInsight, WebhookKind, decode};
