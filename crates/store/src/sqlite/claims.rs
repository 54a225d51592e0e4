//! Claims: handing out lanes that are due, holding them, giving them back.

use std::time::Duration;

use frontdesk_model::*;
use rusqlite::OptionalExtension;

use super::{
    effects::{self, NEXT_MARKED, lane_number},
    memory::{Answer, Lease},
    record::{Document, Record},
    rows::{self, id_bytes, place, seq},
    writer::{Core, Failure},
};

/// What a verb has just done to the conversation of which it claims a lane: an event that it appended need not be read.
#[derive(Clone, Copy)]
pub(super) struct Just<'e> {
    /// The log's end before it.
    pub(super) end: Seq,
    pub(super) effects: &'e [Effect],
}

impl<'e> Just<'e> {
    const NOTHING: Self = Self { end: Seq(u64::MAX), effects: &[] };

    fn appended(self, at: Seq) -> Option<(Event, Option<DeliveryStatus>)> {
        let place = usize::try_from(at.0.checked_sub(self.end.next().0)?).ok()?;
        let mut appended = self.effects.iter().filter(|effect| matches!(effect, Effect::Append { .. }));
        let Effect::Append { id, at: moment, body, status, .. } = appended.nth(place)? else { return None };
        Some((Event { id: *id, seq: at, at: *moment, body: body.clone() }, *status))
    }

    /// Whether what became of an appended message is what it was appended with.
    fn delivery_is_untouched(self) -> bool {
        !self
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Freeze { .. } | Effect::SetPart { .. } | Effect::SetDelivery { .. }))
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Rows of `agent_due` or `deliver_due`: those that were tried, or those that were not, the longest due first.
pub(super) fn due_rows(lane: Lane) -> &'static str {
    match lane {
        Lane::Agent => {
            "SELECT id, agent_at FROM conversations INDEXED BY agent_due
             WHERE agent_tried = ?1 AND agent_at IS NOT NULL AND agent_at <= ?2 ORDER BY agent_at"
        }
        Lane::Deliver => {
            "SELECT id, deliver_at FROM conversations INDEXED BY deliver_due
             WHERE deliver_tried = ?1 AND deliver_at IS NOT NULL AND deliver_at <= ?2 ORDER BY deliver_at"
        }
    }
}

impl Core {
    pub(super) fn boot(&self) -> i64 {
        millis(self.clock.boot())
    }

    pub(super) fn claim(&mut self, request: ClaimRequest) -> Result<Claims, Failure> {
        if request.limit == 0 {
            return Err(Failure::Refused("a claim asks for at least one lane".into()));
        }
        let now = self.clock.now();
        let claims = match self.memory.answers.of(request.operation, now).cloned() {
            Some(Answer::Claimed(ids)) => self.claimed_before(&ids)?,
            Some(_) => return Err(Failure::another_verb()),
            None => {
                let claims = self.claim_due(request, now)?;
                let ids = claims.iter().map(|claim| claim.id).collect();
                self.memory.answers.add(request.operation, now, Answer::Claimed(ids));
                claims
            }
        };
        let next_due = self.due(request.lane, ClaimOrder::LongestDue, Timestamp::MAX, 1)?;
        Ok(Claims { claims, next_due: next_due.first().map(|(at, _)| Timestamp::from_millis(*at)) })
    }

