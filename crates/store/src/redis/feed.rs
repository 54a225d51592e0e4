//! What was added to any log, in one order over all partitions.
//!
//! Each partition has a capped list of what was added to its logs, each entry with a moment of its own: the server's time in
//! microseconds, later than all before it in the list. The lists are merged by that moment. An entry is shown only when its moment lies before
//! the time that every server showed when the reading began: by then nothing earlier can be on its way, so the order that one
//! reader sees is the order that all see. (Servers of a cluster whose clocks are further apart than [`SKEW`] are not waited for: then
//! changes of different conversations may come in another order to another reader.)
//!
//! A position is the moment of the last entry seen in each partition. Were a clock set back, or the last second lost with a server, a
//! reader goes on with whatever is new in each partition.

use std::{collections::HashMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use frontdesk_model::*;
use redis::Value;

use super::{
    Core,
    contacts::author,
    effects::{Ask, refused},
    keys::Shard,
    link::{Purpose, Script},
    lists::reading,
    log::{WRITTEN_OUT, bounded, check},
    merge::Merge,
    pack::{Item, Unreadable},
    records::{self, Element, signed},
};

static FEED: Script = reading!("feed.lua");
static CHANGED: Script = reading!("changed.lua");

/// In microseconds.
const SKEW: i64 = 1_000_000;
/// Entries whose events are read in one go.
const BATCH: usize = 64;
/// So many entries are looked at for one answer, once it holds something.
const LOOK: usize = 4096;
/// Of the newest entries of a partition, so many are looked at for the present end.
const END: i64 = 32;
/// How long, and how often, a reader that finds only what is too new waits for it.
const TOO_NEW: (Duration, u32) = (Duration::from_millis(2), 10);

/// The moment of the last entry seen in each partition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Position(Vec<i64>);

impl Position {
    fn of(&self, shard: Shard) -> i64 {
        self.0.get(shard.index()).copied().unwrap_or(0)
    }

    fn set(&mut self, shard: Shard, moment: i64) {
        if let Some(known) = self.0.get_mut(shard.index()) {
            *known = moment;
        }
    }

    /// The store's mark, and how long before the latest each moment lies. A moment is positive; 0 stands for none.
    fn write(&self, mark: &str) -> String {
        let latest = self.0.iter().copied().max().unwrap_or(0);
        let mut bytes = Vec::new();
        write_number(&mut bytes, latest);
        for moment in &self.0 {
            write_number(&mut bytes, if *moment == 0 { 0 } else { latest - moment + 1 });
        }
        format!("{mark}.{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Only as it was written.
    fn read(mark: &str, text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(mark)?.strip_prefix('.')?).ok()?;
        let mut rest = bytes.as_slice();
        let latest = read_number(&mut rest)?;
        let mut moments = Vec::new();
        for _ in Shard::all() {
            let behind = read_number(&mut rest)?;
            moments.push(if behind == 0 { 0 } else { latest.checked_sub(behind - 1).filter(|moment| *moment > 0)? });
        }
        let position = Self(moments);
        (position.write(mark) == text).then_some(position)
    }
}

/// Seven bits a byte, the lowest first.
fn write_number(bytes: &mut Vec<u8>, number: i64) {
    let mut left = number.max(0);
    while left > 127 {
        bytes.push(u8::try_from(left & 127).unwrap_or(0) | 128);
        left >>= 7;
    }
    bytes.push(u8::try_from(left).unwrap_or(0));
}

fn read_number(bytes: &mut &[u8]) -> Option<i64> {
    let mut number = 0;
    for place in 0..9 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= i64::from(byte & 127) << (7 * place);
        if byte & 128 == 0 {
            return Some(number);
        }
    }
    None
}

/// Something that was added to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    conversation: ConversationId,
    seq: Seq,
}

fn read_entry(stored: &[u8]) -> Result<(i64, Entry), Unreadable> {
    let item = Item::read(stored)?;
    let conversation = ConversationId::from_bytes(item.at(2).id()?);
    Ok((item.at(1).number()?, Entry { conversation, seq: Seq(item.at(3).count()?) }))
}

type Entries = Merge<Shard, (i64, Shard), Entry>;

/// An event on its way to the reader.
struct Found {
    conversation: Conversation,
    element: Element,
    bytes: usize,
}

