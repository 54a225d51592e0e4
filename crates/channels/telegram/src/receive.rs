//! Long polling (<https://core.telegram.org/bots/api#getupdates>).
//!
//! `getUpdates` with an `offset` confirms everything below it. Ours is sent only after the inbox has taken everything of the
//! portion before, and only once: the next question goes without one, so that numbers may begin anew, as Telegram's do after a
//! week of silence. Nothing of it is stored. What was taken and not yet confirmed when a daemon ended comes again and is
//! known by its chat and number.
//!
//! What a portion holds goes to the inbox side by side, that of one thread one after the other.

use std::{sync::Arc, time::Duration};

use frontdesk_model::{Inbox, InboxError};
use serde_json::{Value, json};
use teloxide::types::AllowedUpdate;
use tokio::task::JoinSet;

use crate::{
    api::Answer,
    config::Respond,
    intake::{Intake, Item},
    me::Me,
    webhook::Hook,
};

/// How long a question stays open when there is nothing new, and how long its answer may take.
const OPEN: Duration = Duration::from_secs(25);
const TIMEOUT: Duration = Duration::from_secs(40);
/// A question that came to nothing is asked again after this; the second time in a row ends receiving.
const AGAIN: Duration = Duration::from_secs(1);

/// What Telegram is asked for. Reactions and what becomes of the bot itself only come when they are named.
pub(crate) const WANTED: [AllowedUpdate; 5] = [
    AllowedUpdate::Message,
    AllowedUpdate::EditedMessage,
    AllowedUpdate::CallbackQuery,
    AllowedUpdate::MessageReaction,
    AllowedUpdate::MyChatMember,
];

/// Receives until something is wrong that waiting a second does not mend.
pub(crate) async fn poll(intake: &Arc<Intake>, hook: &Hook, inbox: &Arc<dyn Inbox>) -> Result<(), String> {
    let me = intake.ask_me().await?;
    warn_of_privacy(&me, intake.respond);
    let mut confirm: Option<i64> = None;
    let mut failed_before = false;
    loop {
        let mut params = json!({ "timeout": OPEN.as_secs(), "limit": 100, "allowed_updates": WANTED });
        if let (Some(offset), Some(params)) = (confirm, params.as_object_mut()) {
            params.insert("offset".into(), offset.into());
        }
        match intake.api.call("getUpdates", &params, TIMEOUT).await {
            Answer::Done(Value::Array(updates)) => {
                failed_before = false;
                confirm = take(intake, &me, inbox, updates).await?;
            }
            Answer::Done(_) => return Err("Telegram's answer to getUpdates is no list".to_owned()),
            Answer::Refused(refused) if refused.status == 409 => {
                if failed_before || !refused.words.to_lowercase().contains("webhook") {
                    return Err(conflict());
                }
                failed_before = true;
                hook.remove(&intake.api).await?;
            }
            Answer::Refused(refused) if refused.status == 429 => {
                intake.api.clock.sleep(refused.retry_after.unwrap_or(AGAIN)).await;
            }
            // A question confirms the same again when it is asked again.
            _ if !failed_before => {
                failed_before = true;
                intake.api.clock.sleep(AGAIN).await;
            }
            other => return Err(other.in_words()),
        }
    }
}

/// Says when Telegram will not show what the operator wants taken.
pub(crate) fn warn_of_privacy(me: &Me, respond: Respond) {
    if respond == Respond::All && !me.sees_all {
        tracing::warn!(
            "respond = \"all\", and Telegram shows this bot only what names, commands or answers it: switch its privacy mode off \
             at @BotFather (/setprivacy), and add it to its groups anew"
        );
    }
}

/// Hands a portion in, and says what confirms it; nothing when there was nothing.
async fn take(
    intake: &Arc<Intake>,
    me: &Me,
    inbox: &Arc<dyn Inbox>,
    updates: Vec<Value>,
) -> Result<Option<i64>, String> {
    let number = |update: &Value| update.get("update_id").and_then(Value::as_i64);
    let last = updates.iter().filter_map(number).max();
    if last.is_none() && !updates.is_empty() {
        return Err("updates without update_id: is api_url the Bot API's?".to_owned());
    }
    let items = loop {
        match intake.sorted(inbox, me, &updates).await {
            Ok(items) => break items,
            Err(InboxError::Unavailable { retry_after, .. }) => intake.api.clock.sleep(retry_after).await,
        }
    };
    let mut threads: Vec<Vec<Item>> = Vec::new();
    for item in items {
        match threads.iter_mut().find(|known| known.first().is_some_and(|one| one.thread() == item.thread())) {
            Some(thread) => thread.push(item),
            None => threads.push(vec![item]),
        }
    }
    let mut handing_in = JoinSet::new();
    for thread in threads {
        let (intake, inbox) = (Arc::clone(intake), Arc::clone(inbox));
        handing_in.spawn(async move {
            for item in &thread {
                while let Err(InboxError::Unavailable { retry_after, .. }) = intake.hand_in(&inbox, item).await {
                    intake.api.clock.sleep(retry_after).await;
                }
            }
        });
    }
    while let Some(done) = handing_in.join_next().await {
        done.map_err(|_| "handing in was cut short".to_owned())?;
    }
    Ok(last.map(|last| last.saturating_add(1)))
}

fn conflict() -> String {
    "another program, or a daemon with another store, polls this bot too (409): a bot's updates go to one of them; stop it, or \
     have @BotFather make a new token"
        .to_owned()
}
