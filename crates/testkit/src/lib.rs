//! For tests only.

pub mod adapter_suite;
pub mod bot_api;
pub mod chat;
pub mod clock;
pub mod daemon;
pub mod far_end;
pub mod ledger;
pub mod process;
pub mod redis_proxy;
pub mod redis_server;
pub mod store_suite;
