//! Another configuration without a stop.
//!
//! The file and its secrets are read anew and checked as at a start. If anything is wrong, everything goes on as it was, and
//! every mistake is named. Else a channel whose settings are the same keeps its adapter, its receiver and its connections;
//! the others are made, replaced or taken away; tokens, the agent and the retention are replaced; requests in flight end as they
//! began. What the store, the attachments' folder and the listeners are is settled at the start: a change there is named, and waits
//! for a restart.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result};
use frontdesk_engine::{ConnectedChannel, Engine};
use frontdesk_model::{ChannelName, Clock, Settings, Surroundings};
use tokio::task::AbortHandle;

use super::{Daemon, engine_options, http_options, mounted};
use crate::{
    config::{Config, Environment, Finding, Place, Refused, Server, Severity, Store},
    keys, notify, registry,
};

/// The channels that run, by name.
#[derive(Default)]
pub(super) struct Channels(BTreeMap<ChannelName, RunningChannel>);

/// One of them.
pub(super) struct RunningChannel {
    pub(super) connected: ConnectedChannel,
    settings: Settings,
    /// Where its routes are reached from outside.
    public_url: Option<String>,
    receiver: Option<Receiver>,
}

/// A channel's receiving task; ends with this.
struct Receiver(AbortHandle);

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a reload did to the channels.
#[derive(Debug, Default)]
struct Difference {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
}

impl Channels {
    pub(super) fn build(config: &Config, surroundings: &Surroundings) -> Result<Self> {
        Self::default().changed_to(config, surroundings).map(|(channels, _)| channels)
    }

    /// The channels of another configuration; those that are the same are shared with these. Starts and stops nothing.
    fn changed_to(&self, config: &Config, surroundings: &Surroundings) -> Result<(Self, Difference)> {
        let mut next = BTreeMap::new();
        let mut difference = Difference::default();
        for channel in &config.channels {
            let before = self.0.get(&channel.name);
            let same = |running: &&RunningChannel| {
                running.connected.kind == channel.kind
                    && running.settings == channel.settings
                    && running.public_url == surroundings.public_url
            };
            let connected = match before.filter(same) {
                Some(running) => running.connected.clone(),
                None => {
                    let list = if before.is_some() { &mut difference.changed } else { &mut difference.added };
                    list.push(channel.name.to_string());
                    let adapter = channel
                        .config
                        .build(surroundings.clone())
                        .with_context(|| format!("the channel {} cannot be started", channel.name))?;
                    let (name, kind, account) = (channel.name.clone(), channel.kind.clone(), channel.config.account());
                    ConnectedChannel { name, kind, account, adapter }
                }
            };
            let running = RunningChannel {
                connected,
                settings: channel.settings.clone(),
                public_url: surroundings.public_url.clone(),
                receiver: None,
            };
            next.insert(channel.name.clone(), running);
        }
        difference.removed = self.0.keys().filter(|name| !next.contains_key(*name)).map(ToString::to_string).collect();
        Ok((Self(next), difference))
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &RunningChannel> {
        self.0.values()
    }

    pub(super) fn connected(&self) -> Vec<ConnectedChannel> {
        self.running().map(|running| running.connected.clone()).collect()
    }

    /// Starts the receivers that are not running. The channels do not disturb each other.
    pub(super) fn receive(&mut self, engine: &Engine) {
        for running in self.0.values_mut().filter(|running| running.receiver.is_none()) {
            let Some(receiving) = engine.receive(&running.connected.name) else { continue };
            let task = tokio::spawn(receiving);
            running.receiver = Some(Receiver(task.abort_handle()));
        }
    }

    /// Goes on as these: takes the receivers of the channels that stay, and ends the others.
    fn become_these(&mut self, mut next: Self) {
        for (name, running) in &mut next.0 {
            if let Some(before) = self.0.get_mut(name)
                && Arc::ptr_eq(&before.connected.adapter, &running.connected.adapter)
            {
                running.receiver = before.receiver.take();
            }
        }
        *self = next;
    }
}

/// What channels are made in.
pub(super) fn surroundings_of(config: &Config, clock: &Arc<dyn Clock>) -> Surroundings {
    Surroundings { clock: Arc::clone(clock), public_url: config.server.public_url.clone() }
}

impl Daemon {
    /// Reads the configuration anew and goes on with it, or with the old one.
    pub(super) async fn reload(&mut self) {
        notify::reloading();
        let environment = Environment::of_process();
        let ended = match Config::load(&self.config.file, &environment, registry::kinds()) {
            Ok(config) => self.go_on_with(config).await.map_err(|error| {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the new configuration cannot be used; the old one goes on"
                );
            }),
            Err(refused) => {
                tell_mistakes(&refused);
                Err(())
            }
        };
        let status = match (ended, self.engine.desk().status().await) {
            (Err(()), _) => {
                "the new configuration is refused; the old one goes on: see the log, or frontdesk check".to_owned()
            }
            (Ok(()), Ok(status)) => status.line(),
            (Ok(()), Err(_)) => "serving".to_owned(),
        };
        notify::ready(&status);
    }

