//! The conversation model on disk, behind [`frontdesk_model::Store`].
//!
//! SQLite is the embedded store: one folder, one process. See [`sqlite`](SqliteStore) for how it keeps its promises. Redis is the
//! shared one: a server or a cluster, and any number of daemons ([`RedisStore`]).

mod check;
mod redis;
mod sqlite;

pub use redis::{Place, RedisOpenError, RedisOptions, RedisStore, RedisView, TimeSource};
pub use sqlite::{BackupError, Copied, Durability, OpenError, SqliteFile, SqliteOptions, SqliteStore, backup};
