//! Every kind of channel that this build has. The one place that names them.

use frontdesk_model::{Insight, Kind};

/// The kinds, in the order in which messages about them list them.
#[must_use]
pub fn kinds() -> &'static [&'static dyn Kind] {
    &[&frontdesk_web::WebhookKind, &frontdesk_telegram::TelegramKind]
}

/// What each kind makes of an input and of an answer; also of kinds that no channel can be made of yet.
#[must_use]
pub fn insights() -> &'static [&'static dyn Insight] {
    &[
        &frontdesk_email::EmailInsight,
        &frontdesk_telegram::TelegramInsight,
        &frontdesk_discord::DiscordInsight,
        &frontdesk_web::WebhookInsight,
        &frontdesk_web::WebchatInsight,
    ]
}
