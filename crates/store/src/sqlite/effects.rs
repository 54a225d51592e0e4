//! Guards are checked and effects applied here; nothing is decided.

use frontdesk_model::*;
use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use super::{
    memory::Cache,
    record::{Document, Record},
    rows::{self, json, place, seq, word},
    writer::Failure,
};

/// An event that names a lane and did not wake it, because of the owner, has the lane's bit this much further left.
const PASSED_BY: i64 = 2;
/// An event that brings a message.
pub(super) const MESSAGE: i64 = 16;
/// An event that brings a contact's message that waits for an answer.
pub(super) const WAITS: i64 = 32;

/// The first event behind a place that has one of these marks.
pub(super) const NEXT_MARKED: &str =
    "SELECT seq FROM events WHERE conversation = ?1 AND seq > ?2 AND marks & ?3 <> 0 ORDER BY seq LIMIT 1";

/// A lane as a number: one bit each, `events.marks` holds those that the event woke.
pub(super) fn lane_number(lane: Lane) -> i64 {
    match lane {
        Lane::Agent => 1,
        Lane::Deliver => 2,
    }
}

/// One conversation while effects are applied to it. Written back once, by [`Change::finish`].
pub(super) struct Change<'c> {
    connection: &'c Connection,
    contacts: &'c mut Cache<ContactId, Contact>,
    now: Timestamp,
    pub(super) record: Record,
    document: Document,
    /// Parts that this verb freezes: written with the states that its later effects give them.
    freezing: Option<Freezing>,
    /// The dead letter that the verb ends, if it ends one.
    ending: Option<DeadLetterId>,
    /// The inbound message that the verb takes, if it takes one, and by what it will be known again.
    taking: Option<(MessageId, DedupeKey)>,
}

struct Freezing {
    message: MessageId,
    parts: Vec<(String, PartState)>,
}

/// An event as it is stored, without a copy of its body.
#[derive(Serialize)]
struct StoredEvent<'a> {
    id: EventId,
    seq: Seq,
    at: Timestamp,
    body: &'a EventBody,
}

