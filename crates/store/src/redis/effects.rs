//! Guards and effects as the scripts take them. What can be refused without looking at what is stored is refused here.

use frontdesk_model::*;

use super::{
    keys::{Names, Shard, contact_digest},
    pack::Packer,
    records::{
        attention_number, delivery_number, lane_name, owner_number, pack_contact, pack_event, pack_frozen, pack_letter,
        pack_state, signed, status_number,
    },
};

pub(super) const MESSAGE: i64 = 16;
pub(super) const WAITS: i64 = 32;

/// A call to a script on its way: keys, and what is asked, by name.
pub(super) struct Ask {
    pub(super) keys: Vec<String>,
    entries: usize,
    body: Packer,
}

impl Ask {
    pub(super) fn new(keys: Vec<String>) -> Self {
        Self { keys, entries: 0, body: Packer::new() }
    }

    /// What follows is the value of this name.
    pub(super) fn say(&mut self, name: &str) -> &mut Packer {
        self.entries += 1;
        self.body.text(name)
    }

    pub(super) fn packed(&mut self) -> Vec<u8> {
        let mut whole = Packer::new().map(self.entries).done();
        whole.extend(self.body.done());
        whole
    }
}

/// A contact of whom a verb says something, in the form in which it is kept.
pub(super) struct Word {
    pub(super) contact: ContactId,
    pub(super) known: Vec<u8>,
}

/// One verb on one conversation.
pub(super) struct Verb<'n> {
    names: &'n Names,
    conversation: ConversationId,
    pub(super) ask: Ask,
    /// What the effects say of contacts; of each the last counts.
    pub(super) words: Vec<Word>,
}

impl<'n> Verb<'n> {
    /// `own`: the keys that the verb has besides those of every verb.
    pub(super) fn new(names: &'n Names, conversation: ConversationId, own: impl IntoIterator<Item = String>) -> Self {
        let mut keys = names.of_verb(conversation);
        keys.extend(own);
        let mut ask = Ask::new(keys);
        ask.say("id").bytes(&conversation.to_bytes());
        Self { names, conversation, ask, words: Vec::new() }
    }

    /// The number, as scripts count, of the key under which a message is known.
    pub(super) fn bucket(&mut self, message: MessageId) -> i64 {
        self.place(self.names.message(Shard::from(self.conversation), message))
    }

    /// The number of a key, as scripts count.
    fn place(&mut self, key: String) -> i64 {
        let place = self.ask.keys.iter().position(|known| *known == key).unwrap_or_else(|| {
            self.ask.keys.push(key);
            self.ask.keys.len() - 1
        });
        signed(place as u64 + 1)
    }

    pub(super) fn guards(&mut self, guards: &[Guard]) {
        let mut packer = Packer::new();
        packer.list(guards.len());
        for guard in guards {
            match guard {
                Guard::VersionIs(version) => packer.list(2).text("version").number(signed(version.0)),
                Guard::OwnerIs(owner) => packer.list(2).text("owner").number(owner_number(*owner)),
                Guard::NotFrozen(message) => {
                    let bucket = self.bucket(*message);
                    packer.list(3).text("not frozen").bytes(&message.to_bytes()).number(bucket)
                }
                Guard::SnoozedUntil(moment) => packer.list(2).text("snoozed").number(moment.as_millis()),
                Guard::AnswerBy(moment) => packer.list(2).text("due").number(moment.as_millis()),
                Guard::FetchingAt(moment) => packer.list(2).text("fetching").number(moment.as_millis()),
            };
        }
        self.ask.say("guards").raw(&packer.done());
    }

    pub(super) fn effects(&mut self, effects: &[Effect]) -> Result<(), StoreError> {
        let mut packer = Packer::new();
        packer.list(effects.len());
        for effect in effects {
            self.effect(&mut packer, effect)?;
        }
        self.ask.say("effects").raw(&packer.done());
        Ok(())
    }

