//! The settings of a webhook channel.

use std::{fmt, sync::Arc, time::Duration};

use frontdesk_model::{
    AccountId, Adapter, BuildError, ChannelConfig, ChannelName, Clock, Key, Need, Problem, Settings, Shape,
};
use standardwebhooks::Webhook as Signer;

use super::{Webhook, capabilities::capabilities, outbound::Sender};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
const DEFAULT_MAX_BODY: u64 = 1_000_000;

/// Every key but `kind`.
pub(super) const KEYS: &[Key] = &[
    Key {
        name: "secret",
        shape: Shape::Secrets,
        need: Need::Optional,
        doc: "Standard Webhooks secret (whsec_...): checks what comes in and signs what goes out",
    },
    Key {
        name: "deliver_url",
        shape: Shape::HttpUrl,
        need: Need::Optional,
        doc: "where replies are posted; without it they are read from the API",
    },
    Key {
        name: "account",
        shape: Shape::Text,
        need: Need::Optional,
        doc: "what its conversations belong to; set it to the old name when you rename the channel",
    },
    Key {
        name: "timeout",
        shape: Shape::Span,
        need: Need::Optional,
        doc: "how long deliver_url may take to answer, 1 s to 20 s; 15 s if left out",
    },
    Key {
        name: "max_body",
        shape: Shape::Size,
        need: Need::Optional,
        doc: "the largest request that is taken, 1 kB to 8 MB; 1 MB if left out",
    },
];

/// Checked settings.
#[derive(Clone)]
pub(super) struct WebhookConfig {
    pub(super) account: AccountId,
    /// The first signs what goes out, all do while a secret is being changed; any may have signed what comes in.
    pub(super) signers: Arc<[Signer]>,
    pub(super) deliver_url: Option<url::Url>,
    pub(super) timeout: Duration,
    pub(super) max_body: usize,
}

impl fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookConfig")
            .field("account", &self.account)
            .field("secrets", &self.signers.len())
            .field("delivers", &self.deliver_url.is_some())
            .finish_non_exhaustive()
    }
}

impl WebhookConfig {
    pub(super) fn check(channel: &ChannelName, settings: &Settings) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut signers = Vec::new();
        for secret in settings.secrets("secret") {
            match signer(secret.expose()) {
                Some(signer) => signers.push(signer),
                None => problems.push(Problem {
                    key: "secret",
                    what: "not a Standard Webhooks secret".into(),
                    mend: "write whsec_ and the base64 of 24 to 64 random bytes: echo \"whsec_$(openssl rand -base64 32)\"".into(),
                }),
            }
        }
        let account = settings.text("account").unwrap_or(channel.as_str());
        let account = AccountId::new(account).map_err(|error| {
            problems.push(Problem {
                key: "account",
                what: error.to_string(),
                mend: "use the channel's former name, or leave it out".into(),
            });
        });
        let deliver_url = settings.text("deliver_url").and_then(|text| {
            url::Url::parse(text)
                .map_err(|_| {
                    problems.push(Problem {
                        key: "deliver_url",
                        what: "not an address".into(),
                        mend: "write it with its scheme: https://shop.example.com/frontdesk".into(),
                    });
                })
                .ok()
        });
        let timeout = settings.span("timeout").unwrap_or(DEFAULT_TIMEOUT);
        if !(Duration::from_secs(1)..=Duration::from_secs(20)).contains(&timeout) {
            problems.push(Problem {
                key: "timeout",
                what: "out of bounds".into(),
                mend: "write a span from 1 s to 20 s".into(),
            });
        }
        let max_body = settings.number("max_body").unwrap_or(DEFAULT_MAX_BODY);
        if !(1_000..=8_000_000).contains(&max_body) {
            problems.push(Problem {
                key: "max_body",
                what: "out of bounds".into(),
                mend: "write a size from 1 kB to 8 MB".into(),
            });
        }
        match (account, problems.is_empty()) {
            (Ok(account), true) => Ok(Self {
                account,
                signers: signers.into(),
                deliver_url,
                timeout,
                max_body: usize::try_from(max_body).unwrap_or(8_000_000),
            }),
            _ => Err(problems),
        }
    }
}

/// Standard Webhooks asks for 24 to 64 bytes; a short secret can be guessed.
fn signer(secret: &str) -> Option<Signer> {
    let encoded = secret.strip_prefix("whsec_")?;
    // Base64 carries 3 bytes in 4 characters.
    let bytes = encoded.trim_end_matches('=').len() * 3 / 4;
    if (24..=64).contains(&bytes) { Signer::new(secret).ok() } else { None }
}

impl ChannelConfig for WebhookConfig {
    fn account(&self) -> AccountId {
        self.account.clone()
    }

    fn build(&self, clock: Arc<dyn Clock>) -> Result<Arc<dyn Adapter>, BuildError> {
        let sender = Sender::new(self)?;
        let capabilities = capabilities(self.deliver_url.as_ref());
        Ok(Arc::new(Webhook { config: self.clone(), capabilities, sender, clock }))
    }
}
