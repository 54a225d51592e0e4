//! Whether what the file holds fits together.
//!
//! First the file itself, by SQLite's own check, on a connection and a thread of its own, as that is one long read; then table by
//! table, each step in a read transaction of its own.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use frontdesk_model::*;
use rusqlite::{Connection, ErrorCode, InterruptHandle, OpenFlags, OptionalExtension, Row};
use tokio::sync::watch;

use super::{
    effects::{MESSAGE, WAITS, lane_number},
    mark::Mark,
    reader::Reader,
    record::{More, timer_at},
    rows::{self, id_bytes, parse, seq, status},
    shelf::Shelf,
    writer::Failure,
};
use crate::check::{Following, Standing, disagreement, flaw, name, places};

/// More rows than this are not looked at in one step, whatever was asked for: other reads want their turn.
const MOST_ROWS: usize = 10_000;
/// So long a step waits for the file's own check before it says that there is more.
const PATIENCE: Duration = Duration::from_secs(1);
/// SQLite stops its own check behind so many mistakes.
const FILE_CHECK: &str = "PRAGMA quick_check(100)";

/// How far a pass has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    /// In the log of the conversation behind this number, behind this event; no event: the conversation is done with.
    Conversations(i64, Option<i64>),
    /// Logs by the number of their conversation.
    Logs(i64),
    Messages([u8; 16]),
    Parts([u8; 16]),
    Known([u8; 16]),
    Participants([u8; 16], i64),
    Letters([u8; 16]),
}

/// Before all keys: none is only zeros.
const START: [u8; 16] = [0; 16];

impl Place {
    fn write(self, mark: Mark<'_>) -> String {
        let keyed = |phase, key: [u8; 16], number| {
            let (words, _) = key.as_chunks::<4>();
            let mut numbers = words.iter().map(|word| i64::from(u32::from_be_bytes(*word)));
            let mut next = || numbers.next().unwrap_or(0);
            [phase, next(), next(), next(), next(), number]
        };
        mark.write(match self {
            Self::File => [0; 6],
            Self::Conversations(number, None) => [1, number, 0, 0, 0, 0],
            Self::Conversations(number, Some(behind)) => [1, number, 1, behind, 0, 0],
            Self::Logs(number) => [2, number, 0, 0, 0, 0],
            Self::Messages(key) => keyed(3, key, 0),
            Self::Parts(key) => keyed(4, key, 0),
            Self::Known(key) => keyed(5, key, 0),
            Self::Participants(key, number) => keyed(6, key, number),
            Self::Letters(key) => keyed(7, key, 0),
        })
    }

    fn read(mark: Mark<'_>, text: &str) -> Option<Self> {
        let [phase, a, b, c, d, number] = mark.read(text)?;
        let mut key = START;
        let (words, _) = key.as_chunks_mut::<4>();
        for (word, number) in words.iter_mut().zip([a, b, c, d]) {
            // What is no word of a key is a conversation's number, in the phases without a key.
            *word = u32::try_from(number).unwrap_or(0).to_be_bytes();
        }
        let place = match phase {
            0 => Self::File,
            1 => Self::Conversations(a, (b == 1).then_some(c)),
            2 => Self::Logs(a),
            3 => Self::Messages(key),
            4 => Self::Parts(key),
            5 => Self::Known(key),
            6 => Self::Participants(key, number),
            7 => Self::Letters(key),
            _ => return None,
        };
        (place.write(mark) == text).then_some(place)
    }
}

/// One step of a pass.
pub(super) async fn look(
    reader: &Reader,
    file_check: &FileCheck,
    store_id: &str,
    look: Look,
) -> Result<Looked, StoreError> {
    let mark = Mark::of(store_id);
    if look.resume.as_deref().is_none_or(|text| Place::read(mark, text) == Some(Place::File)) {
        return file_check.step(mark).await;
    }
    let store_id = store_id.to_owned();
    reader.read(move |connection| step(connection, Mark::of(&store_id), &look)).await
}

/// The file's own check.
pub(super) struct FileCheck {
    path: PathBuf,
    running: Mutex<Option<Running>>,
}

struct Running {
    interrupt: InterruptHandle,
    thread: JoinHandle<()>,
    said: watch::Receiver<Option<Said>>,
}

