//! One method of one path: what answers it and what the API's description says about it, in one piece. The routes and the
//! description are made of the same list of these, so neither can have what the other lacks.

use std::collections::BTreeMap;

use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, MethodRouter, on},
};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{Scope, bodies::BodySchema, problem::ProblemKind, routes::SharedApi};

/// One method of one path.
pub(crate) struct Endpoint {
    method: Method,
    path: &'static str,
    handler: MethodRouter<SharedApi>,
    note: Note,
}

/// What the description says of it.
pub(crate) struct Note {
    /// Names it among all.
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) description: &'static str,
    pub(crate) who: Who,
    pub(crate) query: Vec<Parameter>,
    pub(crate) headers: Vec<Parameter>,
    pub(crate) body: Option<Value>,
    /// What a body is that is taken as it is.
    pub(crate) bytes: Option<&'static str>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) problems: Vec<ProblemKind>,
    /// The schemas that body and answers refer to, by name.
    pub(crate) schemas: BTreeMap<String, Value>,
}

/// Who may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Anybody,
    /// A token with one of these scopes.
    Scopes(&'static [Scope]),
    /// The same, or the reply token of the conversation.
    ScopesOrReplyToken(&'static [Scope]),
    /// The same, or whoever has an address that was signed for it.
    ScopesOrSignedAddress(&'static [Scope]),
}

/// One thing that a request may say in its query or in a header.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) schema: Value,
}

/// One answer that is no problem.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) description: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) headers: Vec<Parameter>,
    pub(crate) body: Option<Value>,
}

const JSON: &str = "application/json";

