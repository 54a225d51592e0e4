//! What a webhook channel can do: text of any length, each message as one request, safely repeated under its id.

use frontdesk_model::{Capabilities, Resend, TextUnit};

/// With a `deliver_url` it can send; without one, replies are read from the API.
pub(super) fn capabilities(outbound: bool) -> Capabilities {
    Capabilities {
        max_text: None,
        unit: TextUnit::Bytes,
        buttons: true,
        edit: false,
        delete: false,
        refers: false,
        attachments: true,
        typing: false,
        outbound,
        resend: Resend::SameKey,
    }
}
