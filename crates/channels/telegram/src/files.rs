//! Files that Telegram keeps (<https://core.telegram.org/bots/api#getfile>).

use frontdesk_model::{LocateError, Located};
use serde_json::Value;
use teloxide::{payloads::GetFile, types::FileId};

use crate::api::{Answer, Api};

/// Where a file is. The address is good for an hour and holds the token.
pub(crate) async fn locate(api: &Api, file_id: &str) -> Result<Located, LocateError> {
    match api.ask(GetFile::new(FileId(file_id.to_owned()))).await {
        Answer::Done(found) => {
            let path = found.get("file_path").and_then(Value::as_str);
            match path.and_then(|path| api.file_url(path)) {
                Some(url) => Ok(Located { url, trusted: true }),
                None => Err(LocateError::Gone(
                    "Telegram does not say where the file is; a Bot API server of your own has to run without --local"
                        .to_owned(),
                )),
            }
        }
        Answer::Refused(refused) if matches!(refused.status, 400 | 403) => Err(LocateError::Gone(format!(
            "Telegram does not give the file to bots ({}); they get files of up to 20 MB",
            refused.words
        ))),
        other => Err(LocateError::Later(other.in_words())),
    }
}
