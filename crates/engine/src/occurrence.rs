//! What happens besides new messages: edits, reactions, pressed buttons, further items of an album, and what could not be read.

use std::time::Duration;

use frontdesk_model::{
    Append, Applied, Attention, Author, Button, CommitInbound, Content, Conversation, ConversationId, DeadLetter,
    DedupeKey, Effect, Envelope, Event, EventBody, ExternalId, Found, Guard, Happening, InboxError, Lane, Message,
    MessageId, NewConversation, Occurrence, Once, Owner, Partition, Reaction, RemoteFile, Seq, Status, StoreError,
    Take, ThreadId, ThreadKey, Timestamp, UniqueWithin, Wake,
};

use frontdesk_richtext::Said;

use crate::{
    attachments,
    inbox::{ChannelInbox, refusal, unavailable},
    rules,
};

/// Items of an album come within so much of each other.
pub(crate) const ALBUM_SETTLES: Duration = Duration::from_secs(1);
/// A platform hands in again what was not confirmed for a day at most.
const REPEATS_KEPT: Duration = Duration::from_secs(2 * 24 * 3600);
/// Each further try means that somebody else changed the conversation at the same moment.
const TRIES: usize = 8;

/// A change of a conversation that is kept here.
struct Plan {
    conversation: ConversationId,
    guards: Vec<Guard>,
    effects: Vec<Effect>,
    /// Something has still to be fetched.
    fetches: bool,
}

/// A message as it is stored, with its conversation as it was just before.
struct Kept {
    conversation: Conversation,
    event: Event,
    message: Message,
}

/// What a happening comes to.
enum Course {
    /// Nothing that is kept here is concerned.
    Nothing,
    /// A conversation changes.
    Change(Box<Plan>),
    /// It begins a conversation, as a message.
    Message(Box<Envelope>),
}

impl ChannelInbox {
    pub(crate) async fn take(&self, occurrence: Occurrence) -> Result<(), InboxError> {
        if self.shared.is_draining() {
            return Err(unavailable("the daemon is stopping"));
        }
        if let Happening::Unreadable { raw, reason } = &occurrence.what {
            return self.keep_unreadable(&occurrence.external_id, raw, reason).await;
        }
        let once = Once {
            key: self.shared.keys.occurrence(&self.thread(&occurrence.thread), &occurrence.external_id),
            fingerprint: [0; 32],
            answer: String::new(),
            keep: REPEATS_KEPT,
        };
        for _ in 0..TRIES {
            match self.course(&occurrence).await.map_err(|error| self.refused(&error))? {
                Course::Nothing => return Ok(()),
                Course::Message(envelope) => {
                    // That it happened is noted too: coming again after a later change, it must not undo that.
                    let accepted = self.accept_message(*envelope).await?;
                    return self.carry_out(plain(accepted.conversation, Vec::new()), Some(once)).await.map(drop);
                }
                Course::Change(plan) => {
                    if self.carry_out(*plan, Some(once.clone())).await? {
                        return Ok(());
                    }
                }
            }
        }
        Err(unavailable("the conversation changed again and again"))
    }

    /// Adds an item to the message that its album began, if that one still settles. `None`: it is a message of its own.
    pub(crate) async fn join_album(&self, envelope: &Envelope) -> Result<Option<Found>, InboxError> {
        let Some(album) = &envelope.album else { return Ok(None) };
        let thread = self.thread(&envelope.thread);
        let keys = [
            self.shared.keys.dedupe(&thread, &envelope.external_id, envelope.unique_within),
            self.shared.keys.album(&thread, album),
        ];
        for _ in 0..TRIES {
            let found = self.shared.store.find(&thread, &keys).await.map_err(|error| self.refused(&error))?;
            let [own, first] = found.messages.as_slice() else { return Ok(None) };
            if let (Some(own), Some(conversation)) = (own, found.conversation) {
                return Ok(Some(Found { conversation: Some(conversation), messages: vec![Some(*own)] }));
            }
            let (Some(conversation), Some(first)) = (found.conversation, *first) else { return Ok(None) };
            let kept = self.kept(conversation, first).await.map_err(|error| self.refused(&error))?;
            let now = self.shared.clock.now();
            let Some(kept) = kept.filter(|kept| kept.message.settles_after(now).is_some()) else { return Ok(None) };
            let Some(plan) = self.added_to(kept, envelope, keys[0], now) else { return Ok(None) };
            if self.carry_out(plan, None).await? {
                return Ok(Some(Found { conversation: Some(conversation), messages: vec![None, Some(first)] }));
            }
        }
        Err(unavailable("the conversation changed again and again"))
    }

