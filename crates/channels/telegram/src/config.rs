//! The settings of a Telegram channel.

use std::sync::Arc;

use frontdesk_model::{
    AccountId, Adapter, BadRate, BuildError, ChannelConfig, ChannelName, Key, Kind, KindName, Need, Problem, Rate,
    Resend, RouteDocument, Secret, Settings, Shape, Surroundings,
};
use url::Url;

use crate::{
    KIND,
    api::Api,
    channel::{SentAs, Telegram},
    outbound::Limits,
    render::Previews,
    webhook::{self, Hook},
};

const PLATFORM: &str = "https://api.telegram.org";
const WHERE_FROM: &str =
    "write the token that @BotFather gave the bot, such as 123456789:AAE..., best as { env = \"TELEGRAM_TOKEN\" }";

static KEYS: [Key; 9] = [
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
        name: "receive",
        shape: Shape::Choice(&["poll", "webhook"]),
        need: Need::Optional,
        doc: "How updates come. poll, by default: the daemon asks for them. webhook: Telegram posts them to \
              `{public_url}/v1/channels/{channel}/updates`; the daemon registers that address, and removes it when it polls again.",
    },
    Key {
        name: "on_uncertain",
        shape: Shape::Choice(&["show", "resend"]),
        need: Need::Optional,
        doc: "What follows when nobody knows whether a message arrived, because Telegram cannot be asked. show, by default: it is shown \
              as uncertain and not sent again. resend: it is sent again, and may be seen twice.",
    },
    Key {
        name: "link_previews",
        shape: Shape::Choice(&["off", "on"]),
        need: Need::Optional,
        doc: "Whether Telegram shows, under a text that is sent, what its first link leads to. off, by default.",
    },
    Key {
        name: "rate",
        shape: Shape::Text,
        need: Need::Optional,
        doc: "How many messages the bot sends at most, by all daemons on the store together: 30/s by default, which is Telegram's. \
              \"off\" counts nothing, in chats and groups neither, for test servers.",
    },
    Key {
        name: "rate_per_chat",
        shape: Shape::Text,
        need: Need::Optional,
        doc: "How many of them go to one chat: 1/s by default, which is Telegram's. \"off\" does not count them.",
    },
    Key {
        name: "rate_per_group",
        shape: Shape::Text,
        need: Need::Optional,
        doc: "How many of them go to one group: 20/min by default, which is Telegram's. \"off\" does not count them.",
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

    fn routes(&self) -> Vec<RouteDocument> {
        vec![webhook::document()]
    }

    fn validate(&self, channel: &ChannelName, settings: &Settings) -> Result<Box<dyn ChannelConfig>, Vec<Problem>> {
        let mut problems = Vec::new();
        let token = token(settings, &mut problems);
        let limits = limits(settings, &mut problems);
        let api_url = api_url(settings, &mut problems);
        match (token, api_url) {
            (Some((account, token)), Some(api_url)) if problems.is_empty() => Ok(Box::new(TelegramConfig {
                channel: channel.clone(),
                account,
                token,
                api_url,
                respond: Respond::of(settings.text("respond")),
                receive: Receive::of(settings.text("receive")),
                resend: match settings.text("on_uncertain") {
                    Some("resend") => Resend::Wanted,
                    _ => Resend::MayDouble,
                },
                previews: match settings.text("link_previews") {
                    Some("on") => Previews::On,
                    _ => Previews::Off,
                },
                limits,
            })),
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

/// How updates come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receive {
    /// By questions of ours.
    Poll,
    /// By requests of Telegram's.
    Webhook,
}

impl Receive {
    fn of(word: Option<&str>) -> Self {
        match word {
            Some("webhook") => Self::Webhook,
            _ => Self::Poll,
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

fn limits(settings: &Settings, problems: &mut Vec<Problem>) -> Limits {
    let mut rate = |key: &'static str, usual: &'static str| match settings.text(key).unwrap_or(usual) {
        "off" => None,
        text => {
            let rate = text.parse::<Rate>().map_err(|bad: BadRate| {
                let mend = format!("write for example \"{usual}\", or \"off\"");
                problems.push(Problem { key, what: bad.to_string(), mend });
            });
            rate.ok()
        }
    };
    let limits = Limits {
        bot: rate("rate", "30/s"),
        chat: rate("rate_per_chat", "1/s"),
        group: rate("rate_per_group", "20/min"),
    };
    // Off is off: the others are limits within it.
    if settings.text("rate") == Some("off") { Limits::default() } else { limits }
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
    channel: ChannelName,
    account: AccountId,
    token: Secret,
    api_url: Url,
    respond: Respond,
    receive: Receive,
    resend: Resend,
    previews: Previews,
    limits: Limits,
}

impl TelegramConfig {
    /// Where Telegram posts updates.
    fn webhook(&self, public_url: Option<&str>) -> Result<Option<Url>, BuildError> {
        if self.receive == Receive::Poll {
            return Ok(None);
        }
        let told = public_url.ok_or_else(|| {
            BuildError(
                "receive = \"webhook\" needs an address that Telegram can reach: write public_url = \"https://...\" under [server], or \
                 receive = \"poll\""
                    .to_owned(),
            )
        })?;
        let hook = format!("{}{}", told.trim_end_matches('/'), webhook::path(&self.channel));
        let hook = Url::parse(&hook).map_err(|_| BuildError(format!("public_url is no address: {told}")))?;
        if hook.scheme() != "https"
            && self.api_url.host_str() == Url::parse(PLATFORM).ok().as_ref().and_then(Url::host_str)
        {
            return Err(BuildError(
                "Telegram posts updates to https addresses alone: write public_url with https under [server], or receive = \"poll\""
                    .to_owned(),
            ));
        }
        Ok(Some(hook))
    }
}

impl ChannelConfig for TelegramConfig {
    fn account(&self) -> AccountId {
        self.account.clone()
    }

    fn build(&self, surroundings: Surroundings) -> Result<Arc<dyn Adapter>, BuildError> {
        let hook = self.webhook(surroundings.public_url.as_deref())?;
        let api = Arc::new(Api::new(&self.api_url, &self.token, surroundings.clock)?);
        let hook = Hook::new(&self.token, &self.channel, hook);
        let sent = SentAs { resend: self.resend, previews: self.previews, limits: self.limits };
        Ok(Arc::new(Telegram::new(api, hook, self.respond, sent)))
    }
}
