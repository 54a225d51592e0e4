//! What a route of a channel is for and what it takes and gives: its part of the API's own description.
//!
//! Bodies are described as JSON Schemas (draft 2020-12, as OpenAPI 3.1 has them). Where a schema needs another one by
//! name, it carries it itself.

use serde_json::Value;

use crate::Method;

/// One route, described.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteDocument {
    /// `POST`, `GET`, ...
    pub method: Method,
    /// Below the channel's own address, such as `/messages`.
    pub path: &'static str,
    /// Names the operation among all operations of all kinds, such as `receiveWebhookMessage`.
    pub id: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// What a caller has to know beside that, in CommonMark.
    pub description: &'static str,
    /// How a request shows that it may: one of these.
    pub admissions: Vec<Admission>,
    /// Headers that mean something here, beside those that every request may have.
    pub headers: Vec<HeaderDocument>,
    /// The request's body, a JSON Schema.
    pub body: Option<Value>,
    /// A body that is taken.
    pub example: Option<Value>,
    /// Every answer but problems.
    pub answers: Vec<AnswerDocument>,
    /// Every problem that the route itself answers with.
    pub problems: Vec<ProblemDocument>,
}

/// How a request shows that it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// A bearer token of ours with scope `ingest`.
    Bearer,
    /// A Standard Webhooks signature.
    Signature,
    /// It need not.
    Anybody,
}

/// A header of a request or of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderDocument {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub description: &'static str,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerDocument {
    /// 2xx.
    pub status: u16,
    /// When it is given.
    pub description: &'static str,
    /// Headers that it may have.
    pub headers: Vec<HeaderDocument>,
    /// Its body, a JSON Schema.
    pub body: Value,
}

/// A problem, as [`HttpProblem`](crate::HttpProblem) has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProblemDocument {
    /// 4xx or 5xx.
    pub status: u16,
    /// The last piece of its `type`.
    pub slug: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
}
