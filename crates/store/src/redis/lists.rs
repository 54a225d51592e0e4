//! Lists over all partitions: conversations and dead letters in pages, conversations for which a moment has come, and how much
//! there is of everything. Each partition has them in order already; they are merged here.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use frontdesk_model::*;
use redis::Value;

use super::{
    Core,
    claims::{Class, Place, scheduled},
    effects::{Ask, refused},
    keys::Shard,
    link::{Purpose, Script},
    merge::Merge,
    pack::{Packer, Unreadable},
    records::{self, Working, attention_number, owner_number, status_number},
};

/// Reading needs no memory and is carried out when there is none.
macro_rules! reading {
    ($($file:literal),*) => {
        Script::new(concat!("#!lua flags=no-writes\n", $(include_str!(concat!("scripts/", $file))),*))
    };
}
pub(super) use reading;

static LIST: Script = reading!("list.lua");
static SHELVES: Script = reading!("shelves.lua");

/// So many lanes are counted in one go.
const COUNTED_AT_ONCE: usize = 2000;

/// Where a conversation stands in a list: by the time at which its log last grew, then by id; the newest first.
type Newest = Reverse<(i64, ConversationId)>;
/// When something is to be done about a conversation.
type Moment = (i64, ConversationId);

fn foreign_page() -> StoreError {
    refused("page: not a page that an answer gave as next")
}

fn check_limit(page: &PageRequest) -> Result<(), StoreError> {
    if (1..=200).contains(&page.limit) { Ok(()) } else { Err(refused("limit: from 1 to 200")) }
}

/// So many rows of each partition are looked at first, for a list of so many.
fn share(rows: usize) -> usize {
    rows.div_ceil(16).saturating_add(1).min(256)
}

/// The number of a shelf: status, owner and attention in one byte.
fn shelf(status: Status, owner: Owner, attention: Option<Attention>) -> u8 {
    let number = status_number(status) * 16 + owner_number(owner) * 8 + attention.map_or(0, attention_number);
    u8::try_from(number).unwrap_or(u8::MAX)
}

const STATUSES: [Status; 3] = [Status::Open, Status::Pending, Status::Resolved];
const OWNERS: [Owner; 2] = [Owner::Agent, Owner::Desk];
const ATTENTIONS: [Option<Attention>; 4] =
    [None, Some(Attention::DeadLetter), Some(Attention::Handoff), Some(Attention::Fallback)];

/// Says of each shelf, in the order of their numbers, whether a list asks for it.
fn shelves_asked_for(filter: &ConversationFilter) -> Vec<u8> {
    let mut asked = vec![b'0'; 64];
    for status in STATUSES.into_iter().filter(|status| filter.status.is_none_or(|wanted| wanted == *status)) {
        for owner in OWNERS.into_iter().filter(|owner| filter.owner.is_none_or(|wanted| wanted == *owner)) {
            let wanted = |attention: &Option<Attention>| filter.attention.is_none() || filter.attention == *attention;
            for attention in ATTENTIONS.into_iter().filter(wanted) {
                if let Some(flag) = asked.get_mut(usize::from(shelf(status, owner, attention))) {
                    *flag = b'1';
                }
            }
        }
    }
    asked
}

fn is_asked_for(conversation: &Conversation, filter: &ConversationFilter) -> bool {
    let ConversationFilter { status, channels, attention, owner, assignee, contact } = filter;
    status.is_none_or(|wanted| wanted == conversation.status)
        && (channels.is_empty() || channels.contains(&conversation.channel))
        && attention.is_none_or(|wanted| Some(wanted) == conversation.attention)
        && owner.is_none_or(|wanted| wanted == conversation.owner)
        && assignee.as_ref().is_none_or(|wanted| Some(wanted) == conversation.assignee.as_ref())
        && contact.is_none_or(|wanted| conversation.participants.contains(&wanted))
}

/// A conversation's place as the index has it: six bytes of time, then the id.
fn place_bytes(Reverse((at, id)): &Newest) -> Vec<u8> {
    at.to_be_bytes().iter().skip(2).copied().chain(id.to_bytes()).collect()
}

