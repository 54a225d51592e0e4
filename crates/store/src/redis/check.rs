//! Whether what lies in Redis fits together.
//!
//! A conversation is read by one script, at one moment: what it is, its lanes with their places in the schedule, the lists and its log.
//! What crosses partitions, or is read in two steps, may change in between; so whatever does not fit is looked at again, and only what
//! is found each time counts. A pass goes partition by partition, first through conversations by their threads, then through everything
//! that leads to a conversation. A log that nothing leads to is not found: keys are never searched for.

use std::time::Duration;

use async_trait::async_trait;
use frontdesk_model::*;
use futures_util::future::try_join_all;
use redis::{Cmd, Value};

use super::{
    Core, RedisStore,
    effects::{Ask, MESSAGE, WAITS, refused},
    keys::{Buckets, Names, Shard, thread_digest},
    link::{Purpose, Script},
    lists::reading,
    pack::{Item, Unreadable},
    records::{self, Element, lane_name, letter, signed},
};
use crate::check::{Following, LONGEST_CLAIM, Standing, disagreement, flaw, name, places};

static BUCKETS: Script = reading!("buckets.lua");
static CHECK: Script = reading!("prelude.lua", "check.lua");
static LISTED: Script = reading!("prelude.lua", "listed.lua");
static NAMED: Script = reading!("named.lua");

/// More rows than this are not looked at in one step, whatever was asked for: other reads want their turn.
const MOST_ROWS: usize = 10_000;
/// So many calls one step makes, about, though it finds nothing.
const MOST_CALLS: usize = 24;
/// Of a log so much is read at once, at most.
const MOST_EVENTS: usize = 256;
const MOST_BYTES: i64 = 1 << 20;
/// Of so many partitions it is asked at once whether there is anything in their buckets.
const AHEAD: usize = 16;
/// So many things are looked at together.
const TOGETHER: usize = 32;
/// What does not fit is looked at so often, with a pause in between.
const LOOKS: usize = 3;
const PAUSE: Duration = Duration::from_millis(40);

/// What a pass goes through, in this order; each for one partition after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Conversations by their threads.
    Threads,
    /// Lists, and conversations that no thread leads to.
    Index,
    Schedule,
    Timers,
    Waits,
    Messages,
    Known,
    Participants,
    Letters,
    Feed,
}

const PHASES: [Phase; 10] = [
    Phase::Threads,
    Phase::Index,
    Phase::Schedule,
    Phase::Timers,
    Phase::Waits,
    Phase::Messages,
    Phase::Known,
    Phase::Participants,
    Phase::Letters,
    Phase::Feed,
];

/// How far a pass has come: what is looked at next.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    phase: Phase,
    shard: Shard,
    /// A bucket, the server's place in a scan, or a place in the feed.
    number: u64,
    /// The first name in it.
    name: Vec<u8>,
    /// Its log is read behind this event.
    behind: Seq,
}

impl Place {
    const FIRST: Self =
        Self { phase: Phase::Threads, shard: Shard::FIRST, number: 0, name: Vec::new(), behind: Seq::ZERO };

    fn within(&self, number: u64, name: Vec<u8>, behind: Seq) -> Self {
        Self { number, name, behind, ..*self }
    }

    /// Of the next partition, or of the first in the next phase.
    fn next(&self) -> Option<Self> {
        let Self { phase, shard, .. } = self;
        match shard.next() {
            Some(shard) => Some(Self { phase: *phase, shard, ..Self::FIRST }),
            None => {
                let phase = PHASES.into_iter().skip_while(|known| known != phase).nth(1)?;
                Some(Self { phase, ..Self::FIRST })
            }
        }
    }

    fn write(&self, mark: &str) -> String {
        let Self { phase, shard, number, name, behind } = self;
        let phase = PHASES.iter().position(|known| known == phase).unwrap_or_default();
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{mark}.{phase}.{}.{number}.{name}.{}", shard.number(), behind.0)
    }

    fn read(mark: &str, text: &str) -> Option<Self> {
        let rest = text.strip_prefix(mark)?.strip_prefix('.')?;
        let mut pieces = rest.split('.');
        let phase = *PHASES.get(pieces.next()?.parse::<usize>().ok()?)?;
        let shard = Shard::numbered(pieces.next()?.parse().ok()?)?;
        let number = pieces.next()?.parse().ok()?;
        let (pairs, []) = pieces.next()?.as_bytes().as_chunks::<2>() else { return None };
        let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let name = pairs.iter().map(byte).collect::<Option<_>>()?;
        let behind = Seq(pieces.next()?.parse().ok()?);
        let place = Self { phase, shard, number, name, behind };
        (place.write(mark) == text).then_some(place)
    }
}

#[async_trait]
impl Checked for RedisStore {
    async fn check(&self, look: Look) -> Result<Looked, StoreError> {
        self.call(async |core| core.check(look).await).await
    }
}

