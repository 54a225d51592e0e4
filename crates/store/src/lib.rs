//! The conversation model on disk, behind [`frontdesk_model::Store`].
//!
//! SQLite is the embedded store: one folder, one process. See [`sqlite`](SqliteStore) for how it keeps its promises.

mod sqlite;

pub use sqlite::{Durability, OpenError, SqliteOptions, SqliteStore};