fn read_place(bytes: &[u8]) -> Result<Newest, Unreadable> {
    let (time, id) = bytes.split_first_chunk::<6>().ok_or(Unreadable)?;
    let [a, b, c, d, e, f] = *time;
    let at = i64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    Ok(Reverse((at, ConversationId::from_bytes(id.try_into().map_err(|_| Unreadable)?))))
}

impl Core {
    /// Pages go on behind (time, id) of the last row, so that new rows neither shift nor repeat them.
    pub(super) async fn conversations(
        &self,
        filter: &ConversationFilter,
        page: &PageRequest,
    ) -> Result<Page<Conversation>, StoreError> {
        check_limit(page)?;
        let behind = page.page.as_deref().map(read_page).transpose()?;
        let rows = page.limit.saturating_add(1);
        let (mut found, more) = match filter.contact {
            Some(contact) => self.of_contact(contact, filter, behind, page.limit).await?,
            None => {
                let places = self.places(filter, behind, rows).await?;
                let more = places.len() > page.limit;
                let ids: Vec<ConversationId> = places.iter().take(page.limit).map(|Reverse((_, id))| *id).collect();
                let found = self.conversations_of(&ids).await?;
                (places.into_iter().zip(found).collect::<Vec<_>>(), more)
            }
        };
        let next = found.last().filter(|_| more).map(|(Reverse((at, id)), _)| format!("{at}.{id}"));
        // What left the list since the index was read is not shown in it.
        found.retain(|(_, conversation)| conversation.as_ref().is_some_and(|found| is_asked_for(found, filter)));
        Ok(Page { data: found.into_iter().filter_map(|(_, conversation)| conversation).collect(), next })
    }

    /// What one person takes part in: few enough to be sorted.
    async fn of_contact(
        &self,
        contact: ContactId,
        filter: &ConversationFilter,
        behind: Option<Newest>,
        limit: usize,
    ) -> Result<(Vec<(Newest, Option<Conversation>)>, bool), StoreError> {
        let shard = Shard::of_contact(contact);
        let mut range = redis::cmd("ZRANGEBYLEX");
        let bound = |sign: &[u8], end: &[u8]| [sign, &contact.to_bytes(), end].concat();
        range.arg(self.names.parts(shard)).arg(bound(b"[", b"")).arg(bound(b"[", &[255; 17]));
        let Value::Array(members) = self.link.ask_one(Purpose::Read, shard, range).await? else {
            return Err(Unreadable.into());
        };
        let mut ids = Vec::with_capacity(members.len());
        for member in members {
            let Value::BulkString(member) = member else { return Err(Unreadable.into()) };
            ids.push(ConversationId::from_bytes(*member.last_chunk::<16>().ok_or(Unreadable)?));
        }
        let mut found: Vec<(Newest, Option<Conversation>)> = Vec::new();
        for conversation in self.conversations_of(&ids).await?.into_iter().flatten() {
            let place = Reverse((conversation.updated_at.as_millis(), conversation.id));
            if is_asked_for(&conversation, filter) && behind.is_none_or(|behind| place > behind) {
                found.push((place, Some(conversation)));
            }
        }
        found.sort_by_key(|(place, _)| *place);
        let more = found.len() > limit;
        found.truncate(limit);
        Ok((found, more))
    }

    /// Places of conversations in a list, from all partitions' shelves.
    async fn places(
        &self,
        filter: &ConversationFilter,
        behind: Option<Newest>,
        rows: usize,
    ) -> Result<Vec<Newest>, StoreError> {
        let mut merge: Merge<Shard, Newest, ()> = Merge::new(Shard::all());
        let mut places = Vec::new();
        while places.len() < rows {
            let hungry = merge.hungry();
            if !hungry.is_empty() {
                let asks = hungry.iter().map(|(shard, last)| {
                    (*shard, self.ask_for_places(*shard, filter, last.as_ref().or(behind.as_ref()), share(rows)))
                });
                let answers = self.link.run_each(Purpose::Read, &LIST, asks.collect()).await?;
                for ((shard, _), answer) in hungry.into_iter().zip(&answers) {
                    let mut read = Vec::new();
                    for place in answer.read()?.list()? {
                        read.push((read_place(place.bytes()?)?, ()));
                    }
                    let more = read.len() >= share(rows);
                    merge.feed(shard, read, more);
                }
            }
            let Some((_, place, ())) = merge.pop() else { break };
            // One that grew while the list was read may come twice.
            let Reverse((_, id)) = place;
            if !places.iter().any(|Reverse((_, known))| *known == id) {
                places.push(place);
            }
        }
        Ok(places)
    }