    /// The message with one more item of its album. `None`: it has no room for it.
    fn added_to(&self, kept: Kept, envelope: &Envelope, key: DedupeKey, now: Timestamp) -> Option<Plan> {
        let guards = kept.guards();
        let Kept { conversation, event, mut message } = kept;
        let more = attachments::further(message.id, &message.attachments, envelope.attachments.clone())?;
        message.attachments.extend(more);
        message.settles_at = Some(now.plus(ALBUM_SETTLES));
        message.content = joined(&message.content, &envelope.content);
        let effects = vec![
            Effect::BumpVersion,
            Effect::Know { key, message: message.id },
            Effect::Rewrite { event: event.id, at: event.at, message: Box::new(message) },
            Effect::MarkFetching { event: Some(event.seq), at: now },
        ];
        Some(Plan { conversation: conversation.id, guards, effects, fetches: true })
    }

    async fn course(&self, occurrence: &Occurrence) -> Result<Course, StoreError> {
        let thread = self.thread(&occurrence.thread);
        let named = match &occurrence.what {
            Happening::Edited { message, .. } | Happening::Reacted { message, .. } => Some(message),
            Happening::Pressed { message, .. } => message.as_ref(),
            Happening::Told(_) | Happening::Unreadable { .. } => None,
        };
        let key = |id: &ExternalId| self.shared.keys.dedupe(&thread, id, occurrence.unique_within);
        let keys: Vec<DedupeKey> = named.map(key).into_iter().collect();
        let found = self.shared.store.find(&thread, &keys).await?;
        let Some(id) = found.conversation else {
            return Ok(match &occurrence.what {
                Happening::Pressed { button, label, .. } => {
                    self.as_message(occurrence, label.as_ref().unwrap_or(button))
                }
                Happening::Edited { unknown, .. } => never_here(unknown.as_deref()),
                _ => Course::Nothing,
            });
        };
        let message = found.messages.first().copied().flatten();
        match &occurrence.what {
            Happening::Edited { message: named, content, attachments, unknown } => {
                let Some(message) = message else { return Ok(never_here(unknown.as_deref())) };
                let Some(kept) = self.kept(id, message).await? else { return Ok(Course::Nothing) };
                let content = says_now(&kept.message, named, content);
                Ok(self.edited(kept, occurrence, &content, attachments))
            }
            Happening::Reacted { added, removed, .. } => {
                let Some(message) = message else { return Ok(Course::Nothing) };
                Ok(self.reacted(id, message, occurrence, added, removed))
            }
            Happening::Pressed { button, label, .. } => {
                let under = match message {
                    Some(message) => self.shared.store.message(message).await?.filter(|(of, _)| *of == id),
                    None => None,
                };
                let known = under.as_ref().and_then(|(_, record)| {
                    record.message.buttons.iter().find(|known| known.id == *button).map(|known| known.label.clone())
                });
                let label = known.or_else(|| label.clone()).unwrap_or_else(|| button.clone());
                let button = Button { id: button.clone(), label };
                Ok(self.pressed(id, under.map(|(_, record)| record.message.id), occurrence, button))
            }
            Happening::Told(sentence) => {
                let Some(conversation) = self.shared.store.conversation(id).await? else { return Ok(Course::Nothing) };
                let now = self.shared.clock.now();
                let effects = rules::told(&self.shared.ids, now, &conversation, sentence.clone());
                Ok(change(id, effects))
            }
            Happening::Unreadable { .. } => Ok(Course::Nothing),
        }
    }

