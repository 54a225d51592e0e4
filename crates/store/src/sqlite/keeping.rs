//! How things leave the file: by age, and because somebody asked to be forgotten.
//!
//! A pass by age follows the order in which everything was logged, which is nearly that of time. What it takes away, and what an
//! erasure overwrites, is overwritten in the file too (`secure_delete`).

use frontdesk_model::*;
use rusqlite::{Connection, OptionalExtension};

use super::{
    effects::{NEXT_MARKED, WAITS, lane_number},
    mark::Mark,
    record::{Document, Record},
    rows::{self, json, parse, place},
    writer::{Core, Failure},
};

/// Keys of messages that are long gone are forgotten so many at a time.
const FORGET_AT_ONCE: i64 = 1000;
/// What is left of an event's marks when it was erased: nothing that anybody would do or show.
const NO_MARKS: i64 = 0;

/// The last position of which it is known that events up to it may be gone.
pub(super) fn retired_through(connection: &Connection) -> rusqlite::Result<i64> {
    let found = connection
        .prepare_cached("SELECT value FROM meta WHERE name = 'retired_through'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(0))
}

pub(super) fn erasures(connection: &Connection) -> rusqlite::Result<Vec<ContactId>> {
    connection
        .prepare_cached("SELECT contact FROM erasing ORDER BY contact")?
        .query_map([], |row| Ok(ContactId::from_bytes(rows::id_bytes(row, 0)?)))?
        .collect()
}

/// An event that a pass came by.
struct Old {
    position: i64,
    conversation: i64,
    seq: i64,
    at: i64,
}

impl Core {
    pub(super) fn retire(&mut self, retire: &Retire, mark: Mark<'_>) -> Result<Retired, Failure> {
        if retire.events == 0 {
            return Err(Failure::Refused("a pass looks at one event at least".into()));
        }
        let behind = match &retire.resume {
            Some(text) => {
                let [behind] = mark
                    .read(text)
                    .ok_or_else(|| Failure::Refused("resume: not a place that an answer of this store gave".into()))?;
                behind
            }
            None => 0,
        };
        let now = self.clock.now();
        self.connection
            .prepare_cached("DELETE FROM dedupe WHERE key IN (SELECT key FROM dedupe WHERE until <= ?1 LIMIT ?2)")?
            .execute((now.as_millis(), FORGET_AT_ONCE))?;
        let old = self.old_events(behind, retire.events)?;
        let looked_at = old.len();
        let mut retired = Retired::default();
        let mut last = behind;
        let mut over = looked_at < retire.events;
        let until = now.as_millis().saturating_add(retire.known_for_millis);
        let (mut at_hand, mut highest): (Option<Leaving>, Option<i64>) = (None, None);
        for event in old {
            if event.at >= retire.before.as_millis() {
                // What comes behind is newer. A moment in the future is a clock that was wrong: it is passed by.
                if event.at <= now.as_millis() {
                    over = true;
                    break;
                }
                last = event.position;
                continue;
            }
            last = event.position;
            if at_hand.as_ref().is_none_or(|leaving| leaving.record.number != event.conversation) {
                self.put_back(at_hand.take(), &mut retired)?;
                at_hand = self.leaving(event.conversation)?;
            }
            let Some(leaving) = at_hand.as_mut() else { continue };
            if leaving.take_away(&self.connection, &event, until)? {
                retired.events += 1;
                highest = Some(event.position);
            }
        }
        self.put_back(at_hand, &mut retired)?;
        if let Some(highest) = highest {
            self.connection
                .prepare_cached(
                    "INSERT INTO meta (name, value) VALUES ('retired_through', ?1)
                     ON CONFLICT DO UPDATE SET value = max(value, excluded.value)",
                )?
                .execute([highest])?;
        }
        retired.resume = (!over).then(|| mark.write([last]));
        Ok(retired)
    }

    fn old_events(&self, behind: i64, limit: usize) -> Result<Vec<Old>, Failure> {
        let mut statement = self.connection.prepare_cached(
            "SELECT position, conversation, seq, at FROM events WHERE position > ?1 ORDER BY position LIMIT ?2",
        )?;
        let found = statement.query_map((behind, rows::limited(limit)), |row| {
            Ok(Old { position: row.get(0)?, conversation: row.get(1)?, seq: row.get(2)?, at: row.get(3)? })
        })?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    fn record_numbered(&mut self, number: i64) -> Result<Option<Record>, Failure> {
        let id = self
            .connection
            .prepare_cached("SELECT id FROM conversations WHERE number = ?1")?
            .query_row([number], |row| rows::id_bytes(row, 0))
            .optional()?;
        match id {
            Some(id) => self.record(ConversationId::from_bytes(id)),
            None => Ok(None),
        }
    }

    fn leaving(&mut self, number: i64) -> Result<Option<Leaving>, Failure> {
        let Some(record) = self.record_numbered(number)? else { return Ok(None) };
        let mut wanted_from = None;
        for kind in [Lane::Agent, Lane::Deliver] {
            let lane = record.lane(kind);
            let next = if lane.is_behind() {
                next_marked(&self.connection, number, lane.cursor, lane_number(kind))?
            } else {
                None
            };
            wanted_from = [wanted_from, next, lane.first_redone()].into_iter().flatten().min();
        }
        Ok(Some(Leaving { record, wanted_from, changed: false }))
    }

    /// Writes down what is left of a conversation, or takes it away with its contacts.
    fn put_back(&mut self, leaving: Option<Leaving>, retired: &mut Retired) -> Result<(), Failure> {
        let Some(Leaving { mut record, changed, .. }) = leaving else { return Ok(()) };
        if !changed {
            self.memory.records.put(record);
            return Ok(());
        }
        let conversation = &mut record.conversation;
        if conversation.first_seq <= conversation.last_seq {
            if conversation.unanswered_from.is_some_and(|from| from < conversation.first_seq) {
                (conversation.unanswered_from, conversation.answer_by) = (None, None);
            }
            if conversation.attention == Some(Attention::DeadLetter)
                && !has_dead_letters(&self.connection, record.number)?
            {
                record.conversation.attention = None;
            }
            record.save(&self.connection, Document::Changed)?;
            self.memory.records.put_changed(record);
            return Ok(());
        }
        retired.conversations += 1;
        let participants = std::mem::take(&mut conversation.participants);
        self.connection.prepare_cached("DELETE FROM conversations WHERE number = ?1")?.execute([record.number])?;
        for contact in participants {
            self.connection
                .prepare_cached("DELETE FROM participants WHERE contact = ?1 AND conversation = ?2")?
                .execute((contact.to_bytes(), record.number))?;
            self.connection
                .prepare_cached(
                    "DELETE FROM contacts WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM participants WHERE contact = ?1)",
                )?
                .execute([contact.to_bytes()])?;
            self.memory.contacts.forget(contact);
        }
        for lane in [Lane::Agent, Lane::Deliver] {
            self.memory.leases.end((record.conversation.id, lane));
        }
        Ok(())
    }

    pub(super) fn erase(&mut self, erase: Erase) -> Result<Erased, Failure> {
        if erase.events == 0 {
            return Err(Failure::Refused("an erasure looks at one event at least".into()));
        }
        let contact = erase.contact.to_bytes();
        let in_hand: Option<(Option<i64>, i64)> = self
            .connection
            .prepare_cached("SELECT conversation, seq FROM erasing WHERE contact = ?1")?
            .query_row([contact], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if in_hand.is_none() && rows::contact(&self.connection, erase.contact)?.is_none() {
            return Ok(Erased::NotFound);
        }
        let (number, behind) = match in_hand {
            Some((Some(number), behind)) => (number, behind),
            _ => match self.next_to_erase(erase.contact)? {
                Some(number) => (number, 0),
                None => {
                    self.connection.prepare_cached("DELETE FROM contacts WHERE id = ?1")?.execute([contact])?;
                    self.connection.prepare_cached("DELETE FROM erasing WHERE contact = ?1")?.execute([contact])?;
                    self.memory.contacts.forget(erase.contact);
                    return Ok(Erased::Done);
                }
            },
        };
        let note = |conversation: Option<i64>, seq: i64| {
            self.connection
                .prepare_cached("INSERT OR REPLACE INTO erasing (contact, conversation, seq) VALUES (?1, ?2, ?3)")?
                .execute((contact, conversation, seq))
        };
        // First of all: a stop behind any step leaves something that says how to go on.
        note(Some(number), behind)?;
        let Some(mut record) = self.record_numbered(number)? else {
            self.leave(erase.contact, number, None)?;
            return Ok(Erased::More);
        };
        let alone = record.conversation.participants == [erase.contact];
        if alone && behind == 0 {
            self.empty(&mut record)?;
        }
        let (last, done) = self.erase_events(&mut record, erase, alone, behind)?;
        if done {
            self.leave(erase.contact, number, Some(&mut record))?;
        } else {
            self.connection
                .prepare_cached("UPDATE erasing SET seq = ?2 WHERE contact = ?1")?
                .execute((contact, last))?;
        }
        record.save(&self.connection, Document::Changed)?;
        self.memory.records.put_changed(record);
        Ok(Erased::More)
    }

    fn next_to_erase(&self, contact: ContactId) -> Result<Option<i64>, Failure> {
        let found = self
            .connection
            .prepare_cached("SELECT conversation FROM participants WHERE contact = ?1 ORDER BY conversation LIMIT 1")?
            .query_row([contact.to_bytes()], |row| row.get(0))
            .optional()?;
        Ok(found)
    }

    /// The contact takes no part in the conversation any more.
    fn leave(&mut self, contact: ContactId, number: i64, record: Option<&mut Record>) -> Result<(), Failure> {
        self.connection
            .prepare_cached("DELETE FROM participants WHERE contact = ?1 AND conversation = ?2")?
            .execute((contact.to_bytes(), number))?;
        self.connection
            .prepare_cached("UPDATE erasing SET conversation = NULL, seq = 0 WHERE contact = ?1")?
            .execute([contact.to_bytes()])?;
        if let Some(record) = record {
            record.conversation.participants.retain(|participant| *participant != contact);
        }
        Ok(())
    }

    /// Nothing is done for the conversation any more, and nobody finds it by its thread.
    fn empty(&mut self, record: &mut Record) -> Result<(), Failure> {
        let end = record.conversation.last_seq;
        for lane in [Lane::Agent, Lane::Deliver] {
            record.lane_mut(lane).follow_tail(end);
            self.memory.leases.end((record.conversation.id, lane));
        }
        self.connection.prepare_cached("DELETE FROM dead_letters WHERE conversation = ?1")?.execute([record.number])?;
        let id = record.conversation.id;
        let thread = format!("erased:{id}").parse().map_err(|_| Failure::Refused("no thread is named so".into()))?;
        let conversation = &mut record.conversation;
        self.memory.records.forget_thread(&conversation.thread);
        conversation.thread.thread = thread;
        conversation.status = Status::Resolved;
        conversation.version.0 += 1;
        (conversation.subject, conversation.origin) = (None, None);
        (conversation.attention, conversation.snoozed_until, conversation.batch) = (None, None, None);
        (conversation.unanswered_from, conversation.answer_by, conversation.fetching) = (None, None, None);
        conversation.discarded.clear();
        self.connection
            .prepare_cached("UPDATE conversations SET thread = ?2 WHERE number = ?1")?
            .execute((record.number, record.conversation.thread.thread.as_str()))?;
        Ok(())
    }

    /// Answers behind which event to go on, and whether that was the last.
    fn erase_events(
        &mut self,
        record: &mut Record,
        erase: Erase,
        alone: bool,
        behind: i64,
    ) -> Result<(i64, bool), Failure> {
        let found: Vec<(i64, String)> = self
            .connection
            .prepare_cached(
                "SELECT position, doc FROM events WHERE conversation = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
            )?
            .query_map((record.number, behind, rows::limited(erase.events)), |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let done = found.len() < erase.events;
        let mut last = behind;
        for (position, doc) in found {
            let mut event: Event = parse(&doc)?;
            last = place(event.seq);
            let Some(left) = event.body.without(erase.contact, alone) else { continue };
            let message = event.body.message().map(|message| message.id);
            event.body = left;
            self.connection
                .prepare_cached("UPDATE events SET doc = ?2 WHERE position = ?1")?
                .execute((position, json(&event)?))?;
            if let Some(message) = message {
                self.connection
                    .prepare_cached("UPDATE events SET marks = ?2 WHERE position = ?1")?
                    .execute((position, NO_MARKS))?;
                self.forget_message(record, event.seq, message, erase.known_for_millis)?;
            }
        }
        Ok((last, done))
    }

    /// That there was such a message is known by its dedupe key alone.
    fn forget_message(
        &mut self,
        record: &mut Record,
        seq: Seq,
        message: MessageId,
        known_for: i64,
    ) -> Result<(), Failure> {
        let until = self.clock.now().as_millis().saturating_add(known_for);
        drop_message(&self.connection, record.conversation.id, message, until)?;
        drop_dead_letters(&self.connection, record.number, seq)?;
        for lane in [Lane::Agent, Lane::Deliver] {
            record.lane_mut(lane).forget(seq);
            let key = (record.conversation.id, lane);
            if self.memory.leases.of(key, self.boot()).is_some_and(|lease| lease.seq == seq) {
                self.memory.leases.end(key);
            }
        }
        let conversation = &mut record.conversation;
        if conversation.unanswered_from == Some(seq) {
            conversation.unanswered_from = next_marked(&self.connection, record.number, seq, WAITS)?;
            if conversation.unanswered_from.is_none() {
                conversation.answer_by = None;
            }
        }
        if record.newest_waiting == Some(seq) {
            record.newest_waiting = None;
        }
        if record.conversation.attention == Some(Attention::DeadLetter)
            && !has_dead_letters(&self.connection, record.number)?
        {
            record.conversation.attention = None;
        }
        Ok(())
    }
}

/// A conversation from whose front events are taken away.
struct Leaving {
    record: Record,
    /// The first event with which a lane has still something to do.
    wanted_from: Option<Seq>,
    changed: bool,
}

impl Leaving {
    /// Unless something has still to be done with it or before it.
    fn take_away(&mut self, connection: &Connection, old: &Old, until: i64) -> Result<bool, Failure> {
        let seq = Seq(u64::try_from(old.seq).unwrap_or(0));
        let record = &mut self.record;
        if self.wanted_from.is_some_and(|wanted| wanted <= seq) || seq != record.conversation.first_seq {
            return Ok(false);
        }
        let event = rows::event(connection, record.number, seq)?;
        if let Some(message) = event.as_ref().and_then(|event| event.body.message()) {
            drop_message(connection, record.conversation.id, message.id, until)?;
        }
        drop_dead_letters(connection, record.number, seq)?;
        connection.prepare_cached("DELETE FROM events WHERE position = ?1")?.execute([old.position])?;
        record.conversation.first_seq = seq.next();
        self.changed = true;
        Ok(true)
    }
}

/// A message with its parts. That it was taken once is known until then.
fn drop_message(
    connection: &Connection,
    conversation: ConversationId,
    message: MessageId,
    until: i64,
) -> rusqlite::Result<()> {
    let message = message.to_bytes();
    let key: Option<Option<Vec<u8>>> = connection
        .prepare_cached("SELECT dedupe FROM messages WHERE id = ?1")?
        .query_row([message], |row| row.get(0))
        .optional()?;
    if let Some(Some(key)) = key {
        connection.prepare_cached("UPDATE dedupe SET until = ?2, gone = ?3 WHERE key = ?1")?.execute((
            key,
            until,
            conversation.to_bytes(),
        ))?;
    }
    connection.prepare_cached("DELETE FROM also_known WHERE message = ?1")?.execute([message])?;
    connection.prepare_cached("DELETE FROM parts WHERE message = ?1")?.execute([message])?;
    connection.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([message])?;
    Ok(())
}

fn drop_dead_letters(connection: &Connection, conversation: i64, seq: Seq) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM dead_letters WHERE conversation = ?1 AND doc ->> 'seq' = ?2")?
        .execute((conversation, place(seq)))
        .map(drop)
}

fn has_dead_letters(connection: &Connection, conversation: i64) -> rusqlite::Result<bool> {
    let found = connection
        .prepare_cached("SELECT 1 FROM dead_letters WHERE conversation = ?1 LIMIT 1")?
        .query_row([conversation], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

fn next_marked(connection: &Connection, conversation: i64, behind: Seq, marks: i64) -> rusqlite::Result<Option<Seq>> {
    connection
        .prepare_cached(NEXT_MARKED)?
        .query_row((conversation, place(behind), marks), |row| rows::seq(row, 0))
        .optional()
}
