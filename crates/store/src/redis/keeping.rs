//! How things leave Redis: by age, and because somebody asked to be forgotten.
//!
//! A pass by age goes through the partitions: first through each one's conversations, in the order of its index, then through what messages
//! are known by. A conversation that is written to meanwhile changes its place and may be passed by until the next pass. Which events are
//! old, and what an erased one becomes, is decided here, where events can be read; a script then checks that nothing has still to be
//! done with them, and takes them away or puts the others in their places.
//!
//! Erasing crosses partitions: how far it has come is written beside the contact before each step, and every step may be
//! carried out twice.

use async_trait::async_trait;
use frontdesk_model::*;
use redis::Value;

use super::{
    Core, RedisStore,
    effects::{Ask, Verb, refused},
    keys::{MESSAGE_BUCKETS, Shard, thread_digest},
    link::{Purpose, Script},
    pack::{Item, Packer, Unreadable},
    records::{Element, pack_event, signed},
    verbs::work_in_flight,
};

static RETIRE: Script = work_in_flight!("prelude.lua", "effects.lua", "letters.lua", "retire.lua");
static ERASE: Script = work_in_flight!("prelude.lua", "effects.lua", "letters.lua", "erase.lua");
static ERASING: Script = work_in_flight!("erasing.lua");
static FORGET: Script = work_in_flight!("forget.lua");
static KNOWN: Script = work_in_flight!("known.lua");

/// Conversations of the index that one step looks at, at least one.
const LOOK: usize = 16;
/// Buckets of dedupe keys that one step goes through.
const BUCKETS: u16 = 64;

/// Where a pass stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// In this partition's conversations, behind this member of its index.
    Conversations(Shard, Vec<u8>),
    /// In what this partition's messages are known by, from this bucket on.
    Known(Shard, u16),
}

impl Place {
    const FIRST: Self = Self::Conversations(Shard::FIRST, Vec::new());

    fn behind_conversations(shard: Shard) -> Self {
        shard.next().map_or(Self::Known(Shard::FIRST, 0), |next| Self::Conversations(next, Vec::new()))
    }

    fn write(&self, mark: &str) -> String {
        match self {
            Self::Conversations(shard, member) => {
                let member: String = member.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{mark}.c{}.{member}", shard.number())
            }
            Self::Known(shard, bucket) => format!("{mark}.k{}.{bucket}", shard.number()),
        }
    }

    fn read(mark: &str, text: &str) -> Option<Self> {
        let rest = text.strip_prefix(mark)?.strip_prefix('.')?;
        let (place, inside) = rest.split_once('.')?;
        let shard = |number: &str| Shard::numbered(number.parse().ok()?);
        let read = if let Some(number) = place.strip_prefix('c') {
            let digits = inside.as_bytes().as_chunks::<2>();
            let (pairs, []) = digits else { return None };
            let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            Self::Conversations(shard(number)?, pairs.iter().map(byte).collect::<Option<_>>()?)
        } else {
            let bucket = inside.parse().ok().filter(|bucket| *bucket < MESSAGE_BUCKETS)?;
            Self::Known(shard(place.strip_prefix('k')?)?, bucket)
        };
        (read.write(mark) == text).then_some(read)
    }
}

/// The front of a log, and how much of it is old.
struct Front {
    conversation: Conversation,
    /// Place and message of those that are.
    old: Vec<(Seq, Option<MessageId>)>,
    /// Whether there may be more that are old behind them.
    more: bool,
}

#[async_trait]
impl Keeping for RedisStore {
    async fn retire(&self, retire: Retire) -> Result<Retired, StoreError> {
        self.call(async |core| core.retire(&retire).await).await
    }

    async fn erase(&self, erase: Erase) -> Result<Erased, StoreError> {
        self.call(async |core| core.erase(erase).await).await
    }

    async fn erasures(&self) -> Result<Vec<ContactId>, StoreError> {
        self.call(async |core| core.erasures().await).await
    }
}

impl Core {
    async fn retire(&self, retire: &Retire) -> Result<Retired, StoreError> {
        if retire.events == 0 {
            return Err(refused("a pass looks at one event at least"));
        }
        let mark = self.store_id.get(..8).unwrap_or(&self.store_id);
        let place = match &retire.resume {
            Some(text) => Place::read(mark, text)
                .ok_or_else(|| refused("resume: not a place that an answer of this store gave"))?,
            None => Place::FIRST,
        };
        let mut retired = Retired::default();
        let next = match place {
            Place::Conversations(shard, behind) => {
                Some(self.retire_conversations(retire, shard, behind, &mut retired).await?)
            }
            Place::Known(shard, bucket) => self.forget_keys(retire, shard, bucket).await?,
        };
        retired.resume = next.map(|next| next.write(mark));
        Ok(retired)
    }

