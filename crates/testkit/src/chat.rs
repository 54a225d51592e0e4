//! A chat-completions server for a [`FarEnd`](crate::far_end::FarEnd): as strict about requests as OpenAI's own, with answers
//! and errors of its form.
//!
//! Reference: <https://platform.openai.com/docs/api-reference/chat/create>. A request with anything that the reference does
//! not have is refused, with the status, the code and the parameter that the real server names. [`Rules`] can be made to
//! take less, as other servers do (Mistral, llama.cpp, Ollama, vLLM).
//!
//! ```no_run
//! # use frontdesk_testkit::{chat::{self, Rules}, far_end::FarEnd};
//! # async fn example() {
//! let rules = Rules::of("some/model").with_key("sk-secret");
//! let server = FarEnd::start(rules.answering(|asked| chat::text(&format!("re: {}", asked.last_said())))).await;
//! let url = format!("{}v1", server.url());
//! # }
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // what a test scripted wrongly fails the test

use serde_json::{Map, Value, json};

use crate::far_end::{Received, Reply};

/// Every key of the reference. `functions` and `function_call` are the older form of `tools`.
const KEYS: &[&str] = &[
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];
const LONGEST_USER: usize = 64;
const LONGEST_TOOL_NAME: usize = 64;

/// What a server insists on.
#[derive(Debug, Clone)]
pub struct Rules {
    model: String,
    key: Option<String>,
    context: Option<usize>,
    takes_tools: bool,
    takes_user: bool,
    alternating: bool,
}

impl Rules {
    /// OpenAI's, for a server that has this one model and wants no key.
    #[must_use]
    pub fn of(model: &str) -> Self {
        let model = model.to_owned();
        Self { model, key: None, context: None, takes_tools: true, takes_user: true, alternating: false }
    }

    /// Wants this key.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Takes so many characters of messages and no more.
    #[must_use]
    pub fn with_context(mut self, characters: usize) -> Self {
        self.context = Some(characters);
        self
    }

    /// Takes no tools, and says so as Ollama does.
    #[must_use]
    pub fn without_tools(mut self) -> Self {
        self.takes_tools = false;
        self
    }

    /// Takes no `user`, and says so as Mistral does.
    #[must_use]
    pub fn without_user(mut self) -> Self {
        self.takes_user = false;
        self
    }

    /// Wants the roles to alternate, and says so as vLLM does.
    #[must_use]
    pub fn alternating(mut self) -> Self {
        self.alternating = true;
        self
    }

    /// For [`FarEnd::start`](crate::far_end::FarEnd::start): refuses what is wrong, answers the rest by the function.
    pub fn answering(
        self,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> impl Fn(&Received) -> Reply + Send + Sync + 'static {
        move |request| self.refusal(request).unwrap_or_else(|| answer(&Asked::of(request)))
    }

    /// What is wrong with a request, as the answer to it; `None` if it is right.
    #[must_use]
    pub fn refusal(&self, request: &Received) -> Option<Reply> {
        self.check(request).err().map(Wrong::reply)
    }

    fn check(&self, request: &Received) -> Result<(), Wrong> {
        let path = request.path.split('?').next().unwrap_or_default();
        if path != "/v1/chat/completions" {
            return Err(Wrong::new(404, None, None, &format!("Invalid URL ({} {path})", request.method)));
        }
        if request.method != "POST" {
            return Err(Wrong::new(
                405,
                Some("method_not_supported"),
                None,
                "Not allowed to GET on /v1/chat/completions.",
            ));
        }
        self.check_key(request)?;
        let kind = request.header("content-type").unwrap_or_default();
        if !kind.starts_with("application/json") {
            return Err(Wrong::new(400, Some("unsupported_content_type"), None, "Unsupported content type."));
        }
        let Ok(Value::Object(body)) = serde_json::from_slice(&request.body) else {
            return Err(Wrong::new(400, None, None, "We could not parse the JSON body of your request."));
        };
        check_body(&body)?;
        self.check_taste(&body)
    }

    fn check_key(&self, request: &Received) -> Result<(), Wrong> {
        let Some(key) = &self.key else { return Ok(()) };
        match request.header("authorization").map(|value| value.strip_prefix("Bearer ")) {
            Some(Some(given)) if given == key => Ok(()),
            Some(Some(given)) => {
                let said = format!("Incorrect API key provided: {given}.");
                Err(Wrong::new(401, Some("invalid_api_key"), None, &said))
            }
            _ => Err(Wrong::new(401, None, None, "You didn't provide an API key.")),
        }
    }

