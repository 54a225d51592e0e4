//! Reading what a chat-completions server answered.
//!
//! The reference is OpenAI's "create chat completion" (<https://platform.openai.com/docs/api-reference/chat/create>).
//! Servers that speak the same protocol differ in small things, and all of these are understood: content as a text or as a
//! list of parts; arguments of a tool as JSON text or as an object; the older `function_call`; `finish_reason` "stop" beside
//! tool calls (OpenAI itself does that at times); an error in the body of a 200, as an object (`{"error": {...}}`), as text
//! (Ollama) or spread over the top (vLLM: `{"object": "error", ...}`).
//!
//! What a model thought before it answered never reaches a customer: `reasoning_content` and parts of other types are
//! not read, and of a text that begins with `<think>...</think>`, as servers without a parser for it send
//! (<https://github.com/ollama/ollama/issues/9627>), only what follows is kept. Templates that open the thought in the prompt
//! leave the closing tag alone in the text; what stands before it goes too.

use frontdesk_model::Content;
use serde_json::{Map, Value};

use crate::reply::{Action, Reply, ReplyMessage};

/// A reason for the desk when the model would not answer. The model's own words may repeat the customer's.
const REFUSED: &str = "the language model refused to answer";
const FILTERED: &str = "the language model's provider withheld the answer (content filter)";

pub(super) const THOUGHT_BEGINS: &str = "<think>";
const THOUGHT_ENDS: &str = "</think>";

/// An answer that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatAnswer {
    /// What it comes to: words, actions, or both; never nothing. A refusal is a handoff without words.
    pub reply: Reply,
    /// Calls of tools that were never offered; nothing comes of them.
    pub strange_calls: usize,
}

/// There is nothing that could be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatTrouble {
    /// The body is not what a chat-completions server answers; the sentence names none of it.
    Unreadable(&'static str),
    /// The server says that it failed, in the body of a success.
    Failed(ChatProblem),
    /// The model was stopped before it had finished.
    Cut,
    /// Something broke while the model wrote.
    Broke,
    /// Neither words nor a tool call.
    Empty,
}

/// What a server says about a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChatProblem {
    /// The HTTP status that it names in the body, if it does.
    pub status: Option<u16>,
    /// `code` and `type`, as far as they are text, in lower case.
    pub codes: Vec<String>,
    /// Its sentence, in lower case. It may quote a key or a customer: look at it, and show it to nobody.
    pub message: String,
}

/// Reads the body of a success. Size and depth are bounded (1 MB by the caller, 128 levels here).
///
/// # Errors
/// See [`ChatTrouble`].
pub fn read_chat_answer(body: &[u8]) -> Result<ChatAnswer, ChatTrouble> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(ChatTrouble::Empty);
    }
    let Ok(Value::Object(answer)) = serde_json::from_slice::<Value>(body) else {
        return Err(ChatTrouble::Unreadable("not a JSON object"));
    };
    let Some(choice) = choice(&answer) else {
        let problem = problem_in(&answer).map_or(ChatTrouble::Unreadable("no choices"), ChatTrouble::Failed);
        return Err(problem);
    };
    if let Some(problem) = problem_in(choice) {
        return Err(ChatTrouble::Failed(problem));
    }
    let nothing = Map::new();
    let message = choice.get("message").and_then(Value::as_object).unwrap_or(&nothing);
    let words = Words::of(message);
    let (actions, strange_calls) = actions(message);
    let end = end(choice.get("finish_reason").and_then(Value::as_str).unwrap_or_default());
    let refusal = match end {
        End::Filtered => Some(FILTERED),
        _ if words.refused => Some(REFUSED),
        _ => None,
    };
    if let Some(reason) = refusal {
        let actions = vec![Action::Handoff { reason: Some(reason.to_owned()) }];
        return Ok(ChatAnswer { reply: Reply { actions, ..Reply::default() }, strange_calls });
    }
    match end {
        End::Cut => return Err(ChatTrouble::Cut),
        End::Broken => return Err(ChatTrouble::Broke),
        End::Whole | End::Filtered => {}
    }
    let said = without_thoughts(&words.text);
    let said = (!said.trim().is_empty()).then(|| ReplyMessage {
        content: Content::Markdown(said.into()),
        attachments: Vec::new(),
        buttons: Vec::new(),
        reply_to: None,
        private: false,
    });
    if said.is_none() && actions.is_empty() {
        return Err(ChatTrouble::Empty);
    }
    Ok(ChatAnswer { reply: Reply { if_version: None, messages: said.into_iter().collect(), actions }, strange_calls })
}

/// What a server says in the body of a failure; empty when it says nothing that can be read.
pub(super) fn read_problem(body: &[u8]) -> ChatProblem {
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(answer)) => problem_in(&answer).or_else(|| spread_out(&answer)).unwrap_or_default(),
        // A list of one is what Google's compatible endpoint answers.
        Ok(Value::Array(list)) => list.first().and_then(Value::as_object).and_then(problem_in).unwrap_or_default(),
        _ => ChatProblem::default(),
    }
}