    async fn retire_conversations(
        &self,
        retire: &Retire,
        shard: Shard,
        mut behind: Vec<u8>,
        retired: &mut Retired,
    ) -> Result<Place, StoreError> {
        let mut range = redis::cmd("ZRANGEBYLEX");
        let from = if behind.is_empty() { b"[c".to_vec() } else { [b"(".as_slice(), &behind].concat() };
        range.arg(self.names.index(shard)).arg(from).arg("(d").arg("LIMIT").arg(0).arg(LOOK);
        let Value::Array(members) = self.link.ask_one(Purpose::Read, shard, range).await? else {
            return Err(Unreadable.into());
        };
        let last = members.len() < LOOK;
        let mut left = retire.events;
        for member in members {
            let Value::BulkString(member) = member else { return Err(Unreadable.into()) };
            let id = ConversationId::from_bytes(*member.last_chunk::<16>().ok_or(Unreadable)?);
            if left == 0 {
                return Ok(Place::Conversations(shard, behind));
            }
            if let Some(front) = self.front(id, retire.before, left).await? {
                let gone = self.take_away(&front, retired).await?;
                left = left.saturating_sub(gone.max(1));
                if front.more && gone == front.old.len() {
                    // The same one goes on.
                    return Ok(Place::Conversations(shard, behind));
                }
            }
            behind = member;
        }
        Ok(if last { Place::behind_conversations(shard) } else { Place::Conversations(shard, behind) })
    }

    /// `None`: nothing of it is old.
    async fn front(&self, id: ConversationId, before: Timestamp, most: usize) -> Result<Option<Front>, StoreError> {
        let shard = Shard::from(id);
        let Some((conversation, elements)) = self.log_behind(id, shard, Seq::ZERO, most).await? else {
            return Ok(None);
        };
        let full = elements.len() == most;
        let mut old = Vec::new();
        for element in elements {
            if element.event.at >= before {
                break;
            }
            old.push((element.event.seq, element.event.body.message().map(|message| message.id)));
        }
        let more = full && old.len() == most;
        Ok((!old.is_empty()).then_some(Front { conversation, old, more }))
    }

    /// A conversation, with so many elements of its log behind a place.
    async fn log_behind(
        &self,
        id: ConversationId,
        shard: Shard,
        behind: Seq,
        most: usize,
    ) -> Result<Option<(Conversation, Vec<Element>)>, StoreError> {
        let Some(conversation) = self.conversation(id).await? else { return Ok(None) };
        let first = behind.next().max(conversation.first_seq);
        let from = signed(first.0.saturating_sub(conversation.first_seq.0));
        let mut range = redis::cmd("LRANGE");
        range.arg(self.names.log(id)).arg(from).arg(from.saturating_add(signed(most as u64)) - 1);
        let Value::Array(stored) = self.link.ask_one(Purpose::Read, shard, range).await? else {
            return Err(Unreadable.into());
        };
        let mut elements = Vec::with_capacity(stored.len());
        for (place, stored) in (first.0..).zip(stored) {
            let Value::BulkString(stored) = stored else { return Err(Unreadable.into()) };
            elements.push(Element::read(Seq(place), &stored)?);
        }
        // Where events were taken away in between, the places are wrong: the next step looks again.
        let now = self.conversation(id).await?;
        let same = now.is_some_and(|now| now.first_seq == conversation.first_seq);
        Ok(same.then_some((conversation, elements)))
    }

    /// How many events went.
    async fn take_away(&self, front: &Front, retired: &mut Retired) -> Result<usize, StoreError> {
        let Conversation { id, thread, .. } = &front.conversation;
        let shard = Shard::from(*id);
        let digest = thread_digest(thread);
        let mut verb = Verb::new(&self.names, *id, [self.names.thread(shard, &digest)]);
        let mut packer = Packer::new();
        packer.list(front.old.len());
        for (seq, message) in &front.old {
            packer.list(3).number(signed(seq.0));
            match message {
                Some(message) => {
                    let bucket = verb.bucket(*message);
                    packer.bytes(&message.to_bytes()).number(bucket);
                }
                None => {
                    packer.flag(false).number(0);
                }
            }
        }
        verb.ask.say("gone").raw(&packer.done());
        verb.ask.say("thread").bytes(&digest);
        self.say_common(&mut verb.ask);
        let answer = self.link.run(shard, &RETIRE, verb.ask).await?;
        let answer = answer.read()?;
        let gone = answer.at(0).count()?;
        retired.events += gone;
        if answer.at(1).is_true() {
            retired.conversations += 1;
            let (people, _) = answer.at(2).bytes()?.as_chunks::<24>();
            for [person @ .., _, _, _, _, _, _, _, _] in people {
                self.forget_taking_part(ContactId::from_bytes(*person), *id, true).await?;
            }
        }
        Ok(usize::try_from(gone).unwrap_or(usize::MAX))
    }

