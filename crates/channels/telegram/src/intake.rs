//! From an update to the inbox, the same way for both ways of receiving: what is taken of it, in the thread that it belongs to, is
//! handed in, and only then is a press answered.

use std::sync::{Arc, Mutex, PoisonError};

use frontdesk_model::{Envelope, Happening, Inbox, InboxError, Occurrence, ThreadId};
use serde_json::Value;
use teloxide::{payloads::AnswerCallbackQuery, types::CallbackQueryId};

use crate::{
    api::Api,
    config::Respond,
    inbound::{self, Taken, What},
    me::Me,
    moves::Moves,
    place::Place,
    recent::Recent,
};

/// What the parts of a running channel share.
pub(crate) struct Intake {
    pub(crate) api: Arc<Api>,
    pub(crate) respond: Respond,
    pub(crate) moves: Moves,
    pub(crate) recent: Recent,
    me: Mutex<Option<Me>>,
}

/// What is handed in of one update.
pub(crate) struct Item {
    deed: Option<Deed>,
    press: Option<String>,
}

enum Deed {
    Message(Box<Envelope>),
    Happening(Box<Occurrence>),
}

impl Item {
    /// Items of one thread are handed in one after the other.
    pub(crate) fn thread(&self) -> Option<&ThreadId> {
        match self.deed.as_ref()? {
            Deed::Message(envelope) => Some(&envelope.thread),
            Deed::Happening(occurrence) => Some(&occurrence.thread),
        }
    }

    /// Why it could not be read, if it could not.
    pub(crate) fn unreadable(&self) -> Option<&str> {
        match self.deed.as_ref()? {
            Deed::Happening(occurrence) => match &occurrence.what {
                Happening::Unreadable { reason, .. } => Some(reason),
                _ => None,
            },
            Deed::Message(_) => None,
        }
    }
}

impl Intake {
    pub(crate) fn new(api: Arc<Api>, respond: Respond) -> Self {
        Self { api, respond, moves: Moves::default(), recent: Recent::default(), me: Mutex::default() }
    }

    /// Asks who the bot is.
    pub(crate) async fn ask_me(&self) -> Result<Me, String> {
        let me = Me::ask(&self.api).await?;
        *self.me.lock().unwrap_or_else(PoisonError::into_inner) = Some(me.clone());
        Ok(me)
    }

    /// Who the bot is, asked once.
    pub(crate) async fn me(&self) -> Result<Me, String> {
        let known = self.me.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(me) => Ok(me),
            None => self.ask_me().await,
        }
    }

    /// What is handed in of these, in their order.
    ///
    /// # Errors
    /// It cannot be told where a group's messages belong; nothing was taken.
    pub(crate) async fn sorted(
        &self,
        inbox: &Arc<dyn Inbox>,
        me: &Me,
        updates: &[Value],
    ) -> Result<Vec<Item>, InboxError> {
        for update in updates {
            inbound::note_album(update, me, self.respond, &self.recent);
        }
        let mut items = Vec::with_capacity(updates.len());
        for update in updates {
            let Taken { what, press } = inbound::read(update, me, self.respond, &self.recent);
            let deed = match what {
                What::Message(mut envelope) => {
                    envelope.thread = self.belongs(inbox, envelope.thread).await?;
                    Some(Deed::Message(envelope))
                }
                What::Happening(mut occurrence) => {
                    occurrence.thread = self.belongs(inbox, occurrence.thread).await?;
                    if let Happening::Edited { unknown: Some(envelope), .. } = &mut occurrence.what {
                        envelope.thread = occurrence.thread.clone();
                    }
                    Some(Deed::Happening(occurrence))
                }
                What::Moved { old, new, told } => {
                    self.moves.learn(inbox, old, new).await?;
                    Some(Deed::Happening(told))
                }
                What::Nothing(reason) => {
                    let number = update.get("update_id").and_then(Value::as_i64);
                    tracing::debug!(update = number, reason, "an update is not used");
                    None
                }
            };
            if deed.is_some() || press.is_some() {
                items.push(Item { deed, press });
            }
        }
        Ok(items)
    }

    /// The thread that a chat's conversation began in.
    async fn belongs(&self, inbox: &Arc<dyn Inbox>, thread: ThreadId) -> Result<ThreadId, InboxError> {
        let place = Place::of(&thread);
        let first = self.moves.first_called(inbox, place.chat).await?;
        if first == place.chat {
            return Ok(thread);
        }
        Ok(ThreadId::new(Place { chat: first, ..place }.to_string()).unwrap_or(thread))
    }

    /// Hands one in. Returns after it is committed.
    ///
    /// # Errors
    /// It was not taken.
    pub(crate) async fn hand_in(&self, inbox: &Arc<dyn Inbox>, item: &Item) -> Result<(), InboxError> {
        match &item.deed {
            Some(Deed::Message(envelope)) => drop(inbox.accept(Envelope::clone(envelope)).await?),
            Some(Deed::Happening(occurrence)) => {
                if let Some(reason) = item.unreadable() {
                    tracing::warn!(reason, "an update cannot be read; it is kept as it came");
                }
                inbox.note(Occurrence::clone(occurrence)).await?;
            }
            None => {}
        }
        if let Some(press) = item.press.clone() {
            let api = Arc::clone(&self.api);
            // Telegram shows a bar until then (https://core.telegram.org/bots/api#callbackquery). Nothing else depends on it.
            tokio::spawn(async move { drop(api.ask(AnswerCallbackQuery::new(CallbackQueryId(press))).await) });
        }
        Ok(())
    }

    /// Takes what was kept as it came, once more.
    ///
    /// # Errors
    /// It still cannot be read; or it was not taken.
    pub(crate) async fn replay(&self, raw: &str, inbox: &Arc<dyn Inbox>) -> Result<(), String> {
        let update: Value =
            serde_json::from_str(raw).map_err(|_| "it is not JSON, and still cannot be read".to_owned())?;
        let me = self.me().await?;
        let not_now = |InboxError::Unavailable { reason, .. }| reason;
        let items = self.sorted(inbox, &me, std::slice::from_ref(&update)).await.map_err(not_now)?;
        for item in &items {
            if let Some(reason) = item.unreadable() {
                return Err(format!("it still cannot be read: {reason}"));
            }
            self.hand_in(inbox, item).await.map_err(not_now)?;
        }
        Ok(())
    }
}
