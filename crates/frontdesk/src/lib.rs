//! The daemon: configuration, keys, and the command line; it brings the engine, a store and the channels together.
//!
//! Start reading at [`run`].

mod announce;
pub mod check;
pub mod clock;
pub mod config;
mod figures;
pub mod keys;
pub mod listeners;
pub mod logging;
mod notify;
pub mod registry;
pub mod run;