impl Core {
    pub(super) async fn check(&self, look: Look) -> Result<Looked, StoreError> {
        if look.rows == 0 {
            return Err(refused("a check looks at one row at least"));
        }
        let mark = self.store_id.get(..8).unwrap_or(&self.store_id);
        let foreign = || refused("resume: not a place that an answer of this store gave");
        let mut place = match look.resume {
            Some(text) => Some(Place::read(mark, &text).ok_or_else(foreign)?),
            None => Some(Place::FIRST),
        };
        let mut walk = Walk { core: self, left: look.rows.min(MOST_ROWS), calls: 0, found: Looked::default() };
        while let Some(at) = place.take_if(|_| !walk.is_over()) {
            place = walk.step(at).await?;
        }
        Ok(Looked { resume: place.map(|place| place.write(mark)), ..walk.found })
    }
}

/// What was seen of one thing.
#[derive(Debug, Default)]
struct Seen {
    flaws: Vec<Flaw>,
    events: u64,
    /// There are more events, behind this one.
    more: Option<Seq>,
    /// Something is there.
    there: bool,
    /// Attachments whose bytes should be there.
    stored: Vec<(AttachmentId, Stored)>,
}

impl Seen {
    fn say(&mut self, kind: FlawKind, conversation: Option<ConversationId>, what: impl Into<String>) {
        self.flaws.push(flaw(kind, conversation, what));
    }
}

/// What takes more than one call to look at.
enum Thing<'t> {
    OfThread { shard: Shard, digest: &'t [u8], id: &'t [u8], behind: Seq, rows: usize },
    WithoutThread { id: ConversationId, behind: Seq, rows: usize },
    TakingPart { shard: Shard, member: &'t [u8] },
}

/// One step of a pass.
struct Walk<'c> {
    core: &'c Core,
    left: usize,
    calls: usize,
    found: Looked,
}

/// A bucket's number, and an entry of it.
type Entry = (u64, Vec<u8>, Vec<u8>);

