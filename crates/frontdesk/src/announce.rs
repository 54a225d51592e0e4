//! The lines at the start, for the person who started it: what runs, what a power cut can lose, which channels, where, and
//! how to use the keys that were made. Where the log is JSON they are lines of the log.

use std::{fmt::Write as _, io::Write as _, net::SocketAddr};

use frontdesk_engine::Protocol;
use frontdesk_model::StoreDescription;

use crate::{
    config::{Colour, Config, as_text, warn_of},
    keys::{Keys, Origin},
    logging,
};

/// Where it is reached.
pub(crate) struct Place<'p> {
    /// What it listens at, which the supervisor may have chosen.
    pub(crate) address: SocketAddr,
    /// What others reach it by.
    pub(crate) public_url: &'p str,
}

/// Writes the lines to standard error. No secret among them: keys are named by their files.
pub(crate) fn announce(config: &Config, keys: &Keys, store: &StoreDescription, place: &Place<'_>) {
    match logging::form() {
        logging::Form::Json => log(config, keys, store, place),
        // A closed standard error is no reason not to serve.
        logging::Form::Text => {
            let _ = std::io::stderr().write_all(lines(config, keys, store, place).as_bytes());
        }
    }
}

fn log(config: &Config, keys: &Keys, store: &StoreDescription, place: &Place<'_>) {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "Frontdesk");
    tracing::info!(name = store.name, durability = store.durability, "store");
    match &config.agent {
        Some(agent) => {
            let protocol = match agent.protocol {
                Protocol::Frontdesk { .. } => "frontdesk",
                Protocol::OpenAi(_) => "openai",
            };
            let key = keys.agent.as_ref().map(|key| key.path.display().to_string());
            tracing::info!(url = agent.url.origin().ascii_serialization(), protocol, key, "agent");
        }
        None => tracing::info!("no agent: new conversations belong to teammates"),
    }
    for channel in &config.channels {
        let url = format!("{}/v1/channels/{}", place.public_url, channel.name);
        tracing::info!(channel = %channel.name, kind = %channel.kind, url, "channel");
    }
    for key in &keys.channels {
        let made = key.origin == Origin::Made;
        tracing::info!(channel = %key.channel, path = %key.path.display(), made, "key");
    }
    tracing::info!(address = %place.address, "listening");
    warn_of(&config.warnings);
}

fn lines(config: &Config, keys: &Keys, store: &StoreDescription, place: &Place<'_>) -> String {
    let mut text = format!("Frontdesk {}\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, what: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<9} {what}");
    };
    // Lines for another file stand below the sentence, further in.
    line("store", &format!("{}: {}", store.name, store.durability).replace('\n', "\n            "));
    match &config.agent {
        Some(agent) => {
            let signed = keys.agent.as_ref().map(|key| format!(", signed with {}", key.path.display()));
            let spoken = match agent.protocol {
                Protocol::Frontdesk { .. } => "",
                Protocol::OpenAi(_) => ", a language model (chat completions)",
            };
            let origin = agent.url.origin().ascii_serialization();
            line("agent", &format!("{origin}{spoken}{}", signed.unwrap_or_default()));
        }
        None => line("agent", "none: new conversations belong to teammates"),
    }
    for channel in &config.channels {
        let url = format!("{}/v1/channels/{}", place.public_url, channel.name);
        line("channel", &format!("{} ({}), at {url}", channel.name, channel.kind));
    }
    for key in &keys.channels {
        let what = match key.origin {
            Origin::Made => "made now for",
            Origin::Read => "for",
        };
        let path = key.path.display();
        line("key", &format!("{path} ({what} {}): -H \"Authorization: Bearer $(cat {path})\"", key.channel));
    }
    line("listening", &format!("http://{} (API under /v1, health at /readyz)", place.address));
    text.push_str(&as_text(&config.file, &config.warnings, Colour::Off));
    text
}
