//! The store on Redis, against real servers that the tests start themselves.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // a test may stop at the first surprise

mod check;
mod cuts;
mod faults;
mod opening;
mod server;
mod shared;
mod suite;