    fn edited(&self, kept: Kept, occurrence: &Occurrence, content: &Content, files: &[RemoteFile]) -> Course {
        let now = self.shared.clock.now();
        let guards = kept.guards();
        let Kept { conversation, event, mut message } = kept;
        let new = attachments::further_new(message.id, &message.attachments, files);
        if message.content == *content && new.is_empty() {
            // Nothing but that it happened.
            return change(conversation.id, Vec::new());
        }
        let before = std::mem::replace(&mut message.content, content.clone());
        let fetches = !new.is_empty();
        message.attachments.extend(new);
        message.edited_at = Some(occurrence.at.unwrap_or(now));
        let (mut effects, by) = self.by(occurrence);
        let by = by.unwrap_or_else(|| message.author.clone());
        effects.push(Effect::Rewrite { event: event.id, at: event.at, message: Box::new(message.clone()) });
        if fetches {
            effects.push(Effect::MarkFetching { event: Some(event.seq), at: now });
        } else if message.awaits_attachments() {
            // Whoever fetches for it starts over with the message as it is now.
            effects.push(Effect::SetFetchingAt(now));
        }
        let body = EventBody::MessageEdited { message: Box::new(message), seq: event.seq, before, by };
        effects.push(self.append(conversation.id, now, body));
        Course::Change(Box::new(Plan { conversation: conversation.id, guards, effects, fetches: true }))
    }

    fn reacted(
        &self,
        id: ConversationId,
        message: MessageId,
        occurrence: &Occurrence,
        added: &[String],
        removed: &[String],
    ) -> Course {
        let now = self.shared.clock.now();
        let (mut effects, by) = self.by(occurrence);
        let by = by.unwrap_or(Author::System);
        let reaction = |of: &String| Reaction { message_id: Some(message), reaction: of.clone(), by: by.clone() };
        let gone = removed.iter().map(|of| EventBody::ReactionRemoved(reaction(of)));
        let bodies: Vec<EventBody> =
            gone.chain(added.iter().map(|of| EventBody::ReactionAdded(reaction(of)))).collect();
        if bodies.is_empty() {
            return Course::Nothing;
        }
        effects.extend(bodies.into_iter().map(|body| self.append(id, now, body)));
        change(id, effects)
    }

    fn pressed(
        &self,
        id: ConversationId,
        message_id: Option<MessageId>,
        occurrence: &Occurrence,
        button: Button,
    ) -> Course {
        let now = self.shared.clock.now();
        let (mut effects, by) = self.by(occurrence);
        let by = by.unwrap_or(Author::System);
        effects.extend([
            Effect::SetChannel(self.channel.clone()),
            Effect::SetStatusIf { from: vec![Status::Pending, Status::Resolved], to: Status::Open },
            Effect::SetSnooze(None),
            self.append(id, now, EventBody::ButtonPressed { button, message_id, by }),
            Effect::MarkUnanswered,
        ]);
        let live = self.shared.live();
        let answer_within = live.options.agent.as_ref().and_then(|agent| agent.fallback);
        effects.extend(
            answer_within.map(|span| Effect::StartAnswerBy { only_if_owner: Owner::Agent, at: now.plus(span) }),
        );
        change(id, effects)
    }

    /// A press where nothing is kept any more: the words on the button are what the contact says.
    fn as_message(&self, occurrence: &Occurrence, words: &str) -> Course {
        let Some(sender) = occurrence.sender.clone() else { return Course::Nothing };
        Course::Message(Box::new(Envelope {
            thread: occurrence.thread.clone(),
            external_id: occurrence.external_id.clone(),
            unique_within: UniqueWithin::Account,
            sender,
            content: Content::Text(words.to_owned()),
            attachments: Vec::new(),
            subject: None,
            auto_generated: false,
            sent_at: occurrence.at,
            reply_to: None,
            quote: None,
            forwarded_from: None,
            album: None,
            origin: None,
        }))
    }

