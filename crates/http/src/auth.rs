//! Who asks, and what they may do.
//!
//! A request shows `Authorization: Bearer <token>`. Tokens are known by their SHA-256 digests only; a shown one is compared
//! with every digest in constant time, so neither the time nor the order says how close a guess was. What is no
//! configured token may still be a reply token (`frt_...`), which the engine made for one conversation.

use frontdesk_engine::Speaker;
use frontdesk_model::{ChannelName, Conversation};
use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    Scope, ScopeSet, TokenGrant,
    problem::{Problem, ProblemKind},
};

const REPLY_TOKEN_PREFIX: &str = "frt_";

/// What a configured token opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    name: String,
    /// Of its token; `None`: it has none.
    digest: Option<[u8; 32]>,
    scopes: ScopeSet,
    channels: Option<Vec<ChannelName>>,
}

impl Access {
    /// Who may do everything everywhere.
    pub(crate) fn everything(name: &str) -> Self {
        Self { name: name.to_owned(), digest: None, scopes: [Scope::Admin].into_iter().collect(), channels: None }
    }

    /// Refuses who has none of these scopes.
    pub(crate) fn needs(&self, scopes: &[Scope]) -> Result<&Self, Problem> {
        if self.scopes.allows_any(scopes) {
            return Ok(self);
        }
        let others = scopes.iter().copied().filter(|scope| *scope != Scope::Admin);
        let names: Vec<_> = others.chain([Scope::Admin]).map(Scope::as_str).collect();
        let wanted = names.join(" or ");
        Err(Problem::new(ProblemKind::Forbidden, format!("this needs a token with scope {wanted}")))
    }

    pub(crate) fn sees(&self, channel: &ChannelName) -> bool {
        self.channels.as_ref().is_none_or(|channels| channels.contains(channel))
    }

    /// Passes a conversation on only if it may be seen; one that may not does not exist for the caller.
    pub(crate) fn only_seen(&self, conversation: Conversation) -> Result<Conversation, Problem> {
        if self.sees(&conversation.channel) {
            Ok(conversation)
        } else {
            Err(frontdesk_engine::DeskError::NotFound("conversation").into())
        }
    }

    /// Refuses who is held to channels.
    pub(crate) fn needs_all_channels(&self, why: &str) -> Result<&Self, Problem> {
        if self.channels.is_none() {
            return Ok(self);
        }
        Err(Problem::new(ProblemKind::Forbidden, format!("{why}; use an admin token that is not held to channels")))
    }

    /// The same, if it came with a token.
    pub(crate) fn of_a_token(&self) -> Option<&Self> {
        self.digest.map(|_| self)
    }

    /// Names the caller among all that there can be: tokens, those who need none, and (elsewhere) reply tokens.
    pub(crate) fn by(&self) -> String {
        let kind = if self.digest.is_some() { "token" } else { "local" };
        format!("{kind}:{}", self.name)
    }

    /// The channels it is held to, if it is.
    pub(crate) fn channels(&self) -> Option<&[ChannelName]> {
        self.channels.as_deref()
    }

    /// In whose name it replies.
    pub(crate) fn speaker(&self) -> Speaker {
        if self.scopes.contains(Scope::Agent) { Speaker::Agent } else { self.teammate() }
    }

    /// In whose name it changes owner and status: never the agent's, which may not.
    pub(crate) fn teammate(&self) -> Speaker {
        Speaker::Teammate { name: self.name.clone() }
    }
}

/// What a request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown<'a> {
    /// No `Authorization` at all, or one of another scheme.
    Nothing,
    /// A bearer token.
    Bearer(&'a str),
    /// Something that cannot be a bearer token of ours.
    Broken,
}

/// Every configured token.
pub(crate) struct Tokens(Vec<([u8; 32], Access)>);

impl Tokens {
    pub(crate) fn new(grants: Vec<TokenGrant>) -> Self {
        let known = grants.into_iter().filter(|grant| !grant.token.expose().is_empty()).map(|grant| {
            let digest = digest(grant.token.expose());
            let TokenGrant { name, scopes, channels, .. } = grant;
            (digest, Access { name, digest: Some(digest), scopes, channels })
        });
        Self(known.collect())
    }