    /// What happens where a claim comes to a message.
    pub(super) fn intend(&mut self, intend: Option<&Intend>) -> Result<(), StoreError> {
        let mut packer = Packer::new();
        if let Some(intend) = intend {
            let bucket = self.bucket(intend.message);
            packer.list(3).bytes(&intend.message.to_bytes()).number(bucket).list(2);
            for effect in &intend.effects() {
                self.effect(&mut packer, effect)?;
            }
        } else {
            packer.none();
        }
        self.ask.say("intend").raw(&packer.done());
        Ok(())
    }

    fn effect(&mut self, packer: &mut Packer, effect: &Effect) -> Result<(), StoreError> {
        let moment = |packer: &mut Packer, at: Timestamp| {
            packer.number(at.as_millis());
        };
        let place = |packer: &mut Packer, seq: Seq| {
            packer.number(signed(seq.0));
        };
        match effect {
            Effect::Append { id, at, body, wakes, status } => self.append(packer, *id, *at, body, wakes, *status)?,
            Effect::BumpVersion => {
                packer.list(1).text("bump");
            }
            Effect::SetChannel(channel) => {
                packer.list(2).text("channel").text(channel.as_str());
            }
            Effect::SetStatus(to) => status_change(packer, &[Status::Open, Status::Pending, Status::Resolved], *to),
            Effect::SetStatusIf { from, to } => status_change(packer, from, *to),
            Effect::SetOwner(owner) => {
                packer.list(2).text("owner").number(owner_number(*owner));
            }
            Effect::SetAttention(attention) => {
                packer.list(2).text("attention").maybe(attention.map(attention_number), |packer, number| {
                    packer.number(number);
                });
            }
            Effect::AddAttention(attention) => {
                packer.list(2).text("add_attention").number(attention_number(*attention));
            }
            Effect::ClearAttentionIf(attention) => {
                packer.list(2).text("clear_attention").number(attention_number(*attention));
            }
            Effect::ClearDeadLetterAttention => {
                packer.list(1).text("clear_letters");
            }
            Effect::SetAssignee(assignee) => {
                packer.list(2).text("assignee").maybe(assignee.as_deref(), |packer, name| {
                    packer.text(name);
                });
            }
            Effect::SetSnooze(until) => {
                packer.list(2).text("snooze").maybe(*until, moment);
            }
            Effect::SetAnswerBy(by) => {
                packer.list(2).text("answer_by").maybe(*by, moment);
            }
            Effect::StartAnswerBy { only_if_owner, at } => {
                packer.list(3).text("start_answer_by").number(owner_number(*only_if_owner)).number(at.as_millis());
            }
            Effect::NoteAnswered(at) => {
                packer.list(2).text("note_answered").number(at.as_millis());
            }
            Effect::SetBatch(batch) => {
                packer.list(2).text("batch").maybe(*batch, |packer, Batch { from, through }| {
                    packer.list(2).number(signed(from.0)).number(signed(through.0));
                });
            }
            Effect::AgentDoneThrough(through) => {
                packer.list(2).text("agent_done").number(signed(through.0));
            }
            Effect::PutParticipant(contact) => self.participant(packer, contact),
            Effect::MarkUnanswered => {
                packer.list(1).text("mark_unanswered");
            }
            Effect::AnsweredThrough(through) => {
                packer.list(2).text("answered").maybe(*through, place);
            }
            Effect::RewindAgentToUnanswered => {
                packer.list(1).text("rewind");
            }
            Effect::AgentFollowsTail => {
                packer.list(1).text("follow_tail");
            }
            Effect::NoteDiscarded(messages) => {
                let ids: Vec<u8> = messages.iter().flat_map(|id| id.to_bytes()).collect();
                packer.list(2).text("discarded").bytes(&ids);
            }
            Effect::ClearDiscarded => {
                packer.list(1).text("clear_discarded");
            }
            Effect::Freeze { message, parts } => self.freeze(packer, *message, parts)?,
            Effect::SetPart { message, index, state } => {
                let bucket = self.bucket(*message);
                packer.list(5).text("part").bytes(&message.to_bytes()).number(bucket).number((*index).into());
                packer.text(&pack_state(state));
            }
            Effect::SetDelivery { message, status } => {
                let bucket = self.bucket(*message);
                packer.list(4).text("delivery").bytes(&message.to_bytes()).number(bucket);
                packer.number(delivery_number(*status));
            }
            Effect::AddDeadLetter(letter) => {
                if letter.conversation != self.conversation {
                    return Err(refused("the dead letter is of another conversation"));
                }
                if letter.id.partition() != self.conversation.partition() {
                    return Err(refused("the dead letter's id is of another partition than its conversation"));
                }
                packer.list(2).text("dead_letter").bytes(&pack_letter(letter));
            }
            Effect::Rewrite { event, at, message } => {
                let bucket = self.bucket(message.id);
                let body = EventBody::MessageCreated { message: message.as_ref().clone() };
                packer.list(4).text("rewrite").bytes(&message.id.to_bytes()).number(bucket);
                packer.bytes(&pack_event(*event, *at, &body));
            }
            Effect::Know { key, message } => {
                let known = self.place(self.names.dedupe(Shard::from(self.conversation), *key));
                packer.list(4).text("know").bytes(&key.0).number(known).bytes(&message.to_bytes());
            }
            Effect::SetOrigin(origin) => {
                packer.list(2).text("origin").text(origin);
            }
            Effect::MarkFetching { event, at } => {
                packer.list(3).text("mark_fetching").number(at.as_millis()).maybe(*event, place);
            }
            Effect::SetFetchingAt(at) => {
                packer.list(2).text("fetching_at").number(at.as_millis());
            }
            Effect::FetchedThrough { through, at } => {
                packer.list(3).text("fetched").number(signed(through.0)).number(at.as_millis());
            }
        }
        Ok(())
    }