    /// `wholly`: a contact who takes part in nothing else goes too.
    async fn forget_taking_part(
        &self,
        contact: ContactId,
        conversation: ConversationId,
        wholly: bool,
    ) -> Result<(), StoreError> {
        let shard = Shard::of_contact(contact);
        let mut ask = Ask::new(vec![self.names.contacts(shard), self.names.parts(shard)]);
        ask.say("contact").bytes(&contact.to_bytes());
        ask.say("conversation").bytes(&conversation.to_bytes());
        ask.say("wholly").flag(wholly);
        self.link.run(shard, &FORGET, ask).await.map(drop)
    }

    async fn forget_keys(&self, retire: &Retire, shard: Shard, bucket: u16) -> Result<Option<Place>, StoreError> {
        let (names, next) = self.names.some_dedupe(shard, bucket, BUCKETS);
        let mut ask = Ask::new(names);
        ask.say("before").number(retire.before.as_millis().saturating_sub(retire.known_for_millis).max(0));
        self.link.run(shard, &KNOWN, ask).await?;
        Ok(match next {
            Some(next) => Some(Place::Known(shard, next)),
            None => shard.next().map(|shard| Place::Known(shard, 0)),
        })
    }

    async fn erase(&self, erase: Erase) -> Result<Erased, StoreError> {
        if erase.events == 0 {
            return Err(refused("an erasure looks at one event at least"));
        }
        let contact = erase.contact;
        let shard = Shard::of_contact(contact);
        let mut get = redis::cmd("HGET");
        get.arg(self.names.erasing(shard)).arg(contact.to_bytes().as_slice());
        let begun = self.link.ask_one(Purpose::Verb, shard, get).await?;
        let begun = match &begun {
            Value::BulkString(stored) => Some(Item::read(stored)?),
            _ => None,
        };
        if begun.is_none() && self.contact(contact).await?.is_none() {
            return Ok(Erased::NotFound);
        }
        let in_hand = match begun.as_ref().and_then(|begun| begun.at(0).maybe().map(|id| (id, begun.at(1)))) {
            Some((id, behind)) => Some((ConversationId::from_bytes(id.id()?), Seq(behind.count()?))),
            None => self.next_to_erase(contact, shard).await?.map(|id| (id, Seq::ZERO)),
        };
        let Some((id, behind)) = in_hand else {
            for key in [self.names.contacts(shard), self.names.erasing(shard)] {
                let mut delete = redis::cmd("HDEL");
                delete.arg(key).arg(contact.to_bytes().as_slice());
                self.link.ask_one(Purpose::Verb, shard, delete).await?;
            }
            return Ok(Erased::Done);
        };
        // First of all: a stop behind any step leaves something that says how to go on.
        self.note_erasing(contact, shard, Some((id, behind))).await?;
        let next = match self.erase_in(&erase, id, behind).await? {
            Step::Through(last) => Some((id, last)),
            Step::Again => Some((id, behind)),
            Step::Done => {
                self.forget_taking_part(contact, id, false).await?;
                None
            }
        };
        self.note_erasing(contact, shard, next).await?;
        Ok(Erased::More)
    }

    async fn next_to_erase(&self, contact: ContactId, shard: Shard) -> Result<Option<ConversationId>, StoreError> {
        let mut range = redis::cmd("ZRANGEBYLEX");
        let bound = |sign: &[u8], end: &[u8]| [sign, &contact.to_bytes(), end].concat();
        range
            .arg(self.names.parts(shard))
            .arg(bound(b"[", b""))
            .arg(bound(b"[", &[255; 17]))
            .arg("LIMIT")
            .arg(0)
            .arg(1);
        let Value::Array(members) = self.link.ask_one(Purpose::Verb, shard, range).await? else {
            return Err(Unreadable.into());
        };
        match members.first() {
            Some(Value::BulkString(member)) => {
                Ok(Some(ConversationId::from_bytes(*member.last_chunk::<16>().ok_or(Unreadable)?)))
            }
            _ => Ok(None),
        }
    }

