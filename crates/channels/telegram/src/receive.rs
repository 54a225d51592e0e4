//! Long polling (<https://core.telegram.org/bots/api#getupdates>).
//!
//! `getUpdates` with an `offset` confirms everything below it. Ours is sent only after the inbox has taken everything of the
//! portion before, and only once: the next question goes without one, so that numbers may begin anew, as Telegram's do after a
//! week of silence. Nothing of it is stored. What was taken and not yet confirmed when a daemon ended comes again and is
//! known by its chat and number.
//!
//! The messages of a portion go to the inbox side by side, those of one thread one after the other.

use std::{sync::Arc, time::Duration};

use frontdesk_model::{Envelope, Inbox, InboxError, RemoteFile};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    api::{Answer, Api},
    config::Respond,
    inbound::{self, Taken, Wanted},
};

/// How long a question stays open when there is nothing new, and how long its answer may take.
const OPEN: Duration = Duration::from_secs(25);
const TIMEOUT: Duration = Duration::from_secs(40);
/// For questions that are answered at once.
const SHORT: Duration = Duration::from_secs(10);
/// A question that came to nothing is asked again after this; the second time in a row ends receiving.
const AGAIN: Duration = Duration::from_secs(1);

/// So often it is asked where a file is, before receiving begins anew.
const FIND: usize = 5;

/// Who the bot is.
#[derive(Debug, Clone)]
pub(crate) struct Me {
    pub(crate) id: i64,
    /// Without the `@`.
    pub(crate) username: String,
    /// Its privacy mode is off: it is shown everything that is said in its groups.
    pub(crate) sees_all: bool,
}

impl Me {
    /// Asks Telegram, which also shows whether the token is right.
    pub(crate) async fn ask(api: &Api) -> Result<Self, String> {
        let me = match api.call("getMe", &json!({}), SHORT).await {
            Answer::Done(me) => me,
            Answer::Refused(refused) if matches!(refused.status, 401 | 404) => {
                return Err(format!(
                    "Telegram does not know the token ({}): write the one that @BotFather shows for the bot",
                    refused.status
                ));
            }
            other => return Err(said(other)),
        };
        let id = me.get("id").and_then(Value::as_i64).ok_or("Telegram did not say who the bot is")?;
        let username = me.get("username").and_then(Value::as_str).unwrap_or_default().to_owned();
        let sees_all = me.get("can_read_all_group_messages").and_then(Value::as_bool).unwrap_or(false);
        Ok(Self { id, username, sees_all })
    }
}

/// Receives until something is wrong that waiting a second does not mend.
pub(crate) async fn receive(api: &Api, respond: Respond, inbox: &Arc<dyn Inbox>) -> Result<(), String> {
    let me = Me::ask(api).await?;
    if respond == Respond::All && !me.sees_all {
        tracing::warn!(
            "respond = \"all\", and Telegram shows this bot only what names, commands or answers it: switch its privacy mode off \
             at @BotFather (/setprivacy), and add it to its groups anew"
        );
    }
    let mut confirm: Option<i64> = None;
    let mut failed_before = false;
    loop {
        let mut params = json!({ "timeout": OPEN.as_secs(), "limit": 100, "allowed_updates": ["message"] });
        if let (Some(offset), Some(params)) = (confirm, params.as_object_mut()) {
            params.insert("offset".into(), offset.into());
        }
        match api.call("getUpdates", &params, TIMEOUT).await {
            Answer::Done(Value::Array(updates)) => {
                failed_before = false;
                confirm = take(api, respond, &me, inbox, updates).await?;
            }
            Answer::Done(_) => return Err("Telegram's answer to getUpdates is no list".to_owned()),
            Answer::Refused(refused) if refused.status == 409 => return Err(conflict(&refused.words)),
            Answer::Refused(refused) if refused.status == 429 => {
                api.clock.sleep(refused.retry_after.unwrap_or(AGAIN)).await;
            }
            // A question confirms the same again when it is asked again.
            _ if !failed_before => {
                failed_before = true;
                api.clock.sleep(AGAIN).await;
            }
            other => return Err(said(other)),
        }
    }
}