/// The first of them: only one was asked for.
fn choice(answer: &Map<String, Value>) -> Option<&Map<String, Value>> {
    let choices = answer.get("choices")?.as_array()?;
    let first = choices.iter().find(|choice| choice.get("index").is_some_and(|index| index == 0));
    first.or(choices.first())?.as_object()
}

fn problem_in(object: &Map<String, Value>) -> Option<ChatProblem> {
    match object.get("error") {
        Some(Value::Object(error)) => spread_out(error).or_else(|| Some(ChatProblem::default())),
        Some(Value::String(sentence)) => {
            Some(ChatProblem { message: sentence.to_lowercase(), ..ChatProblem::default() })
        }
        _ if object.get("object").is_some_and(|object| object == "error") => spread_out(object),
        _ => None,
    }
}

fn spread_out(error: &Map<String, Value>) -> Option<ChatProblem> {
    let text = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_lowercase);
    let status = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let codes: Vec<String> = [text("code"), text("type")].into_iter().flatten().collect();
    // FastAPI says `detail`; what is no text (a list of mistakes) is looked at as JSON.
    let sentence = ["message", "detail", "msg"].into_iter().find_map(|key| match error.get(key)? {
        Value::String(sentence) => Some(sentence.to_lowercase()),
        Value::Null => None,
        other => Some(other.to_string().to_lowercase()),
    });
    let says_something = status.is_some() || !codes.is_empty() || sentence.is_some();
    says_something.then(|| ChatProblem { status, codes, message: sentence.unwrap_or_default() })
}

/// How the model came to an end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    Cut,
    Filtered,
    Broken,
}

/// Words that are not known are taken for a whole answer: servers have many for "stop", and few for these.
fn end(finish_reason: &str) -> End {
    match finish_reason.to_ascii_lowercase().as_str() {
        "length" | "model_length" | "max_length" | "max_tokens" | "max_output_tokens" | "out_of_tokens" => End::Cut,
        "safety" | "refusal" | "recitation" | "blocklist" | "prohibited_content" => End::Filtered,
        // Google's compatible endpoint adds why: "content_filter: ...".
        filtered if filtered.starts_with("content_filter") => End::Filtered,
        "error" | "abort" | "aborted" | "cancelled" | "insufficient_system_resource" => End::Broken,
        _ => End::Whole,
    }
}

struct Words {
    text: String,
    refused: bool,
}

impl Words {
    fn of(message: &Map<String, Value>) -> Self {
        let mut words = Self { text: String::new(), refused: says(message.get("refusal")) };
        match message.get("content") {
            Some(Value::String(text)) => words.text.clone_from(text),
            Some(Value::Array(parts)) => parts.iter().for_each(|part| words.add(part)),
            _ => {}
        }
        words
    }

    fn add(&mut self, part: &Value) {
        let text = part.get("text").and_then(Value::as_str);
        match (part.get("type").and_then(Value::as_str), text) {
            (Some("text" | "output_text"), Some(text)) => self.text.push_str(text),
            (Some("refusal"), _) => self.refused |= says(part.get("refusal")),
            _ => {}
        }
    }
}

fn says(value: Option<&Value>) -> bool {
    value.and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty())
}

fn without_thoughts(text: &str) -> &str {
    let mut rest = match text.split_once(THOUGHT_ENDS) {
        Some((before, after)) if !before.contains(THOUGHT_BEGINS) => after.trim_start(),
        _ => text,
    };
    while begins_with_thought(rest) {
        // Without an end all of it is thought.
        rest = rest.split_once(THOUGHT_ENDS).map_or("", |(_, after)| after.trim_start());
    }
    rest
}

fn begins_with_thought(text: &str) -> bool {
    text.trim_start().starts_with(THOUGHT_BEGINS)
}

/// What the tool calls come to, each action once, and how many calls were of tools that do not exist.
fn actions(message: &Map<String, Value>) -> (Vec<Action>, usize) {
    let calls = message.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let functions = calls.iter().filter_map(|call| call.get("function")).chain(message.get("function_call"));
    let (mut handoff, mut resolve, mut strange) = (None::<Option<String>>, false, 0);
    for function in functions.filter_map(Value::as_object) {
        match function.get("name").and_then(Value::as_str) {
            Some(super::request::HANDOFF) => {
                let reason = function.get("arguments").and_then(reason);
                handoff = Some(handoff.flatten().or(reason));
            }
            Some(super::request::RESOLVE) => resolve = true,
            _ => strange += 1,
        }
    }
    let handoff = handoff.map(|reason| Action::Handoff { reason });
    (handoff.into_iter().chain(resolve.then_some(Action::Resolve)).collect(), strange)
}

/// The `reason` among a call's arguments; without one that can be read the call counts all the same.
fn reason(arguments: &Value) -> Option<String> {
    let parsed = match arguments {
        Value::String(text) => serde_json::from_str(text).ok()?,
        other => other.clone(),
    };
    let reason = parsed.get("reason")?.as_str()?.trim();
    (!reason.is_empty()).then(|| reason.to_owned())
}
