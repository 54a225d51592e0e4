//! The settings of a webhook channel.

use std::{sync::Arc, time::Duration};

use frontdesk_model::{
    AccountId, Adapter, BadRate, BuildError, ChannelConfig, ChannelName, Key, Kind, KindName, Need, Problem, Rate,
    RouteDocument, Settings, Shape, Surroundings,
};
use url::Url;

use super::{
    KIND, Webhook,
    capabilities::capabilities,
    document,
    outbound::{Address, FarEnd},
    signature::{BadSecret, SigningKey},
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
const MIN_TIMEOUT: Duration = Duration::from_secs(1);
/// Below the 25 seconds that an adapter has for one send.
const MAX_TIMEOUT: Duration = Duration::from_secs(20);
const DEFAULT_BODY: usize = 1_000_000;
const MIN_BODY: usize = 1_000;
const MAX_BODY: usize = 8_000_000;

const NEW_SECRET: &str = "make one with: echo \"whsec_$(head -c 32 /dev/urandom | base64)\"";

static KEYS: [Key; 6] = [
    Key {
        name: "secret",
        shape: Shape::Secrets,
        need: Need::Optional,
        doc: "Signs what is delivered and verifies what is handed in (Standard Webhooks, whsec_...); several in brackets while \
              it is being changed: any of them verifies, and deliveries carry a signature of each. Without it, messages are \
              handed in with a bearer token and deliveries are not signed.",
    },
    Key {
        name: "deliver_url",
        shape: Shape::HttpUrl,
        need: Need::Optional,
        doc: "Where replies are posted to. Without it they are read from the API.",
    },
    Key {
        name: "account",
        shape: Shape::Text,
        need: Need::Optional,
        doc: "Whose conversations these are; the channel's name by default. Set it to the old name when you rename the channel, \
              and its conversations go on.",
    },
    Key {
        name: "timeout",
        shape: Shape::Span,
        need: Need::Optional,
        doc: "How long deliver_url has for its answer, 1 s to 20 s; 15 s by default.",
    },
    Key {
        name: "rate",
        shape: Shape::Text,
        need: Need::Optional,
        doc: "How many messages deliver_url is sent at most, by all daemons on the store together: 20/s, 600/min, 1000/h and the \
              like; \"off\" by default.",
    },
    Key {
        name: "max_body",
        shape: Shape::Size,
        need: Need::Optional,
        doc: "The largest message that can be handed in, 1 kB to 8 MB; 1 MB by default.",
    },
];

/// The kind `webhook`: messages in and out over signed HTTP requests.
#[derive(Debug, Clone, Copy)]
pub struct WebhookKind;

impl Kind for WebhookKind {
    #[allow(clippy::expect_used)] // a constant of the right form, and held by a test
    fn name(&self) -> KindName {
        KindName::new(KIND).expect("a plain name")
    }

    fn keys(&self) -> &'static [Key] {
        &KEYS
    }

    fn routes(&self) -> Vec<RouteDocument> {
        vec![document::messages()]
    }

    fn validate(&self, channel: &ChannelName, settings: &Settings) -> Result<Box<dyn ChannelConfig>, Vec<Problem>> {
        let mut problems = Vec::new();
        let keys = signing_keys(settings, &mut problems);
        let deliver_url = deliver_url(settings, &mut problems);
        let account = account(channel, settings, &mut problems);
        let timeout = timeout(settings, &mut problems);
        let rate = rate(settings, &mut problems);
        let max_body = max_body(settings, &mut problems);
        match account {
            Some(account) if problems.is_empty() => {
                Ok(Box::new(WebhookConfig { account, keys, deliver_url, timeout, rate, max_body }))
            }
            _ => Err(problems),
        }
    }
}

fn signing_keys(settings: &Settings, problems: &mut Vec<Problem>) -> Arc<[SigningKey]> {
    let secrets = settings.secrets("secret");
    let mut keys = Vec::with_capacity(secrets.len());
    for (index, secret) in secrets.iter().enumerate() {
        match SigningKey::parse(secret) {
            Ok(key) => keys.push(key),
            Err(bad) => problems.push(bad_secret(bad, index, secrets.len())),
        }
    }
    keys.into()
}

