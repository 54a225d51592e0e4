//! `/openapi.json`: what is served, as OpenAPI 3.1. Made of the endpoints' own notes and of what the channels' routes say of
//! themselves, when the routes are.

use std::collections::BTreeMap;

use axum::{body::Body, extract::State, response::Response};
use frontdesk_model::{Admission, HeaderDocument, Method, RouteDocument};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::{
    Scope,
    endpoint::{Endpoint, Note, Parameter, Who},
    problem::{ProblemKind, TYPE_PREFIX},
    routes::{self, SharedApi},
};

/// The description of the API, with these routes of channels, as indented JSON.
#[must_use]
pub fn openapi(channels: &[RouteDocument]) -> String {
    describe(&routes::endpoints(), channels)
}

pub(crate) fn describe(endpoints: &[Endpoint], channels: &[RouteDocument]) -> String {
    let mut description = Description::default();
    for endpoint in endpoints {
        description.add(endpoint);
    }
    for route in channels {
        description.add_channels(route);
    }
    // Texts, lists and numbers can always be written.
    serde_json::to_string_pretty(&description.finished()).unwrap_or_default()
}

/// `GET /openapi.json`
pub(crate) async fn page(State(api): State<SharedApi>) -> Response {
    let mut response = Response::new(Body::from(api.description.clone()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Problems that any request can meet, whatever it asks for.
const ALWAYS: &[ProblemKind] = &[
    ProblemKind::MalformedRequest,
    ProblemKind::TooManyRequests,
    ProblemKind::HeadTooLarge,
    ProblemKind::Internal,
    ProblemKind::TookTooLong,
];
/// Problems of every route that hands in messages, beside the route's own.
const MOUNTED: &[ProblemKind] = &[
    ProblemKind::BodyIncomplete,
    ProblemKind::Unauthorized,
    ProblemKind::Forbidden,
    ProblemKind::UnknownChannel,
    ProblemKind::BodyTooSlow,
    ProblemKind::BodyTooLarge,
    ProblemKind::UnsupportedMediaType,
];

/// A problem's status, slug and title.
type Problem<'a> = (u16, &'a str, &'a str);

#[derive(Default)]
struct Description {
    paths: BTreeMap<String, BTreeMap<String, Value>>,
    schemas: BTreeMap<String, Value>,
    /// Problems of one status that several operations have in common.
    responses: BTreeMap<String, Value>,
}

impl Description {
    fn add(&mut self, endpoint: &Endpoint) {
        let note = endpoint.note();
        for (name, schema) in &note.schemas {
            let before = self.schemas.insert(name.clone(), schema.clone());
            debug_assert!(before.is_none_or(|before| before == *schema), "two types are called {name}");
        }
        let operation = self.operation_of(endpoint.path(), note);
        let method = endpoint.method().as_str().to_lowercase();
        self.paths.entry(endpoint.path().to_owned()).or_default().insert(method, operation);
    }

    fn add_channels(&mut self, route: &RouteDocument) {
        let path = format!("/v1/channels/{{channel}}{}", route.path);
        let method = match route.method {
            Method::Get => "get",
            Method::Post => "post",
        };
        let operation = self.operation_of_a_channel(route);
        self.paths.entry(path).or_default().insert(method.to_owned(), operation);
    }

    fn finished(mut self) -> Value {
        self.schemas.insert("Problem".to_owned(), problem_schema());
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Frontdesk",
                "version": env!("CARGO_PKG_VERSION"),
                "description": INTRODUCTION,
                "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"}
            },
            "servers": [{"url": "/", "description": "The listener that this came from."}],
            "paths": self.paths,
            "components": {
                "schemas": self.schemas,
                "responses": self.responses,
                "securitySchemes": {
                    "bearer": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "A token of the configuration. The scopes that an operation takes stand at it; `admin` may do \
                                        everything. A token can be held to channels; what is on others does not exist for it."
                    },
                    "replyToken": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "`data.reply_token` of an event: replies and actions in its conversation, for 24 hours."
                    },
                    "signature": {
                        "type": "apiKey",
                        "in": "header",
                        "name": "webhook-signature",
                        "description": "Standard Webhooks: `v1,` and the base64 of the HMAC-SHA256 over \
                                        `{webhook-id}.{webhook-timestamp}.{body}` with the channel's secret."
                    }
                }
            }
        })
    }

    fn operation_of(&mut self, path: &str, note: &Note) -> Value {
        let mut operation = Map::new();
        operation.insert("operationId".into(), json!(note.id));
        operation.insert("summary".into(), json!(note.summary));
        if !note.description.is_empty() {
            operation.insert("description".into(), json!(note.description));
        }
        let in_path = places(path).into_iter().map(|place| place_schema(path, place));
        let in_query = note.query.iter().map(|parameter| parameter_schema(parameter, "query"));
        let in_head = note.headers.iter().map(|parameter| parameter_schema(parameter, "header"));
        let parameters: Vec<_> = in_path.chain(in_query).chain(in_head).collect();
        if !parameters.is_empty() {
            operation.insert("parameters".into(), json!(parameters));
        }
        if let Some(body) = &note.body {
            operation.insert(
                "requestBody".into(),
                json!({"required": true, "content": {"application/json": {"schema": body}}}),
            );
        }
        if let Some(description) = note.bytes {
            let any = json!({"*/*": {"schema": {"type": "string", "format": "binary"}}});
            operation
                .insert("requestBody".into(), json!({"required": true, "description": description, "content": any}));
        }
        let scopes = |scopes: &[Scope]| -> Vec<&str> {
            let others = scopes.iter().copied().filter(|scope| *scope != Scope::Admin);
            others.chain([Scope::Admin]).map(Scope::as_str).collect()
        };
        let security = match note.who {
            Who::Anybody => json!([]),
            Who::Scopes(of) => json!([{"bearer": scopes(of)}]),
            Who::ScopesOrReplyToken(of) => json!([{"bearer": scopes(of)}, {"replyToken": []}]),
            Who::ScopesOrSignedAddress(of) => json!([{"bearer": scopes(of)}, {}]),
        };
        operation.insert("security".into(), security);
        let mut kinds: Vec<ProblemKind> = note.problems.iter().chain(ALWAYS).copied().collect();
        if note.who != Who::Anybody {
            kinds.extend([ProblemKind::Unauthorized, ProblemKind::Forbidden]);
        }
        if note.query.is_empty() && note.who != Who::Anybody {
            kinds.push(ProblemKind::InvalidQuery);
        }
        let mut responses = self.problem_responses(kinds.into_iter().map(of_ours));
        for answer in &note.answers {
            let body = answer.body.as_ref().map(|body| (answer.media_type, body));
            let headers = answer.headers.iter().map(|header| (header.name, header.description, header.schema.clone()));
            let response = response_of(answer.description, body, headers);
            responses.insert(answer.status.as_str().to_owned(), response);
        }
        operation.insert("responses".into(), responses.into());
        operation.into()
    }

    fn operation_of_a_channel(&mut self, route: &RouteDocument) -> Value {
        let mut operation = Map::new();
        operation.insert("operationId".into(), json!(route.id));
        operation.insert("summary".into(), json!(route.summary));
        operation.insert("description".into(), json!(route.description));
        let channel = json!({
            "name": "channel", "in": "path", "required": true, "description": "The channel's name in the configuration.",
            "schema": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$", "maxLength": 64}
        });
        let header = |header: &HeaderDocument| {
            json!({
                "name": header.name, "in": "header", "description": header.description, "schema": {"type": "string"}
            })
        };
        let parameters: Vec<_> = std::iter::once(channel).chain(route.headers.iter().map(header)).collect();
        operation.insert("parameters".into(), json!(parameters));
        if let Some(body) = &route.body {
            let example = route.example.iter().map(|body| ("example".to_owned(), body.clone()));
            let mut content: Map<_, _> = example.collect();
            content.insert("schema".to_owned(), body.clone());
            operation.insert("requestBody".into(), json!({"required": true, "content": {"application/json": content}}));
        }
        let security = route.admissions.iter().map(|admission| match admission {
            Admission::Bearer => json!({"bearer": [Scope::Ingest.as_str(), Scope::Admin.as_str()]}),
            Admission::Signature => json!({"signature": []}),
            Admission::Anybody => json!({}),
        });
        operation.insert("security".into(), security.collect());
        let ours = ALWAYS.iter().chain(MOUNTED).copied().map(of_ours);
        let own = route.problems.iter().map(|problem| (problem.status, problem.slug, problem.title));
        let mut responses = self.problem_responses(own.chain(ours));
        for answer in &route.answers {
            let headers =
                answer.headers.iter().map(|header| (header.name, header.description, json!({"type": "string"})));
            let response = response_of(answer.description, Some(("application/json", &answer.body)), headers);
            responses.insert(answer.status.to_string(), response);
        }
        operation.insert("responses".into(), responses.into());
        operation.into()
    }

    /// One response for each status, which names the types it can have.
    fn problem_responses<'a>(&mut self, problems: impl Iterator<Item = Problem<'a>>) -> Map<String, Value> {
        let mut by_status: BTreeMap<u16, BTreeMap<&str, &str>> = BTreeMap::new();
        for (status, slug, title) in problems {
            by_status.entry(status).or_default().insert(slug, title);
        }
        let refer = |(status, of): (u16, BTreeMap<&str, &str>)| {
            let slugs: Vec<_> = of.keys().copied().collect();
            let name = format!("{status}.{}", slugs.join("."));
            let reference = json!({"$ref": format!("#/components/responses/{name}")});
            self.responses.entry(name).or_insert_with(|| problem_response(status, &of));
            (status.to_string(), reference)
        };
        by_status.into_iter().map(refer).collect()
    }
}

