//! What a channel can take.

use unicode_segmentation::UnicodeSegmentation as _;

use crate::{telegram::Entity, write::HtmlRules};

/// What a channel's text is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Markup {
    /// Text and entities.
    Telegram,
    /// Discord's dialect of Markdown.
    Discord,
    /// HTML.
    Html(HtmlRules),
    /// CommonMark.
    Markdown,
    /// None.
    Plain,
}

/// What a channel counts a text's length in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Units of UTF-16.
    Utf16,
    /// Unicode's code points.
    CodePoints,
    /// Bytes of UTF-8.
    Bytes,
}

impl Unit {
    /// How long a text is.
    #[must_use]
    pub fn length(self, text: &str) -> usize {
        match self {
            Self::Utf16 => text.chars().map(char::len_utf16).sum(),
            Self::CodePoints => text.chars().count(),
            Self::Bytes => text.len(),
        }
    }

    /// How much of a text, in bytes, is no longer than `max`, without cutting a grapheme.
    #[must_use]
    pub fn prefix(self, text: &str, max: usize) -> usize {
        let mut used = 0;
        let fits = |grapheme: &&str| {
            used += self.length(grapheme);
            used <= max
        };
        text.graphemes(true).take_while(fits).map(str::len).sum()
    }
}

/// What a channel can take in one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelRules {
    /// What its text is written in.
    pub markup: Markup,
    /// How long a text may be.
    pub max_text: usize,
    /// What `max_text` counts.
    pub unit: Unit,
    /// How many entities a text may have.
    pub max_entities: usize,
}

impl ChannelRules {
    /// `sendMessage`: 1 to 4096 characters after entities parsing (<https://core.telegram.org/bots/api#sendmessage>), and 100
    /// entities (<https://limits.tginfo.me>).
    pub const TELEGRAM: Self = Self { markup: Markup::Telegram, max_text: 4096, unit: Unit::Utf16, max_entities: 100 };
    /// A caption: 0 to 1024 characters (<https://core.telegram.org/bots/api#sendphoto>).
    pub const TELEGRAM_CAPTION: Self = Self { max_text: 1024, ..Self::TELEGRAM };
    /// `content`: up to 2000 characters (<https://discord.com/developers/docs/resources/message#create-message>).
    pub const DISCORD: Self =
        Self { markup: Markup::Discord, max_text: 2000, unit: Unit::CodePoints, max_entities: usize::MAX };
    /// HTML as an operator or an agent gets it; without a limit.
    pub const HTML: Self = Self {
        markup: Markup::Html(HtmlRules::CANONICAL),
        max_text: usize::MAX,
        unit: Unit::Bytes,
        max_entities: usize::MAX,
    };
    /// Markdown; without a limit.
    pub const MARKDOWN: Self = Self { markup: Markup::Markdown, ..Self::HTML };
    /// Plain text; without a limit.
    pub const PLAIN: Self = Self { markup: Markup::Plain, ..Self::HTML };

    /// Whether one message can take it.
    #[must_use]
    pub fn takes(&self, text: &str, entities: &[Entity]) -> bool {
        // A text of so many bytes is short enough in every unit.
        (text.len() <= self.max_text || self.unit.length(text) <= self.max_text) && entities.len() <= self.max_entities
    }
}