fn bad_secret(bad: BadSecret, index: usize, of: usize) -> Problem {
    let which = if of > 1 { format!("secret {} of {of}", index + 1) } else { "the secret".to_owned() };
    Problem { key: "secret", what: format!("{which} {bad}"), mend: NEW_SECRET.to_owned() }
}

fn deliver_url(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Address> {
    let text = settings.text("deliver_url")?;
    // The form was checked before; what is left is what a stranger to that check could hand in.
    let fit = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    };
    let url = Url::parse(text).ok().filter(fit);
    if url.is_none() {
        problems.push(Problem {
            key: "deliver_url",
            what: "it is not an http or https address without user information".to_owned(),
            mend: "write it as \"https://shop.example.com/frontdesk\"".to_owned(),
        });
    }
    url.map(Address)
}

fn account(channel: &ChannelName, settings: &Settings, problems: &mut Vec<Problem>) -> Option<AccountId> {
    match AccountId::new(settings.text("account").unwrap_or(channel.as_str())) {
        Ok(account) => Some(account),
        Err(bad) => {
            problems.push(Problem {
                key: "account",
                what: bad.to_string(),
                mend: format!("write a short name such as \"{channel}\", or leave the line out"),
            });
            None
        }
    }
}

fn timeout(settings: &Settings, problems: &mut Vec<Problem>) -> Duration {
    let timeout = settings.span("timeout").unwrap_or(DEFAULT_TIMEOUT);
    if !(MIN_TIMEOUT..=MAX_TIMEOUT).contains(&timeout) {
        problems.push(Problem {
            key: "timeout",
            what: format!("{} s lie outside of 1 s to 20 s", timeout.as_secs_f64()),
            mend: "write for example \"15 s\"; a receiver that needs longer should answer 202 and work on afterwards"
                .to_owned(),
        });
    }
    timeout
}

fn rate(settings: &Settings, problems: &mut Vec<Problem>) -> Option<Rate> {
    let text = settings.text("rate").filter(|text| *text != "off")?;
    let rate = text.parse().map_err(|bad: BadRate| {
        problems.push(Problem {
            key: "rate",
            what: bad.to_string(),
            mend: "write for example \"20/s\" or \"600/min\", or \"off\"".to_owned(),
        });
    });
    rate.ok()
}

fn max_body(settings: &Settings, problems: &mut Vec<Problem>) -> usize {
    let Some(bytes) = settings.number("max_body") else { return DEFAULT_BODY };
    match usize::try_from(bytes) {
        Ok(size) if (MIN_BODY..=MAX_BODY).contains(&size) => size,
        _ => {
            problems.push(Problem {
                key: "max_body",
                what: format!("{bytes} bytes lie outside of 1 kB to 8 MB"),
                mend: "write for example \"1 MB\"".to_owned(),
            });
            DEFAULT_BODY
        }
    }
}

/// Settings that have passed.
#[derive(Debug)]
struct WebhookConfig {
    account: AccountId,
    keys: Arc<[SigningKey]>,
    deliver_url: Option<Address>,
    timeout: Duration,
    rate: Option<Rate>,
    max_body: usize,
}

impl ChannelConfig for WebhookConfig {
    fn account(&self) -> AccountId {
        self.account.clone()
    }

    fn build(&self, surroundings: Surroundings) -> Result<Arc<dyn Adapter>, BuildError> {
        let clock = surroundings.clock;
        let far_end = self
            .deliver_url
            .clone()
            .map(|address| FarEnd::new(address, self.timeout, Arc::clone(&clock)))
            .transpose()?;
        Ok(Arc::new(Webhook {
            capabilities: capabilities(far_end.is_some()),
            keys: Arc::clone(&self.keys),
            max_body: self.max_body,
            budget: self.rate.map(|rate| rate.budget("deliver_url")),
            clock,
            far_end,
        }))
    }
}
