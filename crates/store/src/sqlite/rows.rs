//! Single rows to and from the model.

use frontdesk_model::*;
use rusqlite::{Connection, OptionalExtension, Row, types::Type};
use serde::{Serialize, de::DeserializeOwned};

/// JSON text of a stored form. The model's types always serialise; were one not to, SQLite would refuse the row.
pub(super) fn json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    let refused = |error: Box<dyn std::error::Error + Send + Sync>| rusqlite::Error::ToSqlConversionFailure(error);
    // Most are smaller: growing on the way up to a conversation's size took a twentieth of the writer's time.
    let mut text = Vec::with_capacity(1024);
    serde_json::to_writer(&mut text, value).map_err(|error| refused(error.into()))?;
    String::from_utf8(text).map_err(|error| refused(error.into()))
}

/// A stored form from its JSON text.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
}

pub(super) fn parsed<T: DeserializeOwned>(row: &Row<'_>) -> rusqlite::Result<T> {
    parse(row.get_ref(0)?.as_str()?)
}

/// SQLite's integers are signed; places in a log are far below the bound.
pub(super) fn place(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

pub(super) fn seq(row: &Row<'_>, column: usize) -> rusqlite::Result<Seq> {
    Ok(Seq(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0)))
}

pub(super) fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A status as its bare JSON word.
pub(super) fn word<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    Ok(json(value)?.trim_matches('"').to_owned())
}

pub(super) fn status(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<DeliveryStatus>> {
    let word: Option<String> = row.get(column)?;
    word.map(|word| parse(&format!("\"{word}\""))).transpose()
}

pub(super) fn conversation(connection: &Connection, id: ConversationId) -> rusqlite::Result<Option<Conversation>> {
    connection
        .prepare_cached("SELECT doc FROM conversations WHERE id = ?1")?
        .query_row([id.to_bytes()], parsed)
        .optional()
}

/// Whether bytes of attachments lie beside the file.
pub(super) fn has_files(connection: &Connection) -> rusqlite::Result<bool> {
    let found = connection.prepare_cached("SELECT 1 FROM meta WHERE name = 'files'")?.query_row([], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

/// The conversation of a thread, and the messages that are known under some keys.
pub(super) fn find(connection: &Connection, thread: &ThreadKey, keys: &[DedupeKey]) -> rusqlite::Result<Found> {
    let conversation = connection
        .prepare_cached("SELECT id FROM conversations WHERE kind = ?1 AND account = ?2 AND thread = ?3")?
        .query_row((thread.kind.as_str(), thread.account.as_str(), thread.thread.as_str()), |row| id_bytes(row, 0))
        .optional()?
        .map(ConversationId::from_bytes);
    let mut known = connection.prepare_cached(
        "SELECT message FROM dedupe WHERE key = ?1 UNION ALL SELECT message FROM also_known WHERE key = ?1 LIMIT 1",
    )?;
    let messages = keys
        .iter()
        .map(|key| Ok(known.query_row([key.0], |row| id_bytes(row, 0)).optional()?.map(MessageId::from_bytes)))
        .collect::<rusqlite::Result<_>>()?;
    Ok(Found { conversation, messages })
}

/// What is remembered under a name.
pub(super) fn recall(connection: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT value FROM remembered WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// What stands for a conversation in other tables.
pub(super) fn number(connection: &Connection, id: ConversationId) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT number FROM conversations WHERE id = ?1")?
        .query_row([id.to_bytes()], |row| row.get(0))
        .optional()
}

pub(super) fn contact(connection: &Connection, id: ContactId) -> rusqlite::Result<Option<Contact>> {
    connection.prepare_cached("SELECT doc FROM contacts WHERE id = ?1")?.query_row([id.to_bytes()], parsed).optional()
}

/// Who said or did it, where a contact did, and how many bytes that takes in the file.
pub(super) fn author(connection: &Connection, body: &EventBody) -> rusqlite::Result<Option<(Contact, usize)>> {
    let Some(id) = body.contact() else { return Ok(None) };
    connection
        .prepare_cached("SELECT doc FROM contacts WHERE id = ?1")?
        .query_row([id.to_bytes()], |row| Ok((parsed(row)?, row.get_ref(0)?.as_str()?.len())))
        .optional()
}

pub(super) fn dead_letter(connection: &Connection, id: DeadLetterId) -> rusqlite::Result<Option<DeadLetter>> {
    connection
        .prepare_cached("SELECT doc FROM dead_letters WHERE id = ?1")?
        .query_row([id.to_bytes()], parsed)
        .optional()
}

/// An event of the conversation with this number.
pub(super) fn event(connection: &Connection, conversation: i64, seq: Seq) -> rusqlite::Result<Option<Event>> {
    connection
        .prepare_cached("SELECT doc FROM events WHERE conversation = ?1 AND seq = ?2")?
        .query_row((conversation, place(seq)), parsed)
        .optional()
}

pub(super) fn parts(connection: &Connection, id: MessageId) -> rusqlite::Result<Vec<Part>> {
    connection
        .prepare_cached("SELECT frozen, state FROM parts WHERE message = ?1 ORDER BY place")?
        .query_map([id.to_bytes()], |row| {
            Ok(Part { frozen: parse(row.get_ref(0)?.as_str()?)?, state: parse(row.get_ref(1)?.as_str()?)? })
        })?
        .collect()
}

pub(super) fn delivery(connection: &Connection, id: MessageId) -> rusqlite::Result<Option<Delivery>> {
    let status = connection
        .prepare_cached("SELECT status FROM messages WHERE id = ?1")?
        .query_row([id.to_bytes()], |row| status(row, 0))
        .optional()?
        .flatten();
    match status {
        Some(status) => Ok(Some(Delivery { status, parts: parts(connection, id)? })),
        None => Ok(None),
    }
}

/// 16 bytes of an id.
pub(super) fn id_bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<[u8; 16]> {
    row.get(column)
}
