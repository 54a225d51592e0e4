//! Claims: who holds which lane, until when. All of it in memory.

use std::time::Duration;

use frontdesk_model::*;
use rusqlite::{Connection, OptionalExtension};

use super::{
    effects::lane_number,
    rows::{self, id_bytes, parse, place, seq},
    writer::{Core, Failure},
};

/// Made anew at each opening: that is what voids the leases of a former life.
pub(super) const TEMPORARY: &str = "
    CREATE TEMP TABLE leases (
        lane INTEGER NOT NULL,
        conversation BLOB NOT NULL,
        claim BLOB NOT NULL UNIQUE,
        operation BLOB NOT NULL,
        until INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        replay INTEGER NOT NULL,
        PRIMARY KEY (lane, conversation)
    ) WITHOUT ROWID;
    CREATE INDEX temp.leases_by_end ON leases (until);
    CREATE INDEX temp.leases_by_operation ON leases (operation);
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

/// What a lane's row says of its next event.
struct LaneRow {
    cursor: Seq,
    progress: Progress,
    redo: Vec<Seq>,
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn lane_of(number: i64) -> Lane {
    if number == lane_number(Lane::Agent) { Lane::Agent } else { Lane::Deliver }
}

impl Core {
    pub(super) fn claim(&mut self, request: ClaimRequest) -> Result<Claims, Failure> {
        let boot = millis(self.clock.boot());
        let now = self.clock.now();
        let connection = &self.connection;
        connection.prepare_cached("DELETE FROM temp.leases WHERE until <= ?1")?.execute([boot])?;
        let mut claims = self.claimed_before(request.operation)?;
        if claims.is_empty() {
            claims = self.claim_due(request, now, boot)?;
        }
        let next_due = if claims.len() >= request.limit {
            Some(now)
        } else {
            connection
                .prepare_cached(
                    "SELECT not_before FROM lanes l INDEXED BY lanes_with_work
                     WHERE lane = ?1 AND (head > cursor OR redo IS NOT NULL) AND NOT EXISTS
                        (SELECT 1 FROM temp.leases t WHERE t.lane = l.lane AND t.conversation = l.conversation)
                     ORDER BY not_before LIMIT 1",
                )?
                .query_row([lane_number(request.lane)], |row| row.get(0))
                .optional()?
                .map(Timestamp::from_millis)
        };
        Ok(Claims { claims, next_due })
    }

    fn claimed_before(&self, operation: OperationId) -> Result<Vec<Claim>, Failure> {
        let held: Vec<(ClaimId, Held)> = self
            .connection
            .prepare_cached("SELECT claim, lane, conversation, seq, replay FROM temp.leases WHERE operation = ?1")?
            .query_map([operation.to_bytes()], |row| {
                let turn = if row.get(4)? { Turn::Replay } else { Turn::Next };
                let conversation = ConversationId::from_bytes(id_bytes(row, 2)?);
                let held = Held { lane: lane_of(row.get(1)?), conversation, seq: seq(row, 3)?, turn };
                Ok((ClaimId::from_bytes(id_bytes(row, 0)?), held))
            })?
            .collect::<Result<_, _>>()?;
        let claims = held.into_iter().map(|(id, held)| {
            let progress =
                self.lane_row(held.conversation, held.lane)?.map_or_else(Progress::default, |row| row.progress);
            self.describe(id, &held, progress)
        });
        claims.filter_map(Result::transpose).collect()
    }

    fn claim_due(&self, request: ClaimRequest, now: Timestamp, boot: i64) -> Result<Vec<Claim>, Failure> {
        let due: Vec<ConversationId> = self
            .connection
            .prepare_cached(
                "SELECT conversation FROM lanes l INDEXED BY lanes_with_work
                 WHERE lane = ?1 AND not_before <= ?2 AND (head > cursor OR redo IS NOT NULL) AND NOT EXISTS
                    (SELECT 1 FROM temp.leases t WHERE t.lane = l.lane AND t.conversation = l.conversation)
                 ORDER BY not_before LIMIT ?3",
            )?
            .query_map(
                (lane_number(request.lane), now.as_millis(), i64::try_from(request.limit).unwrap_or(i64::MAX)),
                |row| Ok(ConversationId::from_bytes(id_bytes(row, 0)?)),
            )?
            .collect::<Result<_, _>>()?;
        let mut claims = Vec::with_capacity(due.len());
        for conversation in due {
            let Some((held, progress)) = self.next_event(conversation, request.lane)? else { continue };
            let mut random = [0u8; 16];
            getrandom::fill(&mut random).map_err(|error| Failure::Refused(format!("no random bytes: {error}")))?;
            let id = ClaimId::from_bytes(random);
            if let Some(claim) = self.describe(id, &held, progress)? {
                self.hold(id, &held, request, boot)?;
                claims.push(claim);
            }
        }
        Ok(claims)
    }

    fn hold(&self, id: ClaimId, held: &Held, request: ClaimRequest, boot: i64) -> Result<(), Failure> {
        self.connection
            .prepare_cached(
                "INSERT INTO temp.leases (lane, conversation, claim, operation, until, seq, replay)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute((
                lane_number(held.lane),
                held.conversation.to_bytes(),
                id.to_bytes(),
                request.operation.to_bytes(),
                boot.saturating_add(millis(request.lease)),
                place(held.seq),
                held.turn == Turn::Replay,
            ))?;
        Ok(())
    }

