//! The rules of a message's way. One place for all of them; stores and channels carry them out.
//!
//! A message enters through [`Engine::inbox`], which commits it and makes its conversation's agent lane due. The agent
//! worker ([`agent`]) posts the event to the one agent endpoint and settles what it answers: replies join the log and
//! make the deliver lane due. The delivery worker ([`delivery`]) renders, freezes, and sends each part once.
//! People and programs read and write beside that through [`Desk`].
//!
//! What must never be: an acknowledgement before the commit; a send before its intent is stored; a write under a claim
//! without its fence; a rule in a store; a channel's or a store's name in here.

mod agent;
mod attachments;
mod company;
mod delivery;
mod desk;
mod feed;
mod health;
mod inbox;
mod keeper;
mod keys;
mod lane;
mod measure;
mod occurrence;
mod options;
mod reply;
mod rules;
mod runtime;
mod status;
mod timers;
mod trial;
mod wire;

pub use agent::openai::answer::{ChatAnswer, ChatTrouble, read_chat_answer};
pub use attachments::{Readable, Uploaded, flaw as attachment_flaw};
pub use desk::{Change, Desk, DeskError, Erasure, Readiness, Repeat, Replied, RepliedMessage, Speaker};
pub use feed::{Feed, FeedBatch, FeedItem};
pub use frontdesk_attachments::{Exempt, Files, FilesError, Incoming, is_safe_inline};
pub use options::{AgentOptions, ConnectedChannel, EngineOptions, OpenAiOptions, Protocol};
pub use reply::{Action, BadReply, Reply, ReplyAttachment, ReplyMessage, nearest, parse_reply};
pub use runtime::{Drained, Engine, SharedKeys, StartError};
pub use status::{
    AgentView, ChannelView, ConversationsView, DaemonView, LaneView, PresentView, StateView, StatusView, StoreView,
};
#[cfg(feature = "trial")]
pub use trial::{Broken, Trial, arm};
pub use wire::{
    AttachmentView, AuthorView, ChangeView, CheckView, ContactView, ConversationView, DeadLetterView, EventView,
    MessageView,
};
