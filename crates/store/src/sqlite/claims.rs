//! Claims: who holds which lane, until when. All of it in memory.

use std::time::Duration;

use frontdesk_model::*;
use rusqlite::OptionalExtension;

use super::{
    effects::lane_number,
    lanes::{LaneRow, Redo, Tried},
    rows::{self, id_bytes, place, seq},
    verbs::Memory,
    writer::{Core, Failure},
};

/// Made anew at each opening: that is what voids the leases of a former life.
pub(super) const TEMPORARY: &str = "
    CREATE TEMP TABLE leases (
        lane INTEGER NOT NULL,
        conversation BLOB NOT NULL,
        claim BLOB NOT NULL UNIQUE,
        until INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        replay INTEGER NOT NULL,
        PRIMARY KEY (lane, conversation)
    ) WITHOUT ROWID;
    CREATE INDEX temp.leases_by_end ON leases (until);
    CREATE TEMP TABLE recent (id BLOB PRIMARY KEY, at INTEGER NOT NULL, answer TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX temp.recent_by_time ON recent (at);
";

/// A claim as it is held.
pub(super) struct Held {
    pub(super) lane: Lane,
    pub(super) conversation: ConversationId,
    pub(super) seq: Seq,
    pub(super) turn: Turn,
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn lane_of(number: i64) -> Lane {
    if number == lane_number(Lane::Agent) { Lane::Agent } else { Lane::Deliver }
}

impl Core {
    pub(super) fn claim(&mut self, request: ClaimRequest) -> Result<Claims, Failure> {
        if request.limit == 0 {
            return Err(Failure::Refused("a claim asks for at least one lane".into()));
        }
        let boot = millis(self.clock.boot());
        let now = self.clock.now();
        self.connection.prepare_cached("DELETE FROM temp.leases WHERE until <= ?1")?.execute([boot])?;
        let claims = match self.answered_before::<Vec<ClaimId>>(request.operation, Memory::Process)? {
            Some(ids) => self.claimed_before(&ids)?,
            None => {
                let claims = self.claim_due(request, now, boot)?;
                let ids: Vec<ClaimId> = claims.iter().map(|claim| claim.id).collect();
                self.remember(request.operation, Memory::Process, &ids)?;
                claims
            }
        };
        let next_due = self
            .connection
            .prepare_cached(
                "SELECT not_before FROM lanes l INDEXED BY lanes_with_work
                 WHERE lane = ?1 AND (head > cursor OR redo IS NOT NULL) AND NOT EXISTS
                    (SELECT 1 FROM temp.leases t WHERE t.lane = l.lane AND t.conversation = l.conversation)
                 ORDER BY not_before LIMIT 1",
            )?
            .query_row([lane_number(request.lane)], |row| row.get(0))
            .optional()?
            .map(Timestamp::from_millis);
        Ok(Claims { claims, next_due })
    }

    /// The same claims once more, as far as they are still the caller's.
    pub(super) fn claimed_before(&self, ids: &[ClaimId]) -> Result<Vec<Claim>, Failure> {
        let mut claims = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(held) = self.held(*id)? else { continue };
            let lane = LaneRow::load(&self.connection, held.conversation, held.lane)?;
            claims.extend(self.describe(*id, &held, &lane)?);
        }
        Ok(claims)
    }

    fn claim_due(&self, request: ClaimRequest, now: Timestamp, boot: i64) -> Result<Vec<Claim>, Failure> {
        let due: Vec<ConversationId> = self
            .connection
            .prepare_cached(match request.order {
                ClaimOrder::LongestDue => {
                    "SELECT conversation FROM lanes l INDEXED BY lanes_with_work
                     WHERE lane = ?1 AND not_before <= ?2 AND (head > cursor OR redo IS NOT NULL) AND NOT EXISTS
                        (SELECT 1 FROM temp.leases t WHERE t.lane = l.lane AND t.conversation = l.conversation)
                     ORDER BY not_before LIMIT ?3"
                }
                ClaimOrder::UntriedFirst => {
                    "SELECT conversation FROM lanes l INDEXED BY lanes_with_work
                     WHERE lane = ?1 AND not_before <= ?2 AND (head > cursor OR redo IS NOT NULL) AND NOT EXISTS
                        (SELECT 1 FROM temp.leases t WHERE t.lane = l.lane AND t.conversation = l.conversation)
                     ORDER BY progress IS NOT NULL, not_before LIMIT ?3"
                }
            })?
            .query_map(
                (lane_number(request.lane), now.as_millis(), i64::try_from(request.limit).unwrap_or(i64::MAX)),
                |row| Ok(ConversationId::from_bytes(id_bytes(row, 0)?)),
            )?
            .collect::<Result<_, _>>()?;
        let next = ClaimNext { lane: request.lane, lease: request.lease };
        let mut claims = Vec::with_capacity(due.len());
        for conversation in due {
            claims.extend(self.claim_lane(conversation, next, boot)?);
        }
        Ok(claims)
    }

    /// Claims one lane of a conversation that was changed, if it is due and nobody has it.
    pub(super) fn claim_next(&self, conversation: ConversationId, next: ClaimNext) -> Result<Option<Claim>, Failure> {
        let boot = millis(self.clock.boot());
        self.connection.prepare_cached("DELETE FROM temp.leases WHERE until <= ?1")?.execute([boot])?;
        let due = self
            .connection
            .prepare_cached(
                "SELECT 1 FROM lanes l WHERE conversation = ?1 AND lane = ?2 AND not_before <= ?3
                    AND (head > cursor OR redo IS NOT NULL) AND NOT EXISTS
                    (SELECT 1 FROM temp.leases t WHERE t.lane = l.lane AND t.conversation = l.conversation)",
            )?
            .query_row((conversation.to_bytes(), lane_number(next.lane), self.clock.now().as_millis()), |_| Ok(()))
            .optional()?;
        if due.is_some() { self.claim_lane(conversation, next, boot) } else { Ok(None) }
    }

    fn claim_lane(&self, conversation: ConversationId, next: ClaimNext, boot: i64) -> Result<Option<Claim>, Failure> {
        let lane = LaneRow::load(&self.connection, conversation, next.lane)?;
        let Some(held) = self.next_event(conversation, next.lane, &lane)? else { return Ok(None) };
        let mut random = [0u8; 16];
        getrandom::fill(&mut random).map_err(|error| Failure::Refused(format!("no random bytes: {error}")))?;
        let id = ClaimId::from_bytes(random);
        let claim = self.describe(id, &held, &lane)?;
        if claim.is_some() {
            self.hold(id, &held, boot.saturating_add(millis(next.lease)))?;
        }
        Ok(claim)
    }

    fn hold(&self, id: ClaimId, held: &Held, until: i64) -> Result<(), Failure> {
        self.connection
            .prepare_cached(
                "INSERT INTO temp.leases (lane, conversation, claim, until, seq, replay)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((
                lane_number(held.lane),
                held.conversation.to_bytes(),
                id.to_bytes(),
                until,
                place(held.seq),
                held.turn == Turn::Replay,
            ))?;
        Ok(())
    }

    /// Which lanes are held now.
    pub(super) fn leased(&self) -> Result<Vec<(ConversationId, Lane)>, Failure> {
        let leased = self
            .connection
            .prepare_cached("SELECT conversation, lane FROM temp.leases WHERE until > ?1")?
            .query_map([millis(self.clock.boot())], |row| {
                Ok((ConversationId::from_bytes(id_bytes(row, 0)?), lane_of(row.get(1)?)))
            })?
            .collect::<Result<_, _>>()?;
        Ok(leased)
    }

    /// A replay first, else the first event beyond the cursor that wakes the lane.
    fn next_event(&self, conversation: ConversationId, lane: Lane, row: &LaneRow) -> Result<Option<Held>, Failure> {
        if let Some(first) = row.redo.first() {
            return Ok(Some(Held { lane, conversation, seq: first.seq, turn: Turn::Replay }));
        }
        let next = self
            .connection
            .prepare_cached(
                "SELECT seq FROM events WHERE conversation = ?1 AND seq > ?2 AND marks & ?3 <> 0 ORDER BY seq LIMIT 1",
            )?
            .query_row((conversation.to_bytes(), place(row.cursor), lane_number(lane)), |row| seq(row, 0))
            .optional()?;
        if let Some(seq) = next {
            return Ok(Some(Held { lane, conversation, seq, turn: Turn::Next }));
        }
        // Nothing beyond the cursor is for this lane: it is done.
        self.connection
            .prepare_cached("UPDATE lanes SET cursor = head WHERE conversation = ?1 AND lane = ?2")?
            .execute((conversation.to_bytes(), lane_number(lane)))?;
        Ok(None)
    }

    fn describe(&self, id: ClaimId, held: &Held, lane: &LaneRow) -> Result<Option<Claim>, Failure> {
        let connection = &self.connection;
        let Some(conversation) = rows::conversation(connection, held.conversation)? else { return Ok(None) };
        let Some(event) = rows::event(connection, held.conversation, held.seq)? else { return Ok(None) };
        let contact = rows::author(connection, &event.body)?.map(|(contact, _)| contact);
        let delivery = match event.body.message() {
            Some(message) if message.direction == Direction::Outbound => rows::delivery(connection, message.id)?,
            _ => None,
        };
        Ok(Some(Claim {
            id,
            lane: held.lane,
            conversation,
            event,
            turn: held.turn,
            batch_from: lane.batch_from(held.seq, held.turn),
            progress: lane.progress(held.seq, held.turn),
            contact,
            delivery,
        }))
    }

    /// The claim, if it is the lane's and its time is not over.
    pub(super) fn held(&self, claim: ClaimId) -> Result<Option<Held>, Failure> {
        let boot = millis(self.clock.boot());
        let held = self
            .connection
            .prepare_cached("SELECT lane, conversation, seq, replay FROM temp.leases WHERE claim = ?1 AND until > ?2")?
            .query_row((claim.to_bytes(), boot), |row| {
                let turn = if row.get(3)? { Turn::Replay } else { Turn::Next };
                let conversation = ConversationId::from_bytes(id_bytes(row, 1)?);
                Ok(Held { lane: lane_of(row.get(0)?), conversation, seq: seq(row, 2)?, turn })
            })
            .optional()?;
        Ok(held)
    }

    pub(super) fn renew(&mut self, claim: ClaimId, lease: Duration) -> Result<frontdesk_model::Held, Failure> {
        let boot = millis(self.clock.boot());
        let renewed = self
            .connection
            .prepare_cached("UPDATE temp.leases SET until = ?2 WHERE claim = ?1 AND until > ?3")?
            .execute((claim.to_bytes(), boot.saturating_add(millis(lease)), boot))?;
        Ok(if renewed == 1 { frontdesk_model::Held::Yes } else { frontdesk_model::Held::Gone })
    }

    pub(super) fn let_go(&self, claim: ClaimId) -> Result<(), Failure> {
        self.connection.prepare_cached("DELETE FROM temp.leases WHERE claim = ?1")?.execute([claim.to_bytes()])?;
        Ok(())
    }

    /// Moves the lane past its event. An effect of the same verb may move it further or back afterwards. What the lane has
    /// left to do is due since now, so that a backlog lets other conversations in between.
    pub(super) fn advance(&self, held: &Held) -> Result<(), Failure> {
        let mut row = LaneRow::load(&self.connection, held.conversation, held.lane)?;
        match held.turn {
            Turn::Next => row.done_through(held.seq),
            Turn::Replay => row.redo.retain(|redo| redo.seq != held.seq),
        }
        Ok(row.save(&self.connection, held.conversation, held.lane, self.clock.now(), None)?)
    }

    /// Gives the lane back, to be due at the release's moment.
    pub(super) fn park(&self, held: &Held, release: &Release) -> Result<(), Failure> {
        let mut row = LaneRow::load(&self.connection, held.conversation, held.lane)?;
        row.tried.retain(|tried| (tried.seq, tried.turn) != (held.seq, held.turn));
        row.tried.push(Tried { seq: held.seq, turn: held.turn, progress: release.progress });
        Ok(row.save(&self.connection, held.conversation, held.lane, release.until, release.waiting.as_ref())?)
    }

    /// Has the lane do this event once more, before its other events and at once.
    pub(super) fn redo(&self, letter: &DeadLetter) -> Result<(), Failure> {
        let mut row = LaneRow::load(&self.connection, letter.conversation, letter.lane)?;
        if !row.redo.iter().any(|redo| redo.seq == letter.seq) {
            row.redo.push(Redo { seq: letter.seq, batch_from: letter.batch_from });
        }
        Ok(row.save(&self.connection, letter.conversation, letter.lane, self.clock.now(), None)?)
    }
}
