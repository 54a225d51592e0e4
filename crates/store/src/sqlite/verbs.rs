//! The writing verbs, each inside the transaction that the writer opened.

use frontdesk_model::*;
use rusqlite::{Connection, OptionalExtension};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    effects::{Change, load},
    rows::{self, json, parse, parsed},
    writer::{Core, Failure},
};

/// How long an operation repeats its answer.
const REPEATS_MILLIS: i64 = 10 * 60 * 1000;
/// Old operations are swept once in so many writes.
const SWEEP_EVERY: u32 = 1024;

/// Where operations of a verb are remembered.
#[derive(Clone, Copy)]
pub(super) enum Memory {
    /// In the database: the caller may come again after a restart.
    Stored,
    /// With the leases: the caller cannot outlive the process.
    Process,
}

impl Core {
    pub(super) fn commit_inbound(&mut self, inbound: &CommitInbound) -> Result<Committed, Failure> {
        let known = self
            .connection
            .prepare_cached("SELECT conversation, message FROM dedupe WHERE key = ?1")?
            .query_row([inbound.dedupe.0], |row| Ok((rows::id_bytes(row, 0)?, rows::id_bytes(row, 1)?)))
            .optional()?;
        if let Some((conversation, message)) = known {
            return Ok(Committed::Duplicate {
                conversation: ConversationId::from_bytes(conversation),
                message: MessageId::from_bytes(message),
            });
        }
        self.space.admit()?;
        let thread = &inbound.thread;
        let existing = self
            .connection
            .prepare_cached("SELECT doc FROM conversations WHERE kind = ?1 AND account = ?2 AND thread = ?3")?
            .query_row((thread.kind.as_str(), thread.account.as_str(), thread.thread.as_str()), parsed::<Conversation>)
            .optional()?;
        let conversation = existing.unwrap_or_else(|| new_conversation(inbound));
        let (id, before) = (conversation.id, conversation.last_seq);
        let mut change = Change::new(&self.connection, self.clock.now(), conversation);
        change.apply(&inbound.effects)?;
        let seq = change.conversation.last_seq;
        if seq == before {
            return Err(Failure::Refused("an inbound message adds an event".into()));
        }
        change.write()?;
        self.connection
            .prepare_cached("INSERT INTO dedupe (key, conversation, message) VALUES (?1, ?2, ?3)")?
            .execute((inbound.dedupe.0, id.to_bytes(), inbound.message.to_bytes()))?;
        let claim = inbound.claim.map(|next| self.claim_next(id, next)).transpose()?.flatten().map(Box::new);
        Ok(Committed::New { conversation: id, seq, claim })
    }

    pub(super) fn append(&mut self, append: &Append) -> Result<Applied, Failure> {
        self.repeatable(append.operation, Memory::Stored, |core| {
            if let Some(once) = &append.once
                && let Some(known) = core.known_request(once)?
            {
                return Ok(known);
            }
            core.space.admit()?;
            let Some(conversation) = load(&core.connection, append.conversation)? else {
                return Ok(Applied::NotFound);
            };
            let mut change = Change::new(&core.connection, core.clock.now(), conversation);
            if let Some(failed) = change.failed_guard(&append.guards)? {
                return Ok(Applied::Guarded { failed, version: change.conversation.version });
            }
            change.apply(&append.effects)?;
            let version = change.conversation.version;
            let applied = change.write()?;
            if let Some(once) = &append.once {
                core.keep_request(once, append.conversation, version)?;
            }
            Ok(applied)
        })
    }

    pub(super) fn settle(&mut self, settle: &Settle) -> Result<Settled, Failure> {
        if let Some((applied, next)) =
            self.answered_before::<(Applied, Option<ClaimId>)>(settle.operation, Memory::Process)?
        {
            let next = self.claimed_before(next.as_slice())?.pop().map(Box::new);
            return Ok(Settled { applied, next });
        }
        let (applied, conversation) = self.settle_claim(settle)?;
        let next = match (&applied, conversation, settle.next) {
            (Applied::Done { .. }, Some(conversation), Some(next)) => self.claim_next(conversation, next)?,
            _ => None,
        };
        self.remember(settle.operation, Memory::Process, &(&applied, next.as_ref().map(|claim| claim.id)))?;
        Ok(Settled { applied, next: next.map(Box::new) })
    }

    fn settle_claim(&self, settle: &Settle) -> Result<(Applied, Option<ConversationId>), Failure> {
        let Some(held) = self.held(settle.claim)? else { return Ok((Applied::LeaseLost, None)) };
        let Some(conversation) = load(&self.connection, held.conversation)? else {
            return Ok((Applied::NotFound, None));
        };
        let mut change = Change::new(&self.connection, self.clock.now(), conversation);
        if let Some(failed) = change.failed_guard(&settle.guards)? {
            return Ok((Applied::Guarded { failed, version: change.conversation.version }, None));
        }
        if settle.then == Then::Advance {
            // Before the effects: those that move the lane have the last word.
            self.advance(&held)?;
            self.let_go(settle.claim)?;
        }
        change.apply(&settle.effects)?;
        if settle.effects.is_empty() {
            let Conversation { version, last_seq, .. } = change.conversation;
            return Ok((Applied::Done { version, last_seq }, Some(held.conversation)));
        }
        Ok((change.write()?, Some(held.conversation)))
    }

    pub(super) fn release(&mut self, release: &Release) -> Result<Held, Failure> {
        self.repeatable(release.operation, Memory::Process, |core| {
            let Some(held) = core.held(release.claim)? else { return Ok(Held::Gone) };
            core.let_go(release.claim)?;
            core.park(&held, release)?;
            Ok(Held::Yes)
        })
    }

