//! Guards are checked and effects applied here; nothing is decided.

use frontdesk_model::*;
use rusqlite::{Connection, OptionalExtension};

use super::{
    lanes::LaneRow,
    rows::{self, json, place, seq, word},
    shelf::Shelf,
    writer::Failure,
};

/// An event that names a lane and did not wake it, because of the owner, has the lane's bit this much further left.
const PASSED_BY: i64 = 2;
/// An event that brings a message.
pub(super) const MESSAGE: i64 = 16;
/// An event that brings a contact's message that waits for an answer.
const WAITS: i64 = 32;

/// A lane as a number, for keys. One bit each: `events.marks` holds those that the event woke.
pub(super) fn lane_number(lane: Lane) -> i64 {
    match lane {
        Lane::Agent => 1,
        Lane::Deliver => 2,
    }
}

/// One conversation while effects are applied to it. Written back once, by [`Change::write`].
pub(super) struct Change<'c> {
    connection: &'c Connection,
    now: Timestamp,
    pub(super) conversation: Conversation,
    /// The dead letter that the verb ends, if it ends one.
    ending: Option<DeadLetterId>,
}

impl<'c> Change<'c> {
    pub(super) fn new(connection: &'c Connection, now: Timestamp, conversation: Conversation) -> Self {
        Self { connection, now, conversation, ending: None }
    }

    pub(super) fn ending(mut self, letter: DeadLetterId) -> Self {
        self.ending = Some(letter);
        self
    }

    /// The first guard that does not hold.
    pub(super) fn failed_guard(&self, guards: &[Guard]) -> Result<Option<Guard>, Failure> {
        for guard in guards {
            let holds = match guard {
                Guard::VersionIs(version) => self.conversation.version == *version,
                Guard::OwnerIs(owner) => self.conversation.owner == *owner,
                Guard::NotFrozen(message) => !self.is_frozen(*message)?,
                Guard::SnoozedUntil(moment) => self.conversation.snoozed_until == Some(*moment),
                Guard::AnswerBy(moment) => self.conversation.answer_by == Some(*moment),
            };
            if !holds {
                return Ok(Some(*guard));
            }
        }
        Ok(None)
    }

