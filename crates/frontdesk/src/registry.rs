//! Every kind of channel that this build has. The one place that names them.

use frontdesk_model::Kind;

/// The kinds, in the order in which messages about them list them.
#[must_use]
pub fn kinds() -> &'static [&'static dyn Kind] {
    &[&frontdesk_web::WebhookKind]
}