impl Walk<'_> {
    fn is_over(&self) -> bool {
        self.left == 0 || self.calls >= MOST_CALLS
    }

    fn spend(&mut self, rows: usize) {
        self.left = self.left.saturating_sub(rows);
    }

    fn say(&mut self, kind: FlawKind, conversation: Option<ConversationId>, what: impl Into<String>) {
        self.found.flaws.push(flaw(kind, conversation, what));
    }

    async fn step(&mut self, place: Place) -> Result<Option<Place>, StoreError> {
        self.calls += 1;
        let before = (self.left, self.found.flaws.len());
        let next = self.look_through(&place).await?;
        // Where nothing was, nothing may be in the next ones either.
        match next {
            Some(next) if before == (self.left, self.found.flaws.len()) && next.phase == place.phase => {
                self.first_with_something(next).await
            }
            next => Ok(next),
        }
    }

    /// The first partition from this place on that has anything to look through. Nothing is missed where none is found: some are left.
    async fn first_with_something(&mut self, place: Place) -> Result<Option<Place>, StoreError> {
        if place.number > 0 || !place.name.is_empty() {
            return Ok(Some(place));
        }
        self.calls += 1;
        let shards = || Shard::all().skip(place.shard.index());
        let mut empty = 0;
        let sort = match place.phase {
            Phase::Threads => Some(Buckets::Threads),
            Phase::Messages => Some(Buckets::Messages),
            Phase::Known => Some(Buckets::Known),
            _ => None,
        };
        if let Some(sort) = sort {
            let asks = shards().take(AHEAD).map(|shard| {
                let mut ask = Ask::new(self.names().buckets(shard, sort, 0));
                ask.say("rows").number(1);
                (shard, ask)
            });
            for answer in self.core.link.run_each(Purpose::Read, &BUCKETS, asks.collect()).await? {
                if !answer.read()?.at(0).list()?.is_empty() {
                    break;
                }
                empty += 1;
            }
        } else {
            let counts = shards().map(|shard| {
                let command = if place.phase == Phase::Feed { "LLEN" } else { "ZCARD" };
                let mut count = redis::cmd(command);
                count.arg(self.list(place.phase, shard));
                (shard, vec![count])
            });
            let counts = self.core.link.ask(Purpose::Read, counts.collect()).await?;
            empty = counts.iter().take_while(|counts| ***counts == [Value::Int(0)]).count();
        }
        let mut place = Some(place);
        for _ in 0..empty {
            place = place.and_then(|place| place.next());
        }
        Ok(place)
    }

    /// The key of what a phase goes through.
    fn list(&self, phase: Phase, shard: Shard) -> String {
        match phase {
            Phase::Schedule => self.names().schedule(shard),
            Phase::Timers => self.names().timers(shard),
            Phase::Waits => self.names().waits(shard),
            Phase::Participants => self.names().parts(shard),
            Phase::Letters => self.names().letters(shard),
            Phase::Feed => self.names().feed(shard),
            _ => self.names().index(shard),
        }
    }

    async fn look_through(&mut self, place: &Place) -> Result<Option<Place>, StoreError> {
        let place = place.clone();
        match place.phase {
            Phase::Threads => self.threads(place).await,
            Phase::Index => self.index(place).await,
            Phase::Schedule => self.scanned(place, "schedule").await,
            Phase::Timers => self.scanned(place, "timers").await,
            Phase::Waits => self.scanned(place, "waits").await,
            Phase::Messages => self.messages(place).await,
            Phase::Known => self.known(place).await,
            Phase::Participants => self.participants(place).await,
            Phase::Letters => self.scanned(place, "letters").await,
            Phase::Feed => self.feed(place).await,
        }
    }

    fn names(&self) -> &Names {
        &self.core.names
    }

    /// What lies in buckets from a place on, in order, and in which bucket more may.
    async fn bucketed(&self, place: &Place, sort: Buckets) -> Result<(Vec<Entry>, Option<u64>), StoreError> {
        let from = u16::try_from(place.number).unwrap_or(u16::MAX);
        let mut ask = Ask::new(self.names().buckets(place.shard, sort, from));
        if ask.keys.is_empty() {
            return Ok((Vec::new(), None));
        }
        ask.say("rows").number(signed(self.left.clamp(1, 1000) as u64));
        let answers = self.core.link.run_each(Purpose::Read, &BUCKETS, vec![(place.shard, ask)]).await?;
        let answer = answers.first().ok_or(Unreadable)?.read()?;
        let mut entries = Vec::new();
        for bucket in answer.at(0).list()? {
            let number = place.number + bucket.at(0).count()?.saturating_sub(1);
            for entry in bucket.at(1).list()?.as_chunks::<2>().0 {
                entries.push((number, entry[0].bytes()?.to_vec(), entry[1].bytes()?.to_vec()));
            }
        }
        entries.retain(|(number, name, _)| *number > place.number || *name >= place.name);
        entries.sort_unstable();
        let next = answer.at(1).maybe().map(Item::count).transpose()?;
        Ok((entries, next.map(|next| place.number + next.saturating_sub(1))))
    }

    async fn threads(&mut self, place: Place) -> Result<Option<Place>, StoreError> {
        let (entries, next) = self.bucketed(&place, Buckets::Threads).await?;
        let mut entries = entries.as_slice();
        while let Some((bucket, digest, _)) = entries.first() {
            if self.is_over() {
                return Ok(Some(place.within(*bucket, digest.clone(), Seq::ZERO)));
            }
            let (these, others) = entries.split_at(entries.len().min(TOGETHER).min(self.left));
            entries = others;
            self.calls += 1;
            let behind = |bucket: u64, digest: &[u8]| {
                if (bucket, digest) == (place.number, &*place.name) { place.behind } else { Seq::ZERO }
            };
            let rows = self.left.min(MOST_EVENTS);
            let looks = these.iter().map(|(bucket, digest, id)| {
                let behind = behind(*bucket, digest);
                self.core.surely(Thing::OfThread { shard: place.shard, digest, id, behind, rows })
            });
            for (seen, (bucket, digest, _)) in try_join_all(looks).await?.into_iter().zip(these) {
                if let Some(more) = self.count(seen) {
                    return Ok(Some(place.within(*bucket, digest.clone(), more)));
                }
            }
        }
        Ok(match next {
            Some(bucket) => Some(place.within(bucket, Vec::new(), Seq::ZERO)),
            None => place.next(),
        })
    }

    /// Gives where the same conversation goes on.
    fn count(&mut self, seen: Seen) -> Option<Seq> {
        self.found.flaws.extend(seen.flaws);
        self.found.stored.extend(seen.stored);
        self.found.events += seen.events;
        self.spend(usize::try_from(seen.events).unwrap_or(usize::MAX).max(1));
        self.found.conversations += u64::from(seen.there && seen.more.is_none());
        seen.more
    }

    async fn index(&mut self, place: Place) -> Result<Option<Place>, StoreError> {
        let mut range = redis::cmd("ZRANGEBYLEX");
        let from = if place.name.is_empty() { b"-".to_vec() } else { [b"[".as_slice(), &place.name].concat() };
        range.arg(self.list(place.phase, place.shard)).arg(from).arg("+").arg("LIMIT").arg(0).arg(TOGETHER);
        let members = texts(self.core.link.ask_one(Purpose::Read, place.shard, range).await?)?;
        self.listed("index", place.shard, &members).await?;
        for member in &members {
            let of_conversation = member.first() == Some(&b'c');
            let Some(id) = member.last_chunk::<16>().map(|id| ConversationId::from_bytes(*id)) else { continue };
            if !of_conversation || Shard::from(id) != place.shard {
                continue;
            }
            if self.is_over() {
                return Ok(Some(place.within(0, member.clone(), Seq::ZERO)));
            }
            let behind = if *member == place.name { place.behind } else { Seq::ZERO };
            let rows = self.left.min(MOST_EVENTS);
            let seen = self.core.surely(Thing::WithoutThread { id, behind, rows }).await?;
            self.calls += usize::from(seen.there);
            if let Some(more) = self.count(seen) {
                return Ok(Some(place.within(0, member.clone(), more)));
            }
        }
        Ok(match members.last() {
            // The first behind it.
            Some(last) if members.len() == TOGETHER => {
                Some(place.within(0, [last.as_slice(), &[0]].concat(), Seq::ZERO))
            }
            _ => place.next(),
        })
    }

    /// Members of one list, each against its conversation.
    async fn listed(&mut self, list: &'static str, shard: Shard, members: &[Vec<u8>]) -> Result<(), StoreError> {
        let mut asks = Vec::with_capacity(members.len());
        let mut asked = Vec::with_capacity(members.len());
        for member in members {
            let letter = if list == "letters" { Some(letter(member)) } else { None };
            let id = match (list, &letter) {
                (_, Some(Ok(letter))) => Some(letter.conversation),
                (_, Some(Err(_))) => None,
                ("timers", None) => <[u8; 16]>::try_from(member.as_slice()).ok().map(ConversationId::from_bytes),
                ("schedule" | "waits", None) => member
                    .split_last()
                    .filter(|(lane, _)| [b'a', b'd'].contains(lane))
                    .and_then(|(_, rest)| rest.last_chunk::<16>())
                    .map(|id| ConversationId::from_bytes(*id)),
                _ => member.last_chunk::<16>().map(|id| ConversationId::from_bytes(*id)),
            };
            let Some(id) = id.filter(|id| Shard::from(*id) == shard) else {
                self.say(FlawKind::Unreadable, None, format!("an entry of the {} cannot be read", shown(list)));
                continue;
            };
            let mut ask = Ask::new(self.names().of_verb(id));
            ask.say("list").text(list);
            ask.say("member").bytes(member);
            ask.say("id").bytes(&id.to_bytes());
            if let Some(Ok(letter)) = &letter {
                ask.say("seq").number(signed(letter.seq.0));
                ask.say("event").bytes(&letter.event.to_bytes());
            }
            self.core.say_time(&mut ask);
            asks.push((shard, ask));
            asked.push((id, letter.and_then(Result::ok).map(|letter| letter.id)));
        }
        for (answer, (id, letter)) in self.core.link.run_each(Purpose::Read, &LISTED, asks).await?.iter().zip(asked) {
            let answer = answer.read()?;
            let Some(what) = answer.at(0).maybe().map(Item::text).transpose()? else { continue };
            let gone = what == "gone";
            let (kind, what) = match (list, letter) {
                (_, Some(letter)) if gone => {
                    (FlawKind::DeadLetter, format!("{letter} leads to a conversation that is not there"))
                }
                (_, Some(letter)) => (FlawKind::DeadLetter, format!("{letter} leads to an event that is not there")),
                ("schedule" | "waits", _) if gone => {
                    (FlawKind::Schedule, "there is something to do in a conversation that is not there".to_owned())
                }
                ("schedule" | "waits", _) => {
                    (FlawKind::Schedule, "it is said to wait for something that it does not wait for".to_owned())
                }
                _ if gone => (FlawKind::List, format!("the {} show a conversation that is not there", shown(list))),
                ("timers", _) => (FlawKind::List, "it is to be woken at another moment than its own".to_owned()),
                _ => (FlawKind::List, SHOWN_ELSEWHERE.to_owned()),
            };
            self.say(kind, Some(id), what);
        }
        Ok(())
    }

    /// A list whose members do not stay in one order: the server leads through it.
    async fn scanned(&mut self, place: Place, list: &'static str) -> Result<Option<Place>, StoreError> {
        let key = self.list(place.phase, place.shard);
        let (members, next) = self.scan(place.shard, &key, place.number).await?;
        self.listed(list, place.shard, &members).await?;
        self.spend(members.len());
        Ok(next.map_or_else(|| place.next(), |next| Some(place.within(next, Vec::new(), Seq::ZERO))))
    }

    async fn scan(&self, shard: Shard, key: &str, at: u64) -> Result<(Vec<Vec<u8>>, Option<u64>), StoreError> {
        let mut scan = redis::cmd("ZSCAN");
        scan.arg(key).arg(at).arg("COUNT").arg(TOGETHER);
        let scanned = self.core.link.ask_one(Purpose::Read, shard, scan).await?;
        let Value::Array(scanned) = scanned else { return Err(Unreadable.into()) };
        let [next, members] = <[Value; 2]>::try_from(scanned).map_err(|_| Unreadable)?;
        let next = match next {
            Value::BulkString(next) => std::str::from_utf8(&next).ok().and_then(|next| next.parse::<u64>().ok()),
            _ => None,
        };
        let members = texts(members)?.into_iter().step_by(2).collect();
        Ok((members, Some(next.ok_or(Unreadable)?).filter(|next| *next != 0)))
    }

    async fn messages(&mut self, place: Place) -> Result<Option<Place>, StoreError> {
        let (entries, next) = self.bucketed(&place, Buckets::Messages).await?;
        let mut entries = entries.as_slice();
        while let Some((bucket, first, _)) = entries.first() {
            if self.is_over() {
                return Ok(Some(place.within(*bucket, first.clone(), Seq::ZERO)));
            }
            let (these, others) = entries.split_at(entries.len().min(10 * TOGETHER).min(self.left));
            entries = others;
            self.calls += 1;
            self.spend(these.len());
            self.named(place.shard, these).await?;
        }
        Ok(match next {
            Some(bucket) => Some(place.within(bucket, Vec::new(), Seq::ZERO)),
            None => place.next(),
        })
    }

    /// Messages by their ids, each against what is in its place.
    async fn named(&mut self, shard: Shard, entries: &[Entry]) -> Result<(), StoreError> {
        let (mut asks, mut asked) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
        for (_, message, place) in entries {
            let id = place.first_chunk::<16>().map(|id| ConversationId::from_bytes(*id));
            let message = <[u8; 16]>::try_from(message.as_slice()).ok().map(MessageId::from_bytes);
            let at = place.get(16..).and_then(|at| std::str::from_utf8(at).ok()).and_then(|at| at.parse().ok());
            let known = id.zip(message).zip(at.map(Seq)).filter(|((id, _), _)| Shard::from(*id) == shard);
            let Some(((id, message), at)) = known else {
                self.say(FlawKind::Unreadable, None, "where a message is cannot be read");
                continue;
            };
            let names = self.names();
            let mut ask = Ask::new(vec![names.message(shard, message), names.conversation(id), names.log(id)]);
            ask.say("message").bytes(&message.to_bytes());
            ask.say("id").bytes(&id.to_bytes());
            asks.push((shard, ask));
            asked.push((id, message, at));
        }
        let answers = self.core.link.run_each(Purpose::Read, &NAMED, asks).await?;
        for (answer, (id, message, at)) in answers.iter().zip(asked) {
            let answer = answer.read()?;
            let Some(stored) = answer.at(0).maybe().map(Item::bytes).transpose()? else { continue };
            let brought = Element::read(at, stored).ok();
            let brought = brought.map(|element| element.event.body.message().map(|message| message.id));
            match brought {
                // What cannot be read was told of already.
                None if stored != b"gone" => {}
                None => {
                    self.say(FlawKind::Message, Some(id), format!("{message} leads to an event that is not there"));
                }
                Some(brought) if brought != Some(message) => {
                    let what = format!("{message} leads to an event that does not bring it");
                    self.say(FlawKind::Message, Some(id), what);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// A key may be known for longer than its message is there.
    async fn known(&mut self, place: Place) -> Result<Option<Place>, StoreError> {
        let (entries, next) = self.bucketed(&place, Buckets::Known).await?;
        for (bucket, key, value) in entries {
            if self.left == 0 {
                return Ok(Some(place.within(bucket, key, Seq::ZERO)));
            }
            self.spend(1);
            let id = value.first_chunk::<16>().map(|id| ConversationId::from_bytes(*id));
            if value.len() != 32 || id.is_none_or(|id| Shard::from(id) != place.shard) {
                self.say(FlawKind::Known, None, "what a message is known by leads nowhere");
            }
        }
        Ok(match next {
            Some(bucket) => Some(place.within(bucket, Vec::new(), Seq::ZERO)),
            None => place.next(),
        })
    }

    async fn participants(&mut self, place: Place) -> Result<Option<Place>, StoreError> {
        let key = self.list(place.phase, place.shard);
        let (members, next) = self.scan(place.shard, &key, place.number).await?;
        self.spend(members.len());
        for these in members.chunks(TOGETHER) {
            let looks = these.iter().map(|member| self.core.surely(Thing::TakingPart { shard: place.shard, member }));
            for seen in try_join_all(looks).await? {
                self.found.flaws.extend(seen.flaws);
            }
        }
        Ok(next.map_or_else(|| place.next(), |next| Some(place.within(next, Vec::new(), Seq::ZERO))))
    }

    /// Numbers without a gap, and moments in order.
    async fn feed(&mut self, place: Place) -> Result<Option<Place>, StoreError> {
        let rows = self.left.clamp(2, 500) as u64;
        let mut range = redis::cmd("LRANGE");
        range.arg(self.list(place.phase, place.shard)).arg(place.number).arg(place.number.saturating_add(rows - 1));
        let entries = texts(self.core.link.ask_one(Purpose::Read, place.shard, range).await?)?;
        self.spend(entries.len());
        let mut last: Option<(i64, i64)> = None;
        for entry in &entries {
            let item = Item::read(entry).ok();
            let read = item.and_then(|item| item.at(0).number().ok().zip(item.at(1).number().ok()));
            let Some((number, moment)) = read else {
                self.say(FlawKind::Unreadable, None, "a change in the feed cannot be read");
                continue;
            };
            if last.is_some_and(|(before, at)| number != before + 1 || moment <= at) {
                self.say(FlawKind::List, None, format!("the feed has a gap before change {number}, or another order"));
            }
            last = Some((number, moment));
        }
        // The last is looked at once more, with the next behind it.
        let full = entries.len() as u64 == rows;
        Ok(if full { Some(place.within(place.number + rows - 1, Vec::new(), Seq::ZERO)) } else { place.next() })
    }
}

const SHOWN_ELSEWHERE: &str =
    "lists show it under a channel, status, owner, attention, assignee or time that is not its own";

fn shown(list: &str) -> &str {
    match list {
        "index" => "lists",
        "letters" => "dead letters",
        other => other,
    }
}

fn texts(value: Value) -> Result<Vec<Vec<u8>>, Unreadable> {
    let Value::Array(values) = value else { return Err(Unreadable) };
    let text = |value| if let Value::BulkString(text) = value { Ok(text) } else { Err(Unreadable) };
    values.into_iter().map(text).collect()
}

impl Core {
    /// What does not fit is looked at again: what was on its way has arrived then.
    async fn surely(&self, thing: Thing<'_>) -> Result<Seen, StoreError> {
        let mut seen = self.once(&thing).await?;
        for _ in 1..LOOKS {
            if seen.flaws.is_empty() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            let again = self.once(&thing).await?;
            let still = seen.flaws.into_iter().filter(|flaw| again.flaws.contains(flaw)).collect();
            seen = Seen { flaws: still, ..again };
        }
        Ok(seen)
    }

    async fn once(&self, thing: &Thing<'_>) -> Result<Seen, StoreError> {
        match *thing {
            Thing::OfThread { shard, digest, id, behind, rows } => {
                self.of_thread(shard, digest, id, behind, rows).await
            }
            Thing::WithoutThread { id, behind, rows } => self.without_thread(id, behind, rows).await,
            Thing::TakingPart { shard, member } => self.taking_part(shard, member).await,
        }
    }

    /// The conversation that a thread leads to.
    async fn of_thread(
        &self,
        shard: Shard,
        digest: &[u8],
        id: &[u8],
        behind: Seq,
        rows: usize,
    ) -> Result<Seen, StoreError> {
        let id = <[u8; 16]>::try_from(id).ok().map(ConversationId::from_bytes);
        let digest = <[u8; 16]>::try_from(digest).ok();
        let Some((id, digest)) = id.zip(digest).filter(|(id, _)| Shard::from(*id) == shard) else {
            let mut seen = Seen::default();
            seen.say(FlawKind::Thread, None, "a thread leads nowhere");
            return Ok(seen);
        };
        let (mut seen, conversation) = self.look_at(id, behind, rows).await?;
        let fits = conversation.is_some_and(|conversation| thread_digest(&conversation.thread) == digest);
        if fits || (seen.there && !seen.flaws.is_empty()) {
            return Ok(seen);
        }
        // Perhaps it left meanwhile.
        if self.led_by(shard, &digest).await? == Some(id) {
            let what = if seen.there {
                "it is found by another thread than its own"
            } else {
                "a thread leads to it, and it is not there"
            };
            seen.say(FlawKind::Thread, Some(id), what);
        }
        Ok(seen)
    }

    async fn led_by(&self, shard: Shard, digest: &[u8; 16]) -> Result<Option<ConversationId>, StoreError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.names.thread(shard, digest)).arg(digest.as_slice());
        Ok(match self.link.ask_one(Purpose::Read, shard, get).await? {
            Value::BulkString(id) => id.try_into().ok().map(ConversationId::from_bytes),
            _ => None,
        })
    }

    /// A conversation of the index that its thread does not lead to: it was erased, or lost its thread.
    async fn without_thread(&self, id: ConversationId, behind: Seq, rows: usize) -> Result<Seen, StoreError> {
        let Some(stored) = self.stored_conversations(&[id]).await?.remove(&id) else { return Ok(Seen::default()) };
        let read = records::conversation(id, &stored).ok();
        let shard = Shard::from(id);
        let mut lost = false;
        if let Some(conversation) = &read {
            if self.led_by(shard, &thread_digest(&conversation.thread)).await? == Some(id) {
                return Ok(Seen::default());
            }
            lost = conversation.thread.thread.as_str() != format!("erased:{id}");
        }
        let (mut seen, _) = self.look_at(id, behind, rows).await?;
        if seen.there && lost && behind == Seq::ZERO {
            seen.say(FlawKind::Thread, Some(id), "its thread does not lead to it");
        }
        Ok(seen)
    }

    /// Whom a contact's list names.
    async fn taking_part(&self, shard: Shard, member: &[u8]) -> Result<Seen, StoreError> {
        let mut seen = Seen::default();
        let ([contact, conversation], []) = member.as_chunks::<16>() else {
            seen.say(FlawKind::Unreadable, None, "who takes part in what cannot be read");
            return Ok(seen);
        };
        let (contact, id) = (ContactId::from_bytes(*contact), ConversationId::from_bytes(*conversation));
        let stored = self.stored_conversations(&[id]).await?.remove(&id);
        let read = stored.as_ref().map(|stored| records::conversation(id, stored));
        let what = match read {
            None => format!("{contact} is listed for a conversation that is not there"),
            Some(Ok(conversation)) if !conversation.participants.contains(&contact) => {
                format!("{contact} is listed for it, and takes no part in it")
            }
            // What cannot be read was told of already.
            Some(_) => return Ok(seen),
        };
        let mut score = redis::cmd("ZSCORE");
        score.arg(self.names.parts(shard)).arg(member);
        if self.link.ask_one(Purpose::Read, shard, score).await? != Value::Nil {
            seen.say(FlawKind::Participant, Some(id), what);
        }
        Ok(seen)
    }

    /// A conversation as it is now, with a piece of its log.
    async fn look_at(
        &self,
        id: ConversationId,
        behind: Seq,
        rows: usize,
    ) -> Result<(Seen, Option<Conversation>), StoreError> {
        let shard = Shard::from(id);
        let mut ask = Ask::new(self.names.of_verb(id));
        ask.say("id").bytes(&id.to_bytes());
        ask.say("from").number(signed(behind.next().0));
        ask.say("rows").number(signed(rows.max(1) as u64));
        ask.say("bytes").number(MOST_BYTES);
        self.say_time(&mut ask);
        let answers = self.link.run_each(Purpose::Read, &CHECK, vec![(shard, ask)]).await?;
        let answer = answers.first().ok_or(Unreadable)?.read()?;
        let mut seen = Seen::default();
        if answer.list()?.is_empty() {
            return Ok((seen, None));
        }
        seen.there = true;
        let stored = answer.at(0).bytes()?;
        let read = records::conversation(id, stored).ok().zip(Item::read(stored).ok());
        let told = answer.at(1).maybe().and(read);
        let Some((conversation, map)) = told else {
            seen.say(FlawKind::Unreadable, Some(id), "the conversation cannot be read");
            return Ok((seen, None));
        };
        let lanes = [(Lane::Agent, 0), (Lane::Deliver, 1)];
        let lanes = lanes.map(|(lane, place)| LaneSeen::read(&map, lane, answer.at(1).at(place)));
        let [Ok(agent), Ok(deliver)] = lanes else {
            seen.say(FlawKind::Unreadable, Some(id), "the conversation's lanes cannot be read");
            return Ok((seen, None));
        };
        let lanes = [agent, deliver];
        if behind == Seq::ZERO {
            places(&conversation, &mut seen.flaws);
            for lane in &lanes {
                lane.judge(&conversation, &mut seen);
            }
            if !answer.at(2).is_true() {
                seen.say(FlawKind::List, Some(id), SHOWN_ELSEWHERE);
            }
            if !answer.at(3).is_true() {
                seen.say(FlawKind::List, Some(id), "it is to be woken at another moment than its own");
            }
            if conversation.attention == Some(Attention::DeadLetter) && answer.at(8).count()? == 0 {
                seen.say(FlawKind::DeadLetter, Some(id), "attention is asked for a dead letter, and it has none");
            }
            self.people(&conversation, answer.at(4), &mut seen).await?;
        }
        self.log(&conversation, &lanes, &answer, &mut seen).await?;
        Ok((seen, Some(conversation)))
    }

    /// Whoever takes part is known, or a word of it is on its way.
    async fn people(
        &self,
        conversation: &Conversation,
        on_their_way: &Item<'_>,
        seen: &mut Seen,
    ) -> Result<(), StoreError> {
        let mut coming = Vec::new();
        for contact in on_their_way.list()? {
            coming.push(ContactId::from_bytes(contact.id()?));
        }
        let people: Vec<ContactId> =
            conversation.participants.iter().copied().filter(|contact| !coming.contains(contact)).collect();
        let calls = people.iter().map(|contact| {
            let shard = Shard::of_contact(*contact);
            let told = |command: &str, key: String, member: &[u8]| {
                let mut command = redis::cmd(command);
                command.arg(key).arg(member);
                command
            };
            let bytes = contact.to_bytes();
            let calls: Vec<Cmd> = vec![
                told("HEXISTS", self.names.contacts(shard), &bytes),
                told("ZSCORE", self.names.parts(shard), &[bytes, conversation.id.to_bytes()].concat()),
                told("HEXISTS", self.names.erasing(shard), &bytes),
            ];
            (shard, calls)
        });
        let values = self.link.ask(Purpose::Read, calls.collect()).await?;
        for (contact, values) in people.iter().zip(values) {
            let [known, listed, erasing] = <[Value; 3]>::try_from(values).map_err(|_| Unreadable)?;
            if erasing == Value::Int(1) {
                continue;
            }
            let id = Some(conversation.id);
            if known != Value::Int(1) {
                seen.say(FlawKind::Participant, id, format!("{contact} takes part in it, and is not known"));
            }
            if listed == Value::Nil {
                seen.say(FlawKind::Participant, id, format!("{contact} takes part in it, and is not listed for it"));
            }
        }
        Ok(())
    }

    async fn log(
        &self,
        conversation: &Conversation,
        lanes: &[LaneSeen; 2],
        answer: &Item<'_>,
        seen: &mut Seen,
    ) -> Result<(), StoreError> {
        let (id, shard) = (conversation.id, Shard::from(conversation.id));
        let first = answer.at(5).count()?;
        let mut following = Following::behind(conversation, Seq(first.saturating_sub(1)));
        let mut messages = Vec::new();
        let elements = answer.at(6).list()?;
        for (at, element) in (first..).map(Seq).zip(elements) {
            seen.events += 1;
            following.comes(at, &mut seen.flaws);
            let stored = element.bytes()?;
            let marks = Item::read(stored).ok().and_then(|item| item.at(0).number().ok());
            let Some((element, marks)) = Element::read(at, stored).ok().zip(marks) else {
                seen.say(FlawKind::Unreadable, Some(id), format!("event {} cannot be read", at.0));
                continue;
            };
            for lane in lanes {
                let Standing { lane: which, cursor, head, .. } = lane.standing;
                if marks & woken(which) != 0 && at > head.max(cursor) {
                    let what = format!("event {} is for the {} lane, which does not know of it", at.0, name(which));
                    seen.say(FlawKind::Schedule, Some(id), what);
                }
            }
            event(id, &element, marks, seen);
            messages.extend(element.event.body.message().map(|message| (at, message.id)));
        }
        if answer.at(7).is_true() {
            seen.more = Some(Seq((first + elements.len() as u64).saturating_sub(1)));
        } else {
            following.ends(&mut seen.flaws);
        }
        let gets = messages.iter().map(|(_, message)| {
            let mut get = redis::cmd("HGET");
            get.arg(self.names.message(shard, *message)).arg(message.to_bytes().as_slice());
            get
        });
        let mut found = self.link.ask(Purpose::Read, vec![(shard, gets.collect())]).await?;
        for ((at, _), found) in messages.iter().zip(found.pop().unwrap_or_default()) {
            let place = [id.to_bytes().as_slice(), at.0.to_string().as_bytes()].concat();
            match found {
                Value::BulkString(found) if found == place => {}
                Value::BulkString(_) => {
                    let what = format!("the message of event {} is found somewhere else", at.0);
                    seen.say(FlawKind::Message, Some(id), what);
                }
                _ => {
                    let what = format!("the message of event {} is not found by its id", at.0);
                    seen.say(FlawKind::Message, Some(id), what);
                }
            }
        }
        Ok(())
    }
}

/// An event alone.
fn event(id: ConversationId, element: &Element, marks: i64, seen: &mut Seen) {
    let (id, at) = (Some(id), element.event.seq.0);
    let message = element.event.body.message();
    if (marks & MESSAGE != 0) != message.is_some() || (marks & WAITS != 0) != element.event.body.waits_for_answer() {
        seen.say(FlawKind::Log, id, format!("event {at} is marked as something that it is not"));
    }
    let bytes = |attachment: &Attachment| Some((attachment.id, attachment.stored()?.clone()));
    seen.stored.extend(message.into_iter().flat_map(|message| &message.attachments).filter_map(bytes));
    let is_sent = message.is_some_and(|message| message.direction == Direction::Outbound && !message.private);
    match &element.delivery {
        Some(_) if !is_sent => {
            seen.say(FlawKind::Delivery, id, format!("event {at} is delivered as if it were to be sent"));
        }
        None if is_sent => {
            let what = format!("of the message of event {at} it is not known what became of it");
            seen.say(FlawKind::Delivery, id, what);
        }
        Some(Delivery { status, parts }) => {
            if let Some(what) = disagreement(*status, parts) {
                seen.say(FlawKind::Delivery, id, format!("the message of event {at} {what}"));
            }
        }
        None => {}
    }
}

/// The mark of events that wake a lane.
fn woken(lane: Lane) -> i64 {
    match lane {
        Lane::Agent => 1,
        Lane::Deliver => 2,
    }
}

/// A lane, and where it is looked for.
struct LaneSeen {
    standing: Standing,
    /// It stands in the schedule as it should, if it does.
    fits: bool,
    /// What it waits for knows of it.
    waits: bool,
    /// So many events should wait behind the next one, and so many do.
    queued: (u64, u64),
    endless: bool,
}

impl LaneSeen {
    fn read(map: &Item<'_>, lane: Lane, told: &Item<'_>) -> Result<Self, Unreadable> {
        let stored = map.get(lane_name(lane));
        let cursor = Seq(stored.get("cursor").count()?);
        let next = stored.get("next").maybe().map(Item::count).transpose()?.map(Seq);
        let last = told.at(4).maybe().map(Item::text).transpose()?;
        let last = last.and_then(|last| last.split_once(':')?.0.parse().ok()).map(Seq);
        let mut redo = Vec::new();
        for one in stored.get("redo").list()? {
            redo.push(Seq(one.at(0).count()?));
        }
        let is_claimed = stored.get("claim").maybe().is_some();
        let has_work = next.is_some() || !redo.is_empty();
        // What was taken away under a claim leaves it with nothing to do until its time is over.
        let scheduled = told.at(0).is_true() && (has_work || !is_claimed);
        let longest = i64::try_from(LONGEST_CLAIM.as_millis()).unwrap_or(i64::MAX);
        Ok(Self {
            standing: Standing { lane, cursor, head: last.or(next).unwrap_or(cursor), redo, scheduled },
            fits: told.at(1).is_true(),
            waits: told.at(2).is_true(),
            queued: (stored.get("more").maybe().map_or(Ok(0), Item::count)?, told.at(3).count()?),
            endless: told.at(5).number()? > longest,
        })
    }

    fn judge(&self, conversation: &Conversation, seen: &mut Seen) {
        let (id, lane) = (Some(conversation.id), name(self.standing.lane));
        self.standing.judge(conversation, &mut seen.flaws);
        if !self.fits || !self.waits {
            seen.say(FlawKind::Schedule, id, format!("the {lane} lane is marked in a way that nobody looks for"));
        }
        let (should, does) = self.queued;
        if should != does {
            let what = format!("behind the next event of the {lane} lane {should} should wait, and {does} do");
            seen.say(FlawKind::Lane, id, what);
        }
        if self.endless {
            seen.say(FlawKind::Claim, id, format!("the claim on the {lane} lane does not end within a day"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_not_otherwise() {
        let mut place = Some(Place::FIRST);
        let mut steps = 0;
        while let Some(at) = place {
            for at in [at.clone(), at.within(u64::MAX, vec![0, 255, 16], Seq(7))] {
                let text = at.write("abcdefgh");
                assert_eq!(Place::read("abcdefgh", &text), Some(at));
                assert_eq!(Place::read("abcdefgi", &text), None);
                assert_eq!(Place::read("abcdefgh", &format!("{text}.0")), None);
                assert_eq!(Place::read("abcdefgh", &text.replacen('.', ".0", 1)), None);
            }
            (place, steps) = (at.next(), steps + 1);
        }
        assert_eq!(steps, PHASES.len() * usize::from(PARTITIONS));
        for foreign in ["abcdefgh.10.0.0..0", "abcdefgh.0.64.0..0", "abcdefgh.0.0.0.0.0", "abcdefgh.0.0.0.zz.0"] {
            assert_eq!(Place::read("abcdefgh", foreign), None);
        }
    }
}
