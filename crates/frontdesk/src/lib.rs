//! The daemon: configuration, keys, and the command line; it brings the engine, a store and the channels together.
//!
//! Start reading at [`run`].

mod announce;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
mod figures;
pub mod keys;
mod listeners;
pub mod logging;
mod notify;
mod own_folder;
pub mod registry;
pub mod run;