    /// An input that could not be read has a conversation of its own, for nobody knows whose it is: out of everybody's way, found
    /// as a dead letter, and read again when that is replayed.
    async fn keep_unreadable(&self, external_id: &ExternalId, raw: &str, reason: &str) -> Result<(), InboxError> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let name = shared.keys.unreadable(&self.kind, &self.account, external_id);
        let thread = self.thread(&name.parse().map_err(|_| unavailable("its name is none"))?);
        let partition = Partition::of(&thread);
        let (id, event) = (shared.ids.conversation(now, partition), shared.ids.event(now, partition));
        let letter = DeadLetter {
            id: shared.ids.dead_letter(now, partition),
            conversation: id,
            lane: Lane::Deliver,
            seq: Seq::first(),
            event,
            batch_from: None,
            channel: self.channel.clone(),
            reason: format!("what came could not be read: {reason}"),
            attempts: 1,
            at: now,
        };
        let body = EventBody::Unreadable { raw: raw.to_owned(), reason: reason.to_owned() };
        let commit = CommitInbound {
            dedupe: shared.keys.dedupe(&thread, external_id, UniqueWithin::Account),
            thread,
            message: shared.ids.message(now, partition),
            new: NewConversation { id, channel: self.channel.clone(), owner: Owner::Desk, subject: None, at: now },
            effects: vec![
                Effect::SetStatus(Status::Resolved),
                Effect::Append { id: event, at: now, body, wakes: Vec::new(), status: None },
                Effect::AddDeadLetter(letter),
                Effect::AddAttention(Attention::DeadLetter),
            ],
            claim: None,
        };
        shared.store.commit_inbound(commit).await.map_err(|error| self.refused(&error))?;
        shared.log_grew();
        Ok(())
    }

    /// Who did it is recorded, and the conversation has moved on.
    fn by(&self, occurrence: &Occurrence) -> (Vec<Effect>, Option<Author>) {
        let Some(sender) = &occurrence.sender else { return (vec![Effect::BumpVersion], None) };
        let thread = self.thread(&occurrence.thread);
        let contact = rules::contact(&self.shared.keys, &thread, sender);
        let by = Author::Contact { id: contact.id, name: contact.name.clone() };
        (vec![Effect::PutParticipant(contact), Effect::BumpVersion], Some(by))
    }

    fn append(&self, id: ConversationId, now: Timestamp, body: EventBody) -> Effect {
        Effect::Append {
            id: self.shared.ids.event(now, id.partition()),
            at: now,
            body,
            wakes: vec![Wake { lane: Lane::Agent, only_if_owner: Some(Owner::Agent) }],
            status: None,
        }
    }

    /// A message of this conversation. The conversation is read first: what changes the message afterwards changes that too.
    async fn kept(&self, id: ConversationId, message: MessageId) -> Result<Option<Kept>, StoreError> {
        let store = &self.shared.store;
        let Some(conversation) = store.conversation(id).await? else { return Ok(None) };
        let event = event_of(store.as_ref(), id, message).await?;
        Ok(event.map(|(event, message)| Kept { conversation, event, message }))
    }

    /// `false`: somebody else changed the conversation at the same moment.
    async fn carry_out(&self, plan: Plan, once: Option<Once>) -> Result<bool, InboxError> {
        let shared = &self.shared;
        let Plan { conversation, guards, effects, fetches } = plan;
        let append = Append { operation: shared.ids.operation(), conversation, once, guards, effects };
        let mut applied = shared.store.append(append.clone()).await;
        if matches!(applied, Err(StoreError::Unavailable(_))) {
            applied = shared.store.append(append).await;
        }
        match applied.map_err(|error| self.refused(&error))? {
            Applied::Guarded { .. } => return Ok(false),
            Applied::Done { .. } => {}
            Applied::Repeated { .. } | Applied::KeyReused | Applied::NotFound | Applied::LeaseLost => return Ok(true),
        }
        if let Some(state) = shared.live().channel_named(&self.channel) {
            state.gate.last.note_received(shared.clock.now());
        }
        shared.log_grew();
        if fetches {
            shared.timer_at(shared.clock.now());
        }
        if let Some(span) = shared.live().options.agent.as_ref().and_then(|agent| agent.fallback) {
            shared.timer_at(shared.clock.now().plus(span));
        }
        if let Some(agent) = &shared.live().agent {
            agent.work().health.new_work(shared.clock.boot());
        }
        shared.wake(Lane::Agent);
        Ok(true)
    }

    pub(crate) fn thread(&self, thread: &ThreadId) -> ThreadKey {
        ThreadKey { kind: self.kind.clone(), account: self.account.clone(), thread: thread.clone() }
    }

    pub(crate) fn refused(&self, error: &StoreError) -> InboxError {
        self.shared.note_store_error(error);
        refusal(error)
    }
}

