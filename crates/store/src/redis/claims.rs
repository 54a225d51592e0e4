//! Claims: which lanes are due in all partitions, and who holds them.
//!
//! A claim looks at the head of every partition's schedule in one round trip, chooses the longest due of all, and claims those in
//! their partitions in a second one. Whoever is quicker with a lane has it; the other goes on with what was next. The schedule's
//! score is a class and a moment, see `scripts/prelude.lua`.
//!
//! A claim's id names its partition, in the byte where our other ids have it. Which conversation it is about is kept here, in
//! memory: only who made a claim writes under it.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use frontdesk_model::*;
use redis::{Cmd, Value};

use super::{
    Core,
    effects::{Ask, refused},
    keys::Shard,
    link::{Purpose, Script},
    merge::Merge,
    pack::{Item, Unreadable},
    records::lane_name,
    verbs::{millis, work_in_flight},
};

static ASKED: Script = work_in_flight!("asked.lua");
static CLAIM: Script = work_in_flight!("prelude.lua", "claim.lua");

/// So many of a partition's rows are looked at, at least: as many lanes as are likely to be held there at a time.
const HELD_AT_LEAST: usize = 16;
/// Between two classes of the schedule's scores; see `scripts/prelude.lua`.
const ERA: i64 = 1 << 48;
/// For so long after its lease a claim's conversation is remembered: whoever repeats a call under it does so by then.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Lanes of one kind that the schedule has in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Due since a moment; their event was not released before.
    Fresh,
    /// Due at a moment; their event was, or they were.
    Tried,
    /// Claimed until a moment.
    Held,
}

const CLASSES: [Class; 3] = [Class::Fresh, Class::Tried, Class::Held];

/// Where a schedule's score stands.
pub(super) struct Place {
    pub(super) lane: Lane,
    pub(super) class: Class,
    pub(super) at: i64,
}

impl Place {
    pub(super) fn read(score: &[u8]) -> Result<Self, Unreadable> {
        let score: i64 = std::str::from_utf8(score).ok().and_then(|text| text.parse().ok()).ok_or(Unreadable)?;
        let (lane, class) = match score / ERA {
            0 => (Lane::Agent, Class::Fresh),
            1 => (Lane::Agent, Class::Tried),
            2 => (Lane::Agent, Class::Held),
            3 => (Lane::Deliver, Class::Fresh),
            4 => (Lane::Deliver, Class::Tried),
            5 => (Lane::Deliver, Class::Held),
            _ => return Err(Unreadable),
        };
        Ok(Self { lane, class, at: score % ERA })
    }

    /// The scores of one class.
    fn range(lane: Lane, class: Class) -> (i64, i64) {
        let base = match lane {
            Lane::Agent => 0,
            Lane::Deliver => 3,
        };
        let number = match class {
            Class::Fresh => base,
            Class::Tried => base + 1,
            Class::Held => base + 2,
        };
        (number * ERA, number * ERA + ERA - 1)
    }
}

/// The conversation that a schedule's member names.
pub(super) fn scheduled(member: &[u8]) -> Result<ConversationId, Unreadable> {
    match member.split_first_chunk::<16>() {
        Some((id, [_])) => Ok(ConversationId::from_bytes(*id)),
        _ => Err(Unreadable),
    }
}

/// Which claims were made here, and of what.
pub(super) struct Made {
    claims: Mutex<Remembered>,
}

struct Remembered {
    by_id: HashMap<ClaimId, OneMade>,
    tidy_at: usize,
}

struct OneMade {
    conversation: ConversationId,
    lane: Lane,
    /// From the latest call under it on, the lease and a while.
    until: Instant,
}

fn until(lease: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(lease.saturating_add(REMEMBERED)).unwrap_or(now + REMEMBERED)
}

impl Made {
    pub(super) fn new() -> Self {
        Self { claims: Mutex::new(Remembered { by_id: HashMap::new(), tidy_at: 1024 }) }
    }

    /// A claim's id that nobody has seen.
    pub(super) fn make(&self, shard: Shard) -> Result<ClaimId, StoreError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|error| StoreError::Unavailable(format!("no random bytes: {error}")))?;
        let [a, b, c, d, e, f, _, rest @ ..] = bytes;
        let [g, h, i, j, k, l, m, n, o] = rest;
        Ok(ClaimId::from_bytes([a, b, c, d, e, f, shard.number(), g, h, i, j, k, l, m, n, o]))
    }

    pub(super) fn shard(&self, claim: ClaimId) -> Shard {
        let [_, _, _, _, _, _, number, ..] = claim.to_bytes();
        Shard::of_byte(number)
    }

    pub(super) fn remember(&self, claim: &Claim, lease: Duration) {
        let now = Instant::now();
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        if claims.by_id.len() >= claims.tidy_at {
            claims.by_id.retain(|_, made| made.until > now);
            claims.tidy_at = 1024.max(2 * claims.by_id.len());
        }
        let made = OneMade { conversation: claim.conversation.id, lane: claim.lane, until: until(lease) };
        claims.by_id.insert(claim.id, made);
    }

    /// What a claim is of. It is remembered at least for another lease of this length.
    pub(super) fn find(&self, claim: ClaimId, lease: Duration) -> Option<(ConversationId, Lane)> {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let made = claims.by_id.get_mut(&claim)?;
        made.until = made.until.max(until(lease));
        Some((made.conversation, made.lane))
    }
}

