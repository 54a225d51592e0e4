//! Discord's side of a message: what a frame of the gateway means ([`decode`]), and the requests that an answer becomes
//! ([`render`]). Pure: `frontdesk decode discord` and `frontdesk render discord` are these functions.
//!
//! Contents come and go in Discord's own dialect of Markdown. What we send can ping nobody: every request says so
//! (`allowed_mentions`), and nothing in its content would be one.

mod decode;
mod frame;
mod render;

use frontdesk_model::{Decoded, Insight, Raw, Rendered, Unreadable, Wanted};

/// What Discord makes of frames and answers.
#[derive(Debug, Clone, Copy)]
pub struct DiscordInsight;

impl Insight for DiscordInsight {
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
const KIND: &str = "discord";