    fn ask_for_places(&self, shard: Shard, filter: &ConversationFilter, behind: Option<&Newest>, limit: usize) -> Ask {
        let mut ask = Ask::new(vec![self.names.index(shard)]);
        ask.say("limit").number(records::signed(limit as u64));
        ask.say("before").maybe(behind, |packer, place| {
            packer.bytes(&place_bytes(place));
        });
        let named = |packer: &mut Packer, length: &[u8], name: &str| {
            packer.bytes(&[length, name.as_bytes()].concat());
        };
        ask.say("assignee").maybe(filter.assignee.as_deref(), |packer, name| {
            named(packer, &u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes(), name);
        });
        let channels = ask.say("channels").list(filter.channels.len());
        for channel in &filter.channels {
            named(channels, &[u8::try_from(channel.as_str().len()).unwrap_or(u8::MAX)], channel.as_str());
        }
        ask.say("shelves").bytes(&shelves_asked_for(filter));
        ask
    }

    /// Conversations as they are now, in the order of their ids here; `None` for one that is not there.
    pub(super) async fn conversations_of(
        &self,
        ids: &[ConversationId],
    ) -> Result<Vec<Option<Conversation>>, StoreError> {
        let mut found = self.stored_conversations(ids).await?;
        ids.iter()
            .map(|id| Ok(found.remove(id).map(|stored| records::conversation(*id, &stored)).transpose()?))
            .collect()
    }

    /// Conversations as they are stored.
    pub(super) async fn stored_conversations(
        &self,
        ids: &[ConversationId],
    ) -> Result<HashMap<ConversationId, Vec<u8>>, StoreError> {
        let mut shards: BTreeMap<Shard, Vec<ConversationId>> = BTreeMap::new();
        for id in ids {
            shards.entry(Shard::from(*id)).or_default().push(*id);
        }
        let calls = shards.iter().map(|(shard, ids)| {
            let mut get = redis::cmd("MGET");
            for id in ids {
                get.arg(self.names.conversation(*id));
            }
            (*shard, vec![get])
        });
        let values = self.link.ask(Purpose::Read, calls.collect()).await?;
        let mut found = HashMap::with_capacity(ids.len());
        for (ids, values) in shards.into_values().zip(values) {
            let Some(Value::Array(stored)) = values.into_iter().next() else { return Err(Unreadable.into()) };
            for (id, stored) in ids.into_iter().zip(stored) {
                if let Value::BulkString(stored) = stored {
                    found.insert(id, stored);
                }
            }
        }
        Ok(found)
    }

    /// Moments are people's: they are compared with our own clock.
    pub(super) async fn timers(&self, limit: usize) -> Result<Timers, StoreError> {
        let now = self.clock.now().as_millis();
        let mut merge: Merge<Shard, Moment, ()> = Merge::new(Shard::all());
        let (mut ids, mut skip) = (Vec::new(), vec![0; Shard::all().count()]);
        let next = loop {
            let hungry = merge.hungry();
            if !hungry.is_empty() {
                let rows = share(limit);
                let calls = hungry.iter().map(|(shard, _)| {
                    let mut range = redis::cmd("ZRANGE");
                    let from = skip.get(shard.index()).copied().unwrap_or(0);
                    range.arg(self.names.timers(*shard)).arg(from).arg(from + rows - 1).arg("WITHSCORES");
                    (*shard, vec![range])
                });
                let found = self.link.ask(Purpose::Read, calls.collect()).await?;
                for ((shard, _), values) in hungry.into_iter().zip(found) {
                    let read = scored(&values)?;
                    if let Some(skip) = skip.get_mut(shard.index()) {
                        *skip += read.len();
                    }
                    let more = read.len() >= rows;
                    merge.feed(shard, read, more);
                }
                continue;
            }
            match merge.peek() {
                Some((_, (at, id), ())) if *at <= now && ids.len() < limit => ids.push(*id),
                Some((_, (at, _), ())) => break Some(Timestamp::from_millis(*at)),
                None => break None,
            }
            merge.pop();
        };
        let mut due: Vec<Conversation> = self.conversations_of(&ids).await?.into_iter().flatten().collect();
        let has_come = |at: Option<Timestamp>| at.is_some_and(|at| at.as_millis() <= now);
        due.retain(|conversation| {
            let fetching = conversation.fetching.map(|fetching| fetching.at);
            has_come(conversation.snoozed_until) || has_come(conversation.answer_by) || has_come(fetching)
        });
        Ok(Timers { due, next_due: next })
    }