impl Core {
    pub(super) async fn changes(
        &self,
        after: Option<String>,
        filter: &ChangeFilter,
        take: Take,
    ) -> Result<Changes, StoreError> {
        check(take)?;
        let Some(after) = after else {
            let (_, shown, _) = self.ends(END).await?;
            return Ok(Changes { data: Vec::new(), position: shown.write(self.mark()), more: false, lost: false });
        };
        let after = Position::read(self.mark(), &after)
            .ok_or_else(|| refused("after: not a position that an answer of this store gave"))?;
        let (span, times) = TOO_NEW;
        for _ in 0..times {
            let (changes, too_new) = self.changes_behind(&after, filter, take).await?;
            if !changes.data.is_empty() || !too_new {
                return Ok(changes);
            }
            tokio::time::sleep(span).await;
        }
        Ok(self.changes_behind(&after, filter, take).await?.0)
    }

    fn mark(&self) -> &str {
        self.store_id.get(..8).unwrap_or(&self.store_id)
    }

    /// Up to which moment entries are shown now, the last moment below it and the last of all in each partition. `look`: so many
    /// of the newest entries are looked at for that.
    async fn ends(&self, look: i64) -> Result<(i64, Position, Position), StoreError> {
        let calls = Shard::all().enumerate().map(|(place, shard)| {
            let mut commands = Vec::new();
            // The time comes first: what is written after it has a later moment.
            if place == 0 || self.link.is_cluster() {
                commands.push(redis::cmd("TIME"));
            }
            let mut range = redis::cmd("LRANGE");
            range.arg(self.names.feed(shard)).arg(-look).arg(-1);
            commands.push(range);
            (shard, commands)
        });
        let found = self.link.ask(Purpose::Read, calls.collect()).await?;
        let mut times = Vec::new();
        for values in &found {
            if let [time, _] = values.as_slice() {
                times.push(super::micros(time)?);
            }
        }
        let latest = times.iter().copied().max().unwrap_or(0);
        let cut = times.into_iter().min().unwrap_or(0).max(latest - SKEW);
        let (mut shown, mut last) = (Position(Vec::new()), Position(Vec::new()));
        for values in &found {
            let Some(Value::Array(entries)) = values.last() else { return Err(Unreadable.into()) };
            let mut moments = Vec::new();
            for entry in entries {
                let Value::BulkString(stored) = entry else { return Err(Unreadable.into()) };
                moments.push(read_entry(stored)?.0);
            }
            last.0.push(moments.last().copied().unwrap_or(0));
            let before = moments.first().map_or(0, |first| first - 1);
            shown.0.push(moments.into_iter().rev().find(|moment| *moment < cut).unwrap_or(before));
        }
        Ok((cut, shown, last))
    }