    /// The same claims once more, as far as they are still the caller's.
    pub(super) fn claimed_before(&mut self, ids: &[ClaimId]) -> Result<Vec<Claim>, Failure> {
        let mut claims = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(((conversation, lane), lease)) = self.memory.leases.held(*id, self.boot()) else { continue };
            let Some(record) = self.record(conversation)? else { continue };
            claims.extend(self.describe(&record, lane, &lease, Just::NOTHING)?);
            self.memory.records.put(record);
        }
        Ok(claims)
    }

    /// Lanes that are due by then and that nobody holds.
    fn due(
        &self,
        lane: Lane,
        order: ClaimOrder,
        by: Timestamp,
        limit: usize,
    ) -> Result<Vec<(i64, ConversationId)>, Failure> {
        let boot = self.boot();
        let mut due = Vec::new();
        let mut statement = self.connection.prepare_cached(due_rows(lane))?;
        for tried in [false, true] {
            let mut wanted = match order {
                // From both, of which the longest due are taken below.
                ClaimOrder::LongestDue => limit,
                ClaimOrder::UntriedFirst => limit - due.len(),
            };
            let mut rows = statement.query((tried, by.as_millis()))?;
            while wanted > 0
                && let Some(row) = rows.next()?
            {
                let id = ConversationId::from_bytes(id_bytes(row, 0)?);
                if self.memory.leases.of((id, lane), boot).is_none() {
                    due.push((row.get(1)?, id));
                    wanted -= 1;
                }
            }
        }
        if order == ClaimOrder::LongestDue {
            due.sort_by_key(|(at, _)| *at);
            due.truncate(limit);
        }
        Ok(due)
    }

    fn claim_due(&mut self, request: ClaimRequest, now: Timestamp) -> Result<Vec<Claim>, Failure> {
        let due = self.due(request.lane, request.order, now, request.limit)?;
        let next = ClaimNext { lane: request.lane, lease: request.lease };
        let mut claims = Vec::with_capacity(due.len());
        for (_, id) in due {
            let Some(mut record) = self.record(id)? else { continue };
            claims.extend(self.claim_lane(&mut record, next, Just::NOTHING)?);
            self.memory.records.put_changed(record);
        }
        Ok(claims)
    }

    /// Claims one lane of a conversation that was changed, if it is due and nobody has it.
    pub(super) fn claim_next(
        &mut self,
        record: &mut Record,
        next: ClaimNext,
        just: Just<'_>,
    ) -> Result<Option<Claim>, Failure> {
        let lane = record.lane(next.lane);
        let due = lane.has_work() && lane.not_before <= self.clock.now();
        if !due || self.memory.leases.of((record.conversation.id, next.lane), self.boot()).is_some() {
            return Ok(None);
        }
        self.claim_lane(record, next, just)
    }

    fn claim_lane(&mut self, record: &mut Record, next: ClaimNext, just: Just<'_>) -> Result<Option<Claim>, Failure> {
        let Some((seq, turn)) = self.next_event(record, next.lane)? else { return Ok(None) };
        let mut random = [0u8; 16];
        getrandom::fill(&mut random).map_err(|error| Failure::Refused(format!("no random bytes: {error}")))?;
        let until = self.boot().saturating_add(millis(next.lease));
        let lease = Lease { claim: ClaimId::from_bytes(random), seq, turn, until };
        let claim = self.describe(record, next.lane, &lease, just)?;
        if claim.is_some() {
            self.memory.leases.give((record.conversation.id, next.lane), lease);
        }
        Ok(claim)
    }

    /// A replay first, else the first event beyond the cursor that wakes the lane.
    fn next_event(&self, record: &mut Record, lane: Lane) -> Result<Option<(Seq, Turn)>, Failure> {
        let (number, state) = (record.number, record.lane_mut(lane));
        if let Some(first) = state.more.redo.first() {
            return Ok(Some((first.seq, Turn::Replay)));
        }
        if state.next.is_none() {
            state.next = self
                .connection
                .prepare_cached(NEXT_MARKED)?
                .query_row((number, place(state.cursor), lane_number(lane)), |row| seq(row, 0))
                .optional()?;
        }
        if state.next.is_none() {
            state.found_nothing();
            record.save(&self.connection, Document::AsItWas)?;
        }
        Ok(record.lane(lane).next.map(|next| (next, Turn::Next)))
    }

    fn describe(
        &mut self,
        record: &Record,
        lane: Lane,
        lease: &Lease,
        just: Just<'_>,
    ) -> Result<Option<Claim>, Failure> {
        let connection = &self.connection;
        let (event, mut delivery) = match just.appended(lease.seq) {
            Some((event, status)) => {
                let untouched = status.filter(|_| just.delivery_is_untouched());
                (event, untouched.map(|status| Delivery { status, parts: Vec::new() }))
            }
            None => match rows::event(connection, record.number, lease.seq)? {
                Some(event) => (event, None),
                None => return Ok(None),
            },
        };
        let contact = match event.body.contact() {
            Some(id) => effects::contact(connection, &mut self.memory.contacts, id)?,
            None => None,
        };
        if let Some(message) = event.body.message()
            && message.direction == Direction::Outbound
            && delivery.is_none()
        {
            delivery = rows::delivery(connection, message.id)?;
        }
        let state = record.lane(lane);
        Ok(Some(Claim {
            id: lease.claim,
            lane,
            conversation: record.conversation.clone(),
            event,
            turn: lease.turn,
            batch_from: state.batch_from(lease.seq, lease.turn),
            progress: state.progress(lease.seq, lease.turn),
            contact,
            delivery,
        }))
    }

    pub(super) fn renew(&mut self, claim: ClaimId, lease: Duration) -> Result<Held, Failure> {
        let boot = self.boot();
        let Some((key, held)) = self.memory.leases.held(claim, boot) else { return Ok(Held::Gone) };
        self.memory.leases.give(key, Lease { until: boot.saturating_add(millis(lease)), ..held });
        Ok(Held::Yes)
    }
}