/// Hands a portion in, and says what confirms it; nothing when there was nothing.
async fn take(
    api: &Api,
    respond: Respond,
    me: &Me,
    inbox: &Arc<dyn Inbox>,
    updates: Vec<Value>,
) -> Result<Option<i64>, String> {
    let number = |update: &Value| update.get("update_id").and_then(Value::as_i64);
    let last = updates.iter().filter_map(number).max();
    if last.is_none() && !updates.is_empty() {
        return Err("updates without update_id: is api_url the Bot API's?".to_owned());
    }
    let mut threads: Vec<Vec<Envelope>> = Vec::new();
    for update in &updates {
        match inbound::envelope(update, me, respond) {
            Taken::Message(message) => {
                let (mut envelope, files) = *message;
                for file in &files {
                    find(api, &mut envelope, file).await?;
                }
                match threads.iter_mut().find(|known| known.first().is_some_and(|one| one.thread == envelope.thread)) {
                    Some(thread) => thread.push(envelope),
                    None => threads.push(vec![envelope]),
                }
            }
            Taken::Nothing(reason) => {
                tracing::debug!(update = number(update), reason, "an update is not used");
            }
            Taken::Unknown(reason) => {
                tracing::warn!(update = number(update), reason, "an update cannot be read and is passed over");
            }
        }
    }
    let mut handing_in = JoinSet::new();
    for thread in threads {
        let (inbox, clock) = (Arc::clone(inbox), Arc::clone(&api.clock));
        handing_in.spawn(async move {
            for envelope in thread {
                while let Err(InboxError::Unavailable { retry_after, .. }) = inbox.accept(envelope.clone()).await {
                    clock.sleep(retry_after).await;
                }
            }
        });
    }
    while let Some(done) = handing_in.join_next().await {
        done.map_err(|_| "handing in was cut short".to_owned())?;
    }
    Ok(last.map(|last| last.saturating_add(1)))
}

/// Asks where a file of a message can be fetched. The address is good for an hour and holds the token: it is handed in and not shown.
async fn find(api: &Api, envelope: &mut Envelope, file: &Wanted) -> Result<(), String> {
    for _ in 0..FIND {
        match api.call("getFile", &json!({ "file_id": file.file_id }), SHORT).await {
            Answer::Done(found) => {
                match found.get("file_path").and_then(Value::as_str).and_then(|path| api.file_url(path)) {
                    Some(url) => envelope.attachments.push(RemoteFile { url, name: file.name_of(&found) }),
                    None => inbound::note_missing(envelope, file, "Telegram does not say where it is"),
                }
                return Ok(());
            }
            Answer::Refused(refused) if refused.status == 429 => {
                api.clock.sleep(refused.retry_after.unwrap_or(AGAIN)).await;
            }
            // 400: a bot gets files of up to 20 MB (https://core.telegram.org/bots/api#getfile).
            Answer::Refused(refused) if refused.status < 500 => {
                inbound::note_missing(envelope, file, "Telegram does not give it to bots; it may be larger than 20 MB");
                return Ok(());
            }
            _ => api.clock.sleep(AGAIN).await,
        }
    }
    // Nothing of the portion is confirmed, so it comes again.
    Err("Telegram does not say where a file is; its message stays there until it does".to_owned())
}

fn conflict(words: &str) -> String {
    if words.contains("webhook") {
        return "another program has set a webhook for this bot, and Telegram sends everything there (409): stop that program and \
                call deleteWebhook, or use another bot"
            .to_owned();
    }
    "another program, or a daemon with another store, polls this bot too (409): a bot's updates go to one of them; stop it, or \
     have @BotFather make a new token"
        .to_owned()
}

fn said(answer: Answer) -> String {
    match answer {
        Answer::Done(_) => "Telegram gave an answer of another form".to_owned(),
        Answer::Refused(refused) => format!("Telegram answered {}: {}", refused.status, refused.words),
        Answer::NotReached(what) => format!("Telegram cannot be reached: {what}"),
        Answer::Broken(what) => format!("Telegram: {what}"),
    }
}
