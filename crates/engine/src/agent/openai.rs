//! `protocol = "openai"`: a language model is the agent, behind any server that speaks chat completions.
//!
//! One attempt is one question: `POST {url}/chat/completions` with the operator's instructions and our ground rules as
//! system text, the earlier messages, and every message that waits, each as a message of its own. Two tools are offered,
//! `handoff` and `resolve`. What the model says becomes one message of a reply (Markdown), what it calls becomes actions.
//!
//! Within an attempt a question is asked again at once, at most a dozen times and within ten times `timeout`, when
//!
//! * it is too long for the model: with the later half of the earlier messages, down to none. Each answer that came about
//!   so is logged, since the model knew less than the operator wanted it to. Too long by itself: a dead letter;
//! * the answer was cut off (`finish_reason` "length"): once, with a request to be brief. A piece of an answer is never
//!   sent, and never sent back to be continued either: what servers make of a trailing message of the assistant differs,
//!   from an error to an answer that starts anew, and the seam would be guessed. Cut off twice is a failed attempt: it
//!   counts, and in the end a dead letter brings the conversation to the desk;
//! * the server knows less than the protocol has: without `tools`, without `user`, or with messages of one role joined.
//!   What helped is remembered until the next start, so that it costs one request. Losing the tools is logged as a
//!   warning, since the model can then hand nothing over.
//!
//! A refusal (of the model, or of a content filter in front of it) hands the conversation to the desk without words. An
//! answer that says and does nothing is a failed attempt, not silence. A wrong key, an unknown model or address and an
//! account without money are the operator's to mend, so they count against no event: the agent is unwell until then.
//!
//! Errors of servers are read for what they mean and never repeated: they quote keys and customers.