    fn lane_row(&self, conversation: ConversationId, lane: Lane) -> Result<Option<LaneRow>, Failure> {
        let row = self
            .connection
            .prepare_cached("SELECT cursor, progress, redo FROM lanes WHERE conversation = ?1 AND lane = ?2")?
            .query_row((conversation.to_bytes(), lane_number(lane)), |row| {
                let progress: Option<String> = row.get(1)?;
                let redo: Option<String> = row.get(2)?;
                Ok(LaneRow {
                    cursor: seq(row, 0)?,
                    progress: progress.as_deref().map(parse).transpose()?.unwrap_or_default(),
                    redo: redo.as_deref().map(parse).transpose()?.unwrap_or_default(),
                })
            })
            .optional()?;
        Ok(row)
    }

    /// A replay first, else the first event beyond the cursor that wakes the lane.
    fn next_event(&self, conversation: ConversationId, lane: Lane) -> Result<Option<(Held, Progress)>, Failure> {
        let Some(row) = self.lane_row(conversation, lane)? else { return Ok(None) };
        let held = |seq, turn| Held { lane, conversation, seq, turn };
        if let Some(first) = row.redo.first() {
            return Ok(Some((held(*first, Turn::Replay), row.progress)));
        }
        let next = self
            .connection
            .prepare_cached(
                "SELECT seq FROM events WHERE conversation = ?1 AND seq > ?2 AND wakes & ?3 <> 0 ORDER BY seq LIMIT 1",
            )?
            .query_row((conversation.to_bytes(), place(row.cursor), lane_number(lane)), |row| seq(row, 0))
            .optional()?;
        if let Some(next) = next {
            return Ok(Some((held(next, Turn::Next), row.progress)));
        }
        // Nothing beyond the cursor is for this lane: it is done.
        self.connection
            .prepare_cached("UPDATE lanes SET cursor = head WHERE conversation = ?1 AND lane = ?2")?
            .execute((conversation.to_bytes(), lane_number(lane)))?;
        Ok(None)
    }

    fn describe(&self, id: ClaimId, held: &Held, progress: Progress) -> Result<Option<Claim>, Failure> {
        let connection = &self.connection;
        let Some(conversation) = rows::conversation(connection, held.conversation)? else { return Ok(None) };
        let Some(event) = rows::event(connection, held.conversation, held.seq)? else { return Ok(None) };
        let (contact, delivery) = match event.body.message() {
            Some(Message { author: Author::Contact { id, .. }, .. }) => (rows::contact(connection, *id)?, None),
            Some(message) => (None, rows::delivery(connection, message.id)?),
            None => (None, None),
        };
        Ok(Some(Claim { id, lane: held.lane, conversation, event, turn: held.turn, progress, contact, delivery }))
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

    /// Moves the lane past its event. An effect of the same verb may move it further or back afterwards.
    pub(super) fn advance(&self, held: &Held) -> Result<(), Failure> {
        let key = (held.conversation.to_bytes(), lane_number(held.lane));
        match held.turn {
            Turn::Next => {
                self.connection
                    .prepare_cached(
                        "UPDATE lanes SET cursor = max(cursor, ?3), head = max(head, ?3), waiting = NULL, progress = NULL
                         WHERE conversation = ?1 AND lane = ?2",
                    )?
                    .execute((key.0, key.1, place(held.seq)))?;
            }
            Turn::Replay => {
                let mut redo = self.lane_row(held.conversation, held.lane)?.map_or_else(Vec::new, |row| row.redo);
                redo.retain(|seq| *seq != held.seq);
                self.set_redo(&self.connection, key, &redo)?;
            }
        }
        Ok(())
    }

    fn set_redo(&self, connection: &Connection, key: ([u8; 16], i64), redo: &[Seq]) -> Result<(), Failure> {
        let text = if redo.is_empty() { None } else { Some(rows::json(&redo)?) };
        connection
            .prepare_cached(
                "UPDATE lanes SET redo = ?3, waiting = NULL, progress = NULL WHERE conversation = ?1 AND lane = ?2",
            )?
            .execute((key.0, key.1, text))?;
        Ok(())
    }

    /// Has the lane do this event once more, before its other events and at once.
    pub(super) fn redo(&self, letter: &DeadLetter) -> Result<(), Failure> {
        let now = self.clock.now().as_millis();
        let key = (letter.conversation.to_bytes(), lane_number(letter.lane));
        self.connection
            .prepare_cached(
                "INSERT INTO lanes (conversation, lane, cursor, head, not_before) VALUES (?1, ?2, 0, 0, ?3)
                 ON CONFLICT DO UPDATE SET not_before = min(not_before, excluded.not_before)",
            )?
            .execute((key.0, key.1, now))?;
        let mut redo = self.lane_row(letter.conversation, letter.lane)?.map_or_else(Vec::new, |row| row.redo);
        if !redo.contains(&letter.seq) {
            redo.push(letter.seq);
        }
        self.set_redo(&self.connection, key, &redo)
    }
}
