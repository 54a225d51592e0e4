//! The settings of a Telegram channel.

use std::sync::Arc;

use frontdesk_model::{
    AccountId, Adapter, BadRate, BuildError, ChannelConfig, ChannelName, Clock, Key, Kind, KindName, Need, Problem,
    Rate, Secret, Settings, Shape,
};
use url::Url;

use crate::{KIND, api::Api, channel::Telegram, outbound::Limits};

const PLATFORM: &str = "https://api.telegram.org";
const WHERE_FROM: &str =
    "write the token that @BotFather gave the bot, such as 123456789:AAE..., best as { env = \"TELEGRAM_TOKEN\" }";

static KEYS: [Key; 4] = [
    Key {
        name: "token",
        shape: Shape::Secrets,
        need: Need::Required,
        doc: "The bot's token, from @BotFather. The bot's own number in it is the account: conversations go on under a new token \
              and a new name of the channel.",
    },
    Key {
        name: "respond",
        shape: Shape::Choice(&["mentions", "all", "direct"]),
        need: Need::Optional,
        doc: "What is taken from groups. mentions, by default: messages that name the bot, command it or answer it. all: everything \
              that Telegram shows the bot. direct: nothing. What is written to the bot itself is always taken.",
    },
    Key {
        name: "rate",
        shape: Shape::Text,
        need: Need::Optional,
        doc: "How many messages the bot sends at most, by all daemons on the store together: 30/s by default, beside 1/s in a chat \
              and 20/min in a group, which are Telegram's. \"off\" counts nothing, for test servers.",
    },
    Key {
        name: "api_url",
        shape: Shape::HttpUrl,
        need: Need::Optional,
        doc: "Where the Bot API is, when it is not Telegram's own: a server of yours, or one for tests.",
    },
];

/// The kind `telegram`: a bot's messages in and out over the Bot API.
#[derive(Debug, Clone, Copy)]
pub struct TelegramKind;

impl Kind for TelegramKind {
    #[allow(clippy::expect_used)] // a constant of the right form, and held by a test
    fn name(&self) -> KindName {
        KindName::new(KIND).expect("a plain name")
    }

    fn keys(&self) -> &'static [Key] {
        &KEYS
    }

    fn validate(&self, _channel: &ChannelName, settings: &Settings) -> Result<Box<dyn ChannelConfig>, Vec<Problem>> {
        let mut problems = Vec::new();
        let token = token(settings, &mut problems);
        let limits = limits(settings, &mut problems);
        let api_url = api_url(settings, &mut problems);
        match (token, api_url) {
            (Some((account, token)), Some(api_url)) if problems.is_empty() => {
                let respond = Respond::of(settings.text("respond"));
                Ok(Box::new(TelegramConfig { account, token, api_url, respond, limits }))
            }
            _ => Err(problems),
        }
    }
}

/// What is taken from groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Respond {
    /// What is meant for the bot.
    Mentions,
    /// Everything.
    All,
    /// Nothing.
    Direct,
}

impl Respond {
    fn of(word: Option<&str>) -> Self {
        match word {
            Some("all") => Self::All,
            Some("direct") => Self::Direct,
            _ => Self::Mentions,
        }
    }
}

fn token(settings: &Settings, problems: &mut Vec<Problem>) -> Option<(AccountId, Secret)> {
    let mut complain = |what: &str, mend: &str| {
        problems.push(Problem { key: "token", what: what.to_owned(), mend: mend.to_owned() });
    };
    let [token] = settings.secrets("token") else {
        complain("a bot has one token at a time", WHERE_FROM);
        return None;
    };
    // Its form, as Telegram writes it: the bot's number, a colon, and letters that need no escaping in an address.
    let parts = token.expose().split_once(':').filter(|(number, rest)| {
        let number_fits = (1..=19).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        number_fits && !rest.is_empty() && rest.len() <= 200 && rest.bytes().all(letter)
    });
    let account = parts.and_then(|(number, _)| AccountId::new(number).ok());
    if account.is_none() {
        complain("it does not have the form of a bot's token", WHERE_FROM);
    }
    account.map(|account| (account, token.clone()))
}

fn limits(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Limits> {
    let text = settings.text("rate").unwrap_or("30/s");
    if text == "off" {
        return None;
    }
    let rate = text.parse::<Rate>().map_err(|bad: BadRate| {
        let mend = "write for example \"30/s\", or \"off\"".to_owned();
        problems.push(Problem { key: "rate", what: bad.to_string(), mend });
    });
    rate.ok().map(Limits::of)
}

fn api_url(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Url> {
    let plain = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let url = Url::parse(settings.text("api_url").unwrap_or(PLATFORM)).ok().filter(plain);
    if url.is_none() {
        problems.push(Problem {
            key: "api_url",
            what: "it is not an http or https address without user information and query".to_owned(),
            mend: format!("write it as \"{PLATFORM}\", or leave the line out"),
        });
    }
    url
}

/// Settings that have passed.
#[derive(Debug)]
struct TelegramConfig {
    account: AccountId,
    token: Secret,
    api_url: Url,
    respond: Respond,
    limits: Option<Limits>,
}

impl ChannelConfig for TelegramConfig {
    fn account(&self) -> AccountId {
        self.account.clone()
    }

    fn build(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn Adapter>, BuildError> {
        let api = Api::new(&self.api_url, &self.token, Arc::clone(&clock))?;
        Ok(Arc::new(Telegram::new(api, self.respond, self.limits, clock)))
    }
}
