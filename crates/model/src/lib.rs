//! The conversation model, and the two contracts it is used through.
//!
//! * What is said: [`Conversation`], [`Message`] with its [`Attachment`]s, [`Event`], and their identifiers.
//! * What a channel owes: [`Kind`], [`ChannelConfig`], [`Adapter`], and the [`Inbox`] it hands messages to;
//!   [`RouteDocument`], which describes a route of it; and [`Insight`], what it makes of an input without being run.
//! * What a store owes: [`Store`], with the typed [`Effect`]s and [`Guard`]s that its verbs carry; [`Keeping`], how things leave it;
//!   [`Company`], what daemons that share one tell each other; and [`Checked`], whether what it holds fits together.
//!
//! Nothing here does input or output, waits, or knows a protocol. Every other crate depends on this one and this
//! one depends on none of them.

mod adapter;
mod attachment;
mod checking;
mod company;
mod conversation;
mod document;
mod event;
mod ids;
mod insight;
mod keeping;
mod message;
mod outcome;
mod secret;
mod settings;
mod store;
mod time;

pub use adapter::*;
pub use attachment::*;
pub use checking::*;
pub use company::*;
pub use conversation::*;
pub use document::*;
pub use event::*;
pub use ids::*;
pub use insight::*;
pub use keeping::*;
pub use message::*;
pub use outcome::*;
pub use secret::*;
pub use settings::*;
pub use store::*;
pub use time::*;