pub(crate) mod answer;
mod request;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use frontdesk_model::{ConversationId, Secret, Timestamp};
use http::{
    HeaderValue, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use tokio::time::Instant;

use super::exchange::{self, Verdict};
use crate::{
    options::{AgentOptions, OpenAiOptions},
    reply::{Action, Reply},
};
use answer::{ChatProblem, ChatTrouble, read_chat_answer, read_problem};
pub(crate) use request::Question;
use request::{Habits, Length, Talk};

/// Asks a chat-completions server.
pub(crate) struct OpenAi {
    http: reqwest::Client,
    url: url::Url,
    authorization: Option<HeaderValue>,
    model: String,
    instructions: Option<String>,
    /// How long one attempt may take with everything that it asks again.
    whole: Duration,
    /// What the server turned out to need.
    habits: Mutex<Habits>,
}

/// What one request came to.
enum Outcome {
    /// The attempt is over.
    Ends(Verdict),
    /// The server cannot take so much text.
    TooLong,
    /// The server stumbles over something that can be left out or put otherwise.
    AnotherWay(Habits),
    /// The model was stopped before it had finished.
    Cut,
}

impl OpenAi {
    pub(crate) fn new(options: &AgentOptions, chat: &OpenAiOptions) -> Result<Self, String> {
        let authorization = chat.api_key.as_ref().map(bearer).transpose()?;
        Ok(Self {
            http: exchange::client(options)?,
            url: endpoint(&options.url),
            authorization,
            model: chat.model.clone(),
            instructions: chat.instructions.clone(),
            whole: options.timeout * exchange::WHOLE_ANSWER,
            habits: Mutex::default(),
        })
    }

    /// One attempt.
    pub(crate) async fn ask(&self, question: Question<'_>, now: Timestamp) -> Verdict {
        let until = Instant::now() + self.whole;
        let talk = Talk::of(&question);
        let id = question.conversation.id;
        let known = *self.habits.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut habits, mut kept, mut length) = (known, talk.earlier(), Length::AsItLikes);
        // Ends: each round but the last one takes away something that is not given back.
        loop {
            let body = talk.body(&self.model, self.instructions.as_deref(), kept, habits, length);
            let Ok(body) = serde_json::to_vec(&body) else { return Verdict::trouble("the question cannot be written") };
            match self.exchange(body, habits, until, id, now).await {
                Outcome::Ends(verdict) => {
                    if matches!(verdict, Verdict::Answered(_)) {
                        self.learn(known, habits);
                        if kept < talk.earlier() {
                            tracing::warn!(
                                conversation = %id, kept, wanted = talk.earlier(),
                                "the model answered with less history than wanted: more is too long for it; lower [agent] history"
                            );
                        }
                    }
                    return verdict;
                }
                Outcome::TooLong if kept > 0 => kept /= 2,
                Outcome::TooLong => {
                    return Verdict::Rejected("what the customer wrote is too long for the language model".into());
                }
                Outcome::Cut if length == Length::AsItLikes => length = Length::Brief,
                Outcome::Cut => {
                    return Verdict::trouble(
                        "the language model's answer was cut off at its limit, twice; let the server allow longer answers",
                    );
                }
                Outcome::AnotherWay(other) => habits = other,
            }
        }
    }

    async fn exchange(
        &self,
        body: Vec<u8>,
        habits: Habits,
        until: Instant,
        id: ConversationId,
        now: Timestamp,
    ) -> Outcome {
        let mut request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .timeout(until.saturating_duration_since(Instant::now()))
            .body(body);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Outcome::Ends(exchange::broken(&error)),
        };
        let (status, headers) = (response.status(), response.headers());
        let retry_after = exchange::retry_after(headers, now);
        let is_page = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(is_html);
        if !status.is_success() {
            // Without a body that can be read the status has to say it all.
            let problem = exchange::bounded(response).await.map(|body| read_problem(&body)).unwrap_or_default();
            return self.failed(status, &problem, habits, retry_after);
        }
        match exchange::bounded(response).await {
            Ok(_) if is_page => Outcome::Ends(Verdict::trouble(
                "it answered with a web page; [agent] url must be the base of a chat-completions server, mostly ending in /v1",
            )),
            Ok(body) => self.read(&body, habits, id, retry_after),
            Err(verdict) => Outcome::Ends(verdict),
        }
    }

    fn read(&self, body: &Bytes, habits: Habits, id: ConversationId, retry_after: Option<Duration>) -> Outcome {
        match read_chat_answer(body) {
            Ok(answer) => {
                if answer.strange_calls > 0 {
                    let calls = answer.strange_calls;
                    tracing::info!(conversation = %id, calls, "the model called tools that it was not offered");
                }
                Outcome::Ends(Verdict::Answered(answer.reply))
            }
            Err(ChatTrouble::Cut) => Outcome::Cut,
            Err(ChatTrouble::Failed(problem)) => {
                let named = problem.status.and_then(|status| StatusCode::from_u16(status).ok());
                let status = named.filter(|status| status.is_client_error() || status.is_server_error());
                self.failed(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &problem, habits, retry_after)
            }
            Err(ChatTrouble::Broke) => Outcome::Ends(Verdict::trouble("its answer broke off with an error")),
            Err(ChatTrouble::Empty) => Outcome::Ends(Verdict::trouble("the language model answered nothing at all")),
            Err(ChatTrouble::Unreadable(what)) => {
                Outcome::Ends(Verdict::trouble(format!("its answer is not a chat completion: {what}")))
            }
        }
    }

    fn failed(
        &self,
        status: StatusCode,
        problem: &ChatProblem,
        habits: Habits,
        retry_after: Option<Duration>,
    ) -> Outcome {
        if problem.is_about_length(status) {
            return Outcome::TooLong;
        }
        match problem.other_habits(status, habits) {
            Some(other) => Outcome::AnotherWay(other),
            None => Outcome::Ends(self.verdict(status, problem, retry_after)),
        }
    }

    fn verdict(&self, status: StatusCode, problem: &ChatProblem, retry_after: Option<Duration>) -> Verdict {
        let code = status.as_u16();
        let mend = |what: &str| Verdict::Unreachable(format!("{what} ({status}{})", problem.shown_code()));
        if problem.is_content_filter(status) {
            let reason = "the language model's provider refused what was written (content filter)".to_owned();
            return Verdict::Answered(Reply {
                actions: vec![Action::Handoff { reason: Some(reason) }],
                ..Reply::default()
            });
        }
        if matches!(code, 401 | 403) || problem.is_about_key() {
            return mend(match self.authorization {
                Some(_) if code == 403 => "it refuses access: set api_key in [agent] to one that may use this model",
                Some(_) => "it refuses the key: set api_key in [agent] to one that it takes",
                None => "it wants a key: set api_key in [agent]",
            });
        }
        if problem.is_about_money(status) {
            return match retry_after {
                Some(retry_after) => Verdict::Busy { reason: "the account's quota is used up".into(), retry_after },
                None => mend("the account's quota is used up: raise it, or pay, with the model's provider"),
            };
        }
        if matches!(code, 404 | 405) || problem.is_about_model(status) {
            return mend("it knows no such model or address: check model and url in [agent]; url mostly ends in /v1");
        }
        match exchange::refusal(status, retry_after) {
            // Anthropic's word for "overloaded".
            Verdict::Trouble { .. } if code == 529 => exchange::refusal(StatusCode::SERVICE_UNAVAILABLE, retry_after),
            Verdict::Rejected(reason) => Verdict::Rejected(format!("{reason}{}", problem.shown_code())),
            other => other,
        }
    }

    /// Keeps what an answer came about with.
    fn learn(&self, known: Habits, habits: Habits) {
        if known == habits {
            return;
        }
        if habits.without_tools && !known.without_tools {
            tracing::warn!(
                "the language model's server takes no tools: the model can answer, but neither hand over nor resolve; \
                 vLLM wants --enable-auto-tool-choice and a --tool-call-parser, llama.cpp --jinja"
            );
        }
        tracing::info!(?habits, "the language model's server is spoken to in its own way from now on");
        let mut kept = self.habits.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Habits {
            without_tools: kept.without_tools || habits.without_tools,
            without_user: kept.without_user || habits.without_user,
            alternating: kept.alternating || habits.alternating,
        };
    }
}

