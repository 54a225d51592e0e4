//! The whole way in one process: the daemon with the shipped `channels.toml`, a small agent that answers, and a far end
//! that prints every reply it is sent.
//!
//! ```sh
//! cargo run --release --example first_light
//! ```
//!
//! The agent listens where `[agent] url` points, the far end where `FRONTDESK__CHANNELS__SHOP__DELIVER_URL` does, else at
//! `http://127.0.0.1:8082/`. Both are ordinary HTTP servers that know nothing of the daemon; yours may be in any language.

use std::{ffi::OsString, net::TcpListener, path::Path, process::ExitCode};

use anyhow::{Context, Result, bail};
use axum::{Json, Router, http::StatusCode, routing::any};
use frontdesk::{
    config::{Config, DEFAULT_FILE, Environment},
    logging, registry,
    run::run,
};
use serde_json::{Value, json};
use url::Url;

const DELIVER_URL: &str = "FRONTDESK__CHANNELS__SHOP__DELIVER_URL";
const FAR_END: &str = "http://127.0.0.1:8082/";

fn main() -> ExitCode {
    match try_it() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("first_light: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_it() -> Result<()> {
    let mut variables: Vec<(String, OsString)> =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
    if !variables.iter().any(|(name, _)| name == DELIVER_URL) {
        variables.push((DELIVER_URL.into(), FAR_END.into()));
    }
    let environment: Environment = variables.into_iter().collect();
    let file = Path::new(DEFAULT_FILE);
    let config = Config::load(file, &environment, registry::kinds())
        .context("run it in the repository's folder, with its channels.toml")?;
    let agent_url = config.agent.as_ref().context("channels.toml has no [agent]")?.url.clone();
    let far_end_url: Url = environment.get(DELIVER_URL).unwrap_or(FAR_END).parse().context(DELIVER_URL)?;

    let agent = listen(&agent_url, "the example agent")?;
    let far_end = listen(&far_end_url, "the far end")?;
    // Tried here for a clear word before anything starts; the daemon then listens there itself.
    drop(
        TcpListener::bind(config.server.listen)
            .with_context(|| taken("the daemon", &config.server.listen.to_string()))?,
    );
    std::thread::spawn(move || serve(agent, far_end));

    println!("{}", how_to_try(&config, &agent_url, &far_end_url));
    logging::start(logging::Form::Text, environment.get("FRONTDESK_LOG").unwrap_or("info"), false);
    run(config).map(drop)
}

fn how_to_try(config: &Config, agent_url: &Url, far_end_url: &Url) -> String {
    let (listen, data) = (config.server.listen, config.store.folder.display());
    format!(
        r#"An example agent answers at {agent_url}; the far end at {far_end_url} prints each reply here.
In another terminal, in this folder:

  KEY=$(cat {data}/shop.token)
  curl -s http://{listen}/v1/channels/shop/messages -H "Authorization: Bearer $KEY" -d '{{"id":"1","from":{{"id":"ada","name":"Ada"}},"text":"When do you open?"}}'
  curl -s http://{listen}/v1/conversations -H "Authorization: Bearer $KEY"
  curl -s http://{listen}/v1/conversations/CONVERSATION_ID/messages -H "Authorization: Bearer $KEY"
"#
    )
}

fn listen(url: &Url, who: &str) -> Result<TcpListener> {
    let addresses = url.socket_addrs(|| None).with_context(|| format!("{url} names no address"))?;
    let Some(address) = addresses.into_iter().find(|address| address.ip().is_loopback()) else {
        bail!("{who} listens on this machine only, and {url} is elsewhere");
    };
    let listener = TcpListener::bind(address).with_context(|| taken(who, &address.to_string()))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn taken(who: &str, address: &str) -> String {
    format!("{who} cannot listen at {address}: stop what listens there, and start again")
}

/// Both ends, on a thread of their own.
fn serve(agent: TcpListener, far_end: TcpListener) {
    let served = tokio::runtime::Builder::new_current_thread().enable_all().build().map(|runtime| {
        runtime.block_on(async {
            let agent = axum::serve(tokio::net::TcpListener::from_std(agent)?, Router::new().fallback(any(answer)));
            let far_end = axum::serve(tokio::net::TcpListener::from_std(far_end)?, Router::new().fallback(any(take)));
            tokio::try_join!(async { agent.await }, async { far_end.await }).map(drop)
        })
    });
    if let Err(error) = served.and_then(|served| served) {
        eprintln!("first_light: an end has stopped: {error}");
    }
}

/// The agent: an event comes in, a reply goes back in the same answer.
async fn answer(Json(event): Json<Value>) -> Json<Value> {
    let text = |at: &str| event.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let said = text("/data/message/text");
    let name = text("/data/contact/name");
    Json(json!({ "markdown": reply_to(&said, &name) }))
}

fn reply_to(said: &str, name: &str) -> String {
    let words = said.to_lowercase();
    let has = |any_of: &[&str]| any_of.iter().any(|word| words.contains(word));
    let dear = if name.is_empty() { String::new() } else { format!(", {name}") };
    if has(&["open", "hours", "close"]) {
        format!("We are open **Monday to Friday, 9 to 17**{dear}.")
    } else if has(&["thank"]) {
        format!("You are welcome{dear}!")
    } else if has(&["hello", "hi ", "good morning"]) || words == "hi" {
        format!("Hello{dear}! Ask me about our opening hours.")
    } else {
        format!("You said: {said}")
    }
}

/// The far end: a business's own system, which gets each reply as a request.
async fn take(Json(delivery): Json<Value>) -> StatusCode {
    let text = |at: &str| delivery.pointer(at).and_then(Value::as_str);
    let reply = text("/data/message/markdown").or(text("/data/message/text")).unwrap_or("(no text)");
    // As a value of JSON, so that nothing in it reaches the terminal as a control character.
    println!("reply in thread {}: {}", json!(text("/data/thread")), json!(reply));
    StatusCode::NO_CONTENT
}