    /// What differs from server to server.
    fn check_taste(&self, body: &Map<String, Value>) -> Result<(), Wrong> {
        if body["model"] != self.model.as_str() {
            let said = format!("The model `{}` does not exist or you do not have access to it.", body["model"]);
            return Err(Wrong::new(404, Some("model_not_found"), None, &said));
        }
        if !self.takes_user && body.contains_key("user") {
            let detail = json!([{ "type": "extra_forbidden", "loc": ["body", "user"], "msg": "Extra inputs are not permitted" }]);
            return Err(Wrong {
                status: 422,
                body: json!({ "object": "error", "message": { "detail": detail }, "type": "invalid_request_error",
                    "param": null, "code": null }),
            });
        }
        if !self.takes_tools && body.contains_key("tools") {
            let said = format!("registry.ollama.ai/library/{} does not support tools", self.model);
            return Err(Wrong {
                status: 400,
                body: json!({ "error": { "message": said, "type": "api_error", "param": null, "code": null } }),
            });
        }
        let messages = body["messages"].as_array().expect("checked");
        let roles: Vec<&str> = messages.iter().filter_map(|message| message["role"].as_str()).collect();
        let talk = roles.strip_prefix(&["system"]).unwrap_or(&roles);
        let alternates = talk.iter().enumerate().all(|(at, role)| *role == ["user", "assistant"][at % 2]);
        if self.alternating && !alternates {
            let said = "After the optional system message, conversation roles must alternate user/assistant/user/assistant/...";
            return Err(Wrong {
                status: 400,
                body: json!({ "object": "error", "message": said, "type": "BadRequestError", "param": null, "code": 400 }),
            });
        }
        let length: usize =
            messages.iter().filter_map(|message| message["content"].as_str()).map(|text| text.chars().count()).sum();
        match self.context {
            Some(most) if length > most => {
                let said = format!(
                    "This model's maximum context length is {most} tokens. However, your messages resulted in {length} tokens."
                );
                Err(Wrong::new(400, Some("context_length_exceeded"), Some("messages"), &said))
            }
            _ => Ok(()),
        }
    }
}

fn check_body(body: &Map<String, Value>) -> Result<(), Wrong> {
    known(body, KEYS, "")?;
    let Some(model) = body.get("model") else {
        return Err(Wrong::new(400, None, None, "you must provide a model parameter"));
    };
    if !model.is_string() {
        return Err(Wrong::type_of("model", "a string", model));
    }
    let Some(messages) = body.get("messages") else { return Err(Wrong::missing("messages")) };
    let Some(list) = messages.as_array() else {
        return Err(Wrong::type_of("messages", "an array of objects", messages));
    };
    if list.is_empty() {
        return Err(Wrong::value("messages", "empty_array", "Expected an array with minimum length 1"));
    }
    for (at, message) in list.iter().enumerate() {
        check_message(message, &format!("messages[{at}]"))?;
    }
    check_tools(body)?;
    match body.get("user") {
        Some(Value::String(user)) if user.chars().count() > LONGEST_USER => {
            return Err(Wrong::value("user", "string_above_max_length", "string too long"));
        }
        Some(Value::String(_)) | None => {}
        Some(other) => return Err(Wrong::type_of("user", "a string", other)),
    }
    match body.get("stream") {
        None | Some(Value::Null | Value::Bool(false)) => Ok(()),
        Some(Value::Bool(true)) => {
            Err(Wrong::value("stream", "invalid_value", "this server of the tests does not stream"))
        }
        Some(other) => Err(Wrong::type_of("stream", "a boolean", other)),
    }
}