    pub(super) fn wake(&mut self, waiting: &Waiting) -> Result<u64, Failure> {
        let now = self.clock.now().as_millis();
        let woken = self
            .connection
            .prepare_cached(
                "UPDATE lanes SET not_before = ?2, waiting = NULL
                 WHERE (head > cursor OR redo IS NOT NULL) AND waiting = ?1 AND not_before > ?2",
            )?
            .execute((json(waiting)?, now))?;
        Ok(woken as u64)
    }

    pub(super) fn requeue(&mut self, requeue: &Requeue) -> Result<Applied, Failure> {
        self.repeatable(requeue.operation, Memory::Stored, |core| {
            let Some(letter) = rows::dead_letter(&core.connection, requeue.dead_letter)? else {
                return Ok(Applied::NotFound);
            };
            let Some(conversation) = load(&core.connection, letter.conversation)? else { return Ok(Applied::NotFound) };
            let mut change = Change::new(&core.connection, core.clock.now(), conversation).ending(letter.id);
            if let Some(failed) = change.failed_guard(&requeue.guards)? {
                return Ok(Applied::Guarded { failed, version: change.conversation.version });
            }
            change.apply(&requeue.effects)?;
            core.connection
                .prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?
                .execute([letter.id.to_bytes()])?;
            if requeue.end == DeadLetterEnd::Replay {
                core.redo(&letter)?;
            }
            change.write()
        })
    }

    pub(super) fn master_key(&mut self, candidate: &MasterKey) -> Result<MasterKey, Failure> {
        let connection = &self.connection;
        if let Some(key) = stored_key(connection)? {
            // Nothing is written then: a daemon starts on a full disk too.
            return Ok(key);
        }
        connection
            .prepare_cached("INSERT INTO meta (name, value) VALUES ('master_key', ?1)")?
            .execute([candidate.key.expose().as_slice()])?;
        connection
            .prepare_cached("INSERT INTO meta (name, value) VALUES ('master_key_id', ?1)")?
            .execute([candidate.id.as_str()])?;
        Ok(candidate.clone())
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

    fn keep_request(&self, once: &Once, conversation: ConversationId, version: Version) -> Result<(), Failure> {
        let keep = i64::try_from(once.keep.as_millis()).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO requests (key, fingerprint, until, conversation, version, answer)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((
                once.key,
                once.fingerprint,
                self.clock.now().as_millis().saturating_add(keep),
                conversation.to_bytes(),
                rows::place(Seq(version.0)),
                &once.answer,
            ))?;
        Ok(())
    }

    /// Carries an operation out once; repeated, it gives its first answer. Looked at before any fence.
    fn repeatable<T: Serialize + DeserializeOwned>(
        &mut self,
        operation: OperationId,
        memory: Memory,
        run: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let Some(answer) = self.answered_before(operation, memory)? {
            return Ok(answer);
        }
        let answer = run(self)?;
        self.remember(operation, memory, &answer)?;
        Ok(answer)
    }

    pub(super) fn answered_before<T: DeserializeOwned>(
        &self,
        operation: OperationId,
        memory: Memory,
    ) -> Result<Option<T>, Failure> {
        let look = match memory {
            Memory::Stored => "SELECT answer FROM operations WHERE id = ?1 AND at > ?2",
            Memory::Process => "SELECT answer FROM temp.recent WHERE id = ?1 AND at > ?2",
        };
        let oldest = self.clock.now().as_millis() - REPEATS_MILLIS;
        let before = self
            .connection
            .prepare_cached(look)?
            .query_row((operation.to_bytes(), oldest), |row| row.get::<_, String>(0))
            .optional()?;
        Ok(before.as_deref().map(parse).transpose()?)
    }

    pub(super) fn remember<T: Serialize>(
        &mut self,
        operation: OperationId,
        memory: Memory,
        answer: &T,
    ) -> Result<(), Failure> {
        let keep = match memory {
            Memory::Stored => "INSERT OR REPLACE INTO operations (id, at, answer) VALUES (?1, ?2, ?3)",
            Memory::Process => "INSERT OR REPLACE INTO temp.recent (id, at, answer) VALUES (?1, ?2, ?3)",
        };
        let now = self.clock.now().as_millis();
        self.connection.prepare_cached(keep)?.execute((operation.to_bytes(), now, json(answer)?))?;
        self.sweep(now)
    }

    /// Forgets operations whose time is over, and the oldest of the process when there are too many of them: their
    /// callers got their answers, as nothing lies between them and this thread that could lose one.
    fn sweep(&mut self, now: i64) -> Result<(), Failure> {
        self.unswept += 1;
        if self.unswept < SWEEP_EVERY {
            return Ok(());
        }
        self.unswept = 0;
        let oldest = now - REPEATS_MILLIS;
        self.connection.prepare_cached("DELETE FROM requests WHERE until <= ?1")?.execute([now])?;
        self.connection.prepare_cached("DELETE FROM operations WHERE at <= ?1")?.execute([oldest])?;
        self.connection.prepare_cached("DELETE FROM temp.recent WHERE at <= ?1")?.execute([oldest])?;
        self.connection
            .prepare_cached(
                "DELETE FROM temp.recent WHERE at <
                    (SELECT at FROM temp.recent ORDER BY at DESC LIMIT 1 OFFSET 20000)",
            )?
            .execute([])?;
        Ok(())
    }
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
        participants: Vec::new(),
        last_seq: Seq::ZERO,
        unanswered_from: None,
        answer_by: None,
        first_answered_at: None,
        batch: None,
        discarded: Vec::new(),
        created_at: new.at,
        updated_at: new.at,
    }
}