    fn append(
        &mut self,
        packer: &mut Packer,
        id: EventId,
        at: Timestamp,
        body: &EventBody,
        wakes: &[Wake],
        status: Option<DeliveryStatus>,
    ) -> Result<(), StoreError> {
        let is_sent =
            body.message().is_some_and(|message| message.direction == Direction::Outbound && !message.private);
        if is_sent != status.is_some() {
            return Err(refused("an outbound message that is no private note has a status, and nothing else has one"));
        }
        let message = body.message().map(|message| (message.id, self.bucket(message.id)));
        let brings = if message.is_some() { MESSAGE } else { 0 };
        let waits = if body.waits_for_answer() { WAITS } else { 0 };
        packer.list(8).text("append").number(at.as_millis()).bytes(&pack_event(id, at, body)).number(brings | waits);
        packer.list(wakes.len());
        for wake in wakes {
            packer.list(2).text(lane_name(wake.lane)).maybe(wake.only_if_owner.map(owner_number), |packer, number| {
                packer.number(number);
            });
        }
        match message {
            Some((id, bucket)) => packer.bytes(&id.to_bytes()).number(bucket),
            None => packer.none().none(),
        };
        packer.maybe(status.map(delivery_number), |packer, number| {
            packer.number(number);
        });
        Ok(())
    }

    fn participant(&mut self, packer: &mut Packer, contact: &Contact) {
        let known = pack_contact(contact);
        packer.list(4).text("participant").bytes(&contact.id.to_bytes()).bytes(&contact_digest(&known)).bytes(&known);
        self.words.retain(|word| word.contact != contact.id);
        self.words.push(Word { contact: contact.id, known });
    }

    fn freeze(&mut self, packer: &mut Packer, message: MessageId, parts: &[FrozenPart]) -> Result<(), StoreError> {
        if parts.is_empty() {
            return Err(refused("a message has at least one part"));
        }
        let bucket = self.bucket(message);
        packer.list(4).text("freeze").bytes(&message.to_bytes()).number(bucket).list(2 * parts.len());
        for part in parts {
            packer.text(&pack_frozen(part)).text(&pack_state(&PartState::Ready));
        }
        Ok(())
    }
}

fn status_change(packer: &mut Packer, from: &[Status], to: Status) {
    packer.list(3).text("status").list(from.len());
    for status in from {
        packer.number(status_number(*status));
    }
    packer.number(status_number(to));
}

pub(super) fn refused(reason: &str) -> StoreError {
    StoreError::Refused(reason.to_owned())
}
