//! Claims: who holds which lane, until when. All of it in memory.

use std::time::Duration;

use frontdesk_model::*;
use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};

use super::{
    effects::lane_number,
    rows::{self, id_bytes, parse, place, seq},
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

/// A lane as it is stored.
#[derive(Default)]
struct LaneRow {
    cursor: Seq,
    head: Seq,
    tried: Vec<Tried>,
    redo: Vec<Seq>,
}

/// What the tries at one of the lane's events left behind. A replay and the event that was next before it came each have
/// their own.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Tried {
    seq: Seq,
    turn: Turn,
    #[serde(flatten)]
    progress: Progress,
}

impl LaneRow {
    fn progress(&self, held: &Held) -> Progress {
        let of = |tried: &&Tried| (tried.seq, tried.turn) == (held.seq, held.turn);
        self.tried.iter().find(of).map_or_else(Progress::default, |tried| tried.progress)
    }

    /// Whether the claim's event is still something the lane has to do.
    fn has_to_do(&self, seq: Seq, turn: Turn) -> bool {
        match turn {
            Turn::Next => seq > self.cursor,
            Turn::Replay => self.redo.contains(&seq),
        }
    }

    /// Forgets the tries at what the lane has not to do any more.
    fn tidy(&mut self) {
        let tried = std::mem::take(&mut self.tried);
        self.tried = tried.into_iter().filter(|tried| self.has_to_do(tried.seq, tried.turn)).collect();
    }
}

fn json_unless_empty<T: Serialize>(list: &[T]) -> rusqlite::Result<Option<String>> {
    if list.is_empty() { Ok(None) } else { rows::json(&list).map(Some) }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn lane_of(number: i64) -> Lane {
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
    fn claimed_before(&self, ids: &[ClaimId]) -> Result<Vec<Claim>, Failure> {
        let mut claims = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(held) = self.held(*id)? else { continue };
            let progress = self.lane_row(held.conversation, held.lane)?.progress(&held);
            claims.extend(self.describe(*id, &held, progress)?);
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
                "INSERT INTO temp.leases (lane, conversation, claim, until, seq, replay)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((
                lane_number(held.lane),
                held.conversation.to_bytes(),
                id.to_bytes(),
                boot.saturating_add(millis(request.lease)),
                place(held.seq),
                held.turn == Turn::Replay,
            ))?;
        Ok(())
    }

    fn lane_row(&self, conversation: ConversationId, lane: Lane) -> Result<LaneRow, Failure> {
        let row = self
            .connection
            .prepare_cached("SELECT cursor, head, progress, redo FROM lanes WHERE conversation = ?1 AND lane = ?2")?
            .query_row((conversation.to_bytes(), lane_number(lane)), |row| {
                let text = |column| row.get::<_, Option<String>>(column);
                Ok(LaneRow {
                    cursor: seq(row, 0)?,
                    head: seq(row, 1)?,
                    tried: text(2)?.as_deref().map(parse).transpose()?.unwrap_or_default(),
                    redo: text(3)?.as_deref().map(parse).transpose()?.unwrap_or_default(),
                })
            })
            .optional()?;
        Ok(row.unwrap_or_default())
    }

    /// A replay first, else the first event beyond the cursor that wakes the lane.
    fn next_event(&self, conversation: ConversationId, lane: Lane) -> Result<Option<(Held, Progress)>, Failure> {
        let row = self.lane_row(conversation, lane)?;
        let held = |seq, turn| {
            let held = Held { lane, conversation, seq, turn };
            let progress = row.progress(&held);
            (held, progress)
        };
        if let Some(first) = row.redo.first() {
            return Ok(Some(held(*first, Turn::Replay)));
        }
        let next = self
            .connection
            .prepare_cached(
                "SELECT seq FROM events WHERE conversation = ?1 AND seq > ?2 AND wakes & ?3 <> 0 ORDER BY seq LIMIT 1",
            )?
            .query_row((conversation.to_bytes(), place(row.cursor), lane_number(lane)), |row| seq(row, 0))
            .optional()?;
        if let Some(next) = next {
            return Ok(Some(held(next, Turn::Next)));
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

    /// Moves the lane past its event. An effect of the same verb may move it further or back afterwards. What the lane has
    /// left to do is due since now, so that a backlog lets other conversations in between.
    pub(super) fn advance(&self, held: &Held) -> Result<(), Failure> {
        let mut row = self.lane_row(held.conversation, held.lane)?;
        match held.turn {
            Turn::Next => {
                row.cursor = row.cursor.max(held.seq);
                row.head = row.head.max(held.seq);
            }
            Turn::Replay => row.redo.retain(|seq| *seq != held.seq),
        }
        self.write_lane(held.conversation, held.lane, row, self.clock.now(), None)
    }

    /// Gives the lane back, to be due at the release's moment.
    pub(super) fn park(&self, held: &Held, release: &Release) -> Result<(), Failure> {
        let mut row = self.lane_row(held.conversation, held.lane)?;
        row.tried.retain(|tried| (tried.seq, tried.turn) != (held.seq, held.turn));
        row.tried.push(Tried { seq: held.seq, turn: held.turn, progress: release.progress });
        self.write_lane(held.conversation, held.lane, row, release.until, release.waiting.as_ref())
    }

    /// Has the lane do this event once more, before its other events and at once.
    pub(super) fn redo(&self, letter: &DeadLetter) -> Result<(), Failure> {
        let mut row = self.lane_row(letter.conversation, letter.lane)?;
        if !row.redo.contains(&letter.seq) {
            row.redo.push(letter.seq);
        }
        self.write_lane(letter.conversation, letter.lane, row, self.clock.now(), None)
    }

    fn write_lane(
        &self,
        conversation: ConversationId,
        lane: Lane,
        mut row: LaneRow,
        not_before: Timestamp,
        waiting: Option<&Waiting>,
    ) -> Result<(), Failure> {
        row.tidy();
        self.connection
            .prepare_cached(
                "INSERT INTO lanes (conversation, lane, cursor, head, not_before, waiting, progress, redo)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT DO UPDATE SET cursor = excluded.cursor, head = excluded.head,
                    not_before = excluded.not_before, waiting = excluded.waiting, progress = excluded.progress,
                    redo = excluded.redo",
            )?
            .execute((
                conversation.to_bytes(),
                lane_number(lane),
                place(row.cursor),
                place(row.head),
                not_before.as_millis(),
                waiting.map(rows::json).transpose()?,
                json_unless_empty(&row.tried)?,
                json_unless_empty(&row.redo)?,
            ))?;
        Ok(())
    }
}
