//! What Telegram has instead of markup: a text, and entities that say what stands where
//! (<https://core.telegram.org/bots/api#messageentity>).

/// What a stretch of a text is. Offsets and lengths count UTF-16 units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// Where it begins.
    pub offset: usize,
    /// How long it is.
    pub length: usize,
    /// What it is.
    pub kind: EntityKind,
}

/// What an entity says about its stretch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityKind {
    /// `bold`
    Bold,
    /// `italic`
    Italic,
    /// `underline`
    Underline,
    /// `strikethrough`
    Strikethrough,
    /// `spoiler`
    Spoiler,
    /// `code`
    Code,
    /// `pre`
    Pre {
        /// `language`; empty when there is none.
        language: String,
    },
    /// `blockquote`
    Blockquote,
    /// `expandable_blockquote`
    ExpandableBlockquote,
    /// `text_link`
    TextLink {
        /// `url`
        url: String,
    },
    /// `text_mention`
    TextMention {
        /// `user.id`
        user: u64,
    },
    /// `custom_emoji`
    CustomEmoji {
        /// `custom_emoji_id`
        id: String,
    },
    /// `url`: an address that stands there as it is.
    Url,
    /// `email`
    Email,
    /// What Telegram finds by itself and we leave to it: `mention`, `hashtag`, `cashtag`, `bot_command`, `phone_number`, and what
    /// it may add one day.
    Other,
}

impl EntityKind {
    /// The kind of that `type`; what belongs to it (`language`, `url`, `custom_emoji_id`, the user's id) in `argument`.
    #[must_use]
    pub fn of(name: &str, argument: Option<&str>) -> Self {
        let argument = argument.unwrap_or_default();
        match name {
            "bold" => Self::Bold,
            "italic" => Self::Italic,
            "underline" => Self::Underline,
            "strikethrough" => Self::Strikethrough,
            "spoiler" => Self::Spoiler,
            "code" => Self::Code,
            "pre" => Self::Pre { language: argument.to_owned() },
            "blockquote" => Self::Blockquote,
            "expandable_blockquote" => Self::ExpandableBlockquote,
            "text_link" if !argument.is_empty() => Self::TextLink { url: argument.to_owned() },
            "text_mention" => argument.parse().map_or(Self::Other, |user| Self::TextMention { user }),
            "custom_emoji" if !argument.is_empty() => Self::CustomEmoji { id: argument.to_owned() },
            "url" => Self::Url,
            "email" => Self::Email,
            _ => Self::Other,
        }
    }

    /// The `type` that Telegram knows it by; `None` for [`EntityKind::Other`].
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        Some(match self {
            Self::Bold => "bold",
            Self::Italic => "italic",
            Self::Underline => "underline",
            Self::Strikethrough => "strikethrough",
            Self::Spoiler => "spoiler",
            Self::Code => "code",
            Self::Pre { .. } => "pre",
            Self::Blockquote => "blockquote",
            Self::ExpandableBlockquote => "expandable_blockquote",
            Self::TextLink { .. } => "text_link",
            Self::TextMention { .. } => "text_mention",
            Self::CustomEmoji { .. } => "custom_emoji",
            Self::Url => "url",
            Self::Email => "email",
            Self::Other => return None,
        })
    }

    /// Of two that stand on the same stretch, the one of the lower rank holds the other, as Telegram orders them.
    pub(crate) const fn rank(&self) -> u8 {
        match self {
            Self::Blockquote | Self::ExpandableBlockquote => 0,
            Self::Pre { .. } => 10,
            Self::Code => 20,
            Self::TextLink { .. } | Self::TextMention { .. } => 49,
            Self::Url | Self::Email | Self::Other => 50,
            Self::Bold => 90,
            Self::Italic => 91,
            Self::Underline => 92,
            Self::Strikethrough => 93,
            Self::Spoiler => 94,
            Self::CustomEmoji { .. } => 99,
        }
    }
}