const INTRODUCTION: &str = "Customers write on many channels; programs and people answer here.\n\nErrors are \
    `application/problem+json` (RFC 9457): `type` does not change, `detail` says what was wrong this time and what to do about it. \
    Lists answer `{\"data\", \"next\"}`; `next` is the `page` that follows. Every answer has `Cache-Control: no-store`. \
    `HEAD` is answered wherever `GET` is.";

fn of_ours(kind: ProblemKind) -> Problem<'static> {
    (kind.status().as_u16(), kind.slug(), kind.title())
}

/// A problem of this status, of one of these types.
fn problem_response(status: u16, of: &BTreeMap<&str, &str>) -> Value {
    let lines: Vec<_> = of.iter().map(|(slug, title)| format!("`{slug}`: {title}.")).collect();
    let types: Vec<_> = of.keys().map(|slug| format!("{TYPE_PREFIX}{slug}")).collect();
    let schema = json!({
        "allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"properties": {"type": {"enum": types}, "status": {"const": status}}}
        ]
    });
    response_of(&lines.join("\n\n"), Some(("application/problem+json", &schema)), problem_headers(status))
}

/// An answer, with a body of a media type, and headers with their descriptions and schemas.
fn response_of<'a>(
    description: &str,
    body: Option<(&str, &Value)>,
    headers: impl IntoIterator<Item = (&'a str, &'a str, Value)>,
) -> Value {
    let mut response = Map::new();
    response.insert("description".to_owned(), json!(description));
    if let Some((media_type, schema)) = body {
        response.insert("content".to_owned(), json!({media_type: {"schema": schema}}));
    }
    let header = |(name, description, schema): (&str, &str, Value)| {
        (name.to_owned(), json!({"description": description, "schema": schema}))
    };
    let headers: Map<_, _> = headers.into_iter().map(header).collect();
    if !headers.is_empty() {
        response.insert("headers".to_owned(), headers.into());
    }
    response.into()
}

