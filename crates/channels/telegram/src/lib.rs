//! The kind `telegram`: a bot's messages in and out over the Bot API.
//!
//! In reading order: [`config`] (settings, and what can be wrong with them), [`channel`] (the running channel), [`receive`] (long
//! polling, confirmed after the commit) and [`webhook`] (the same by requests of Telegram's), [`intake`] (the way to the inbox that
//! both share), [`inbound`] and [`meant`] (what is taken of an update), [`moves`] and [`recent`] (what an update does not say and
//! earlier ones did), [`files`] (where they are), [`place`] (what a conversation is there), [`outbound`] (what is sent, and what answers mean), [`inspect`] and [`me`] (how the
//! bot is set up), [`api`] (one call).
//!
//! Beside them what an update means ([`update`], [`decode`], [`rich`]), and the requests that an answer becomes ([`render`]). Pure: the channel
//! uses these functions, and `frontdesk decode telegram` and `frontdesk render telegram` show them.
//!
//! Texts come and go as text and entities, never in one of the markup modes (<https://core.telegram.org/bots/api#messageentity>).

mod api;
mod channel;
mod config;
mod decode;
mod files;
mod inbound;
mod inspect;
mod intake;
mod me;
mod meant;
mod moves;
mod outbound;
mod place;
mod receive;
mod recent;
mod render;
mod rich;
mod update;
mod webhook;

pub use self::config::TelegramKind;
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
