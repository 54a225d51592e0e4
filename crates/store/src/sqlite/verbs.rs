//! The writing verbs, each inside the transaction that the writer opened.

use frontdesk_model::*;
use rusqlite::{Connection, OptionalExtension};

use super::{
    claims::Just,
    effects::Change,
    memory::Answer,
    record::{Document, Record},
    rows::{self, json},
    writer::{Core, Failure},
};

/// Old requests are swept once in so many new ones, and then twice as many at most: that keeps pace, and no caller waits
/// for a day's worth.
const SWEEP_EVERY: u32 = 1024;

/// What came and is no message is known for so many milliseconds: longer than a platform hands anything in again.
const KNOWN_WITHOUT_MESSAGE: i64 = 8 * 24 * 60 * 60 * 1000;

/// Whether the effects add this message.
fn brings(effects: &[Effect], message: MessageId) -> bool {
    effects.iter().any(|effect| match effect {
        Effect::Append { body, .. } => body.message().is_some_and(|brought| brought.id == message),
        _ => false,
    })
}

impl Core {
    /// A conversation, which is not at hand until it is put back.
    pub(super) fn record(&mut self, id: ConversationId) -> Result<Option<Record>, Failure> {
        match self.memory.records.take(id) {
            Some(record) => Ok(Some(record)),
            None => Ok(Record::load(&self.connection, id)?),
        }
    }

    fn record_of_thread(&mut self, inbound: &CommitInbound) -> Result<Record, Failure> {
        if let Some(record) = self.memory.records.take_thread(&inbound.thread) {
            return Ok(record);
        }
        if let Some(record) = Record::load_thread(&self.connection, &inbound.thread)? {
            return Ok(record);
        }
        self.last_number += 1;
        Ok(Record::new(self.last_number, new_conversation(inbound)))
    }

