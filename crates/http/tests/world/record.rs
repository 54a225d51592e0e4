//! Every answer that a test gets, written down for the check of the API's description (`tests/openapi.py`) when
//! `FRONTDESK_TEST_RECORD` names a folder for it.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::PathBuf,
    sync::{LazyLock, Mutex},
};

use serde_json::json;

use super::Answer;

static RECORD: LazyLock<Option<Mutex<File>>> = LazyLock::new(|| {
    let folder = PathBuf::from(std::env::var_os("FRONTDESK_TEST_RECORD")?);
    let path = folder.join(format!("answers-{}.jsonl", std::process::id()));
    Some(Mutex::new(OpenOptions::new().create(true).append(true).open(path).unwrap()))
});

/// Writes one answer down. Very large ones are left out: they are like the small ones.
pub fn answer(method: &str, path: &str, answer: &Answer) {
    let Some(file) = RECORD.as_ref().filter(|_| answer.text.len() < 1024 * 1024) else { return };
    let line = json!({
        "method": method, "path": path, "status": answer.status, "headers": answer.headers, "text": answer.text
    });
    writeln!(file.lock().unwrap(), "{line}").unwrap();
}
