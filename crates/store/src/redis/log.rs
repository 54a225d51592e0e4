//! Reading a conversation's log.

use frontdesk_model::*;
use redis::Value;

use super::{
    Core,
    effects::{Ask, refused},
    keys::Shard,
    link::{Purpose, Script},
    lists::reading,
    pack::Unreadable,
    records::{self, Element, signed},
};

static SLICE: Script = reading!("slice.lua");

/// What an event takes in an answer, about, beyond what it takes here: there its ids and times are written out.
pub(super) const WRITTEN_OUT: usize = 128;

/// Which way a log is read.
#[derive(Clone, Copy)]
enum Way {
    /// All events, from this one up.
    Up(Seq),
    /// Messages, from this place down.
    MessagesDown(Seq),
}

pub(super) fn check(take: Take) -> Result<(), StoreError> {
    if take.rows == 0 { Err(refused("take: at least one row")) } else { Ok(()) }
}

pub(super) fn bounded(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Core {
    async fn slice(&self, id: ConversationId, way: Way, take: Take) -> Result<Option<Slice<Element>>, StoreError> {
        check(take)?;
        let mut ask = Ask::new(vec![self.names.conversation(id), self.names.log(id)]);
        let (from, down) = match way {
            Way::Up(from) => (from, false),
            Way::MessagesDown(from) => (from, true),
        };
        ask.say("from").number(signed(from.0));
        ask.say("down").flag(down);
        ask.say("messages").flag(down);
        ask.say("rows").number(bounded(take.rows));
        ask.say("bytes").number(bounded(take.bytes));
        ask.say("each").number(bounded(WRITTEN_OUT));
        let answers = self.link.run_each(Purpose::Read, &SLICE, vec![(Shard::from(id), ask)]).await?;
        let answer = answers.first().ok_or(Unreadable)?.read()?;
        if answer.list()?.is_empty() {
            return Ok(None);
        }
        let mut data = Vec::new();
        for row in answer.at(0).list()? {
            data.push(Element::read(Seq(row.at(0).count()?), row.at(1).bytes()?)?);
        }
        Ok(Some(Slice { data, more: answer.at(1).is_true() }))
    }

    pub(super) async fn messages(
        &self,
        id: ConversationId,
        before: Option<Seq>,
        take: Take,
    ) -> Result<Option<Slice<MessageRecord>>, StoreError> {
        let from = before.map_or(Seq(u64::MAX), |before| Seq(before.0.saturating_sub(1)));
        let found = self.slice(id, Way::MessagesDown(from), take).await?;
        Ok(found.map(|Slice { data, more }| Slice { data: data.into_iter().filter_map(record).collect(), more }))
    }

    pub(super) async fn events(
        &self,
        id: ConversationId,
        after: Seq,
        take: Take,
    ) -> Result<Option<Slice<Event>>, StoreError> {
        let found = self.slice(id, Way::Up(after.next()), take).await?;
        Ok(found
            .map(|Slice { data, more }| Slice { data: data.into_iter().map(|element| element.event).collect(), more }))
    }

    /// A message's element, by its id.
    async fn element(&self, id: MessageId) -> Result<Option<(ConversationId, Element)>, StoreError> {
        let Some((conversation, seq)) = self.place_of(id).await? else { return Ok(None) };
        let found = self.slice(conversation, Way::Up(seq), Take { rows: 1, bytes: 0 }).await?;
        let element = found.and_then(|slice| slice.data.into_iter().next());
        Ok(element.filter(|element| element.event.seq == seq).map(|element| (conversation, element)))
    }

    /// An id tells its conversation's partition. One that was made otherwise is looked for in all of them.
    async fn place_of(&self, id: MessageId) -> Result<Option<(ConversationId, Seq)>, StoreError> {
        let own = Shard::from(id.partition());
        let look = |shard: Shard| {
            let mut get = redis::cmd("HGET");
            get.arg(self.names.message(shard, id)).arg(id.to_bytes().as_slice());
            (shard, vec![get])
        };
        let elsewhere = Shard::all().filter(|shard| *shard != own).map(look).collect();
        for calls in [vec![look(own)], elsewhere] {
            let found = self.link.ask(Purpose::Read, calls).await?;
            if let Some(Value::BulkString(place)) = found.iter().flatten().find(|value| **value != Value::Nil) {
                let (conversation, seq) = place.split_first_chunk::<16>().ok_or(Unreadable)?;
                let seq = std::str::from_utf8(seq).ok().and_then(|seq| seq.parse().ok()).ok_or(Unreadable)?;
                return Ok(Some((ConversationId::from_bytes(*conversation), Seq(seq))));
            }
        }
        Ok(None)
    }

    pub(super) async fn message(&self, id: MessageId) -> Result<Option<(ConversationId, MessageRecord)>, StoreError> {
        let found = self.element(id).await?;
        Ok(found.and_then(|(conversation, element)| Some((conversation, record(element)?))))
    }

    pub(super) async fn parts(&self, id: MessageId) -> Result<Vec<Part>, StoreError> {
        let found = self.element(id).await?;
        Ok(found.and_then(|(_, element)| element.delivery).map(|delivery| delivery.parts).unwrap_or_default())
    }

    pub(super) async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        let mut get = redis::cmd("GET");
        get.arg(self.names.conversation(id));
        match self.link.ask_one(Purpose::Read, Shard::from(id), get).await? {
            Value::BulkString(stored) => Ok(Some(records::conversation(id, &stored)?)),
            _ => Ok(None),
        }
    }
}

fn record(element: Element) -> Option<MessageRecord> {
    let status = element.status();
    match element.event.body {
        EventBody::MessageCreated { message } => Some(MessageRecord { seq: element.event.seq, message, status }),
        _ => None,
    }
}
