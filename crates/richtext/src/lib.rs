//! One rich text for every channel: what is written anywhere becomes a tree, and the tree is written as each channel shows it.
//!
//! ```text
//!  CommonMark ─┐                                           ┌─▶ CommonMark, plain text, HTML
//!  Telegram   ─┤                                           ├─▶ Telegram: text + entities
//!  Discord    ─┼─ read::… ─▶ Document ─▶ write::…          ├─▶ Discord: its dialect
//!  HTML       ─┤             (tree.rs)   render_parts ─────┘   each in messages of the channel's size,
//!  plain text ─┘                                               with the names of what was degraded
//! ```
//!
//! ```
//! use frontdesk_richtext::{ChannelRules, read, render_parts};
//!
//! let document = read::markdown("It ships **today**: [track it](https://shop.example/t/77)");
//! let answer = render_parts(&document, &ChannelRules::TELEGRAM);
//! assert_eq!(answer.parts[0].text, "It ships today: track it");
//! assert_eq!(answer.parts[0].entities.len(), 2);
//! assert!(answer.degraded.is_empty());
//! ```
//!
//! * Reading never fails, and takes a time that grows as the text does; what is nested deeper than [`MAX_DEPTH`] is read as if
//!   it stood there. So nothing here can run out of stack.
//! * Writing never fails either. What a channel has no form for takes another by a stated rule ([`Loss`]) and is reported.
//! * [`render_parts`] never truncates. The module `split` says how texts are cut, and its one exception.
//! * Nothing here does input or output; no address is ever opened.
//!

pub mod links;
pub mod read;
mod rules;
mod said;
mod spans;
mod split;
pub mod telegram;
mod tree;
pub mod write;

pub use self::{
    rules::{ChannelRules, Markup, Unit},
    said::{Said, document, show},
    split::{Part, Parts, append_attachments, append_buttons, render_parts},
    tree::{
        Block, Column, Document, Emoji, List, MAX_DEPTH, Mention, Mentioned, Piece, Platform, Span, Style, Table, Time,
    },
    write::{Degraded, HtmlRules, Loss, Rendering},
};