    /// Also whether there is something that is too new to be shown.
    async fn changes_behind(
        &self,
        after: &Position,
        filter: &ChangeFilter,
        take: Take,
    ) -> Result<(Changes, bool), StoreError> {
        let (cut, _, last) = self.ends(1).await?;
        let news = Shard::all().filter(|shard| last.of(*shard) > after.of(*shard));
        let mut entries: Entries = Merge::new(news);
        let mut changes = Changes { data: Vec::new(), position: String::new(), more: false, lost: false };
        let (mut position, mut looked_at, mut bytes, mut too_new) = (after.clone(), 0, 0, false);
        let is_full = |taken: usize, bytes: usize| taken >= take.rows || (taken > 0 && bytes > take.bytes);
        'answer: loop {
            changes.lost |= self.read_feed(&mut entries, after, take).await?;
            let mut batch: Vec<(Shard, i64, Entry)> = Vec::new();
            while batch.len() < BATCH && entries.hungry().is_empty() {
                match entries.peek() {
                    Some((_, (moment, _), _)) if *moment >= cut => {
                        too_new = true;
                        break;
                    }
                    Some(_) => batch.extend(entries.pop().map(|(shard, (moment, _), entry)| (shard, moment, entry))),
                    None => break,
                }
            }
            if batch.is_empty() && entries.hungry().is_empty() {
                break;
            }
            let mut found = self.read_events(&batch, filter).await?;
            for (shard, moment, entry) in batch {
                if is_full(changes.data.len(), bytes) || (looked_at >= LOOK && !changes.data.is_empty()) {
                    changes.more = true;
                    break 'answer;
                }
                looked_at += 1;
                position.set(shard, moment);
                let Some(found) = found.remove(&(entry.conversation, entry.seq)) else { continue };
                let Some(Found { conversation, element, bytes: its_bytes }) = found else {
                    changes.lost = true;
                    continue;
                };
                {
                    bytes += its_bytes;
                    let (status, event) = (element.status(), element.event);
                    let position = position.write(self.mark());
                    changes.data.push(LoggedChange { conversation, event, status, contact: None, position });
                }
            }
        }
        changes.position = position.write(self.mark());
        self.add_authors(&mut changes.data).await?;
        Ok((changes, too_new))
    }

    /// Reads on where the next entry is not certain. Whether something behind `after` is not kept any more.
    async fn read_feed(&self, entries: &mut Entries, after: &Position, take: Take) -> Result<bool, StoreError> {
        let hungry = entries.hungry();
        let rows = take.rows.div_ceil(8).clamp(8, 256);
        let asks = hungry.iter().map(|(shard, behind)| {
            let mut ask = Ask::new(vec![self.names.feed(*shard)]);
            ask.say("after").number(behind.map_or(after.of(*shard), |(moment, _)| moment));
            ask.say("rows").number(bounded(rows));
            (*shard, ask)
        });
        let answers = self.link.run_each(Purpose::Read, &FEED, asks.collect()).await?;
        let mut lost = false;
        for ((shard, _), answer) in hungry.into_iter().zip(&answers) {
            let answer = answer.read()?;
            lost |= answer.at(0).is_true();
            let mut read = Vec::new();
            for stored in answer.at(1).list()? {
                let (moment, entry) = read_entry(stored.bytes()?)?;
                read.push(((moment, shard), entry));
            }
            let more = read.len() >= rows;
            entries.feed(shard, read, more);
        }
        Ok(lost)
    }

    /// The events that the filter asks for, with their conversations as they are now; `None` for one that is not kept any more.
    async fn read_events(
        &self,
        batch: &[(Shard, i64, Entry)],
        filter: &ChangeFilter,
    ) -> Result<HashMap<(ConversationId, Seq), Option<Found>>, StoreError> {
        let mut wanted: Vec<(ConversationId, Vec<Seq>)> = Vec::new();
        for (_, _, Entry { conversation, seq }) in batch {
            if filter.conversation.is_some_and(|only| only != *conversation) {
                continue;
            }
            match wanted.iter_mut().find(|(known, _)| known == conversation) {
                Some((_, seqs)) => seqs.push(*seq),
                None => wanted.push((*conversation, vec![*seq])),
            }
        }
        let asks = wanted.iter().map(|(id, seqs)| {
            let mut ask = Ask::new(vec![self.names.conversation(*id), self.names.log(*id)]);
            let channels = ask.say("channels").list(filter.channels.len());
            filter.channels.iter().for_each(|channel| {
                channels.text(channel.as_str());
            });
            let list = ask.say("seqs").list(seqs.len());
            seqs.iter().for_each(|seq| {
                list.number(signed(seq.0));
            });
            (Shard::from(*id), ask)
        });
        let answers = self.link.run_each(Purpose::Read, &CHANGED, asks.collect()).await?;
        let mut found = HashMap::new();
        for ((id, seqs), answer) in wanted.iter().zip(&answers) {
            let answer = answer.read()?;
            let Some(stored) = answer.at(0).maybe() else {
                if answer.at(2).is_true() {
                    found.extend(seqs.iter().map(|seq| ((*id, *seq), None)));
                }
                continue;
            };
            let conversation = records::conversation(*id, stored.bytes()?)?;
            for (seq, element) in seqs.iter().zip(answer.at(1).list()?) {
                let Some(element) = element.maybe() else {
                    found.insert((*id, *seq), None);
                    continue;
                };
                let bytes = stored.bytes()?.len() + element.bytes()?.len() + 2 * WRITTEN_OUT;
                let element = Element::read(*seq, element.bytes()?)?;
                found.insert((*id, *seq), Some(Found { conversation: conversation.clone(), element, bytes }));
            }
        }
        Ok(found)
    }

    async fn add_authors(&self, changes: &mut [LoggedChange]) -> Result<(), StoreError> {
        let wanted: Vec<_> =
            changes.iter().filter_map(|change| Some((author(&change.event)?, change.conversation.id))).collect();
        let mut contacts = self.contacts_of(&wanted).await?.into_iter();
        for change in changes.iter_mut().filter(|change| author(&change.event).is_some()) {
            change.contact = contacts.next().flatten();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)] // a test may stop at the first surprise

    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written_and_not_otherwise() {
        let latest = 1_700_000_000_000_000;
        let moments: Vec<i64> = Shard::all().map(|shard| [0, latest, latest - 5_000, 1][shard.index() % 4]).collect();
        for moments in [moments, vec![0; 64], vec![latest; 64]] {
            let position = Position(moments);
            let text = position.write("abcdefgh");
            assert_eq!(Position::read("abcdefgh", &text), Some(position));
            assert_eq!(Position::read("abcdefgi", &text), None);
            for altered in [format!("{text}0"), format!("{text}A"), format!(" {text}"), text[..text.len() - 1].into()] {
                assert_eq!(Position::read("abcdefgh", &altered), None, "{altered}");
            }
        }
    }
}