    fn is_frozen(&self, message: MessageId) -> Result<bool, Failure> {
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
            Effect::Append { id, at, body, wakes, status } => self.append(*id, *at, body, wakes, *status)?,
            Effect::BumpVersion => self.conversation.version.0 += 1,
            Effect::SetChannel(channel) => self.conversation.channel = channel.clone(),
            Effect::SetStatus(status) => self.conversation.status = *status,
            Effect::SetStatusIf { from, to } => {
                if from.contains(&self.conversation.status) {
                    self.conversation.status = *to;
                }
            }
            Effect::SetOwner(owner) => self.conversation.owner = *owner,
            Effect::SetAttention(attention) => self.conversation.attention = *attention,
            Effect::AddAttention(attention) => {
                self.conversation.attention.get_or_insert(*attention);
            }
            Effect::ClearAttentionIf(attention) => {
                self.conversation.attention = self.conversation.attention.filter(|present| present != attention);
            }
            Effect::ClearDeadLetterAttention => self.clear_dead_letter_attention()?,
            Effect::SetAssignee(assignee) => self.conversation.assignee.clone_from(assignee),
            Effect::SetSnooze(until) => self.conversation.snoozed_until = *until,
            Effect::SetAnswerBy(by) => {
                self.conversation.answer_by = by.filter(|_| self.conversation.unanswered_from.is_some());
            }
            Effect::StartAnswerBy { only_if_owner, at } => {
                let conversation = &mut self.conversation;
                if conversation.owner == *only_if_owner && conversation.unanswered_from.is_some() {
                    conversation.answer_by.get_or_insert(*at);
                }
            }
            Effect::NoteAnswered(at) => {
                self.conversation.first_answered_at.get_or_insert(*at);
            }
            Effect::SetBatch(batch) => self.conversation.batch = *batch,
            Effect::AgentDoneThrough(through) => self.agent_done(*through)?,
            Effect::PutParticipant(contact) => self.put_participant(contact)?,
            Effect::MarkUnanswered => {
                self.conversation.unanswered_from.get_or_insert(self.conversation.last_seq);
            }
            Effect::AnsweredThrough(through) => self.answered(*through)?,
            Effect::RewindAgentToUnanswered => self.rewind()?,
            Effect::AgentFollowsTail => self.follow_tail()?,
            Effect::NoteDiscarded(messages) => self.conversation.discarded.extend(messages),
            Effect::ClearDiscarded => self.conversation.discarded.clear(),
            Effect::Freeze { message, parts } => self.freeze(*message, parts)?,
            Effect::SetPart { message, index, state } => self.set_part(*message, *index, state)?,
            Effect::SetDelivery { message, status } => self.set_delivery(*message, *status)?,
            Effect::AddDeadLetter(letter) => self.add_dead_letter(letter)?,
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
        let is_sent =
            body.message().is_some_and(|message| message.direction == Direction::Outbound && !message.private);
        if is_sent != status.is_some() {
            return Err(Failure::Refused(
                "an outbound message that is no private note has a status, and nothing else has one".into(),
            ));
        }
        let conversation = &mut self.conversation;
        conversation.last_seq = conversation.last_seq.next();
        conversation.updated_at = conversation.updated_at.max(at);
        let event = Event { id, seq: conversation.last_seq, at, body: body.clone() };
        let woken = |wake: &&Wake| wake.only_if_owner.is_none_or(|owner| owner == conversation.owner);
        let bits = |mask: i64, wake: &Wake| mask | lane_number(wake.lane);
        let mask = wakes.iter().filter(woken).fold(0, bits);
        let named = wakes.iter().fold(0, bits);
        let message = if event.body.message().is_some() { MESSAGE } else { 0 };
        let waits = if event.body.waits_for_answer() { WAITS } else { 0 };
        self.connection
            .prepare_cached("INSERT INTO events (conversation, seq, marks, at, doc) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute((
                self.conversation.id.to_bytes(),
                place(event.seq),
                mask | ((named & !mask) << PASSED_BY) | message | waits,
                at.as_millis(),
                json(&event)?,
            ))?;
        if let Some(message) = event.body.message() {
            self.connection
                .prepare_cached("INSERT INTO messages (id, conversation, seq, status) VALUES (?1, ?2, ?3, ?4)")?
                .execute((
                    message.id.to_bytes(),
                    self.conversation.id.to_bytes(),
                    place(event.seq),
                    status.as_ref().map(word).transpose()?,
                ))?;
        }
        for wake in wakes {
            if mask & lane_number(wake.lane) != 0 {
                self.make_due(wake.lane, event.seq, at)?;
            } else {
                self.pass_by(wake.lane, event.seq)?;
            }
        }
        Ok(())
    }

    /// A lane that has work already keeps its time: a parked or leased one is not moved by new work.
    fn make_due(&self, lane: Lane, seq: Seq, at: Timestamp) -> Result<(), Failure> {
        self.connection
            .prepare_cached(
                "INSERT INTO lanes (conversation, lane, cursor, head, not_before) VALUES (?1, ?2, 0, ?3, ?4)
                 ON CONFLICT DO UPDATE SET
                    head = excluded.head,
                    not_before = CASE WHEN head > cursor OR redo IS NOT NULL THEN not_before ELSE excluded.not_before END",
            )?
            .execute((self.conversation.id.to_bytes(), lane_number(lane), place(seq), at.as_millis()))?;
        Ok(())
    }

    /// A lane that is switched off and has nothing left follows the tail.
    fn pass_by(&self, lane: Lane, seq: Seq) -> Result<(), Failure> {
        self.connection
            .prepare_cached(
                "INSERT INTO lanes (conversation, lane, cursor, head, not_before) VALUES (?1, ?2, ?3, ?3, 0)
                 ON CONFLICT DO UPDATE SET
                    cursor = CASE WHEN head > cursor THEN cursor ELSE excluded.cursor END,
                    head = CASE WHEN head > cursor THEN head ELSE excluded.head END",
            )?
            .execute((self.conversation.id.to_bytes(), lane_number(lane), place(seq)))?;
        Ok(())
    }

    fn put_participant(&mut self, contact: &Contact) -> Result<(), Failure> {
        self.connection
            .prepare_cached(
                "INSERT INTO contacts (id, doc) VALUES (?1, ?2)
                 ON CONFLICT DO UPDATE SET doc = excluded.doc WHERE doc <> excluded.doc",
            )?
            .execute((contact.id.to_bytes(), json(contact)?))?;
        if !self.conversation.participants.contains(&contact.id) {
            self.conversation.participants.push(contact.id);
            self.connection
                .prepare_cached("INSERT INTO participants (contact, conversation) VALUES (?1, ?2)")?
                .execute((contact.id.to_bytes(), self.conversation.id.to_bytes()))?;
        }
        Ok(())
    }

    fn answered(&mut self, through: Option<Seq>) -> Result<(), Failure> {
        self.conversation.unanswered_from = match (through, self.conversation.unanswered_from) {
            (None, _) | (_, None) => None,
            (Some(through), Some(from)) if from > through => Some(from),
            (Some(through), Some(_)) => self.next_that_waits(through)?,
        };
        if self.conversation.unanswered_from.is_none() {
            self.conversation.answer_by = None;
        }
        Ok(())
    }

    fn next_that_waits(&self, after: Seq) -> Result<Option<Seq>, Failure> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT seq FROM events WHERE conversation = ?1 AND seq > ?2 AND marks & ?3 <> 0 ORDER BY seq LIMIT 1",
            )?
            .query_row((self.conversation.id.to_bytes(), place(after), WAITS), |row| seq(row, 0))
            .optional()?;
        Ok(found)
    }

    /// What would have woken the lane while it was off wakes it from here on. What names no lane (a program's own note) stays
    /// nobody's work.
    fn rewind(&self) -> Result<(), Failure> {
        let Some(from) = self.conversation.unanswered_from else { return self.follow_tail() };
        let id = self.conversation.id.to_bytes();
        self.connection
            .prepare_cached(
                "UPDATE events SET marks = marks | 1 WHERE conversation = ?1 AND seq >= ?2 AND marks & ?3 <> 0",
            )?
            .execute((id, place(from), lane_number(Lane::Agent) << PASSED_BY))?;
        self.connection
            .prepare_cached(
                "INSERT INTO lanes (conversation, lane, cursor, head, not_before) VALUES (?1, 1, ?2 - 1, ?3, ?4)
                 ON CONFLICT DO UPDATE SET cursor = excluded.cursor, head = excluded.head,
                    not_before = excluded.not_before, waiting = NULL, progress = NULL",
            )?
            .execute((id, place(from), place(self.conversation.last_seq), self.conversation.updated_at.as_millis()))?;
        Ok(())
    }

    fn follow_tail(&self) -> Result<(), Failure> {
        self.connection
            .prepare_cached(
                "INSERT INTO lanes (conversation, lane, cursor, head, not_before) VALUES (?1, 1, ?2, ?2, 0)
                 ON CONFLICT DO UPDATE SET cursor = excluded.cursor, head = excluded.head,
                    waiting = NULL, progress = NULL, redo = NULL",
            )?
            .execute((self.conversation.id.to_bytes(), place(self.conversation.last_seq)))?;
        Ok(())
    }

    /// A lane that this moves is due at once if it has more to do: what it was parked for is done.
    fn agent_done(&self, through: Seq) -> Result<(), Failure> {
        if through > self.conversation.last_seq {
            return Err(Failure::Refused("the agent lane cannot be done with what is not in the log yet".into()));
        }
        let mut row = LaneRow::load(self.connection, self.conversation.id, Lane::Agent)?;
        if through > row.cursor {
            row.done_through(through);
            row.save(self.connection, self.conversation.id, Lane::Agent, self.now, None)?;
        }
        Ok(())
    }

    fn freeze(&self, message: MessageId, parts: &[FrozenPart]) -> Result<(), Failure> {
        if parts.is_empty() {
            return Err(Failure::Refused("a message has at least one part".into()));
        }
        if self.is_frozen(message)? {
            return Err(Failure::Refused("the message's parts are frozen already".into()));
        }
        for (index, part) in parts.iter().enumerate() {
            self.connection
                .prepare_cached("INSERT INTO parts (message, place, frozen, state) VALUES (?1, ?2, ?3, ?4)")?
                .execute((
                    message.to_bytes(),
                    i64::try_from(index).unwrap_or(i64::MAX),
                    json(part)?,
                    json(&PartState::Ready)?,
                ))?;
        }
        self.set_delivery(message, DeliveryStatus::Sending)
    }

    fn set_part(&self, message: MessageId, index: u16, state: &PartState) -> Result<(), Failure> {
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE parts SET state = ?3 WHERE message = ?1 AND place = ?2
                 AND EXISTS (SELECT 1 FROM messages WHERE id = ?1 AND conversation = ?4)",
            )?
            .execute((message.to_bytes(), i64::from(index), json(state)?, self.conversation.id.to_bytes()))?;
        if changed == 1 { Ok(()) } else { Err(Failure::Refused("no such frozen part in this conversation".into())) }
    }

    fn set_delivery(&self, message: MessageId, status: DeliveryStatus) -> Result<(), Failure> {
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE messages SET status = ?3 WHERE id = ?1 AND conversation = ?2 AND status IS NOT NULL",
            )?
            .execute((message.to_bytes(), self.conversation.id.to_bytes(), word(&status)?))?;
        if changed == 1 {
            Ok(())
        } else {
            Err(Failure::Refused("no such outbound message in this conversation".into()))
        }
    }

    fn add_dead_letter(&self, letter: &DeadLetter) -> Result<(), Failure> {
        if letter.conversation != self.conversation.id {
            return Err(Failure::Refused("the dead letter is of another conversation".into()));
        }
        self.connection
            .prepare_cached("INSERT INTO dead_letters (id, conversation, doc) VALUES (?1, ?2, ?3)")?
            .execute((letter.id.to_bytes(), letter.conversation.to_bytes(), json(letter)?))?;
        Ok(())
    }

    fn clear_dead_letter_attention(&mut self) -> Result<(), Failure> {
        if self.conversation.attention != Some(Attention::DeadLetter) {
            return Ok(());
        }
        let ending = self.ending.map_or([0; 16], DeadLetterId::to_bytes);
        let others = self
            .connection
            .prepare_cached("SELECT 1 FROM dead_letters WHERE conversation = ?1 AND id <> ?2 LIMIT 1")?
            .query_row((self.conversation.id.to_bytes(), ending), |_| Ok(()))
            .optional()?;
        if others.is_none() {
            self.conversation.attention = None;
        }
        Ok(())
    }

    /// Writes the conversation itself.
    pub(super) fn write(self) -> Result<Applied, Failure> {
        let conversation = self.conversation;
        let thread = &conversation.thread;
        let timer_at = match (conversation.snoozed_until, conversation.answer_by) {
            (Some(snoozed), Some(answer)) => Some(snoozed.min(answer)),
            (snoozed, answer) => snoozed.or(answer),
        };
        self.connection
            .prepare_cached(
                "INSERT INTO conversations
                    (id, kind, account, thread, channel, shelf, assignee, timer_at, updated_at, doc)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (id) DO UPDATE SET channel = excluded.channel, shelf = excluded.shelf,
                    assignee = excluded.assignee, timer_at = excluded.timer_at, updated_at = excluded.updated_at,
                    doc = excluded.doc",
            )?
            .execute((
                conversation.id.to_bytes(),
                thread.kind.as_str(),
                thread.account.as_str(),
                thread.thread.as_str(),
                conversation.channel.as_str(),
                Shelf::of(&conversation).number(),
                conversation.assignee.as_deref(),
                timer_at.map(Timestamp::as_millis),
                conversation.updated_at.as_millis(),
                json(&conversation)?,
            ))?;
        Ok(Applied::Done { version: conversation.version, last_seq: conversation.last_seq })
    }
}

/// The conversation that a verb names.
pub(super) fn load(connection: &Connection, id: ConversationId) -> Result<Option<Conversation>, Failure> {
    Ok(rows::conversation(connection, id)?)
}