/// The rank of what is not due yet.
const NOT_DUE: u8 = 2;

/// In which order lanes are chosen: by this, then by since when they are due.
type Order = (u8, i64, ConversationId);
type Due = Merge<(Shard, Class), Order, ()>;

impl Core {
    pub(super) async fn claim(&self, request: ClaimRequest) -> Result<Claims, StoreError> {
        if request.limit == 0 {
            return Err(refused("a claim asks for at least one lane"));
        }
        let mut due: Due = Merge::new(Shard::all().flat_map(|shard| CLASSES.map(|class| (shard, class))));
        let mut times = vec![0; Shard::all().count()];
        let (asked, ()) =
            tokio::try_join!(self.asked_before(request.operation), self.read_on(request, &mut due, &mut times))?;
        if asked {
            let mut claims = self.claimed_before(request).await?;
            self.add_contacts(&mut claims).await?;
            return Ok(Claims { claims, next_due: self.next_due(&due, &times) });
        }
        let (mut claims, mut chosen) = (Vec::new(), Vec::new());
        loop {
            let missing = request.limit.saturating_sub(claims.len());
            let mut wanted = Vec::new();
            while wanted.len() < missing
                && due.hungry().is_empty()
                && let Some((at, id)) = next_due_of(&due)
            {
                due.pop();
                wanted.push((at, id));
            }
            if wanted.is_empty() && due.hungry().is_empty() {
                break;
            }
            chosen.extend(wanted.iter().map(|(_, id)| *id));
            claims.extend(self.claim_these(request, &wanted).await?);
            if claims.len() >= request.limit {
                break;
            }
            self.read_on(request, &mut due, &mut times).await?;
        }
        claims.sort_by_key(|claim| chosen.iter().position(|id| *id == claim.conversation.id));
        self.add_contacts(&mut claims).await?;
        Ok(Claims { claims, next_due: self.next_due(&due, &times) })
    }

    async fn asked_before(&self, operation: OperationId) -> Result<bool, StoreError> {
        let [first, ..] = operation.to_bytes();
        let shard = Shard::of_byte(first);
        let mark = Ask::new(vec![format!("{}:asked", self.names.operation(shard, operation))]);
        let answer = self.link.run(shard, &ASKED, mark).await?;
        Ok(answer.read()?.at(0).is_true())
    }

    /// Fetches what is due behind what was fetched, where that is not certain.
    async fn read_on(&self, request: ClaimRequest, due: &mut Due, times: &mut [i64]) -> Result<(), StoreError> {
        let hungry = due.hungry();
        if hungry.is_empty() {
            return Ok(());
        }
        let rows = request.limit.div_ceil(16).clamp(HELD_AT_LEAST, 256);
        let calls = hungry.iter().enumerate().map(|(place, ((shard, class), behind))| {
            let mut commands = vec![self.look(*shard, request.lane, *class, behind.as_ref(), rows)];
            // One server has one time.
            if place == 0 || self.link.is_cluster() {
                commands.push(redis::cmd("TIME"));
            }
            (*shard, commands)
        });
        let found = self.link.ask(Purpose::Verb, calls.collect()).await?;
        for (((shard, class), behind), values) in hungry.into_iter().zip(found) {
            let Some((Value::Array(entries), time)) = values.split_first() else { return Err(Unreadable.into()) };
            if let Some(time) = time.first() {
                let shown = self.shown(super::micros(time)?);
                let known = times.iter_mut().enumerate();
                let told = known.filter(|(place, _)| !self.link.is_cluster() || *place == shard.index());
                told.for_each(|(_, known)| *known = shown);
            }
            let now = times.get(shard.index()).copied().unwrap_or(0);
            let mut read = Vec::new();
            for entry in entries.as_chunks::<2>().0 {
                let [Value::BulkString(member), Value::BulkString(score)] = entry else {
                    return Err(Unreadable.into());
                };
                let (at, id) = (Place::read(score)?.at, scheduled(member)?);
                let is_due = match class {
                    Class::Fresh => true,
                    Class::Tried => at <= now,
                    // An end further off than a lease is long is that of a clock that was set back.
                    Class::Held => at <= now || at > now.saturating_add(millis(request.lease)),
                };
                let is_new = behind.is_none_or(|(_, last, last_id)| (at, id) > (last, last_id));
                // Nobody is told when somebody's time will be over.
                if is_new && (is_due || class != Class::Held) {
                    read.push(((rank(request.order, class, is_due), at, id), ()));
                }
            }
            due.feed((shard, class), read, entries.len() >= 2 * rows);
        }
        Ok(())
    }

