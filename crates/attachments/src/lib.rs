//! Files that come with messages: their bytes, on disk and on their way here.
//!
//! * [`Files`]: a folder in which bytes lie under their own hash, each with what refers to it. The store says which references
//!   count; the folder never decides that something is forgotten.
//! * [`Fetcher`]: fetches what lies elsewhere, from public addresses only and within bounds.
//! * [`media_type_of`] and [`plain_name`]: what bytes are and what they are called, whatever somebody said about them.
//!
//! Nothing here knows a conversation, a channel's protocol or a store.

mod fetch;
mod folder;
mod guard;
mod name;
mod sniff;

pub use fetch::{FetchError, FetchLimits, Fetcher};
pub use folder::{Files, FilesError, FilesOptions, Held, Incoming, OpenError, Upload, size_in, store_of};
pub use guard::{Exempt, is_public};
pub use name::plain_name;
pub use tokio::fs::File as OpenFile;

pub use sniff::{is_safe_inline, media_type_of};