    async fn go_on_with(&mut self, read: Config) -> Result<()> {
        self.name_what_waits_for_a_restart(&read);
        // What cannot change counts as it was, for the keys in the daemon's folder and for the next reload.
        let Config { server, store, .. } = &self.config;
        let server = Server { listen: server.listen, admin_listen: server.admin_listen, ..read.server };
        let store = Store { retention: read.store.retention, ..store.clone() };
        let config = Config { server, store, ..read };
        let keys = keys::provide(&config, &self.key_source).context("a key could not be made")?;
        let (channels, difference) = self.channels.changed_to(&config, &surroundings_of(&config, &self.clock))?;
        let public_url = config.server.public_url.clone().unwrap_or_else(|| self.own_url.clone());
        let options = engine_options(&config, &keys, &channels, public_url, self.files.clone());
        self.engine.reconfigure(options).await?;
        // From here on nothing fails.
        self.channels.become_these(channels);
        self.channels.receive(&self.engine);
        let options = http_options(&config, &keys, self.figures.as_ref());
        self.front.replace(mounted(&self.engine, &self.channels), options);
        for warning in &config.warnings {
            tell(warning);
        }
        tracing::info!(
            added = difference.added.join(" "),
            changed = difference.changed.join(" "),
            removed = difference.removed.join(" "),
            "the configuration was read anew"
        );
        self.config = config;
        Ok(())
    }

    fn name_what_waits_for_a_restart(&self, config: &Config) {
        let (before, after) = (&self.config, config);
        let waiting = [
            ("server.listen", before.server.listen != after.server.listen),
            ("server.admin_listen", before.server.admin_listen != after.server.admin_listen),
            (
                "store or attachments",
                before.store != Store { retention: before.store.retention, ..after.store.clone() },
            ),
        ];
        for (key, _) in waiting.into_iter().filter(|(_, changed)| *changed) {
            tracing::warn!(key, "this change waits for a restart of the daemon");
        }
    }
}

fn tell_mistakes(refused: &Refused) {
    tracing::error!(
        mistakes = refused.findings.iter().filter(|finding| finding.severity == Severity::Error).count(),
        "the new configuration is refused; the old one goes on"
    );
    refused.findings.iter().for_each(tell);
}

fn tell(finding: &Finding) {
    let line = match &finding.place {
        Place::Line { line, .. } => Some(*line),
        Place::File | Place::Variable(_) => None,
    };
    let Finding { table, key, what, mend, .. } = finding;
    let key = key.as_deref();
    match finding.severity {
        Severity::Error => tracing::error!(line, table, key, mend, "{what}"),
        Severity::Warning => tracing::warn!(line, table, key, mend, "{what}"),
    }
}