    async fn note_erasing(
        &self,
        contact: ContactId,
        shard: Shard,
        at: Option<(ConversationId, Seq)>,
    ) -> Result<(), StoreError> {
        let mut packer = Packer::new();
        packer.list(2);
        match at {
            Some((id, behind)) => packer.bytes(&id.to_bytes()).number(signed(behind.0)),
            None => packer.none().number(0),
        };
        let mut ask = Ask::new(vec![self.names.erasing(shard)]);
        ask.say("contact").bytes(&contact.to_bytes());
        ask.say("at").bytes(&packer.done());
        self.link.run(shard, &ERASING, ask).await.map(drop)
    }

    async fn erase_in(&self, erase: &Erase, id: ConversationId, behind: Seq) -> Result<Step, StoreError> {
        let shard = Shard::from(id);
        let Some((conversation, elements)) = self.log_behind(id, shard, behind, erase.events).await? else {
            let gone = self.conversation(id).await?.is_none();
            return Ok(if gone { Step::Done } else { Step::Again });
        };
        let alone = conversation.participants == [erase.contact];
        let done = elements.len() < erase.events;
        let last = elements.last().map_or(behind, |element| element.event.seq);
        let digest = thread_digest(&conversation.thread);
        let mut verb = Verb::new(&self.names, id, [self.names.thread(shard, &digest)]);
        let mut changes = Vec::new();
        for Element { event: Event { id, seq, at, body }, .. } in elements {
            let Some(becomes) = body.without(erase.contact, alone) else { continue };
            let erased = body.message().map(|message| message.id);
            let bucket = erased.map(|message| verb.bucket(message));
            changes.push((seq, pack_event(id, at, &becomes), erased.zip(bucket)));
        }
        let list = verb.ask.say("changes").list(changes.len());
        for (seq, event, message) in &changes {
            list.list(4).number(signed(seq.0)).bytes(event);
            match message {
                Some((message, bucket)) => list.bytes(&message.to_bytes()).number(*bucket),
                None => list.flag(false).number(0),
            };
        }
        verb.ask.say("contact").bytes(&erase.contact.to_bytes());
        verb.ask.say("thread").bytes(&digest);
        verb.ask.say("erased").text(&format!("erased:{id}"));
        verb.ask.say("alone").flag(alone);
        verb.ask.say("begin").flag(behind == Seq::ZERO);
        verb.ask.say("leave").flag(done);
        self.say_common(&mut verb.ask);
        let answer = self.link.run(shard, &ERASE, verb.ask).await?;
        let answer = answer.read()?;
        Ok(match answer.at(0).bytes()? {
            b"changed" => Step::Again,
            b"gone" => Step::Done,
            b"done" if done => Step::Done,
            b"done" => Step::Through(last),
            _ => return Err(Unreadable.into()),
        })
    }

    async fn erasures(&self) -> Result<Vec<ContactId>, StoreError> {
        let keys = |shard: Shard| {
            let mut keys = redis::cmd("HKEYS");
            keys.arg(self.names.erasing(shard));
            (shard, vec![keys])
        };
        let found = self.link.ask(Purpose::Read, Shard::all().map(keys).collect()).await?;
        let mut contacts = Vec::new();
        for values in found {
            let Some(Value::Array(keys)) = values.into_iter().next() else { return Err(Unreadable.into()) };
            for key in keys {
                let Value::BulkString(key) = key else { return Err(Unreadable.into()) };
                contacts.push(ContactId::from_bytes(key.try_into().map_err(|_| Unreadable)?));
            }
        }
        Ok(contacts)
    }
}

/// How far an erasure came in one conversation.
enum Step {
    /// Up to here.
    Through(Seq),
    /// Something changed meanwhile: once more.
    Again,
    /// Nothing of the contact is left in it.
    Done,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_not_otherwise() {
        let shard = Shard::of_byte(7);
        for place in [Place::FIRST, Place::Conversations(shard, vec![0, 255, 16]), Place::Known(shard, 960)] {
            let text = place.write("abcdefgh");
            assert_eq!(Place::read("abcdefgh", &text), Some(place));
            assert_eq!(Place::read("abcdefgi", &text), None);
            assert_eq!(Place::read("abcdefgh", &format!("{text}0")), None);
        }
        assert_eq!(Place::read("abcdefgh", "abcdefgh.c64."), None);
    }
}