/// The mistakes, or why they are not known.
type Said = Result<Vec<String>, String>;

impl FileCheck {
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), running: Mutex::new(None) }
    }

    fn begun(&self) -> Result<watch::Receiver<Option<Said>>, StoreError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running.as_ref() {
            return Ok(running.said.clone());
        }
        let connection = read_only(&self.path).map_err(|error| unchecked(&error))?;
        let (say, said) = watch::channel(None);
        let interrupt = connection.get_interrupt_handle();
        let thread = thread::Builder::new()
            .name("store-check".into())
            .spawn(move || {
                let found = match quick_check(&connection) {
                    Err(error) if is_damage(&error) => Ok(vec![error.to_string()]),
                    found => found.map_err(|error| error.to_string()),
                };
                drop(connection);
                say.send_replace(Some(found));
            })
            .map_err(|error| unchecked(&error))?;
        *running = Some(Running { interrupt, thread, said: said.clone() });
        Ok(said)
    }

    /// Waits a moment for its end.
    async fn step(&self, mark: Mark<'_>) -> Result<Looked, StoreError> {
        let mut said = self.begun()?;
        let ended = tokio::time::timeout(PATIENCE, said.wait_for(Option::is_some)).await;
        let found = match ended {
            Err(_) => return Ok(Looked { resume: Some(Place::File.write(mark)), ..Looked::default() }),
            Ok(said) => said.ok().and_then(|said| said.clone()),
        };
        self.end();
        let said = match found {
            Some(Ok(said)) => said,
            Some(Err(error)) => return Err(unchecked(&error)),
            None => return Err(unchecked(&"it was broken off")),
        };
        let flaws = said.into_iter().map(|said| flaw(FlawKind::File, None, format!("the file is damaged: {said}")));
        let resume = Some(Place::Conversations(0, None).write(mark));
        Ok(Looked { flaws: flaws.collect(), resume, ..Looked::default() })
    }

    /// Breaks it off, if it is under way, and lets go of the file.
    pub(super) fn end(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { interrupt, thread, .. }) = running {
            interrupt.interrupt();
            let _ = thread.join();
        }
    }
}

impl Drop for FileCheck {
    fn drop(&mut self) {
        self.end();
    }
}

fn unchecked(why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("the file cannot be checked: {why}"))
}

/// So broken that SQLite does not even say how.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

pub(super) fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// What SQLite has to say against the file. It names tables, indexes and pages, and never what stands in them.
pub(super) fn quick_check(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let said: Vec<String> =
        connection.prepare(FILE_CHECK)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(if said == ["ok"] { Vec::new() } else { said })
}

/// One step behind the file's own check.
fn step(connection: &Connection, mark: Mark<'_>, look: &Look) -> Result<Looked, Failure> {
    if look.rows == 0 {
        return Err(Failure::Refused("a check looks at one row at least".into()));
    }
    let from = look.resume.as_deref().and_then(|text| Place::read(mark, text));
    let from = from.ok_or_else(|| Failure::Refused("resume: not a place that an answer of this store gave".into()))?;
    let view = connection.unchecked_transaction()?;
    let mut walk = Walk { view: &view, limit: look.rows.min(MOST_ROWS), found: Looked::default() };
    let next = match from {
        Place::File => Some(Place::Conversations(0, None)),
        Place::Conversations(number, behind) => walk.conversations(number, behind)?.or(Some(Place::Logs(0))),
        Place::Logs(behind) => walk.logs(behind)?.or(Some(Place::Messages(START))),
        Place::Messages(behind) => walk.messages(behind)?.or(Some(Place::Parts(START))),
        Place::Parts(behind) => walk.parts(behind)?.or(Some(Place::Known(START))),
        Place::Known(behind) => walk.known(behind)?.or(Some(Place::Participants(START, 0))),
        Place::Participants(contact, number) => walk.participants(contact, number)?.or(Some(Place::Letters(START))),
        Place::Letters(behind) => walk.letters(behind)?,
    };
    Ok(Looked { resume: next.map(|next| next.write(mark)), ..walk.found })
}

struct Walk<'v> {
    view: &'v Connection,
    limit: usize,
    found: Looked,
}