    /// Whether a token that was let in would be let in as the same now.
    pub(crate) fn still_grant(&self, access: &Access, scopes: &[Scope]) -> bool {
        let now = self.0.iter().map(|(_, access)| access).find(|now| now.digest == access.digest);
        now.is_some_and(|now| now.channels == access.channels && now.scopes.allows_any(scopes))
    }

    /// Whose token this is.
    pub(crate) fn find(&self, token: &str) -> Option<&Access> {
        let shown = digest(token);
        let mut found = None;
        for (known, access) in &self.0 {
            // No early end: every known digest is compared in full.
            if bool::from(known.ct_eq(&shown)) {
                found = Some(access);
            }
        }
        found
    }

    /// The caller, who must have a configured token with one of these scopes.
    pub(crate) fn caller(&self, headers: &HeaderMap, scopes: &[Scope]) -> Result<&Access, Problem> {
        match shown(headers) {
            Shown::Nothing => Err(missing()),
            Shown::Broken => Err(wrong()),
            Shown::Bearer(token) => match self.find(token) {
                Some(access) => access.needs(scopes),
                None if is_reply_token(token) => Err(Problem::new(
                    ProblemKind::Unauthorized,
                    "a reply token only opens POST on the messages of its own conversation; use a token of the configuration",
                )),
                None => Err(wrong()),
            },
        }
    }
}

/// Reads `Authorization`.
pub(crate) fn shown(headers: &HeaderMap) -> Shown<'_> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    match (all.next(), all.next()) {
        (None, _) => Shown::Nothing,
        (Some(value), None) => bearer(value),
        (Some(_), Some(_)) => Shown::Broken,
    }
}

fn bearer(value: &HeaderValue) -> Shown<'_> {
    let Ok(text) = value.to_str() else { return Shown::Broken };
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Shown::Bearer(token.trim()),
        None if text.eq_ignore_ascii_case("bearer") => Shown::Broken,
        _ => Shown::Nothing,
    }
}

pub(crate) fn is_reply_token(token: &str) -> bool {
    token.starts_with(REPLY_TOKEN_PREFIX)
}

pub(crate) fn missing() -> Problem {
    Problem::new(
        ProblemKind::Unauthorized,
        "send a token as Authorization: Bearer <token>; a channel's own one stands in data/<channel>.token, others under [tokens] in \
         the configuration",
    )
}

pub(crate) fn wrong() -> Problem {
    Problem::new(
        ProblemKind::Unauthorized,
        "this bearer token is not known here; a channel's own one stands in data/<channel>.token, others under [tokens] in \
         the configuration",
    )
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use frontdesk_model::Secret;

    use super::*;

    fn tokens(all: &[(&str, &str)]) -> Tokens {
        let grant = |(name, token): &(&str, &str)| TokenGrant {
            name: (*name).to_owned(),
            token: Secret::new((*token).to_owned()),
            scopes: [Scope::Agent].into_iter().collect(),
            channels: None,
        };
        Tokens::new(all.iter().map(grant).collect())
    }

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn t30_only_the_whole_token_opens() {
        let tokens = tokens(&[("bot", "correct-horse"), ("other", "battery-staple")]);
        assert_eq!(tokens.find("correct-horse").unwrap().name, "bot");
        assert_eq!(tokens.find("battery-staple").unwrap().name, "other");
        // One bit flipped, one letter less, one more, another case, nothing.
        for wrong in ["correct-horsd", "correct-hors", "correct-horse ", "Correct-horse", ""] {
            assert!(tokens.find(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn an_empty_token_of_the_configuration_opens_nothing() {
        assert!(tokens(&[("bot", "")]).find("").is_none());
    }

    #[test]
    fn reads_one_bearer_and_refuses_two() {
        assert_eq!(shown(&headers(&[])), Shown::Nothing);
        assert_eq!(shown(&headers(&["Bearer abc"])), Shown::Bearer("abc"));
        assert_eq!(shown(&headers(&["bEARER   abc"])), Shown::Bearer("abc"));
        assert_eq!(shown(&headers(&["Basic abc"])), Shown::Nothing);
        assert_eq!(shown(&headers(&["Bearer"])), Shown::Broken);
        assert_eq!(shown(&headers(&["Bearer abc", "Bearer def"])), Shown::Broken);
    }
}