impl ChatProblem {
    fn says_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.message.contains(word))
    }

    fn has_code(&self, codes: &[&str]) -> bool {
        self.codes.iter().any(|code| codes.contains(&code.as_str()))
    }

    /// OpenAI: `context_length_exceeded`. llama.cpp: `exceed_context_size_error`, or a 500
    /// (<https://github.com/ggml-org/llama.cpp/issues/19774>). vLLM, Mistral and others only say so in words. A rate limit
    /// that one request alone exceeds says "request too large".
    fn is_about_length(&self, status: StatusCode) -> bool {
        let by_code =
            self.has_code(&["context_length_exceeded", "exceed_context_size_error", "string_above_max_length"]);
        let may_say_so = matches!(status.as_u16(), 400 | 413 | 422 | 429 | 500);
        let words = ["context length", "context size", "context window", "request too large", "prompt is too long"];
        status == StatusCode::PAYLOAD_TOO_LARGE || by_code || (may_say_so && self.says_any(&words))
    }

    /// What to change, if this is about something that can be put otherwise and was not yet. What comes of a wrong guess is
    /// one more request: nothing is kept that an answer did not come about with.
    fn other_habits(&self, status: StatusCode, habits: Habits) -> Option<Habits> {
        if !matches!(status.as_u16(), 400 | 404 | 422 | 500 | 501) {
            return None;
        }
        // "Conversation roles must alternate user/assistant/...": https://github.com/vllm-project/vllm/issues/6862
        let about_order = self.says_any(&["must alternate", "alternating roles"]);
        // Not every sentence with a tool in it: a tool call that could not be parsed is no reason to offer none any more.
        let no_tools =
            ["support tool", "support function", "enable-auto-tool-choice", "unsupported param: tools", "tools param"];
        let about_tools = self.says_any(&no_tools) || self.refuses_key("tools", status);
        let about_user = self.refuses_key("user", status);
        if about_order && !habits.alternating {
            Some(Habits { alternating: true, ..habits })
        } else if about_tools && !habits.without_tools {
            Some(Habits { without_tools: true, ..habits })
        } else if about_user && !habits.without_user {
            Some(Habits { without_user: true, ..habits })
        } else {
            None
        }
    }

    /// A key that the server does not know. Mistral: `{"loc": ["body", "user"], "msg": "Extra inputs are not permitted"}`.
    fn refuses_key(&self, key: &str, status: StatusCode) -> bool {
        let unwanted = ["support", "not permitted", "not allowed", "unrecognized", "unknown", "unexpected"];
        let names = [format!("\"{key}\""), format!("'{key}'"), format!("`{key}`"), format!(": {key}")];
        matches!(status.as_u16(), 400 | 422)
            && self.says_any(&unwanted)
            && names.iter().any(|name| self.message.contains(name.as_str()))
    }

    /// Azure refuses what was asked with a 400, OpenRouter with a 403.
    fn is_content_filter(&self, status: StatusCode) -> bool {
        let by_code = self.has_code(&["content_filter", "content_policy_violation", "responsibleaipolicyviolation"]);
        let words = ["content management policy", "content policy", "was flagged", "requires moderation"];
        by_code || (matches!(status.as_u16(), 400 | 403) && self.says_any(&words))
    }

    /// Google answers a wrong key with a 400.
    fn is_about_key(&self) -> bool {
        self.has_code(&["invalid_api_key", "authentication_error"]) || self.says_any(&["api key not valid"])
    }

    fn is_about_money(&self, status: StatusCode) -> bool {
        let codes = ["insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance"];
        status == StatusCode::PAYMENT_REQUIRED || self.has_code(&codes)
    }

    /// Some answer an unknown model with a 400.
    fn is_about_model(&self, status: StatusCode) -> bool {
        let in_words = self.says_any(&["model"])
            && self.says_any(&[
                "invalid model",
                "not a valid model",
                "unknown model",
                "does not exist",
                "model not found",
            ]);
        self.has_code(&["model_not_found", "invalid_model"]) || (matches!(status.as_u16(), 400 | 422) && in_words)
    }

    /// For a reason: only what is a code beyond doubt, words joined by underscores.
    fn shown_code(&self) -> String {
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
        let is_code = |code: &&String| code.len() <= 40 && code.contains('_') && code.split('_').all(is_word);
        self.codes.iter().find(is_code).map(|code| format!(", {code}")).unwrap_or_default()
    }
}

fn bearer(key: &Secret) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
        .map_err(|_| "[agent] api_key has characters that no header carries".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// `{url}/chat/completions`, with or without a slash at the end; a query (Azure's `api-version`) stays.
fn endpoint(base: &url::Url) -> url::Url {
    let mut url = base.clone();
    let path = base.path().trim_end_matches('/');
    let path = path.strip_suffix("/chat/completions").unwrap_or(path);
    url.set_path(&format!("{path}/chat/completions"));
    url
}

fn is_html(kind: &str) -> bool {
    kind.trim_start().to_ascii_lowercase().starts_with("text/html")
}

#[cfg(test)]
mod tests;