/// A lane's columns.
struct LaneRow {
    standing: Standing,
    /// One of the two values by which it is looked for.
    can_be_found: bool,
}

impl LaneRow {
    fn read(row: &Row<'_>, lane: Lane, first: usize) -> rusqlite::Result<Self> {
        let more = row.get::<_, Option<String>>(first + 5)?.as_deref().map(parse::<More>).transpose()?;
        let waiting = row.get::<_, Option<String>>(first + 4)?.as_deref().map(parse::<Waiting>).transpose()?;
        let scheduled = row.get::<_, Option<i64>>(first + 2)?.is_some();
        let redo = more.unwrap_or_default().redo.iter().map(|redo| redo.seq).collect();
        let can_be_found = [0, 1].contains(&row.get::<_, i64>(first + 3)?) && (scheduled || waiting.is_none());
        let standing = Standing { lane, cursor: seq(row, first)?, head: seq(row, first + 1)?, redo, scheduled };
        Ok(Self { standing, can_be_found })
    }
}

impl Walk<'_> {
    fn say(&mut self, kind: FlawKind, conversation: Option<ConversationId>, what: impl Into<String>) {
        self.found.flaws.push(flaw(kind, conversation, what));
    }

    fn conversations(&mut self, number: i64, behind: Option<i64>) -> Result<Option<Place>, Failure> {
        let mut left = self.limit;
        let (mut number, mut behind) = (number, behind);
        while left > 0 {
            let next = match behind {
                // Gone meanwhile, or still there.
                Some(_) => CONVERSATION_AT,
                None => CONVERSATION_BEHIND,
            };
            let found = self
                .view
                .prepare_cached(next)?
                .query_row([number], |row| {
                    let heads = Ok(()).and_then(|()| Heads::read(row));
                    Ok((row.get::<_, i64>(0)?, id_bytes(row, 1), heads))
                })
                .optional()?;
            let Some((at, id, heads)) = found else {
                if behind.take().is_some() {
                    continue;
                }
                return Ok(None);
            };
            let id = id.ok().map(ConversationId::from_bytes);
            if behind.is_none() {
                left -= 1;
            }
            number = at;
            let Some((id, heads)) = id.zip(heads.ok()) else {
                self.say(FlawKind::Unreadable, id, "the conversation cannot be read");
                (behind, self.found.conversations) = (None, self.found.conversations + 1);
                continue;
            };
            if behind.is_none() {
                self.head(number, id, &heads)?;
            }
            let looked_at = self.log(number, &heads, behind.unwrap_or(0), left)?;
            left = left.saturating_sub(looked_at.events);
            behind = looked_at.more_behind;
            if behind.is_none() {
                self.found.conversations += 1;
            }
        }
        Ok(Some(Place::Conversations(number, behind)))
    }

    /// The row itself, and what it should be found by.
    fn head(&mut self, number: i64, id: ConversationId, heads: &Heads) -> Result<(), Failure> {
        let Heads { conversation, lanes, .. } = heads;
        if conversation.id != id {
            self.say(FlawKind::Unreadable, Some(id), "the conversation is stored under an id that is not its own");
        }
        let id = Some(id);
        places(conversation, &mut self.found.flaws);
        for lane in lanes {
            lane.standing.judge(conversation, &mut self.found.flaws);
            if !lane.can_be_found {
                let what = format!("the {} lane is marked in a way that nobody looks for", name(lane.standing.lane));
                self.say(FlawKind::Schedule, id, what);
            }
        }
        if !heads.thread_fits {
            self.say(FlawKind::Thread, id, "it is found by another thread than its own");
        }
        if !heads.lists_fit {
            self.say(
                FlawKind::List,
                id,
                "lists show it under a channel, status, owner, attention, assignee or time that is not its own",
            );
        }
        if !heads.timer_fits {
            self.say(FlawKind::List, id, "it is to be woken at another moment than its own");
        }
        for contact in &conversation.participants {
            let (known, takes_part): (bool, bool) = self
                .view
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM contacts WHERE id = ?1),
                        EXISTS (SELECT 1 FROM participants WHERE contact = ?1 AND conversation = ?2)",
                )?
                .query_row((contact.to_bytes(), number), |row| Ok((row.get(0)?, row.get(1)?)))?;
            if !known {
                self.say(FlawKind::Participant, id, format!("{contact} takes part in it, and is not known"));
            }
            if !takes_part {
                self.say(FlawKind::Participant, id, format!("{contact} takes part in it, and is not listed for it"));
            }
        }
        let has_letters: bool = self
            .view
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM dead_letters WHERE conversation = ?1)")?
            .query_row([number], |row| row.get(0))?;
        if conversation.attention == Some(Attention::DeadLetter) && !has_letters {
            self.say(FlawKind::DeadLetter, id, "attention is asked for a dead letter, and it has none");
        }
        Ok(())
    }

    fn log(&mut self, number: i64, heads: &Heads, behind: i64, limit: usize) -> Result<LookedAt, Failure> {
        let conversation = &heads.conversation;
        let id = Some(conversation.id);
        let mut following = Following::behind(conversation, Seq(u64::try_from(behind).unwrap_or(0)));
        let mut statement = self.view.prepare_cached(
            "SELECT position, seq, marks, at, doc FROM events WHERE conversation = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
        )?;
        let mut found = statement.query((number, behind, rows::limited(limit)))?;
        let mut looked_at = LookedAt { events: 0, more_behind: None };
        let (mut last, mut last_position) = (behind, 0_i64);
        while let Some(row) = found.next()? {
            let (position, marks): (i64, i64) = (row.get(0)?, row.get(2)?);
            let at = seq(row, 1)?;
            looked_at.events += 1;
            self.found.events += 1;
            last = row.get(1)?;
            following.comes(at, &mut self.found.flaws);
            if position < last_position {
                self.say(FlawKind::Log, id, format!("event {} was logged before the one before it", at.0));
            }
            last_position = position;
            for LaneRow { standing, .. } in &heads.lanes {
                if marks & lane_number(standing.lane) != 0 && at > standing.head.max(standing.cursor) {
                    let what =
                        format!("event {} is for the {} lane, which does not know of it", at.0, name(standing.lane));
                    self.say(FlawKind::Schedule, id, what);
                }
            }
            let event: Option<Event> = row.get_ref(4)?.as_str().ok().and_then(|doc| parse(doc).ok());
            match event.filter(|event| event.seq == at) {
                Some(event) => self.event(number, conversation, &event, marks)?,
                None => self.say(FlawKind::Unreadable, id, format!("event {} cannot be read", at.0)),
            }
        }
        if looked_at.events == limit {
            looked_at.more_behind = Some(last);
        } else {
            following.ends(&mut self.found.flaws);
        }
        Ok(looked_at)
    }

    fn event(&mut self, number: i64, conversation: &Conversation, event: &Event, marks: i64) -> Result<(), Failure> {
        let id = Some(conversation.id);
        let at = event.seq.0;
        let message = event.body.message();
        if (marks & MESSAGE != 0) != message.is_some() || (marks & WAITS != 0) != event.body.waits_for_answer() {
            self.say(FlawKind::Log, id, format!("event {at} is marked as something that it is not"));
        }
        let Some(message) = message else { return Ok(()) };
        let bytes = |attachment: &Attachment| Some((attachment.id, attachment.stored()?.clone()));
        self.found.stored.extend(message.attachments.iter().filter_map(bytes));
        let will_be_fetched = |fetching: Fetching| (fetching.from..=fetching.through).contains(&event.seq);
        if message.awaits_attachments() && !conversation.fetching.is_some_and(will_be_fetched) {
            self.say(FlawKind::Schedule, id, format!("an attachment of event {at} is to be fetched, and nobody will"));
        }
        let stored = self
            .view
            .prepare_cached("SELECT conversation, seq, status FROM messages WHERE id = ?1")?
            .query_row([message.id.to_bytes()], |row| Ok((row.get::<_, i64>(0)?, seq(row, 1)?, status(row, 2))))
            .optional()?;
        let Some((of, place, status)) = stored else {
            self.say(FlawKind::Message, id, format!("the message of event {at} is not found by its id"));
            return Ok(());
        };
        if (of, place) != (number, event.seq) {
            self.say(FlawKind::Message, id, format!("the message of event {at} is found somewhere else"));
        }
        let is_sent = message.direction == Direction::Outbound && !message.private;
        match status {
            Ok(Some(status)) if is_sent => match rows::parts(self.view, message.id) {
                Ok(parts) => {
                    if let Some(what) = disagreement(status, &parts) {
                        self.say(FlawKind::Delivery, id, format!("the message of event {at} {what}"));
                    }
                }
                Err(_) => self.say(FlawKind::Unreadable, id, format!("the parts of event {at} cannot be read")),
            },
            Ok(None) if !is_sent => {}
            Ok(_) if is_sent => {
                self.say(
                    FlawKind::Delivery,
                    id,
                    format!("of the message of event {at} it is not known what became of it"),
                );
            }
            Ok(_) => self.say(FlawKind::Delivery, id, format!("event {at} is delivered as if it were to be sent")),
            Err(_) => self.say(FlawKind::Unreadable, id, format!("what became of event {at} cannot be read")),
        }
        Ok(())
    }

    /// Logs that belong to nobody.
    fn logs(&mut self, mut behind: i64) -> Result<Option<Place>, Failure> {
        for _ in 0..self.limit {
            let next: Option<i64> = self
                .view
                .prepare_cached(
                    "SELECT min(conversation) FROM events INDEXED BY events_by_place WHERE conversation > ?1",
                )?
                .query_row([behind], |row| row.get(0))?;
            let Some(number) = next else { return Ok(None) };
            let there: bool = self
                .view
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM conversations WHERE number = ?1)")?
                .query_row([number], |row| row.get(0))?;
            if !there {
                self.say(
                    FlawKind::Log,
                    None,
                    format!("there are events of a conversation that is not there (number {number})"),
                );
            }
            behind = number;
        }
        Ok(Some(Place::Logs(behind)))
    }

    /// Rows of a table by their keys: where the next step goes on, if this one was full.
    fn rows<T>(
        &mut self,
        sql: &str,
        behind: [u8; 16],
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
        mut judge: impl FnMut(&mut Self, [u8; 16], T) -> Result<(), Failure>,
    ) -> Result<Option<[u8; 16]>, Failure> {
        let view = self.view;
        let mut statement = view.prepare_cached(sql)?;
        let mut found = statement.query((behind, rows::limited(self.limit)))?;
        let (mut looked_at, mut last) = (0, behind);
        while let Some(row) = found.next()? {
            looked_at += 1;
            last = id_bytes(row, 0)?;
            match read(row) {
                Ok(read) => judge(self, last, read)?,
                Err(_) => self.say(FlawKind::Unreadable, None, "a row of a table cannot be read"),
            }
        }
        Ok((looked_at == self.limit).then_some(last))
    }

    fn messages(&mut self, behind: [u8; 16]) -> Result<Option<Place>, Failure> {
        let of_row = |row: &Row<'_>| {
            let event = row.get_ref(2)?.as_str_or_null()?.and_then(|doc| parse::<Event>(doc).ok());
            let conversation = row.get::<_, Option<[u8; 16]>>(1)?.map(ConversationId::from_bytes);
            Ok((conversation, row.get_ref(2)?.as_str_or_null()?.is_some(), event, row.get::<_, bool>(3)?))
        };
        let next = self.rows(
            "SELECT m.id, c.id, e.doc, m.dedupe IS NULL OR EXISTS (SELECT 1 FROM dedupe d WHERE d.key = m.dedupe AND d.message = m.id)
             FROM messages m LEFT JOIN conversations c ON c.number = m.conversation
             LEFT JOIN events e ON e.conversation = m.conversation AND e.seq = m.seq
             WHERE m.id > ?1 ORDER BY m.id LIMIT ?2",
            behind,
            of_row,
            |walk, key, (conversation, has_event, event, is_known)| {
                let id = MessageId::from_bytes(key);
                let brought = event.as_ref().and_then(|event| event.body.message()).map(|message| message.id);
                if conversation.is_none() || !has_event {
                    walk.say(FlawKind::Message, conversation, format!("{id} leads to an event that is not there"));
                } else if event.is_some() && brought != Some(id) {
                    walk.say(FlawKind::Message, conversation, format!("{id} leads to an event that does not bring it"));
                }
                if !is_known {
                    walk.say(FlawKind::Known, conversation, format!("{id} would not be known if it came again"));
                }
                Ok(())
            },
        )?;
        Ok(next.map(Place::Messages))
    }

    /// What is left of messages that are gone: nothing may be.
    fn parts(&mut self, behind: [u8; 16]) -> Result<Option<Place>, Failure> {
        let next = self.rows(
            "SELECT p.message, max(p.place) + 1 = count(*) AND min(p.place) = 0,
                EXISTS (SELECT 1 FROM messages m WHERE m.id = p.message AND m.status IS NOT NULL),
                (SELECT c.id FROM messages m JOIN conversations c ON c.number = m.conversation WHERE m.id = p.message)
             FROM parts p WHERE p.message > ?1 GROUP BY p.message ORDER BY p.message LIMIT ?2",
            behind,
            |row| Ok((row.get::<_, bool>(1)?, row.get::<_, bool>(2)?, row.get::<_, Option<[u8; 16]>>(3)?)),
            |walk, key, (complete, has_message, conversation)| {
                let (id, conversation) = (MessageId::from_bytes(key), conversation.map(ConversationId::from_bytes));
                if !has_message {
                    walk.say(
                        FlawKind::Delivery,
                        conversation,
                        format!("there are parts of {id}, which is no message to be sent"),
                    );
                } else if !complete {
                    walk.say(FlawKind::Delivery, conversation, format!("a part of {id} is missing"));
                }
                Ok(())
            },
        )?;
        Ok(next.map(Place::Parts))
    }

    fn known(&mut self, behind: [u8; 16]) -> Result<Option<Place>, Failure> {
        let next = self.rows(
            "SELECT d.key, d.message, d.until IS NOT NULL, d.gone IS NOT NULL, c.id,
                EXISTS (SELECT 1 FROM messages m WHERE m.id = d.message AND m.conversation = d.conversation AND m.dedupe = d.key)
             FROM dedupe d LEFT JOIN conversations c ON c.number = d.conversation
             WHERE d.key > ?1 ORDER BY d.key LIMIT ?2",
            behind,
            |row| {
                let conversation = row.get::<_, Option<[u8; 16]>>(4)?.map(ConversationId::from_bytes);
                let message = MessageId::from_bytes(id_bytes(row, 1)?);
                Ok((message, row.get::<_, bool>(2)?, row.get::<_, bool>(3)?, conversation, row.get::<_, bool>(5)?))
            },
            |walk, _, (id, ends, gone, conversation, there)| {
                if ends != gone {
                    walk.say(FlawKind::Known, conversation, format!("that {id} was taken is neither for now nor for ever"));
                } else if !gone && !there {
                    walk.say(FlawKind::Known, conversation, format!("{id} counts as taken, and is not there"));
                }
                Ok(())
            },
        )?;
        Ok(next.map(Place::Known))
    }

    fn participants(&mut self, contact: [u8; 16], number: i64) -> Result<Option<Place>, Failure> {
        let mut statement = self.view.prepare_cached(
            "SELECT p.contact, p.conversation, c.doc FROM participants p LEFT JOIN conversations c ON c.number = p.conversation
             WHERE (p.contact, p.conversation) > (?1, ?2) ORDER BY p.contact, p.conversation LIMIT ?3",
        )?;
        let mut found = statement.query((contact, number, rows::limited(self.limit)))?;
        let (mut looked_at, mut last) = (0, (contact, number));
        let mut flaws = Vec::new();
        while let Some(row) = found.next()? {
            looked_at += 1;
            last = (id_bytes(row, 0)?, row.get(1)?);
            let id = ContactId::from_bytes(last.0);
            let Some(doc) = row.get_ref(2)?.as_str_or_null().ok().flatten() else {
                let what = format!("{id} is listed for a conversation that is not there (number {})", last.1);
                flaws.push(flaw(FlawKind::Participant, None, what));
                continue;
            };
            // One that cannot be read was told of already.
            let Ok(conversation) = parse::<Conversation>(doc) else { continue };
            if !conversation.participants.contains(&id) {
                let what = format!("{id} is listed for it, and takes no part in it");
                flaws.push(flaw(FlawKind::Participant, Some(conversation.id), what));
            }
        }
        self.found.flaws.extend(flaws);
        Ok((looked_at == self.limit).then_some(Place::Participants(last.0, last.1)))
    }

    fn letters(&mut self, behind: [u8; 16]) -> Result<Option<Place>, Failure> {
        let next = self.rows(
            "SELECT l.id, l.doc, l.conversation, c.id FROM dead_letters l LEFT JOIN conversations c ON c.number = l.conversation
             WHERE l.id > ?1 ORDER BY l.id LIMIT ?2",
            behind,
            |row| {
                let letter: DeadLetter = parse(row.get_ref(1)?.as_str()?)?;
                let conversation = row.get::<_, Option<[u8; 16]>>(3)?.map(ConversationId::from_bytes);
                Ok((letter, row.get::<_, i64>(2)?, conversation))
            },
            |walk, key, (letter, number, conversation)| {
                let id = letter.id;
                if id.to_bytes() != key {
                    walk.say(FlawKind::DeadLetter, conversation, format!("{id} is stored under an id that is not its own"));
                }
                if conversation != Some(letter.conversation) {
                    walk.say(FlawKind::DeadLetter, conversation, format!("{id} leads to a conversation that is not there"));
                    return Ok(());
                }
                let event = rows::event(walk.view, number, letter.seq).ok().flatten();
                if event.is_none_or(|event| event.id != letter.event) {
                    walk.say(FlawKind::DeadLetter, conversation, format!("{id} leads to an event that is not there"));
                }
                Ok(())
            },
        )?;
        Ok(next.map(Place::Letters))
    }
}