    pub(super) fn commit_inbound(&mut self, inbound: &CommitInbound) -> Result<Committed, Failure> {
        if let Err(full) = self.space.admit() {
            // What has run already is not said to have been refused.
            return self.taken_before(inbound.dedupe)?.ok_or(full);
        }
        let record = self.record_of_thread(inbound)?;
        let new = self
            .connection
            .prepare_cached(
                "INSERT INTO dedupe (key, conversation, message) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            )?
            .execute((inbound.dedupe.0, record.number, inbound.message.to_bytes()))?;
        if new == 0 {
            if record.is_stored() {
                self.memory.records.put(record);
            }
            let gone = || Failure::Refused("a message known by its key has no conversation".into());
            return self.taken_before(inbound.dedupe)?.ok_or_else(gone);
        }
        let end = record.conversation.last_seq;
        let mut change = Change::new(&self.connection, &mut self.memory.contacts, self.clock.now(), record)
            .taking(inbound.message, inbound.dedupe);
        change.apply(&inbound.effects)?;
        let (_, mut record) = change.finish()?;
        let (conversation, seq) = (record.conversation.id, record.conversation.last_seq);
        if seq == end {
            return Err(Failure::Refused("an inbound message adds an event".into()));
        }
        if !brings(&inbound.effects, inbound.message) {
            // That it was taken is known for a while, as of a message that is gone.
            let until = self.clock.now().as_millis().saturating_add(KNOWN_WITHOUT_MESSAGE);
            self.connection.prepare_cached("UPDATE dedupe SET until = ?2, gone = ?3 WHERE key = ?1")?.execute((
                inbound.dedupe.0,
                until,
                conversation.to_bytes(),
            ))?;
        }
        let just = Just { end, effects: &inbound.effects };
        let claim = match inbound.claim {
            Some(next) => self.claim_next(&mut record, next, just)?.map(Box::new),
            None => None,
        };
        self.memory.records.put_changed(record);
        Ok(Committed::New { conversation, seq, claim })
    }

    fn taken_before(&self, key: DedupeKey) -> Result<Option<Committed>, Failure> {
        let known = self
            .connection
            .prepare_cached(
                "SELECT coalesce(d.gone, c.id), d.message
                 FROM dedupe d LEFT JOIN conversations c ON c.number = d.conversation WHERE d.key = ?1",
            )?
            .query_row([key.0], |row| {
                let conversation = ConversationId::from_bytes(rows::id_bytes(row, 0)?);
                Ok(Committed::Duplicate { conversation, message: MessageId::from_bytes(rows::id_bytes(row, 1)?) })
            })
            .optional()?;
        Ok(known)
    }

    pub(super) fn append(&mut self, append: &Append) -> Result<Applied, Failure> {
        if let Some(before) = self.applied_before(append.operation)? {
            return Ok(before);
        }
        let applied = self.append_once(append)?;
        self.memory.answers.add(append.operation, self.clock.now(), Answer::Applied(applied.clone()));
        Ok(applied)
    }

    fn append_once(&mut self, append: &Append) -> Result<Applied, Failure> {
        if let Some(once) = &append.once
            && let Some(known) = self.known_request(once)?
        {
            return Ok(known);
        }
        self.space.admit()?;
        let Some(record) = self.record(append.conversation)? else { return Ok(Applied::NotFound) };
        let mut change = Change::new(&self.connection, &mut self.memory.contacts, self.clock.now(), record);
        if let Some(failed) = change.failed_guard(&append.guards)? {
            return Ok(guarded(&mut self.memory.records, change.record, failed));
        }
        change.apply(&append.effects)?;
        let (applied, record) = change.finish()?;
        if let Some(once) = &append.once {
            self.keep_request(once, append.conversation, record.conversation.version)?;
        }
        self.memory.records.put_changed(record);
        Ok(applied)
    }

    pub(super) fn settle(&mut self, settle: &Settle) -> Result<Settled, Failure> {
        let now = self.clock.now();
        match self.memory.answers.of(settle.operation, now).cloned() {
            Some(Answer::Settled(applied, next)) => {
                return Ok(Settled { applied, next: self.claimed_before(&next)? });
            }
            Some(_) => return Err(Failure::another_verb()),
            None => {}
        }
        let settled = self.settle_once(settle)?;
        let given = settled.next.iter().map(|claim| claim.id).collect();
        let answer = Answer::Settled(settled.applied.clone(), given);
        self.memory.answers.add(settle.operation, now, answer);
        Ok(settled)
    }

    fn settle_once(&mut self, settle: &Settle) -> Result<Settled, Failure> {
        let without_claim = |applied| Settled { applied, next: Vec::new() };
        let Some((key, lease)) = self.memory.leases.held(settle.claim, self.boot()) else {
            return Ok(without_claim(Applied::LeaseLost));
        };
        let Some(record) = self.record(key.0)? else { return Ok(without_claim(Applied::NotFound)) };
        let (now, end) = (self.clock.now(), record.conversation.last_seq);
        let mut change = Change::new(&self.connection, &mut self.memory.contacts, now, record);
        if let Some(failed) = change.failed_guard(&settle.guards)? {
            return Ok(without_claim(guarded(&mut self.memory.records, change.record, failed)));
        }
        if settle.then == Then::Advance {
            // Before the effects: those that move the lane have the last word. What is left to do is due since now, so that
            // a backlog lets other conversations in between.
            let lane = change.record.lane_mut(key.1);
            match lease.turn {
                Turn::Next => lane.done_through(lease.seq, now),
                Turn::Replay => lane.redone(lease.seq, now),
            }
            self.memory.leases.end(key);
        }
        change.apply(&settle.effects)?;
        let (applied, mut record) = change.finish()?;
        let just = Just { end, effects: &settle.effects };
        let mut next = Vec::new();
        for wanted in &settle.next {
            next.extend(self.claim_next(&mut record, *wanted, just)?);
        }
        let brings = |claim: &Claim, id| claim.event.body.message().is_some_and(|message| message.id == id);
        if let Some(intend) = &settle.intend
            && let Some(claim) =
                next.iter_mut().find(|claim| claim.lane == Lane::Deliver && brings(claim, intend.message))
        {
            let mut change = Change::new(&self.connection, &mut self.memory.contacts, now, record);
            change.apply(&intend.effects())?;
            (_, record) = change.finish()?;
            claim.delivery = rows::delivery(&self.connection, intend.message)?;
        }
        self.memory.records.put_changed(record);
        Ok(Settled { applied, next })
    }

    pub(super) fn release(&mut self, release: &Release) -> Result<Held, Failure> {
        let now = self.clock.now();
        match self.memory.answers.of(release.operation, now) {
            Some(Answer::Released(held)) => return Ok(*held),
            Some(_) => return Err(Failure::another_verb()),
            None => {}
        }
        let held = self.release_once(release)?;
        self.memory.answers.add(release.operation, now, Answer::Released(held));
        Ok(held)
    }

    fn release_once(&mut self, release: &Release) -> Result<Held, Failure> {
        let Some((key, lease)) = self.memory.leases.held(release.claim, self.boot()) else { return Ok(Held::Gone) };
        let Some(mut record) = self.record(key.0)? else { return Ok(Held::Gone) };
        self.memory.leases.end(key);
        record.lane_mut(key.1).park(lease.seq, lease.turn, release);
        record.save(&self.connection, Document::AsItWas)?;
        self.memory.records.put_changed(record);
        Ok(Held::Yes)
    }

    /// Wakes some of those of one lane that wait for this, in the order of their numbers behind `behind`. Answers how many, and
    /// behind which to go on if there are more.
    pub(super) fn wake(&mut self, lane: Lane, waiting: &Waiting, behind: i64) -> Result<(u64, Option<i64>), Failure> {
        let waiting = json(waiting)?;
        let (last_of_some, wake) = match lane {
            Lane::Agent => (LAST_OF_SOME_AGENT, WAKE_AGENT),
            Lane::Deliver => (LAST_OF_SOME_DELIVER, WAKE_DELIVER),
        };
        let (last, found): (Option<i64>, i64) = self
            .connection
            .prepare_cached(last_of_some)?
            .query_row((&waiting, behind, WAKE_AT_ONCE), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let Some(last) = last else { return Ok((0, None)) };
        let now = self.clock.now().as_millis();
        let woken = self.connection.prepare_cached(wake)?.execute((&waiting, now, behind, last))?;
        if woken > 0 {
            self.memory.records.forget_all();
        }
        Ok((woken as u64, (found == WAKE_AT_ONCE).then_some(last)))
    }

    pub(super) fn requeue(&mut self, requeue: &Requeue) -> Result<Applied, Failure> {
        if let Some(before) = self.applied_before(requeue.operation)? {
            return Ok(before);
        }
        let applied = self.requeue_once(requeue)?;
        self.memory.answers.add(requeue.operation, self.clock.now(), Answer::Applied(applied.clone()));
        Ok(applied)
    }

    fn requeue_once(&mut self, requeue: &Requeue) -> Result<Applied, Failure> {
        let Some(letter) = rows::dead_letter(&self.connection, requeue.dead_letter)? else {
            return Ok(Applied::NotFound);
        };
        let Some(record) = self.record(letter.conversation)? else { return Ok(Applied::NotFound) };
        let now = self.clock.now();
        let mut change = Change::new(&self.connection, &mut self.memory.contacts, now, record).ending(letter.id);
        if let Some(failed) = change.failed_guard(&requeue.guards)? {
            return Ok(guarded(&mut self.memory.records, change.record, failed));
        }
        change.apply(&requeue.effects)?;
        self.connection.prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?.execute([letter.id.to_bytes()])?;
        if requeue.end == DeadLetterEnd::Replay {
            change.record.lane_mut(letter.lane).redo(&letter, now);
        }
        let (applied, record) = change.finish()?;
        self.memory.records.put_changed(record);
        Ok(applied)
    }

    pub(super) fn remember(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        self.connection
            .prepare_cached(
                "INSERT INTO remembered (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
            )?
            .execute((name, value))?;
        Ok(())
    }

    pub(super) fn note_files(&mut self) -> Result<bool, Failure> {
        let changed = self
            .connection
            .prepare_cached("INSERT INTO meta (name, value) VALUES ('files', 1) ON CONFLICT DO NOTHING")?
            .execute([])?;
        Ok(changed == 0)
    }

    pub(super) fn master_key(&mut self, candidate: &MasterKey) -> Result<MasterKey, Failure> {
        if let Some(key) = stored_key(&self.connection)? {
            // Nothing is written then: a daemon starts on a full disk too.
            return Ok(key);
        }
        self.connection
            .prepare_cached("INSERT INTO meta (name, value) VALUES ('master_key', ?1)")?
            .execute([candidate.key.expose().as_slice()])?;
        self.connection
            .prepare_cached("INSERT INTO meta (name, value) VALUES ('master_key_id', ?1)")?
            .execute([candidate.id.as_str()])?;
        Ok(candidate.clone())
    }

    fn applied_before(&self, operation: OperationId) -> Result<Option<Applied>, Failure> {
        match self.memory.answers.of(operation, self.clock.now()) {
            Some(Answer::Applied(applied)) => Ok(Some(applied.clone())),
            Some(_) => Err(Failure::another_verb()),
            None => Ok(None),
        }
    }

    /// What a request that had its effects before is answered.
    fn known_request(&self, once: &Once) -> Result<Option<Applied>, Failure> {
        let known = self
            .connection
            .prepare_cached(
                "SELECT fingerprint, conversation, version, answer FROM requests WHERE key = ?1 AND until > ?2",
            )?
            .query_row((once.key, self.clock.now().as_millis()), |row| {
                let same = row.get::<_, [u8; 32]>(0)? == once.fingerprint;
                let conversation = ConversationId::from_bytes(rows::id_bytes(row, 1)?);
                let version = Version(rows::seq(row, 2)?.0);
                Ok((same, Applied::Repeated { conversation, version, answer: row.get(3)? }))
            })
            .optional()?;
        Ok(known.map(|(same, repeated)| if same { repeated } else { Applied::KeyReused }))
    }

    fn keep_request(&mut self, once: &Once, conversation: ConversationId, version: Version) -> Result<(), Failure> {
        let (now, keep) = (self.clock.now().as_millis(), i64::try_from(once.keep.as_millis()).unwrap_or(i64::MAX));
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO requests (key, fingerprint, until, conversation, version, answer)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((
                once.key,
                once.fingerprint,
                now.saturating_add(keep),
                conversation.to_bytes(),
                rows::place(Seq(version.0)),
                &once.answer,
            ))?;
        self.unswept += 1;
        if self.unswept >= SWEEP_EVERY {
            self.unswept = 0;
            self.connection
                .prepare_cached(
                    "DELETE FROM requests WHERE key IN (SELECT key FROM requests WHERE until <= ?1 LIMIT ?2)",
                )?
                .execute((now, 2 * SWEEP_EVERY))?;
        }
        Ok(())
    }
}

/// No more lanes than this are woken in one step: after a long outage there may be many, and other writes want their turn.
const WAKE_AT_ONCE: i64 = 1000;

pub(super) const LAST_OF_SOME_AGENT: &str = "SELECT max(number), count(*) FROM
    (SELECT number FROM conversations INDEXED BY agent_parked
     WHERE agent_waiting = ?1 AND number > ?2 ORDER BY number LIMIT ?3)";
pub(super) const LAST_OF_SOME_DELIVER: &str = "SELECT max(number), count(*) FROM
    (SELECT number FROM conversations INDEXED BY deliver_parked
     WHERE deliver_waiting = ?1 AND number > ?2 ORDER BY number LIMIT ?3)";
pub(super) const WAKE_AGENT: &str = "UPDATE conversations INDEXED BY agent_parked
    SET agent_at = ?2, agent_waiting = NULL
    WHERE agent_waiting = ?1 AND agent_at > ?2 AND number > ?3 AND number <= ?4";
pub(super) const WAKE_DELIVER: &str = "UPDATE conversations INDEXED BY deliver_parked
    SET deliver_at = ?2, deliver_waiting = NULL
    WHERE deliver_waiting = ?1 AND deliver_at > ?2 AND number > ?3 AND number <= ?4";

/// Nothing changed.
fn guarded(records: &mut super::memory::Records, record: Record, failed: Guard) -> Applied {
    let version = record.conversation.version;
    records.put(record);
    Applied::Guarded { failed, version }
}

fn stored_key(connection: &Connection) -> Result<Option<MasterKey>, Failure> {
    let found = connection
        .prepare_cached(
            "SELECT key.value, name.value FROM meta key, meta name
             WHERE key.name = 'master_key' AND name.name = 'master_key_id'",
        )?
        .query_row([], |row| Ok(MasterKey { key: Secret::new(row.get(0)?), id: row.get(1)? }))
        .optional()?;
    Ok(found)
}

fn new_conversation(inbound: &CommitInbound) -> Conversation {
    let new = &inbound.new;
    Conversation {
        id: new.id,
        channel: new.channel.clone(),
        thread: inbound.thread.clone(),
        status: Status::Open,
        owner: new.owner,
        attention: None,
        assignee: None,
        snoozed_until: None,
        version: Version(0),
        subject: new.subject.clone(),
        origin: None,
        participants: Vec::new(),
        first_seq: Seq::first(),
        last_seq: Seq::ZERO,
        unanswered_from: None,
        answer_by: None,
        fetching: None,
        first_answered_at: None,
        batch: None,
        discarded: Vec::new(),
        created_at: new.at,
        updated_at: new.at,
    }
}
