//! Who the bot is.

use serde_json::Value;
use teloxide::payloads::GetMe;

use crate::api::{Answer, Api};

/// What Telegram says of the bot (<https://core.telegram.org/bots/api#getme>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Me {
    pub(crate) id: i64,
    /// Without the `@`.
    pub(crate) username: String,
    /// Its privacy mode is off: it is shown everything that is said in its groups.
    pub(crate) sees_all: bool,
    /// It may be added to groups. `None` where the server does not say.
    pub(crate) joins_groups: Option<bool>,
}

impl Me {
    /// Asks Telegram, which also shows whether the token is right.
    pub(crate) async fn ask(api: &Api) -> Result<Self, String> {
        let me = match api.ask(GetMe::new()).await {
            Answer::Done(me) => me,
            Answer::Refused(refused) if matches!(refused.status, 401 | 404) => {
                return Err(format!(
                    "Telegram does not know the token ({}): write the one that @BotFather shows for the bot",
                    refused.status
                ));
            }
            other => return Err(other.in_words()),
        };
        let id = me.get("id").and_then(Value::as_i64).ok_or("Telegram did not say who the bot is")?;
        let flag = |name: &str| me.get(name).and_then(Value::as_bool);
        Ok(Self {
            id,
            username: me.get("username").and_then(Value::as_str).unwrap_or_default().to_owned(),
            sees_all: flag("can_read_all_group_messages").unwrap_or(false),
            joins_groups: flag("can_join_groups"),
        })
    }
}
