//! Telegram's side of a message: what an update of the Bot API means ([`update`], [`decode`]), and the requests that an answer
//! becomes ([`render`]). Pure: `frontdesk decode telegram` and `frontdesk render telegram` are these functions.
//!
//! Texts come and go as text and entities, never in one of the markup modes (<https://core.telegram.org/bots/api#messageentity>).

mod decode;
mod render;
mod update;

use frontdesk_model::{Decoded, Insight, Raw, Rendered, Unreadable, Wanted};

/// What Telegram makes of updates and answers.
#[derive(Debug, Clone, Copy)]
pub struct TelegramInsight;

impl Insight for TelegramInsight {
    fn name(&self) -> &'static str {
        KIND
    }

    fn decode(&self, raw: &Raw) -> Result<Decoded, Unreadable> {
        let input = raw.json()?;
        decode::decode(&input)
    }

    fn render(&self, wanted: &Wanted) -> Rendered {
        render::render(wanted)
    }
}

/// The name of the kind.
const KIND: &str = "telegram";
