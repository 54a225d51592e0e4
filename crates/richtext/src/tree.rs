//! The tree: blocks that hold blocks, and paragraphs that hold a flat row of spans.
//!
//! A span says what it is and which styles and link it carries; there is no nesting among styles. What nests in one channel's
//! markup (`**a _b_**`) and crosses in another's (two entities) is the same row of spans here, so two texts that look alike are
//! equal, a text can be cut anywhere, and each writer nests anew as its channel wants it.

use std::{fmt, ops, sync::Arc};

/// How deep quotes and lists may stand in each other. What is nested deeper is read as if it stood at this depth.
pub const MAX_DEPTH: usize = 24;

/// A whole text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// From first to last.
    pub blocks: Vec<Block>,
}

/// A piece of a text that stands on lines of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// Running text.
    Paragraph(Vec<Span>),
    /// A heading.
    Heading {
        /// 1 to 6, 1 the highest.
        level: u8,
        /// What it says.
        content: Vec<Span>,
    },
    /// Items with a bullet or a number each.
    List(List),
    /// Somebody else's words.
    Quote {
        /// Telegram shows the first lines and opens the rest on demand.
        expandable: bool,
        /// What is quoted.
        blocks: Vec<Block>,
    },
    /// Text to be shown as it is, in one width.
    Code {
        /// What it is written in, for colours; often empty.
        language: String,
        /// Without the line end of its last line.
        text: String,
    },
    /// Cells in rows.
    Table(Table),
    /// A line across.
    Rule,
    /// What a footnote says, at the place where it was written.
    Note {
        /// What [`Piece::Note`] names.
        label: String,
        /// What it says.
        blocks: Vec<Block>,
    },
}

/// A list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// The number of the first item; `None` for bullets.
    pub start: Option<u64>,
    /// Items are written without blank lines between them.
    pub tight: bool,
    /// Blocks of each item.
    pub items: Vec<Vec<Block>>,
}

/// A table. Rows may have fewer cells than the head, never more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// One for each column of the head.
    pub columns: Vec<Column>,
    /// Cells of the first row.
    pub head: Vec<Vec<Span>>,
    /// Cells of the other rows.
    pub rows: Vec<Vec<Vec<Span>>>,
}

/// To which side the cells of a column keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Column {
    /// Nothing said; shown like `Left`.
    #[default]
    Unsaid,
    /// To the left.
    Left,
    /// In the middle.
    Center,
    /// To the right.
    Right,
}

/// A stretch of text that looks the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What stands there.
    pub piece: Piece,
    /// How it looks.
    pub style: Style,
    /// Where it leads. Not checked: writers let only harmless addresses through ([`crate::links`]).
    pub link: Option<Arc<str>>,
}

/// What a span is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Words; never with a line end.
    Text(String),
    /// The line ends here.
    Break,
    /// The source's line ends here; CommonMark lets a renderer show a space or a line end.
    SoftBreak,
    /// Somebody or something of Discord.
    Mention(Mention),
    /// A platform's own picture between the words.
    Emoji(Emoji),
    /// A moment, which Discord shows in the reader's own time.
    Time(Time),
    /// A reference to the [`Block::Note`] of that label.
    Note(String),
}

/// Somebody or something of Discord, named in a text by an id. (Telegram's mention of a person without a name of his own is a link
/// to `tg://user?id=…`.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// What is mentioned.
    pub of: Mentioned,
    /// Discord's id for it.
    pub id: String,
    /// What the reader sees, with the `@`, `#` or `/` that belongs to it.
    pub label: String,
}

/// What a mention may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mentioned {
    /// A person.
    User,
    /// A group of persons.
    Role,
    /// A place to write in.
    Channel,
    /// A command of a program.
    Command,
}

/// A platform's own picture between the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emoji {
    /// Whose id it is.
    pub platform: Platform,
    /// The platform's id for it.
    pub id: String,
    /// What others show instead: on Telegram a common emoji, on Discord `:name:`.
    pub text: String,
    /// It moves (Discord).
    pub animated: bool,
}

/// Platforms whose ids stand in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// Telegram.
    Telegram,
    /// Discord.
    Discord,
}

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970 in UTC.
    pub unix: i64,
    /// How it is shown, one of Discord's `t T d D f F R`; `None` for its default, `f`.
    pub form: Option<char>,
}

/// A set of styles.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Style(u8);

