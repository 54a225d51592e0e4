//! The configuration, read as a start reads it: files in a folder, an environment of the test's own, and a kind of
//! channel that takes one of everything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

mod any_input;
mod keys;
mod reading;
mod report;
mod secrets;
mod world;