fn check_message(message: &Value, at: &str) -> Result<(), Wrong> {
    let Some(message) = message.as_object() else { return Err(Wrong::type_of(at, "an object", message)) };
    let key = |key: &str| format!("{at}.{key}");
    let Some(role) = message.get("role") else { return Err(Wrong::missing(&key("role"))) };
    let allowed: &[&str] = match role.as_str() {
        Some("system" | "developer" | "user") => &["content", "name", "role"],
        Some("assistant") => &["audio", "content", "function_call", "name", "refusal", "role", "tool_calls"],
        Some("tool") => &["content", "role", "tool_call_id"],
        Some("function") => &["content", "name", "role"],
        Some(_) => return Err(Wrong::value(&key("role"), "invalid_value", "not one of the supported roles")),
        None => return Err(Wrong::type_of(&key("role"), "a string", role)),
    };
    known(message, allowed, at)?;
    if let Some(name) = message.get("name") {
        // No white space and none of `< | \ / >`.
        let fits = name.as_str().is_some_and(|name| {
            !name.is_empty() && !name.contains(|letter: char| letter.is_whitespace() || "<|\\/>".contains(letter))
        });
        if !fits {
            return Err(Wrong::value(&key("name"), "invalid_value", "string does not match pattern"));
        }
    }
    let calls = message.contains_key("tool_calls") || message.contains_key("function_call");
    match message.get("content") {
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(parts)) if parts.iter().all(|part| part["type"] == "text" && part["text"].is_string()) => {
            Ok(())
        }
        None | Some(Value::Null) if role == "assistant" && calls => Ok(()),
        None => Err(Wrong::missing(&key("content"))),
        Some(other) => Err(Wrong::type_of(&key("content"), "one of a string or array of objects", other)),
    }
}

fn check_tools(body: &Map<String, Value>) -> Result<(), Wrong> {
    let Some(tools) = body.get("tools") else {
        return match body.get("tool_choice") {
            Some(_) => Err(Wrong::value("tool_choice", "invalid_value", "only allowed when 'tools' are specified")),
            None => Ok(()),
        };
    };
    let Some(list) = tools.as_array() else { return Err(Wrong::type_of("tools", "an array of objects", tools)) };
    if list.is_empty() {
        return Err(Wrong::value("tools", "empty_array", "Expected an array with minimum length 1"));
    }
    for (at, tool) in list.iter().enumerate() {
        let at = format!("tools[{at}]");
        let Some(tool) = tool.as_object() else { return Err(Wrong::type_of(&at, "an object", tool)) };
        known(tool, &["function", "type"], &at)?;
        if tool.get("type").is_none_or(|kind| kind != "function") {
            return Err(Wrong::value(&format!("{at}.type"), "invalid_value", "Supported values are: 'function'"));
        }
        let Some(function) = tool.get("function").and_then(Value::as_object) else {
            return Err(Wrong::missing(&format!("{at}.function")));
        };
        check_function(function, &format!("{at}.function"))?;
    }
    Ok(())
}

fn check_function(function: &Map<String, Value>, at: &str) -> Result<(), Wrong> {
    known(function, &["description", "name", "parameters", "strict"], at)?;
    let fits = |name: &str| {
        (1..=LONGEST_TOOL_NAME).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    if !function.get("name").and_then(Value::as_str).is_some_and(fits) {
        return Err(Wrong::value(&format!("{at}.name"), "invalid_value", "string does not match pattern"));
    }
    // llama.cpp wants a description and parameters, Google parameters with a property; the reference leaves all of it open.
    let Some(description) = function.get("description") else {
        return Err(Wrong::missing(&format!("{at}.description")));
    };
    if !description.is_string() {
        return Err(Wrong::type_of(&format!("{at}.description"), "a string", description));
    }
    let parameters = function.get("parameters").unwrap_or(&Value::Null);
    let properties = parameters["properties"].as_object();
    let required = parameters["required"].as_array().cloned().unwrap_or_default();
    let is_schema = parameters["type"] == "object"
        && properties.is_some_and(|properties| {
            !properties.is_empty()
                && properties.values().all(|property| property["type"].is_string())
                && required.iter().all(|name| name.as_str().is_some_and(|name| properties.contains_key(name)))
        });
    if is_schema {
        Ok(())
    } else {
        Err(Wrong::value(&format!("{at}.parameters"), "invalid_function_parameters", "Invalid schema for function"))
    }
}

fn known(object: &Map<String, Value>, keys: &[&str], at: &str) -> Result<(), Wrong> {
    match object.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => {
            let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
            Err(Wrong::new(400, Some("unknown_parameter"), Some(&at), &format!("Unknown parameter: '{at}'.")))
        }
        None => Ok(()),
    }
}

/// Why a request is refused.
#[derive(Debug)]
struct Wrong {
    status: u16,
    body: Value,
}

impl Wrong {
    fn new(status: u16, code: Option<&str>, param: Option<&str>, message: &str) -> Self {
        Self { status, body: problem("invalid_request_error", code, param, message) }
    }