impl Kept {
    /// That nobody fetched anything for it since.
    fn guards(&self) -> Vec<Guard> {
        self.conversation.fetching.map(|fetching| Guard::FetchingAt(fetching.at)).into_iter().collect()
    }
}

/// A message's event, as it is stored; `None` where there is no such message in this conversation.
pub(crate) async fn event_of(
    store: &dyn frontdesk_model::Store,
    id: ConversationId,
    message: MessageId,
) -> Result<Option<(Event, Message)>, StoreError> {
    let Some((of, record)) = store.message(message).await? else { return Ok(None) };
    if of != id {
        return Ok(None);
    }
    let before = Seq(record.seq.0.saturating_sub(1));
    let found = store.events(id, before, Take { rows: 1, bytes: 0 }).await?;
    let event = found.and_then(|slice| slice.data.into_iter().next());
    Ok(event.and_then(|event| {
        let said = event.body.message().filter(|said| said.id == message)?.clone();
        Some((event, said))
    }))
}

fn change(conversation: ConversationId, effects: Vec<Effect>) -> Course {
    Course::Change(Box::new(plain(conversation, effects)))
}

fn plain(conversation: ConversationId, effects: Vec<Effect>) -> Plan {
    Plan { conversation, guards: Vec::new(), effects, fetches: false }
}

/// A change of a message that never came here.
fn never_here(stands_now: Option<&Envelope>) -> Course {
    stands_now.map_or(Course::Nothing, |envelope| Course::Message(Box::new(envelope.clone())))
}

/// What a message says after a change of what is called `named`: itself, or a later item of the album that it holds. Such an item has
/// words of its own at most, and the message keeps what the others say.
fn says_now(message: &Message, named: &ExternalId, content: &Content) -> Content {
    if message.external_id.as_ref() == Some(named) {
        return content.clone();
    }
    if message.content.source().contains(content.source().trim()) {
        return message.content.clone();
    }
    joined(&message.content, content)
}

/// What two items of an album say together.
fn joined(first: &Content, more: &Content) -> Content {
    if more.source().trim().is_empty() {
        return first.clone();
    }
    if first.source().trim().is_empty() {
        return more.clone();
    }
    match (first, more) {
        (Content::Text(first), Content::Text(more)) => Content::Text(format!("{first}\n\n{more}")),
        _ => Content::Markdown(format!("{}\n\n{}", as_markdown(first), as_markdown(more))),
    }
}

fn as_markdown(content: &Content) -> String {
    match content {
        Content::Markdown(source) => source.clone(),
        Content::Text(_) => Said::by_a_stranger(content).markdown.into_owned(),
    }
}
