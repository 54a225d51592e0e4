//! Bodies that requests bring, for the API's description. They are read elsewhere: a reply by [`frontdesk_engine::parse_reply`].
#![allow(dead_code)] // forms to describe, not to fill

use frontdesk_model::{MessageId, Timestamp, Version};
use utoipa::ToSchema;

/// What to say and to do. `text` or `markdown` alone stand for one message.
#[derive(ToSchema)]
#[schema(as = Reply)]
pub(crate) struct ReplyBody {
    /// Only if the conversation has this version still.
    if_version: Option<Version>,
    /// What to say, in order.
    #[schema(max_items = 20)]
    messages: Option<Vec<ReplyMessageBody>>,
    /// What else to do.
    #[schema(max_items = 4)]
    actions: Option<Vec<ActionBody>>,
    /// One message, where every character means itself.
    text: Option<String>,
    /// One message, as CommonMark.
    markdown: Option<String>,
    /// The message that this one answers.
    reply_to: Option<MessageId>,
    /// Only `origin` so far: where the customer wrote.
    route: Option<Vec<RouteStop>>,
}

/// One message of a reply: exactly one of `text` and `markdown`.
#[derive(ToSchema)]
#[schema(as = ReplyMessage)]
pub(crate) struct ReplyMessageBody {
    /// What to say, where every character means itself.
    text: Option<String>,
    /// What to say, as CommonMark.
    markdown: Option<String>,
    /// The message that it answers.
    reply_to: Option<MessageId>,
    /// A note that only our side sees; needs scope `desk`.
    private: Option<bool>,
}

/// What a reply does besides saying something.
#[derive(ToSchema)]
#[schema(as = Action)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ActionBody {
    /// Teammates go on.
    Handoff {
        /// Why, for the desk.
        reason: Option<String>,
    },
    /// The matter is done.
    Resolve {},
    /// The conversation sleeps, unless the contact writes.
    Snooze {
        /// Until then: later than now, at most a year from now.
        until: Timestamp,
    },
}

/// Where a reply goes.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RouteStop {
    /// Where the customer wrote.
    Origin,
}
