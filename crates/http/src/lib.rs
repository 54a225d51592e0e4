//! The HTTP interface: the API, health, and the mount points of the channels' own routes.
//!
//! A connection is taken in [`serve`], [`serve_admin`] or [`serve_control`], which hold every client to time and size limits
//! before a handler sees anything (`patience`: who is slow; `crowd`: who floods). A request then goes to the present routes of the
//! [`Front`]: `answer` puts the bounds of one request and the headers of every answer around it, `auth` tells who asks,
//! `conversations`, `contacts`, `changes`, `dead_letters`, `status` and `health` read and write through
//! [`frontdesk_engine::Desk`], and `mount` hands requests under `/v1/channels/{channel}` to the routes that the
//! channels brought along, without knowing what they do. Every error leaves as a [`ProblemKind`].
//!
//! Routes and description are made of one list of endpoints (`routes`, `endpoint`, `openapi`), each of which stands beside its
//! handler.
//!
//! What must never be: a channel's or a store's name in here; a token, a raw path, a header or a body in a log line; a body
//! read before its sender is known to be allowed in; a wait for a client without an end.

mod answer;
mod attachments;
mod auth;
mod bodies;
mod body;
mod changes;
mod contacts;
mod conversations;
mod crowd;
mod dead_letters;
mod endpoint;
mod front;
mod health;
mod metrics;
mod mount;
mod network;
mod openapi;
mod options;
mod parting;
mod patch;
mod patience;
mod portions;
mod problem;
mod query;
mod replies;
mod routes;
mod serve;
mod status;
mod streams;
mod visit;

pub use front::Front;
pub use network::{Network, NotANetwork};
pub use openapi::openapi;
pub use options::{HttpOptions, Limits, MountedChannel, Scope, ScopeSet, TokenGrant, UnknownScope};
pub use problem::ProblemKind;
pub use serve::{serve, serve_admin, serve_control};
