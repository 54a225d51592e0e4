//! A folder with a `channels.toml`, and a kind for it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use frontdesk::config::{Config, Environment, Finding, Place, Refused, Severity};
use frontdesk_model::{
    AccountId, Adapter, BuildError, ChannelConfig, ChannelName, Key, Kind, KindName, Need, Problem, Settings, Shape,
};

/// A kind whose keys have every shape.
pub(crate) struct Post;

const fn key(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, need: Need::Optional, doc: "one of everything" }
}

const KEYS: &[Key] = &[
    key("account", Shape::Text),
    key("secret", Shape::Secrets),
    key("deliver_url", Shape::HttpUrl),
    key("wait", Shape::Span),
    key("max_bytes", Shape::Size),
    key("retries", Shape::Whole(0, 9)),
    key("loud", Shape::Switch),
    key("allowed", Shape::Texts),
    key("mode", Shape::Choice(&["poll", "push"])),
];

/// What the kind made of its settings.
#[derive(Debug)]
struct PostConfig {
    account: AccountId,
    #[allow(dead_code)] // read by `Debug`
    settings: Settings,
}

impl Kind for Post {
    fn name(&self) -> KindName {
        "post".parse().unwrap()
    }

    fn keys(&self) -> &'static [Key] {
        KEYS
    }

    fn validate(&self, channel: &ChannelName, settings: &Settings) -> Result<Box<dyn ChannelConfig>, Vec<Problem>> {
        let mut problems = Vec::new();
        if settings.secrets("secret").iter().any(|secret| secret.expose().len() < 4) {
            problems.push(Problem { key: "secret", what: "too short".into(), mend: "write a longer one".into() });
        }
        if settings.switch("loud") == Some(true) && settings.text("mode").is_none() {
            problems.push(Problem { key: "mode", what: "needed when loud".into(), mend: "add mode".into() });
        }
        match AccountId::new(settings.text("account").unwrap_or(channel.as_str())) {
            Ok(account) if problems.is_empty() => Ok(Box::new(PostConfig { account, settings: settings.clone() })),
            Ok(_) => Err(problems),
            Err(_) => {
                problems.push(Problem { key: "account", what: "not an account".into(), mend: "shorten it".into() });
                Err(problems)
            }
        }
    }
}

impl ChannelConfig for PostConfig {
    fn account(&self) -> AccountId {
        self.account.clone()
    }

    fn build(&self, _: frontdesk_model::Surroundings) -> Result<Arc<dyn Adapter>, BuildError> {
        Err(BuildError("only the configuration is under test".into()))
    }
}

/// A folder of the test's own.
pub(crate) struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    pub(crate) fn new(toml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("channels.toml"), toml).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.path("channels.toml")
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8], mode: u32) {
        fs::write(self.path(name), bytes).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn load(&self, vars: &[(&str, &str)]) -> Result<Config, Refused> {
        let environment: Environment = vars.iter().copied().collect();
        Config::load(&self.file(), &environment, &[&Post])
    }

    /// `place [table] key: what` of each error.
    pub(crate) fn errors(&self, vars: &[(&str, &str)]) -> Vec<String> {
        match self.load(vars) {
            Ok(_) => Vec::new(),
            Err(refused) => refused.findings.iter().filter(|one| one.severity == Severity::Error).map(short).collect(),
        }
    }
}

pub(crate) fn short(finding: &Finding) -> String {
    let place = match &finding.place {
        Place::File => "file".to_owned(),
        Place::Line { line, .. } => line.to_string(),
        Place::Variable(name) => name.clone(),
    };
    format!("{place} [{}] {}: {}", finding.table, finding.key.as_deref().unwrap_or("-"), finding.what)
}