impl<'c> Change<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        contacts: &'c mut Cache<ContactId, Contact>,
        now: Timestamp,
        record: Record,
    ) -> Self {
        let (document, freezing, ending, taking) = (Document::AsItWas, None, None, None);
        Self { connection, contacts, now, record, document, freezing, ending, taking }
    }

    pub(super) fn taking(mut self, message: MessageId, key: DedupeKey) -> Self {
        self.taking = Some((message, key));
        self
    }

    pub(super) fn ending(mut self, letter: DeadLetterId) -> Self {
        self.ending = Some(letter);
        self
    }

    /// The first guard that does not hold.
    pub(super) fn failed_guard(&self, guards: &[Guard]) -> Result<Option<Guard>, Failure> {
        let conversation = &self.record.conversation;
        for guard in guards {
            let holds = match guard {
                Guard::VersionIs(version) => conversation.version == *version,
                Guard::OwnerIs(owner) => conversation.owner == *owner,
                Guard::NotFrozen(message) => !self.is_frozen(*message)?,
                Guard::SnoozedUntil(moment) => conversation.snoozed_until == Some(*moment),
                Guard::AnswerBy(moment) => conversation.answer_by == Some(*moment),
                Guard::FetchingAt(moment) => conversation.fetching.is_some_and(|fetching| fetching.at == *moment),
            };
            if !holds {
                return Ok(Some(*guard));
            }
        }
        Ok(None)
    }

    fn is_frozen(&self, message: MessageId) -> Result<bool, Failure> {
        if self.record.unfrozen == Some(message) {
            return Ok(false);
        }
        if self.freezing.as_ref().is_some_and(|freezing| freezing.message == message) {
            return Ok(true);
        }
        let found = self
            .connection
            .prepare_cached("SELECT 1 FROM parts WHERE message = ?1 LIMIT 1")?
            .query_row([message.to_bytes()], |_| Ok(()))
            .optional()?;
        Ok(found.is_some())
    }

    pub(super) fn apply(&mut self, effects: &[Effect]) -> Result<(), Failure> {
        effects.iter().try_for_each(|effect| self.apply_one(effect))
    }

    fn apply_one(&mut self, effect: &Effect) -> Result<(), Failure> {
        match effect {
            Effect::Freeze { message, parts } => return self.freeze(*message, parts),
            Effect::SetPart { message, index, state } => return self.set_part(*message, *index, state),
            Effect::SetDelivery { message, status } => return self.set_delivery(*message, *status),
            Effect::AddDeadLetter(letter) => return self.add_dead_letter(letter),
            Effect::Rewrite { event, at, message } => return self.rewrite(*event, *at, message),
            Effect::Know { key, message } => return self.know(*key, *message),
            Effect::AgentDoneThrough(through) => return self.agent_done(*through),
            Effect::AgentFollowsTail => {
                let end = self.record.conversation.last_seq;
                self.record.lane_mut(Lane::Agent).follow_tail(end);
                return Ok(());
            }
            Effect::RewindAgentToUnanswered => return self.rewind(),
            _ => self.document = Document::Changed,
        }
        let conversation = &mut self.record.conversation;
        match effect {
            Effect::Append { id, at, body, wakes, status } => self.append(*id, *at, body, wakes, *status)?,
            Effect::PutParticipant(contact) => self.put_participant(contact)?,
            Effect::AnsweredThrough(through) => self.answered(*through)?,
            Effect::ClearDeadLetterAttention => self.clear_dead_letter_attention()?,
            Effect::BumpVersion => conversation.version.0 += 1,
            Effect::SetChannel(channel) => conversation.channel.clone_from(channel),
            Effect::SetStatus(status) => conversation.status = *status,
            Effect::SetStatusIf { from, to } => {
                if from.contains(&conversation.status) {
                    conversation.status = *to;
                }
            }
            Effect::SetOwner(owner) => conversation.owner = *owner,
            Effect::SetAttention(attention) => conversation.attention = *attention,
            Effect::AddAttention(attention) => {
                conversation.attention.get_or_insert(*attention);
            }
            Effect::ClearAttentionIf(attention) => {
                conversation.attention = conversation.attention.filter(|present| present != attention);
            }
            Effect::SetAssignee(assignee) => conversation.assignee.clone_from(assignee),
            Effect::SetSnooze(until) => conversation.snoozed_until = *until,
            Effect::SetAnswerBy(by) => {
                conversation.answer_by = by.filter(|_| conversation.unanswered_from.is_some());
            }
            Effect::StartAnswerBy { only_if_owner, at } => {
                if conversation.owner == *only_if_owner && conversation.unanswered_from.is_some() {
                    conversation.answer_by.get_or_insert(*at);
                }
            }
            Effect::SetOrigin(origin) => {
                conversation.origin.get_or_insert_with(|| origin.clone());
            }
            Effect::NoteAnswered(at) => {
                conversation.first_answered_at.get_or_insert(*at);
            }
            Effect::SetBatch(batch) => conversation.batch = *batch,
            Effect::MarkUnanswered => {
                conversation.unanswered_from.get_or_insert(conversation.last_seq);
            }
            Effect::NoteDiscarded(messages) => conversation.discarded.extend(messages),
            Effect::ClearDiscarded => conversation.discarded.clear(),
            Effect::MarkFetching { event, at } => {
                let event = event.unwrap_or(conversation.last_seq);
                let before = conversation.fetching;
                conversation.fetching = Some(Fetching {
                    from: before.map_or(event, |fetching| fetching.from.min(event)),
                    through: before.map_or(event, |fetching| fetching.through.max(event)),
                    at: before.map_or(*at, |fetching| fetching.at.min(*at)),
                });
            }
            Effect::SetFetchingAt(at) => {
                if let Some(fetching) = &mut conversation.fetching {
                    fetching.at = *at;
                }
            }
            Effect::FetchedThrough { through, at } => {
                let left = conversation.fetching.filter(|fetching| fetching.through > *through);
                conversation.fetching =
                    left.map(|fetching| Fetching { from: fetching.from.max(through.next()), at: *at, ..fetching });
            }
            Effect::Freeze { .. }
            | Effect::SetPart { .. }
            | Effect::SetDelivery { .. }
            | Effect::AddDeadLetter(_)
            | Effect::Rewrite { .. }
            | Effect::Know { .. }
            | Effect::AgentDoneThrough(_)
            | Effect::AgentFollowsTail
            | Effect::RewindAgentToUnanswered => {}
        }
        Ok(())
    }

    fn append(
        &mut self,
        id: EventId,
        at: Timestamp,
        body: &EventBody,
        wakes: &[Wake],
        status: Option<DeliveryStatus>,
    ) -> Result<(), Failure> {
        let message = body.message();
        let is_sent = message.is_some_and(|message| message.direction == Direction::Outbound && !message.private);
        if is_sent != status.is_some() {
            return Err(Failure::Refused(
                "an outbound message that is no private note has a status, and nothing else has one".into(),
            ));
        }
        let record = &mut self.record;
        let conversation = &mut record.conversation;
        conversation.last_seq = conversation.last_seq.next();
        conversation.updated_at = conversation.updated_at.max(at);
        let (owner, seq) = (conversation.owner, conversation.last_seq);
        let mut marks = if message.is_some() { MESSAGE } else { 0 };
        if body.waits_for_answer() {
            marks |= WAITS;
            record.newest_waiting = Some(seq);
        }
        for wake in wakes {
            let lane = record.lane_mut(wake.lane);
            if wake.only_if_owner.is_none_or(|wanted| wanted == owner) {
                marks |= lane_number(wake.lane);
                lane.wake(seq, at);
            } else {
                marks |= lane_number(wake.lane) << PASSED_BY;
                lane.pass_by(seq);
            }
        }
        self.connection
            .prepare_cached("INSERT INTO events (conversation, seq, marks, at, doc) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute((record.number, place(seq), marks, at.as_millis(), json(&StoredEvent { id, seq, at, body })?))?;
        if let Some(message) = message {
            self.connection
                .prepare_cached(
                    "INSERT INTO messages (id, conversation, seq, status, dedupe) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute((
                    message.id.to_bytes(),
                    record.number,
                    place(seq),
                    status.as_ref().map(word).transpose()?,
                    self.taking.filter(|(taken, _)| *taken == message.id).map(|(_, key)| key.0),
                ))?;
            if status.is_some() {
                record.unfrozen = Some(message.id);
            }
        }
        Ok(())
    }

    fn put_participant(&mut self, contact: &Contact) -> Result<(), Failure> {
        // Most messages come from somebody who has not changed since the last one: the file need not be asked.
        if self.contacts.get(contact.id) != Some(contact) {
            self.connection
                .prepare_cached(
                    "INSERT INTO contacts (id, doc) VALUES (?1, ?2)
                     ON CONFLICT DO UPDATE SET doc = excluded.doc WHERE doc <> excluded.doc",
                )?
                .execute((contact.id.to_bytes(), json(contact)?))?;
            self.contacts.put_changed(contact.id, contact.clone());
        }
        let participants = &mut self.record.conversation.participants;
        if !participants.contains(&contact.id) {
            participants.push(contact.id);
            self.connection
                .prepare_cached("INSERT INTO participants (contact, conversation) VALUES (?1, ?2)")?
                .execute((contact.id.to_bytes(), self.record.number))?;
        }
        Ok(())
    }

    fn answered(&mut self, through: Option<Seq>) -> Result<(), Failure> {
        let waits = match (through, self.record.conversation.unanswered_from) {
            (None, _) | (_, None) => None,
            (Some(through), Some(from)) if from > through => Some(from),
            (Some(through), Some(_)) => self.next_that_waits(through)?,
        };
        let conversation = &mut self.record.conversation;
        conversation.unanswered_from = waits;
        if waits.is_none() {
            conversation.answer_by = None;
        }
        Ok(())
    }

    fn next_that_waits(&self, after: Seq) -> Result<Option<Seq>, Failure> {
        if self.record.newest_waiting.is_some_and(|newest| newest <= after) {
            return Ok(None);
        }
        let found = self
            .connection
            .prepare_cached(NEXT_MARKED)?
            .query_row((self.record.number, place(after), WAITS), |row| seq(row, 0))
            .optional()?;
        Ok(found)
    }

    /// What would have woken the lane while it was off wakes it from here on. What names no lane (a program's own note) stays
    /// nobody's work.
    fn rewind(&mut self) -> Result<(), Failure> {
        let Conversation { unanswered_from, last_seq, updated_at, .. } = self.record.conversation;
        let Some(from) = unanswered_from else {
            self.record.lane_mut(Lane::Agent).follow_tail(last_seq);
            return Ok(());
        };
        self.connection
            .prepare_cached(
                "UPDATE events SET marks = marks | 1 WHERE conversation = ?1 AND seq >= ?2 AND marks & ?3 <> 0",
            )?
            .execute((self.record.number, place(from), lane_number(Lane::Agent) << PASSED_BY))?;
        self.record.lane_mut(Lane::Agent).restart(Seq(from.0.saturating_sub(1)), last_seq, updated_at);
        Ok(())
    }

    /// A lane that this moves is due at once if it has more to do: what it was parked for is done.
    fn agent_done(&mut self, through: Seq) -> Result<(), Failure> {
        if through > self.record.conversation.last_seq {
            return Err(Failure::Refused("the agent lane cannot be done with what is not in the log yet".into()));
        }
        let lane = self.record.lane_mut(Lane::Agent);
        if through > lane.cursor {
            lane.done_through(through, self.now);
        }
        Ok(())
    }

    fn freeze(&mut self, message: MessageId, parts: &[FrozenPart]) -> Result<(), Failure> {
        if parts.is_empty() {
            return Err(Failure::Refused("a message has at least one part".into()));
        }
        if self.is_frozen(message)? {
            return Err(Failure::Refused("the message's parts are frozen already".into()));
        }
        self.write_frozen()?;
        let parts = parts.iter().map(|part| Ok((json(part)?, PartState::Ready))).collect::<rusqlite::Result<_>>()?;
        self.freezing = Some(Freezing { message, parts });
        self.record.unfrozen = self.record.unfrozen.filter(|unfrozen| *unfrozen != message);
        self.set_delivery(message, DeliveryStatus::Sending)
    }

    fn write_frozen(&mut self) -> Result<(), Failure> {
        let Some(Freezing { message, parts }) = self.freezing.take() else { return Ok(()) };
        for ((frozen, state), index) in parts.iter().zip(0_i64..) {
            self.connection
                .prepare_cached("INSERT INTO parts (message, place, frozen, state) VALUES (?1, ?2, ?3, ?4)")?
                .execute((message.to_bytes(), index, frozen, json(state)?))?;
        }
        Ok(())
    }

    fn set_part(&mut self, message: MessageId, index: u16, state: &PartState) -> Result<(), Failure> {
        let none = || Failure::Refused("no such frozen part in this conversation".into());
        if let Some(freezing) = self.freezing.as_mut().filter(|freezing| freezing.message == message) {
            let (_, present) = freezing.parts.get_mut(usize::from(index)).ok_or_else(none)?;
            present.clone_from(state);
            return Ok(());
        }
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE parts SET state = ?3 WHERE message = ?1 AND place = ?2
                 AND EXISTS (SELECT 1 FROM messages WHERE id = ?1 AND conversation = ?4)",
            )?
            .execute((message.to_bytes(), i64::from(index), json(state)?, self.record.number))?;
        if changed == 1 { Ok(()) } else { Err(none()) }
    }

    fn set_delivery(&mut self, message: MessageId, status: DeliveryStatus) -> Result<(), Failure> {
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE messages SET status = ?3 WHERE id = ?1 AND conversation = ?2 AND status IS NOT NULL",
            )?
            .execute((message.to_bytes(), self.record.number, word(&status)?))?;
        if changed == 1 {
            Ok(())
        } else {
            Err(Failure::Refused("no such outbound message in this conversation".into()))
        }
    }

    fn add_dead_letter(&self, letter: &DeadLetter) -> Result<(), Failure> {
        if letter.conversation != self.record.conversation.id {
            return Err(Failure::Refused("the dead letter is of another conversation".into()));
        }
        self.connection
            .prepare_cached("INSERT INTO dead_letters (id, conversation, doc) VALUES (?1, ?2, ?3)")?
            .execute((letter.id.to_bytes(), self.record.number, json(letter)?))?;
        Ok(())
    }

    fn rewrite(&mut self, event: EventId, at: Timestamp, message: &Message) -> Result<(), Failure> {
        let none = || Failure::Refused("no such message in this conversation".into());
        let found = self
            .connection
            .prepare_cached("SELECT seq FROM messages WHERE id = ?1 AND conversation = ?2")?
            .query_row((message.id.to_bytes(), self.record.number), |row| seq(row, 0))
            .optional()?;
        let seq = found.ok_or_else(none)?;
        let body = EventBody::MessageCreated { message: message.clone() };
        let changed = self
            .connection
            .prepare_cached("UPDATE events SET doc = ?3 WHERE conversation = ?1 AND seq = ?2")?
            .execute((self.record.number, place(seq), json(&StoredEvent { id: event, seq, at, body: &body })?))?;
        if changed == 1 { Ok(()) } else { Err(none()) }
    }

    fn know(&self, key: DedupeKey, message: MessageId) -> Result<(), Failure> {
        let known = self
            .connection
            .prepare_cached(
                "INSERT INTO also_known (key, message)
                 SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM messages WHERE id = ?2 AND conversation = ?3)
                 ON CONFLICT DO UPDATE SET message = excluded.message",
            )?
            .execute((key.0, message.to_bytes(), self.record.number));
        known.map(drop).map_err(Failure::from)
    }

    fn clear_dead_letter_attention(&mut self) -> Result<(), Failure> {
        if self.record.conversation.attention != Some(Attention::DeadLetter) {
            return Ok(());
        }
        let ending = self.ending.map_or([0; 16], DeadLetterId::to_bytes);
        let others = self
            .connection
            .prepare_cached("SELECT 1 FROM dead_letters WHERE conversation = ?1 AND id <> ?2 LIMIT 1")?
            .query_row((self.record.number, ending), |_| Ok(()))
            .optional()?;
        if others.is_none() {
            self.record.conversation.attention = None;
        }
        Ok(())
    }

    /// Writes what the effects left to be written.
    pub(super) fn finish(mut self) -> Result<(Applied, Record), Failure> {
        self.write_frozen()?;
        self.record.save(self.connection, self.document)?;
        let Conversation { version, last_seq, .. } = self.record.conversation;
        Ok((Applied::Done { version, last_seq }, self.record))
    }
}

/// A contact, from what is at hand or from the file.
pub(super) fn contact(
    connection: &Connection,
    contacts: &mut Cache<ContactId, Contact>,
    id: ContactId,
) -> rusqlite::Result<Option<Contact>> {
    if let Some(contact) = contacts.get(id) {
        return Ok(Some(contact.clone()));
    }
    let found = rows::contact(connection, id)?;
    if let Some(contact) = &found {
        contacts.put(id, contact.clone());
    }
    Ok(found)
}
