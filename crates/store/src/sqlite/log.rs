//! Reading the log: a conversation's messages and events, and the changes of all conversations in their order.
//!
//! A change's position is its row's number. There is one writer, and a transaction's rows are seen all at once, so a higher
//! number is never seen before a lower one. A number that was given up with its transaction was seen by nobody.

use frontdesk_model::*;
use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    effects::MESSAGE,
    keeping,
    mark::Mark,
    rows::{self, parse, place, seq, status},
    writer::Failure,
};

/// So many changes that the filter leaves out are passed in one go: other reads want their turn.
const LOOK: usize = 4096;

/// How much has been taken of a list.
struct Taking {
    take: Take,
    rows: usize,
    bytes: usize,
}

impl Taking {
    fn new(take: Take) -> Result<Self, Failure> {
        if take.rows == 0 {
            return Err(Failure::Refused("take: at least one row".into()));
        }
        Ok(Self { take, rows: 0, bytes: 0 })
    }

    fn is_full(&self) -> bool {
        self.rows >= self.take.rows || (self.rows > 0 && self.bytes > self.take.bytes)
    }

    fn row(&mut self, bytes: usize) {
        self.rows += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// The status of an outbound message.
fn delivery_status(connection: &Connection, body: &EventBody) -> rusqlite::Result<Option<DeliveryStatus>> {
    let Some(message) = body.message().filter(|message| message.direction == Direction::Outbound) else {
        return Ok(None);
    };
    connection
        .prepare_cached("SELECT status FROM messages WHERE id = ?1")?
        .query_row([message.id.to_bytes()], |row| status(row, 0))
        .optional()
        .map(Option::flatten)
}

pub(super) const MESSAGES: &str = "SELECT doc FROM events INDEXED BY events_by_place
    WHERE conversation = ?1 AND seq < ?2 AND marks & ?3 <> 0 ORDER BY seq DESC";
pub(super) const EVENTS: &str = "SELECT doc FROM events WHERE conversation = ?1 AND seq > ?2 ORDER BY seq";

pub(super) fn messages(
    connection: &Connection,
    id: ConversationId,
    before: Option<Seq>,
    take: Take,
) -> Result<Option<Slice<MessageRecord>>, Failure> {
    let mut taking = Taking::new(take)?;
    let view = connection.unchecked_transaction()?;
    let Some(number) = rows::number(&view, id)? else { return Ok(None) };
    let mut statement = view.prepare_cached(MESSAGES)?;
    let mut found = statement.query((number, before.map_or(i64::MAX, place), MESSAGE))?;
    let mut data = Vec::new();
    let mut more = false;
    while let Some(row) = found.next()? {
        if taking.is_full() {
            more = true;
            break;
        }
        let doc = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        taking.row(doc.len());
        let event: Event = parse(doc)?;
        let status = delivery_status(&view, &event.body)?;
        if let EventBody::MessageCreated { message } = event.body {
            data.push(MessageRecord { seq: event.seq, message, status });
        }
    }
    Ok(Some(Slice { data, more }))
}

pub(super) fn events(
    connection: &Connection,
    id: ConversationId,
    after: Seq,
    take: Take,
) -> Result<Option<Slice<Event>>, Failure> {
    let mut taking = Taking::new(take)?;
    let view = connection.unchecked_transaction()?;
    let Some(number) = rows::number(&view, id)? else { return Ok(None) };
    let mut statement = view.prepare_cached(EVENTS)?;
    let mut found = statement.query((number, place(after)))?;
    let mut data = Vec::new();
    let mut more = false;
    while let Some(row) = found.next()? {
        if taking.is_full() {
            more = true;
            break;
        }
        let doc = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        taking.row(doc.len());
        data.push(parse(doc)?);
    }
    Ok(Some(Slice { data, more }))
}

pub(super) fn message(
    connection: &Connection,
    id: MessageId,
) -> Result<Option<(ConversationId, MessageRecord)>, Failure> {
    let view = connection.unchecked_transaction()?;
    let place = view
        .prepare_cached(
            "SELECT c.id, m.seq, m.status, m.conversation FROM messages m
             JOIN conversations c ON c.number = m.conversation WHERE m.id = ?1",
        )?
        .query_row([id.to_bytes()], |row| {
            let conversation = ConversationId::from_bytes(rows::id_bytes(row, 0)?);
            Ok((conversation, seq(row, 1)?, status(row, 2)?, row.get::<_, i64>(3)?))
        })
        .optional()?;
    let Some((conversation, seq, status, number)) = place else { return Ok(None) };
    let event = rows::event(&view, number, seq)?;
    Ok(event.and_then(|event| match event.body {
        EventBody::MessageCreated { message } => Some((conversation, MessageRecord { seq, message, status })),
        _ => None,
    }))
}

/// Some changes. May find none and say that there are more, having passed many that the filter leaves out: go on behind.
pub(super) fn changes(
    connection: &Connection,
    mark: Mark<'_>,
    after: Option<&str>,
    filter: &ChangeFilter,
    take: Take,
) -> Result<Changes, Failure> {
    let mut taking = Taking::new(take)?;
    let view = connection.unchecked_transaction()?;
    let retired = keeping::retired_through(&view)?;
    let end: i64 =
        view.prepare_cached("SELECT coalesce(max(position), 0) FROM events")?.query_row([], |row| row.get(0))?;
    let end = end.max(retired);
    let after = match after {
        Some(text) => mark
            .read(text)
            .map(|[position]| position)
            .filter(|position| *position <= end)
            .ok_or_else(|| Failure::Refused("after: not a position that an answer of this store gave".into()))?,
        None => end,
    };
    let mut statement =
        view.prepare_cached(if filter.conversation.is_some() { CHANGES_OF_ONE } else { ALL_CHANGES })?;
    let mut found = match filter.conversation {
        Some(id) => {
            // No conversation has the number 0.
            let number = rows::number(&view, id)?.unwrap_or(0);
            statement.query((number, last_before(&view, number, after)?))?
        }
        None => statement.query([after])?,
    };
    let (mut data, mut position, mut looked_at) = (Vec::new(), end, 0);
    let mut more = false;
    let mut passed = after;
    while let Some(row) = found.next()? {
        if taking.is_full() || looked_at == LOOK {
            (position, more) = (passed, true);
            break;
        }
        looked_at += 1;
        passed = row.get(0)?;
        if let Some((change, bytes)) = change(&view, row, filter, mark)? {
            taking.row(bytes);
            data.push(change);
        }
    }
    Ok(Changes { data, position: mark.write([position]), more, lost: after < retired })
}

pub(super) const ALL_CHANGES: &str = "SELECT e.position, e.doc, c.channel, c.doc
    FROM events e CROSS JOIN conversations c ON c.number = e.conversation
    WHERE e.position > ?1 ORDER BY e.position";

pub(super) const CHANGES_OF_ONE: &str = "SELECT e.position, e.doc, c.channel, c.doc
    FROM events e CROSS JOIN conversations c ON c.number = e.conversation
    WHERE e.conversation = ?1 AND e.seq > ?2 ORDER BY e.seq";

/// The last event of a conversation that stands at or before a position. A conversation's events stand in their order, so the
/// one is found in the middle of the middle: a long log is not read for its last few.
fn last_before(connection: &Connection, conversation: i64, position: i64) -> Result<i64, Failure> {
    let end = |which: &str| {
        connection
            .prepare_cached(&format!("SELECT coalesce({which}(seq), 0) FROM events WHERE conversation = ?1"))?
            .query_row([conversation], |row| row.get::<_, i64>(0))
    };
    let mut low = (end("min")? - 1).max(0);
    let mut high = end("max")?;
    let mut statement =
        connection.prepare_cached("SELECT position FROM events WHERE conversation = ?1 AND seq = ?2")?;
    while low < high {
        let middle = high - (high - low) / 2;
        let found: i64 = statement.query_row((conversation, middle), |row| row.get(0))?;
        if found <= position {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Ok(low)
}

fn change(
    connection: &Connection,
    row: &Row<'_>,
    filter: &ChangeFilter,
    mark: Mark<'_>,
) -> Result<Option<(LoggedChange, usize)>, Failure> {
    let channel = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
    if !filter.channels.is_empty() && !filter.channels.iter().any(|wanted| wanted.as_str() == channel) {
        return Ok(None);
    }
    let event = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
    let conversation = row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?;
    let bytes = event.len().saturating_add(conversation.len());
    let (event, conversation): (Event, Conversation) = (parse(event)?, parse(conversation)?);
    let status = delivery_status(connection, &event.body)?;
    let (contact, its_bytes) = rows::author(connection, &event.body)?.unzip();
    let change = LoggedChange { conversation, event, status, contact, position: mark.write([row.get(0)?]) };
    Ok(Some((change, bytes.saturating_add(its_bytes.unwrap_or(0)))))
}