impl Style {
    /// No style.
    pub const NONE: Self = Self(0);
    /// Heavier.
    pub const BOLD: Self = Self(1);
    /// Slanted.
    pub const ITALIC: Self = Self(1 << 1);
    /// With a line below.
    pub const UNDERLINE: Self = Self(1 << 2);
    /// With a line through it.
    pub const STRIKE: Self = Self(1 << 3);
    /// Hidden until the reader asks.
    pub const SPOILER: Self = Self(1 << 4);
    /// As it is, in one width.
    pub const CODE: Self = Self(1 << 5);
    /// The span stands for a picture: its text describes it, its link is the picture.
    pub const IMAGE: Self = Self(1 << 6);
    /// Smaller (Discord's subtext).
    pub const SMALL: Self = Self(1 << 7);

    /// Whether every style of `other` is in it.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the styles of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without the styles of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Only the styles that are also in `other`.
    #[must_use]
    pub const fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it is no style at all.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl ops::BitOr for Style {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

impl ops::BitOrAssign for Style {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.with(other);
    }
}

impl fmt::Debug for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::BOLD, "bold"),
            (Self::ITALIC, "italic"),
            (Self::UNDERLINE, "underline"),
            (Self::STRIKE, "strike"),
            (Self::SPOILER, "spoiler"),
            (Self::CODE, "code"),
            (Self::IMAGE, "image"),
            (Self::SMALL, "small"),
        ];
        f.debug_set().entries(names.iter().filter(|(style, _)| self.has(*style)).map(|(_, name)| name)).finish()
    }
}

impl Span {
    /// Words without style or link.
    pub fn text(text: impl Into<String>) -> Self {
        Self::of(Piece::Text(text.into()))
    }

    /// Anything without style or link.
    #[must_use]
    pub fn of(piece: Piece) -> Self {
        Self { piece, style: Style::NONE, link: None }
    }

    /// With these styles beside its own.
    #[must_use]
    pub fn styled(mut self, style: Style) -> Self {
        self.style |= style;
        self
    }

    /// Leading there.
    #[must_use]
    pub fn linked(mut self, link: impl Into<Arc<str>>) -> Self {
        self.link = Some(link.into());
        self
    }

    /// Whether it ends a line.
    #[must_use]
    pub fn is_break(&self) -> bool {
        matches!(self.piece, Piece::Break | Piece::SoftBreak)
    }

    /// What a reader sees who sees no styles; a line end for a break.
    #[must_use]
    pub fn visible(&self) -> std::borrow::Cow<'_, str> {
        use std::borrow::Cow;
        match &self.piece {
            Piece::Text(text) => Cow::Borrowed(text),
            Piece::Break | Piece::SoftBreak => Cow::Borrowed("\n"),
            Piece::Mention(mention) => Cow::Borrowed(&mention.label),
            Piece::Emoji(emoji) => Cow::Borrowed(&emoji.text),
            Piece::Time(time) => Cow::Owned(time.to_string()),
            Piece::Note(label) => Cow::Owned(format!("[{label}]")),
        }
    }
}

impl Document {
    /// One paragraph.
    #[must_use]
    pub fn paragraph(spans: Vec<Span>) -> Self {
        Self { blocks: vec![Block::Paragraph(spans)] }
    }

    /// Whether nobody would see anything of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.iter().all(Block::is_empty)
    }
}

impl Block {
    /// Whether nobody would see anything of it. An empty item of a list is seen: it has a bullet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Paragraph(spans) | Self::Heading { content: spans, .. } => {
                spans.iter().all(|span| span.visible().trim().is_empty())
            }
            Self::List(list) => list.items.is_empty(),
            Self::Quote { blocks, .. } | Self::Note { blocks, .. } => blocks.iter().all(Self::is_empty),
            Self::Code { text, .. } => text.trim().is_empty(),
            Self::Table(table) => table.head.is_empty() && table.rows.is_empty(),
            Self::Rule => false,
        }
    }
}

/// In UTC, as short as its form asks for: what a reader sees where no client puts it into his own time.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (day, second) = (self.unix.div_euclid(86_400), self.unix.rem_euclid(86_400));
        let (year, month, date) = civil(day);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        match self.form {
            Some('t') => write!(f, "{hour:02}:{minute:02} UTC"),
            Some('T') => write!(f, "{hour:02}:{minute:02}:{second:02} UTC"),
            Some('d' | 'D') => write!(f, "{year:04}-{month:02}-{date:02}"),
            _ => write!(f, "{year:04}-{month:02}-{date:02} {hour:02}:{minute:02} UTC"),
        }
    }
}

/// Year, month and day of the Gregorian calendar, of a count of days since 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, date)
}