impl Endpoint {
    /// `id` names it among all, in the form of `listConversations`.
    pub(crate) fn get<T: 'static>(path: &'static str, id: &'static str, handler: impl Handler<T, SharedApi>) -> Self {
        Self::new(Method::GET, path, id, on(MethodFilter::GET, handler))
    }

    pub(crate) fn post<T: 'static>(path: &'static str, id: &'static str, handler: impl Handler<T, SharedApi>) -> Self {
        Self::new(Method::POST, path, id, on(MethodFilter::POST, handler))
    }

    pub(crate) fn patch<T: 'static>(path: &'static str, id: &'static str, handler: impl Handler<T, SharedApi>) -> Self {
        Self::new(Method::PATCH, path, id, on(MethodFilter::PATCH, handler))
    }

    pub(crate) fn delete<T: 'static>(
        path: &'static str,
        id: &'static str,
        handler: impl Handler<T, SharedApi>,
    ) -> Self {
        Self::new(Method::DELETE, path, id, on(MethodFilter::DELETE, handler))
    }

    fn new(method: Method, path: &'static str, id: &'static str, handler: MethodRouter<SharedApi>) -> Self {
        let note = Note {
            id,
            summary: "",
            description: "",
            who: Who::Anybody,
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            bytes: None,
            answers: Vec::new(),
            problems: Vec::new(),
            schemas: BTreeMap::new(),
        };
        Self { method, path, handler, note }
    }

    /// What it does, in a few words, and what a caller has to know beside that.
    pub(crate) fn about(mut self, summary: &'static str, description: &'static str) -> Self {
        (self.note.summary, self.note.description) = (summary, description);
        self
    }

    pub(crate) fn open_to(mut self, who: Who) -> Self {
        self.note.who = who;
        self
    }

    pub(crate) fn query(mut self, name: &'static str, description: &'static str, schema: Value) -> Self {
        self.note.query.push(Parameter { name, description, schema });
        self
    }

    pub(crate) fn header(mut self, name: &'static str, description: &'static str, schema: Value) -> Self {
        self.note.headers.push(Parameter { name, description, schema });
        self
    }

    /// It answers with a page of a list.
    pub(crate) fn lists<T: ToSchema>(mut self, description: &'static str) -> Self {
        let item = self.refer_to::<T>();
        let page = json!({
            "type": "object",
            "required": ["data", "next"],
            "properties": {
                "data": {"type": "array", "items": item},
                "next": {"type": ["string", "null"], "description": "The `page` that follows; null at the end."}
            }
        });
        self.query(
            "limit",
            "At most so many rows; 50 by default. A page may have fewer.",
            json!({
                "type": "integer", "minimum": 1, "maximum": 200
            }),
        )
        .query(
            "page",
            "What the page before gave as `next`.",
            json!({"type": "string", "minLength": 1, "maxLength": 512}),
        )
        .answers_with(StatusCode::OK, description, JSON, Some(page))
        .fails(&[ProblemKind::InvalidQuery])
    }

    /// It takes a body of this form.
    pub(crate) fn takes(mut self, body: BodySchema) -> Self {
        self.note.body = Some(json!({"$ref": format!("{SCHEMAS}{}", body.name)}));
        self.note.schemas.insert(body.name.to_owned(), body.schema);
        self.fails(&[
            ProblemKind::InvalidJson,
            ProblemKind::BodyIncomplete,
            ProblemKind::BodyTooSlow,
            ProblemKind::BodyTooLarge,
            ProblemKind::UnsupportedMediaType,
            ProblemKind::InvalidRequest,
        ])
    }

    /// It takes a body of any media type, as it is.
    pub(crate) fn takes_bytes(mut self, description: &'static str) -> Self {
        self.note.bytes = Some(description);
        self.fails(&[
            ProblemKind::BodyIncomplete,
            ProblemKind::BodyTooSlow,
            ProblemKind::BodyTooLarge,
            ProblemKind::UnsupportedMediaType,
            ProblemKind::InvalidRequest,
        ])
    }

    pub(crate) fn answers<T: ToSchema>(mut self, status: StatusCode, description: &'static str) -> Self {
        let body = self.refer_to::<T>();
        self.answers_with(status, description, JSON, Some(body))
    }

    /// It answers with server-sent events, each with such data.
    pub(crate) fn streams<T: ToSchema>(mut self, description: &'static str) -> Self {
        let data = self.refer_to::<T>();
        let stream = json!({"type": "string", "x-event-data": data});
        self.answers_with(StatusCode::OK, description, "text/event-stream", Some(stream))
    }

    pub(crate) fn answers_empty(self, description: &'static str) -> Self {
        self.answers_with(StatusCode::NO_CONTENT, description, JSON, None)
    }

    pub(crate) fn answers_with(
        mut self,
        status: StatusCode,
        description: &'static str,
        media_type: &'static str,
        body: Option<Value>,
    ) -> Self {
        self.note.answers.push(Answer { status, description, media_type, headers: Vec::new(), body });
        self
    }

    /// The last answer named may have this header.
    pub(crate) fn with_header(mut self, name: &'static str, description: &'static str, schema: Value) -> Self {
        if let Some(answer) = self.note.answers.last_mut() {
            answer.headers.push(Parameter { name, description, schema });
        }
        self
    }

    /// Problems of its own; those that every request can meet need not be named.
    pub(crate) fn fails(mut self, problems: &[ProblemKind]) -> Self {
        self.note.problems.extend(problems);
        self
    }

    fn refer_to<T: ToSchema>(&mut self) -> Value {
        let mut schemas = Vec::new();
        T::schemas(&mut schemas);
        schemas.push((T::name().into_owned(), T::schema()));
        for (name, schema) in schemas {
            // What a derive made can be written.
            let mut schema = serde_json::to_value(schema).unwrap_or_default();
            with_plain_references(&mut schema);
            let before = self.note.schemas.insert(plain(&name).to_owned(), schema.clone());
            debug_assert!(before.is_none_or(|before| before == schema), "two types are called {name}");
        }
        json!({"$ref": format!("{SCHEMAS}{}", plain(&T::name()))})
    }

    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    pub(crate) fn path(&self) -> &'static str {
        self.path
    }

    pub(crate) fn note(&self) -> &Note {
        &self.note
    }

    pub(crate) fn mount(self, routes: Router<SharedApi>) -> Router<SharedApi> {
        routes.route(self.path, self.handler)
    }
}

const SCHEMAS: &str = "#/components/schemas/";

/// A type's name as a reader of the API knows it: what is shown of a conversation is a conversation.
fn plain(name: &str) -> &str {
    name.strip_suffix("View").unwrap_or(name)
}

fn with_plain_references(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str().and_then(|to| to.strip_prefix(SCHEMAS)) {
                    Some(name) if key == "$ref" => *value = json!(format!("{SCHEMAS}{}", plain(name))),
                    _ => with_plain_references(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(with_plain_references),
        _ => {}
    }
}