struct LookedAt {
    events: usize,
    more_behind: Option<i64>,
}

/// A conversation's row.
struct Heads {
    conversation: Conversation,
    lanes: [LaneRow; 2],
    thread_fits: bool,
    lists_fit: bool,
    timer_fits: bool,
}

macro_rules! heads {
    ($condition:literal) => {
        concat!(
            "SELECT number, id, doc, kind, account, thread, channel, shelf, assignee, updated_at, timer_at,
                agent_cursor, agent_head, agent_at, agent_tried, agent_waiting, agent_more,
                deliver_cursor, deliver_head, deliver_at, deliver_tried, deliver_waiting, deliver_more
             FROM conversations WHERE ",
            $condition
        )
    };
}

const CONVERSATION_AT: &str = heads!("number = ?1");
const CONVERSATION_BEHIND: &str = heads!("number > ?1 ORDER BY number LIMIT 1");

impl Heads {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let conversation: Conversation = parse(row.get_ref(2)?.as_str()?)?;
        let text = |column| row.get::<_, Option<String>>(column);
        let moment = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
        let thread = &conversation.thread;
        let of_thread = [thread.kind.as_str(), thread.account.as_str(), thread.thread.as_str()];
        let thread_fits = [text(3)?, text(4)?, text(5)?].iter().map(Option::as_deref).eq(of_thread.map(Some));
        let lists_fit = text(6)?.as_deref() == Some(conversation.channel.as_str())
            && row.get::<_, i64>(7)? == Shelf::of(&conversation).number()
            && text(8)? == conversation.assignee
            && row.get::<_, i64>(9)? == conversation.updated_at.as_millis();
        let timer_fits = row.get::<_, Option<i64>>(10)? == moment(timer_at(&conversation));
        let lanes = [LaneRow::read(row, Lane::Agent, 11)?, LaneRow::read(row, Lane::Deliver, 17)?];
        Ok(Self { conversation, lanes, thread_fits, lists_fit, timer_fits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_not_otherwise() {
        let mark = Mark::of("abcdefgh");
        let key = [255, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let places = [
            Place::File,
            Place::Conversations(7, None),
            Place::Conversations(7, Some(0)),
            Place::Conversations(i64::MAX, Some(9)),
            Place::Logs(7),
            Place::Messages(key),
            Place::Parts(key),
            Place::Known(START),
            Place::Participants(key, 7),
            Place::Letters(key),
        ];
        for place in places {
            let text = place.write(mark);
            assert_eq!(Place::read(mark, &text), Some(place));
            assert_eq!(Place::read(Mark::of("abcdefgi"), &text), None);
            assert_eq!(Place::read(mark, &format!("{text}.0")), None);
        }
        assert_eq!(Place::read(mark, "abcdefgh.8.0.0.0.0.0"), None);
    }
}
