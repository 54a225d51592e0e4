//! What a webhook channel can do: what its far end makes of a message is its own affair, so there are no limits of ours.

use frontdesk_model::{Capabilities, Resend, TextUnit};

pub(super) fn capabilities(deliver_url: Option<&url::Url>) -> Capabilities {
    Capabilities {
        max_text: None,
        unit: TextUnit::Bytes,
        buttons: false,
        edit: false,
        attachments: false,
        typing: false,
        outbound: deliver_url.is_some(),
        // `webhook-id` is the same on every attempt.
        resend: Resend::SameKey,
    }
}