/// What comes with problems of a status.
fn problem_headers(status: u16) -> Option<(&'static str, &'static str, Value)> {
    match StatusCode::from_u16(status).ok()? {
        StatusCode::UNAUTHORIZED => Some(("WWW-Authenticate", "`Bearer`.", json!({"type": "string"}))),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Some(("Retry-After", "When to come again, in seconds.", json!({"type": "integer", "minimum": 0})))
        }
        _ => None,
    }
}

fn problem_schema() -> Value {
    let row = |kind: &ProblemKind| {
        format!("\n* `{TYPE_PREFIX}{}` ({}): {}", kind.slug(), kind.status().as_u16(), kind.title())
    };
    let types = format!(
        "Which kind of problem; never changes. Those of the API itself, to which the channels' routes add theirs:\n{}",
        ProblemKind::ALL.iter().map(row).collect::<String>()
    );
    json!({
        "type": "object",
        "description": "What went wrong, as RFC 9457 has it.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "description": types},
            "title": {"type": "string", "description": "What that kind is, in a few words."},
            "status": {"type": "integer", "description": "The answer's status."},
            "detail": {"type": "string", "description": "What was wrong this time, and what to do about it."},
            "version": {
                "type": "integer",
                "minimum": 0,
                "description": "The conversation's present version, where the problem is about it."
            }
        }
    })
}

fn parameter_schema(parameter: &Parameter, place: &str) -> Value {
    json!({
        "name": parameter.name, "in": place, "description": parameter.description, "schema": parameter.schema
    })
}

/// The names in braces.
fn places(path: &str) -> Vec<&str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect()
}

/// What can stand in such a place: a channel's name, or the id of what the path is about.
fn place_schema(path: &str, place: &str) -> Value {
    let (prefix, what) = if path.starts_with("/v1/conversations/") {
        ("cnv", "The conversation's id.")
    } else if path.starts_with("/v1/contacts/") {
        ("cnt", "The contact's id.")
    } else {
        ("dlt", "The dead letter's id.")
    };
    let (description, schema) = if place == "channel" {
        ("The channel's name in the configuration.", json!({"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}))
    } else {
        (what, json!({"type": "string", "pattern": format!("^{prefix}_[0-9a-hjkmnp-tv-zA-HJKMNP-TV-Z]{{26}}$")}))
    };
    json!({"name": place, "in": "path", "required": true, "description": description, "schema": schema})
}