    pub(super) async fn dead_letters(&self, page: &PageRequest) -> Result<Page<DeadLetter>, StoreError> {
        check_limit(page)?;
        let before = page.page.as_deref().map(|page| page.parse::<DeadLetterId>().map_err(|_| foreign_page()));
        let before = before.transpose()?;
        let rows = page.limit.saturating_add(1);
        let mut merge: Merge<Shard, Reverse<DeadLetterId>, DeadLetter> = Merge::new(Shard::all());
        let mut data = Vec::new();
        while data.len() < rows {
            let hungry = merge.hungry();
            let calls = hungry.iter().map(|(shard, last)| {
                let max = match last.map(|Reverse(id)| id).or(before) {
                    Some(id) => [b"(".as_slice(), &id.to_bytes()].concat(),
                    None => b"+".to_vec(),
                };
                let mut range = redis::cmd("ZREVRANGEBYLEX");
                range.arg(self.names.letters(*shard)).arg(max).arg("-").arg("LIMIT").arg(0).arg(share(rows));
                (*shard, vec![range])
            });
            let found = self.link.ask(Purpose::Read, calls.collect()).await?;
            for ((shard, _), values) in hungry.into_iter().zip(found) {
                let Some(Value::Array(members)) = values.into_iter().next() else { return Err(Unreadable.into()) };
                let mut read = Vec::new();
                for member in members {
                    let Value::BulkString(member) = member else { return Err(Unreadable.into()) };
                    let letter = records::letter(&member)?;
                    read.push((Reverse(letter.id), letter));
                }
                let more = read.len() >= share(rows);
                merge.feed(shard, read, more);
            }
            let Some((_, _, letter)) = merge.pop() else { break };
            data.push(letter);
        }
        let more = data.len() > page.limit;
        data.truncate(page.limit);
        let next = data.last().filter(|_| more).map(|last| last.id.to_string());
        Ok(Page { data, next })
    }

    pub(super) async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, StoreError> {
        let shard = Shard::from(id.partition());
        let bound = |sign: &[u8], end: &[u8]| [sign, &id.to_bytes(), end].concat();
        let mut range = redis::cmd("ZRANGEBYLEX");
        range.arg(self.names.letters(shard)).arg(bound(b"[", b"")).arg(bound(b"[", b"\xff"));
        let Value::Array(found) = self.link.ask_one(Purpose::Read, shard, range).await? else {
            return Err(Unreadable.into());
        };
        match found.first() {
            Some(Value::BulkString(stored)) => Ok(Some(records::letter(stored)?)),
            _ => Ok(None),
        }
    }

    /// Looks at every lane that has something to do, some at a time: as much work as there is a backlog.
    pub(super) async fn census(&self) -> Result<Census, StoreError> {
        let mut census = Census::default();
        let asks = Shard::all().map(|shard| (shard, Ask::new(vec![self.names.index(shard)])));
        for answer in self.link.run_each(Purpose::Read, &SHELVES, asks.collect()).await? {
            for shelf in answer.read()?.list()? {
                let count = shelf.at(1).count()?;
                match shelf.at(0).number()? / 16 {
                    1 => census.open += count,
                    2 => census.pending += count,
                    3 => census.resolved += count,
                    _ => return Err(Unreadable.into()),
                }
            }
        }
        let count = |shard: Shard| {
            let mut count = redis::cmd("ZCARD");
            count.arg(self.names.letters(shard));
            (shard, vec![count, redis::cmd("TIME")])
        };
        let counts = self.link.ask(Purpose::Read, Shard::all().map(count).collect()).await?;
        let mut lanes: BTreeMap<(Lane, ChannelName), LaneCensus> = BTreeMap::new();
        for (shard, values) in Shard::all().zip(counts) {
            let [Value::Int(letters), time] = values.as_slice() else { return Err(Unreadable.into()) };
            census.dead_letters += u64::try_from(*letters).unwrap_or(0);
            self.count_lanes(shard, self.shown(super::micros(time)?), &mut lanes).await?;
        }
        census.lanes = lanes.into_values().collect();
        Ok(census)
    }