    fn missing(param: &str) -> Self {
        let said = format!("Missing required parameter: '{param}'.");
        Self::new(400, Some("missing_required_parameter"), Some(param), &said)
    }

    fn type_of(param: &str, wanted: &str, got: &Value) -> Self {
        let said = format!("Invalid type for '{param}': expected {wanted}, but got {got} instead.");
        Self::new(400, Some("invalid_type"), Some(param), &said)
    }

    fn value(param: &str, code: &str, what: &str) -> Self {
        Self::new(400, Some(code), Some(param), &format!("Invalid '{param}': {what}."))
    }

    fn reply(self) -> Reply {
        Reply::json(self.status, self.body)
    }
}

fn problem(kind: &str, code: Option<&str>, param: Option<&str>, message: &str) -> Value {
    json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
}

/// A request that was right.
#[derive(Debug, Clone)]
pub struct Asked {
    /// All of it.
    pub body: Value,
}

impl Asked {
    /// Panics on what is no request for a completion.
    #[must_use]
    pub fn of(request: &Received) -> Self {
        Self { body: serde_json::from_slice(&request.body).expect("a JSON body") }
    }

    /// Role and text of each message, in order.
    #[must_use]
    pub fn messages(&self) -> Vec<(String, String)> {
        let messages = self.body["messages"].as_array().expect("messages");
        let text = |value: &'_ Value| -> String { value.as_str().expect("a text").to_owned() };
        messages.iter().map(|message| (text(&message["role"]), text(&message["content"]))).collect()
    }

    /// The system text.
    #[must_use]
    pub fn system(&self) -> String {
        self.messages().into_iter().find(|(role, _)| role == "system").map(|(_, text)| text).unwrap_or_default()
    }

    /// `role: text` of each message but the system text.
    #[must_use]
    pub fn talk(&self) -> Vec<String> {
        let said = self.messages().into_iter().filter(|(role, _)| role != "system");
        said.map(|(role, text)| format!("{role}: {text}")).collect()
    }

    /// What was said last.
    #[must_use]
    pub fn last_said(&self) -> String {
        self.messages().pop().map(|(_, text)| text).unwrap_or_default()
    }

    /// The names of the tools on offer.
    #[must_use]
    pub fn tools(&self) -> Vec<&str> {
        let tools = self.body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
        tools.iter().filter_map(|tool| tool["function"]["name"].as_str()).collect()
    }
}

/// A whole answer.
#[must_use]
pub fn text(text: &str) -> Reply {
    completion(&json!({ "role": "assistant", "content": text, "refusal": null }), "stop")
}

/// The piece of an answer that came before a limit was reached.
#[must_use]
pub fn cut(text: &str) -> Reply {
    completion(&json!({ "role": "assistant", "content": text, "refusal": null }), "length")
}

/// The model refuses.
#[must_use]
pub fn refusal(text: &str) -> Reply {
    completion(&json!({ "role": "assistant", "content": null, "refusal": text }), "stop")
}

/// A filter held back what the model wrote after these words.
#[must_use]
pub fn filtered(text: &str) -> Reply {
    completion(&json!({ "role": "assistant", "content": text, "refusal": null }), "content_filter")
}

/// Calls of tools by name and arguments, perhaps after some words.
#[must_use]
pub fn calls(text: Option<&str>, calls: &[(&str, Value)]) -> Reply {
    let call = |(at, (name, arguments)): (usize, &(&str, Value))| json!({ "id": format!("call_{at}"), "type": "function", "function": { "name": name, "arguments": arguments.to_string() } });
    let calls: Vec<Value> = calls.iter().enumerate().map(call).collect();
    let message = json!({ "role": "assistant", "content": text, "refusal": null, "tool_calls": calls });
    completion(&message, "tool_calls")
}

/// A completion with this message and end.
#[must_use]
pub fn completion(message: &Value, finish_reason: &str) -> Reply {
    Reply::json(
        200,
        json!({
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_767_607_200,
            "model": "some-model-2026-01-05",
            "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason }],
            "usage": { "prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29 },
            "service_tier": "default",
            "system_fingerprint": null,
        }),
    )
}

/// An error of this status, type and code.
#[must_use]
pub fn error(status: u16, kind: &str, code: Option<&str>, message: &str) -> Reply {
    Reply::json(status, problem(kind, code, None, message))
}

#[cfg(test)]
mod tests;
