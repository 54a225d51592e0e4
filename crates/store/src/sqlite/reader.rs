//! The reading side: a connection of its own that sees only what is committed.

use std::{
    sync::{Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use frontdesk_model::*;
use rusqlite::{Connection, OptionalExtension, params_from_iter, types::Value};
use tokio::sync::oneshot;

use super::{
    rows::{self, parsed, place, seq, status, word},
    writer::Failure,
};

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// Reads beside the writer, on a thread of its own.
pub(super) struct Reader {
    reads: Mutex<Option<mpsc::Sender<Read>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Reader {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        connection.set_prepared_statement_cache_capacity(32);
        let (reads, waiting) = mpsc::channel::<Read>();
        let thread = thread::Builder::new().name("store-reader".into()).spawn(move || {
            while let Ok(read) = waiting.recv() {
                read(&connection);
            }
        })?;
        Ok(Self { reads: Mutex::new(Some(reads)), thread: Mutex::new(Some(thread)) })
    }

    /// The caller waits for its answer, so no more reads queue up than there are callers.
    pub(super) async fn read<T, E, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Failure: From<E>,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let closed = || StoreError::Unavailable("the store is closed".into());
        let (reply, answer) = oneshot::channel();
        let run: Read = Box::new(move |connection| {
            let _ = reply.send(read(connection).map_err(|error| Failure::from(error).into_store_error()));
        });
        match self.reads.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(reads) => reads.send(run).map_err(|_| closed())?,
            None => return Err(closed()),
        }
        answer.await.map_err(|_| closed())?
    }

    /// Answers what was asked before, and lets go of the file.
    pub(super) fn close(&self) {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.close();
    }
}

fn limited(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn foreign_page() -> Failure {
    Failure::Refused("page: not a page that an answer gave as next".into())
}

fn check_limit(page: &PageRequest) -> Result<(), Failure> {
    if (1..=200).contains(&page.limit) { Ok(()) } else { Err(Failure::Refused("limit: from 1 to 200".into())) }
}

/// Pages go on behind (time, id) of the last row, so that new rows neither shift nor repeat them.
pub(super) fn conversations(
    connection: &Connection,
    filter: &ConversationFilter,
    page: &PageRequest,
) -> Result<Page<Conversation>, Failure> {
    check_limit(page)?;
    let mut sql = String::from("SELECT doc FROM conversations WHERE 1");
    let mut values: Vec<Value> = Vec::new();
    if let Some(status) = filter.status {
        sql.push_str(" AND status = ?");
        values.push(word(&status)?.into());
    }
    if let Some(attention) = filter.attention {
        sql.push_str(" AND attention = ?");
        values.push(word(&attention)?.into());
    }
    if !filter.channels.is_empty() {
        let marks = vec!["?"; filter.channels.len()].join(",");
        sql.push_str(&format!(" AND channel IN ({marks})"));
        values.extend(filter.channels.iter().map(|channel| Value::from(channel.as_str().to_owned())));
    }
    if let Some(page) = &page.page {
        let (at, id) = page.split_once('.').ok_or_else(foreign_page)?;
        let at: i64 = at.parse().map_err(|_| foreign_page())?;
        let id: ConversationId = id.parse().map_err(|_| foreign_page())?;
        sql.push_str(" AND (updated_at, id) < (?, ?)");
        values.push(at.into());
        values.push(id.to_bytes().to_vec().into());
    }
    sql.push_str(" ORDER BY updated_at DESC, id DESC LIMIT ?");
    values.push(limited(page.limit.saturating_add(1)).into());
    let mut data = connection
        .prepare_cached(&sql)?
        .query_map(params_from_iter(values), parsed::<Conversation>)?
        .collect::<Result<Vec<_>, _>>()?;
    let more = data.len() > page.limit;
    data.truncate(page.limit);
    let next = data.last().filter(|_| more).map(|last| format!("{}.{}", last.updated_at.as_millis(), last.id));
    Ok(Page { data, next })
}

pub(super) fn dead_letters(connection: &Connection, page: &PageRequest) -> Result<Page<DeadLetter>, Failure> {
    check_limit(page)?;
    let before = match &page.page {
        Some(page) => page.parse::<DeadLetterId>().map_err(|_| foreign_page())?.to_bytes(),
        None => [0xff; 16],
    };
    let mut data = connection
        .prepare_cached("SELECT doc FROM dead_letters WHERE id < ?1 ORDER BY id DESC LIMIT ?2")?
        .query_map((before, limited(page.limit.saturating_add(1))), parsed::<DeadLetter>)?
        .collect::<Result<Vec<_>, _>>()?;
    let more = data.len() > page.limit;
    data.truncate(page.limit);
    let next = data.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Page { data, next })
}

fn exists(connection: &Connection, id: ConversationId) -> rusqlite::Result<bool> {
    let found = connection
        .prepare_cached("SELECT 1 FROM conversations WHERE id = ?1")?
        .query_row([id.to_bytes()], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

fn record(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<MessageRecord>> {
    let event: Event = parsed(row)?;
    let status = status(row, 1)?;
    Ok(match event.body {
        EventBody::MessageCreated { message } => Some(MessageRecord { seq: event.seq, message, status }),
        _ => None,
    })
}

pub(super) fn messages(
    connection: &Connection,
    id: ConversationId,
    before: Option<Seq>,
    limit: usize,
) -> Result<Option<Vec<MessageRecord>>, Failure> {
    let found = connection
        .prepare_cached(
            "SELECT e.doc, m.status FROM messages m JOIN events e ON e.conversation = m.conversation AND e.seq = m.seq
             WHERE m.conversation = ?1 AND m.seq < ?2 ORDER BY m.seq DESC LIMIT ?3",
        )?
        .query_map((id.to_bytes(), before.map_or(i64::MAX, place), limited(limit)), record)?
        .filter_map(Result::transpose)
        .collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() && !exists(connection, id)? {
        return Ok(None);
    }
    Ok(Some(found))
}

pub(super) fn events(
    connection: &Connection,
    id: ConversationId,
    after: Seq,
    limit: usize,
) -> Result<Option<Vec<Event>>, Failure> {
    let found = connection
        .prepare_cached("SELECT doc FROM events WHERE conversation = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3")?
        .query_map((id.to_bytes(), place(after), limited(limit)), parsed)?
        .collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() && !exists(connection, id)? {
        return Ok(None);
    }
    Ok(Some(found))
}

pub(super) fn message(
    connection: &Connection,
    id: MessageId,
) -> Result<Option<(ConversationId, MessageRecord)>, Failure> {
    let place = connection
        .prepare_cached("SELECT conversation, seq, status FROM messages WHERE id = ?1")?
        .query_row([id.to_bytes()], |row| {
            Ok((ConversationId::from_bytes(rows::id_bytes(row, 0)?), seq(row, 1)?, status(row, 2)?))
        })
        .optional()?;
    let Some((conversation, seq, status)) = place else { return Ok(None) };
    let event = rows::event(connection, conversation, seq)?;
    Ok(event.and_then(|event| match event.body {
        EventBody::MessageCreated { message } => Some((conversation, MessageRecord { seq, message, status })),
        _ => None,
    }))
}