    async fn count_lanes(
        &self,
        shard: Shard,
        now: i64,
        lanes: &mut BTreeMap<(Lane, ChannelName), LaneCensus>,
    ) -> Result<(), StoreError> {
        let mut from = 0;
        loop {
            let mut range = redis::cmd("ZRANGE");
            range.arg(self.names.schedule(shard)).arg(from).arg(from + COUNTED_AT_ONCE - 1).arg("WITHSCORES");
            let value = self.link.ask_one(Purpose::Read, shard, range).await?;
            let entries = entries(&value)?;
            let read = entries.len();
            let mut places = Vec::with_capacity(read);
            for [member, score] in entries {
                places.push((scheduled(member)?, Place::read(score)?));
            }
            let ids: Vec<ConversationId> = places.iter().map(|(id, _)| *id).collect();
            let stored = self.stored_conversations(&ids).await?;
            for (id, place) in places {
                if let Some(stored) = stored.get(&id) {
                    count_lane(lanes, &place, Working::read(stored, place.lane)?, now);
                }
            }
            if read < COUNTED_AT_ONCE {
                return Ok(());
            }
            from += read;
        }
    }
}

fn count_lane(
    lanes: &mut BTreeMap<(Lane, ChannelName), LaneCensus>,
    place: &Place,
    Working { channel, since }: Working,
    now: i64,
) {
    let Some(since) = since else { return };
    let lane = place.lane;
    let counted = lanes.entry((lane, channel.clone())).or_insert_with(|| LaneCensus {
        lane,
        channel,
        ready: 0,
        claimed: 0,
        parked: 0,
        oldest_at: None,
    });
    match (place.class, place.at <= now) {
        (Class::Fresh, _) | (_, true) => counted.ready += 1,
        (Class::Held, false) => counted.claimed += 1,
        (_, false) => counted.parked += 1,
    }
    counted.oldest_at = Some(counted.oldest_at.map_or(since, |oldest| oldest.min(since)));
}

fn read_page(page: &str) -> Result<Newest, StoreError> {
    let (at, id) = page.split_once('.').ok_or_else(foreign_page)?;
    let id: ConversationId = id.parse().map_err(|_| foreign_page())?;
    let at = at.parse::<i64>().ok().filter(|at| (0..=Timestamp::MAX.as_millis()).contains(at));
    Ok(Reverse((at.ok_or_else(foreign_page)?, id)))
}

/// Members and scores of a sorted set.
fn entries(value: &Value) -> Result<Vec<[&[u8]; 2]>, Unreadable> {
    let Value::Array(values) = value else { return Err(Unreadable) };
    let mut entries = Vec::with_capacity(values.len() / 2);
    for entry in values.as_chunks::<2>().0 {
        let [Value::BulkString(member), Value::BulkString(score)] = entry else { return Err(Unreadable) };
        entries.push([member.as_slice(), score.as_slice()]);
    }
    Ok(entries)
}

/// Conversations and their moments, of a sorted set.
fn scored(values: &[Value]) -> Result<Vec<(Moment, ())>, StoreError> {
    let value = values.first().ok_or(Unreadable)?;
    let mut read = Vec::new();
    for [member, score] in entries(value)? {
        let at = std::str::from_utf8(score).ok().and_then(|score| score.parse().ok()).ok_or(Unreadable)?;
        read.push(((at, ConversationId::from_bytes(member.try_into().map_err(|_| Unreadable)?)), ()));
    }
    Ok(read)
}