    /// Among rows of one score the member decides, as it does in [`Order`]. Rows that were taken are gone by the next look, so
    /// one that begins with the score of the last finds the others.
    fn look(&self, shard: Shard, lane: Lane, class: Class, behind: Option<&Order>, rows: usize) -> Cmd {
        let (first, last) = Place::range(lane, class);
        let from = behind.map_or(first, |(_, at, _)| first + at);
        let mut look = redis::cmd("ZRANGE");
        look.arg(self.names.schedule(shard)).arg(from).arg(last).arg("BYSCORE").arg("LIMIT").arg(0).arg(rows);
        look.arg("WITHSCORES");
        look
    }

    /// Claims these, as far as nobody else was quicker.
    async fn claim_these(
        &self,
        request: ClaimRequest,
        wanted: &[(Shard, ConversationId)],
    ) -> Result<Vec<Claim>, StoreError> {
        let mut shards: Vec<(Shard, Vec<(ConversationId, ClaimId)>)> = Vec::new();
        for (shard, id) in wanted {
            let fence = self.claims.make(*shard)?;
            match shards.iter_mut().find(|(known, _)| known == shard) {
                Some((_, ids)) => ids.push((*id, fence)),
                None => shards.push((*shard, vec![(*id, fence)])),
            }
        }
        self.run_claims(request, &shards, false).await
    }

    async fn run_claims(
        &self,
        request: ClaimRequest,
        shards: &[(Shard, Vec<(ConversationId, ClaimId)>)],
        again: bool,
    ) -> Result<Vec<Claim>, StoreError> {
        let asks = shards.iter().map(|(shard, wanted)| {
            let mut keys = vec![
                self.names.schedule(*shard),
                self.names.waits(*shard),
                self.names.operation(*shard, request.operation),
            ];
            keys.extend(wanted.iter().flat_map(|(id, _)| [self.names.conversation(*id), self.names.log(*id)]));
            let mut ask = Ask::new(keys);
            self.say_time(&mut ask);
            ask.say("lane").text(lane_name(request.lane));
            ask.say("lease").number(millis(request.lease));
            ask.say("again").flag(again);
            let list = ask.say("wanted").list(wanted.len());
            for (id, fence) in wanted {
                list.list(2).bytes(&id.to_bytes()).bytes(&fence.to_bytes());
            }
            (*shard, ask)
        });
        let mut claims = Vec::new();
        for answer in self.link.run_each(Purpose::Verb, &CLAIM, asks.collect()).await? {
            for claim in answer.read()?.list()? {
                claims.extend(self.given(claim, request.lease)?);
            }
        }
        Ok(claims)
    }

    /// The same claims once more, as far as they are still the caller's.
    async fn claimed_before(&self, request: ClaimRequest) -> Result<Vec<Claim>, StoreError> {
        let look = |shard: Shard| {
            let mut get = redis::cmd("GET");
            get.arg(self.names.operation(shard, request.operation));
            (shard, vec![get])
        };
        let found = self.link.ask(Purpose::Verb, Shard::all().map(look).collect()).await?;
        let mut shards = Vec::new();
        for (shard, values) in Shard::all().zip(found) {
            let [Value::BulkString(stored)] = values.as_slice() else { continue };
            let mut given = Vec::new();
            for entry in Item::read(stored)?.list()? {
                given.push((ConversationId::from_bytes(entry.at(0).id()?), ClaimId::from_bytes(entry.at(1).id()?)));
            }
            shards.push((shard, given));
        }
        self.run_claims(request, &shards, true).await
    }

    /// When the next lane is due that nobody holds, on our own clock.
    fn next_due(&self, due: &Due, times: &[i64]) -> Option<Timestamp> {
        let now = self.clock.now().as_millis();
        let unheld = due.fronts().filter(|((_, class), _, _)| *class != Class::Held);
        unheld
            .filter_map(|((shard, _), front, unknown)| {
                let shown = times.get(shard.index()).copied().unwrap_or(now);
                match front {
                    Some((rank, at, _)) if *rank == NOT_DUE => Some(now.saturating_add(at.saturating_sub(shown))),
                    Some((_, at, _)) => Some(now.saturating_add(at.saturating_sub(shown).min(0))),
                    // Something may be due already: whoever asks again will see.
                    None => unknown.then_some(now),
                }
            })
            .min()
            .map(Timestamp::from_millis)
    }
}

/// The lane to be claimed next, if it is due.
fn next_due_of(due: &Due) -> Option<(Shard, ConversationId)> {
    let ((shard, _), (rank, _, id), ()) = due.peek()?;
    (*rank < NOT_DUE).then_some((shard, *id))
}

/// A claim whose time is over counts as untried: nobody gave it back.
fn rank(order: ClaimOrder, class: Class, is_due: bool) -> u8 {
    match (order, class) {
        _ if !is_due => NOT_DUE,
        (ClaimOrder::UntriedFirst, Class::Tried) => 1,
        _ => 0,
    }
}
