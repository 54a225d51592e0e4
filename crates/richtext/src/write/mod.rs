//! Writers: a tree as each channel shows it, and what it could not show.

mod adapt;
mod discord;
mod html;
mod markdown;
mod plain;
mod table;
mod telegram;

use std::{collections::BTreeSet, fmt};

pub(crate) use self::adapt::adapt;
pub use self::html::HtmlRules;
use crate::{
    rules::{ChannelRules, Markup},
    telegram::Entity,
    tree::Document,
};

/// A tree as a channel shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendering {
    /// The text, with the channel's markup if it has any.
    pub text: String,
    /// Telegram's markup; empty for every other channel.
    pub entities: Vec<Entity>,
    /// What could not be shown as it was meant.
    pub degraded: Degraded,
}

/// What of a text a channel could not show as it was meant. The names are stable: they are told to whoever wrote the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// A file that goes along: a link to it.
    Attachments,
    /// Buttons: a numbered list.
    Buttons,
    /// A platform's own picture: the sign or the name that it stands for.
    Emoji,
    /// Footnotes: their number in brackets, and a paragraph.
    Footnotes,
    /// A heading of a level that the channel has not: a bold line.
    Headings,
    /// A picture between words: a link to it, or its description.
    Images,
    /// A link to somewhere that the channel leads nobody to: its address in words, or nothing if it would do harm.
    Links,
    /// A mention: its name in words.
    Mentions,
    /// Lists in lists: indented lines.
    NestedLists,
    /// Quotes in quotes or in lists: one quote, or none.
    NestedQuotes,
    /// A line across: three dashes.
    Rules,
    /// Styles that cannot be combined, or that the channel has not: without them.
    Styles,
    /// A table: text in columns of one width.
    Tables,
}

impl Loss {
    /// The name that is told.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attachments => "attachments",
            Self::Buttons => "buttons",
            Self::Emoji => "emoji",
            Self::Footnotes => "footnotes",
            Self::Headings => "headings",
            Self::Images => "images",
            Self::Links => "links",
            Self::Mentions => "mentions",
            Self::NestedLists => "nested_lists",
            Self::NestedQuotes => "nested_quotes",
            Self::Rules => "rules",
            Self::Styles => "styles",
            Self::Tables => "tables",
        }
    }
}

/// All that a channel could not show, each once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Degraded(BTreeSet<Loss>);

impl Degraded {
    /// Notes a loss.
    pub fn note(&mut self, loss: Loss) {
        self.0.insert(loss);
    }

    /// Notes what another one has noted.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    /// Whether everything could be shown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The stable names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|loss| loss.name())
    }
}

impl fmt::Debug for Degraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// A tree in one piece, however long it gets. [`crate::render_parts`] keeps to the channel's limits.
#[must_use]
pub fn render(document: &Document, rules: &ChannelRules) -> Rendering {
    let mut degraded = Degraded::default();
    let adapted = adapt(document, rules.markup, &mut degraded);
    let mut rendering = render_adapted(&adapted, rules.markup);
    rendering.degraded.extend(&degraded);
    rendering
}

/// Renders what [`adapt`] has left of a tree.
pub(crate) fn render_adapted(document: &Document, markup: Markup) -> Rendering {
    match markup {
        Markup::Telegram => telegram::write(document),
        Markup::Discord => discord::write(document),
        Markup::Html(rules) => html::write(document, rules),
        Markup::Markdown => markdown::write(document),
        Markup::Plain => plain::write(document),
    }
}

/// CommonMark, as [`crate::read::markdown`] reads it: reading it gives the tree again.
#[must_use]
pub fn markdown(document: &Document) -> Rendering {
    render(document, &ChannelRules::MARKDOWN)
}

/// Plain text: bullets and numbers, `> ` before quotes, addresses in brackets.
#[must_use]
pub fn plain(document: &Document) -> Rendering {
    render(document, &ChannelRules::PLAIN)
}

/// HTML; see [`HtmlRules`].
#[must_use]
pub fn html(document: &Document, rules: HtmlRules) -> Rendering {
    render(document, &ChannelRules { markup: Markup::Html(rules), ..ChannelRules::HTML })
}

/// Telegram's text and entities.
#[must_use]
pub fn telegram(document: &Document) -> Rendering {
    render(document, &ChannelRules::TELEGRAM)
}

/// Discord's dialect. Nothing in it can ping: `@everyone`, `@here` and what looks like a mention are broken by a sign of no width.
/// Only a [`crate::Piece::Mention`] in the tree, which no reader of Markdown makes, is written as one.
#[must_use]
pub fn discord(document: &Document) -> Rendering {
    render(document, &ChannelRules::DISCORD)
}

/// Whether somebody would see something: platforms refuse a text that is all white space and signs of no width.
pub(crate) fn is_seen(text: &str) -> bool {
    text.chars().any(|sign| {
        !sign.is_whitespace()
            && !sign.is_control()
            && !matches!(sign,
                '\u{ad}' | '\u{34f}' | '\u{30a}' | '\u{333}' | '\u{33f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
                | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}'
                | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
    })
}
