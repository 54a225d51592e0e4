//! E-mail's side of a message: what a mail says ([`decode`]), and the mail that an answer becomes ([`render`]). Pure:
//! `frontdesk decode email` and `frontdesk render email` are these functions.

mod decode;
mod quoted;
mod render;

use frontdesk_model::{Decoded, Insight, Raw, Rendered, Unreadable, Wanted};

/// What e-mail makes of mails and answers.
#[derive(Debug, Clone, Copy)]
pub struct EmailInsight;

impl Insight for EmailInsight {
    fn name(&self) -> &'static str {
        KIND
    }

    fn decode(&self, raw: &Raw) -> Result<Decoded, Unreadable> {
        match raw {
            Raw::Bytes(bytes) => decode::decode(bytes),
            Raw::Json(_) => Err(Unreadable::input("an e-mail comes as bytes, in `input_b64`")),
        }
    }

    fn render(&self, wanted: &Wanted) -> Rendered {
        render::render(wanted)
    }
}

/// The name of the kind.
const KIND: &str = "email";
