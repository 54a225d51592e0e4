//! Attachments on their way: fetched for the messages that brought their addresses, handed to those that name bytes that are here
//! already, shown under signed addresses.
//!
//! **Fetching.** A message that brings addresses is committed at once, its attachments `pending`, and its conversation has a moment
//! at which they are looked at ([`Fetching`](frontdesk_model::Fetching)). Whoever sees the moment come moves it on under the
//! guard that it stands there still, and keeps moving it while it fetches: so one daemon fetches, and when it dies the moment
//! comes again. Bytes and their reference are on disk before the store is told of them.
//!
//! **Waiting.** An event is not posted, and a message not sent, while something of it is pending and it is young; what is still
//! pending then is shown as it is, and an `attachment.updated` follows.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use frontdesk_attachments::{
    Exempt, FetchError, FetchLimits, Fetcher, Files, FilesError, Incoming, OpenFile, Upload, plain_name,
};
use frontdesk_model::{
    Append, Applied, Attachment, AttachmentId, AttachmentState, ChannelName, ContactId, ContentHash, Conversation,
    ConversationFilter, ConversationId, Direction, Effect, Event, EventBody, EventId, FetchOutcome, FileAt, Flaw,
    FlawKind, Guard, Lane, Link, LocateError, Located, Message, MessageId, MessageRecord, Owner, PageRequest,
    RemoteFile, Seq, StoreError, Stored, Take, Timestamp, Waiting, Wake,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    desk::{Desk, DeskError, Readiness},
    keeper, occurrence,
    reply::{Change, Reply, ReplyAttachment},
    runtime::{ChannelState, Shared},
};

/// The agent's event waits so long for what its message brings.
pub(crate) const AGENT_WAITS: Duration = Duration::from_secs(30);
/// A reply waits so long for what it brings before it goes without.
pub(crate) const REPLY_WAITS: Duration = Duration::from_secs(5 * 60);
/// An update that comes so much earlier than that was surely seen by who waited.
const SURELY_SEEN: Duration = Duration::from_secs(2);
/// Conversations for which is fetched at once, and files for one of them.
const HANDS: usize = 16;
const AT_ONCE: usize = 10;
/// Who fetches has said so for so long, and says it again so often.
const LEASE: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_secs(5);
/// With every hand busy a conversation is looked at again then.
const BUSY: Duration = Duration::from_secs(2);
/// So often an address is tried, with these waits between.
const TRIES: u32 = 3;
const AGAIN: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(8)];
/// What was handed in is there to be used for so long, and what nothing refers to is left alone for so long.
const UNUSED_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Events looked at in one go for what is pending.
const LOOK: Take = Take { rows: 100, bytes: 256 * 1024 };

/// How many fetch at once.
pub(crate) struct Hands(Arc<Semaphore>);

impl Default for Hands {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(HANDS)))
    }
}

/// What a message brings as it is committed: everything is still to be fetched.
pub(crate) fn arriving(message: MessageId, files: Vec<RemoteFile>) -> Vec<Attachment> {
    (0..u8::MAX)
        .zip(files.into_iter().take(Attachment::MAX_OF_A_MESSAGE))
        .map(|(place, file)| pending(message, place, file))
        .collect()
}

fn pending(message: MessageId, place: u8, file: RemoteFile) -> Attachment {
    let name = name_of(&file);
    let id = AttachmentId::of_message(message, place);
    Attachment { id, name, state: AttachmentState::Pending { at: file.at, tries: 0 } }
}

fn name_of(file: &RemoteFile) -> String {
    let by_address = match &file.at {
        FileAt::Url(url) => last_segment(url),
        FileAt::Handle(_) => None,
    };
    plain_name(file.name.as_deref().or(by_address), None)
}

/// What comes to a message that has some already. `None`: it has no room for all of that.
pub(crate) fn further(message: MessageId, has: &[Attachment], files: Vec<RemoteFile>) -> Option<Vec<Attachment>> {
    let first = u8::try_from(has.len()).ok()?;
    let more: Vec<Attachment> =
        (first..u8::MAX).zip(files).map(|(place, file)| pending(message, place, file)).collect();
    (has.len() + more.len() <= Attachment::MAX_OF_A_MESSAGE).then_some(more)
}

/// Those of them that a changed message did not have before, by their names, as far as there is room.
pub(crate) fn further_new(message: MessageId, has: &[Attachment], files: &[RemoteFile]) -> Vec<Attachment> {
    let is_new = |file: &&RemoteFile| !has.iter().any(|known| known.name == name_of(file));
    let room = Attachment::MAX_OF_A_MESSAGE.saturating_sub(has.len());
    further(message, has, files.iter().filter(is_new).take(room).cloned().collect()).unwrap_or_default()
}

/// What an address calls its file.
fn last_segment(url: &str) -> Option<&str> {
    let path = url.split(['?', '#']).next()?;
    path.rsplit('/').next().filter(|segment| !segment.is_empty() && path.matches('/').count() > 2)
}

/// What a conversation's moment to fetch brings: a task that fetches, unless somebody else has it or every hand is busy.
pub(crate) async fn came(shared: &Arc<Shared>, conversation: &Conversation) -> Result<Option<Task>, StoreError> {
    let Some(fetching) = conversation.fetching else { return Ok(None) };
    let hand = Arc::clone(&shared.fetching.0).try_acquire_owned().ok();
    let until = shared.clock.now().plus(if hand.is_some() { LEASE } else { BUSY });
    let mut turn = Turn { shared: Arc::clone(shared), id: conversation.id, held: fetching.at };
    if !turn.write(vec![Effect::SetFetchingAt(until)]).await? {
        return Ok(None);
    }
    turn.held = until;
    Ok(hand.map(|hand| Task { turn, from: fetching.from, through: fetching.through, _hand: hand }))
}

/// A conversation's attachments in hand.
pub(crate) struct Task {
    turn: Turn,
    from: Seq,
    through: Seq,
    _hand: OwnedSemaphorePermit,
}

/// The right to fetch for a conversation, until `held` if it is not renewed.
struct Turn {
    shared: Arc<Shared>,
    id: ConversationId,
    held: Timestamp,
}

impl Task {
    /// Fetches for the messages that have something to be fetched. Dropped at any moment it leaves that for later.
    pub(crate) async fn run(mut self) {
        if let Err(error) = self.fetch().await {
            self.turn.shared.note_store_error(&error);
        }
    }

    async fn fetch(&mut self) -> Result<(), StoreError> {
        let behind = Seq(self.from.0.saturating_sub(1));
        let found = self.turn.shared.store.events(self.turn.id, behind, LOOK).await?;
        let (events, more) = found.map(|slice| (slice.data, slice.more)).unwrap_or_default();
        let looked_at = events.last().map(|event| event.seq).filter(|_| more).unwrap_or(self.through);
        let mut orders: Vec<Order> = events.into_iter().filter_map(Order::of).collect();
        if !self.turn.fetch_all(&mut orders).await? {
            return Ok(());
        }
        let now = self.turn.shared.clock.now();
        let again = orders.iter().filter_map(|order| Some((order.seq, tries_left(&order.known)?)));
        let Some((first, tries)) = again.reduce(|(first, most), (_, tries)| (first, most.max(tries))) else {
            return self.turn.end(vec![Effect::FetchedThrough { through: looked_at, at: now }]).await;
        };
        let wait = AGAIN.get(usize::try_from(tries).unwrap_or(usize::MAX).saturating_sub(1)).copied().unwrap_or(BUSY);
        let before = Seq(first.0.saturating_sub(1));
        self.turn
            .end(vec![
                Effect::FetchedThrough { through: before, at: now.plus(wait) },
                Effect::SetFetchingAt(now.plus(wait)),
            ])
            .await
    }
}

/// A message with something to be fetched.
struct Order {
    event: EventId,
    seq: Seq,
    at: Timestamp,
    /// As the store has it.
    recorded: Message,
    /// With what was fetched since.
    known: Message,
    /// How many of its files are being fetched.
    under_way: usize,
}

impl Order {
    fn of(event: Event) -> Option<Self> {
        let EventBody::MessageCreated { message } = event.body else { return None };
        let under_way = message.attachments.iter().filter(|of| of.is_pending()).count();
        let known = message.clone();
        (under_way > 0).then_some(Self {
            event: event.id,
            seq: event.seq,
            at: event.at,
            recorded: message,
            known,
            under_way,
        })
    }

    fn has_news(&self) -> bool {
        self.known.attachments != self.recorded.attachments
    }
}

impl Turn {
    /// Every attachment that is pending, at most [`AT_ONCE`] at a time. What came to an end is recorded when its message has all, and
    /// every few seconds. `false`: somebody else has the conversation by now, be it because there is more to be fetched.
    async fn fetch_all(&mut self, orders: &mut [Order]) -> Result<bool, StoreError> {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let conversation = self.shared.store.conversation(self.id).await?;
        let channel = conversation.and_then(|conversation| self.shared.channel_of(&conversation.thread));
        let mut fetching = tokio::task::JoinSet::new();
        for (nth, order) in orders.iter().enumerate() {
            for (place, attachment) in order.known.attachments.iter().enumerate().filter(|(_, of)| of.is_pending()) {
                let (shared, attachment, places) = (Arc::clone(&self.shared), attachment.clone(), Arc::clone(&places));
                let direction = order.known.direction;
                let channel = channel.clone();
                fetching.spawn(async move {
                    let _place = places.acquire().await;
                    (nth, place, fetch_one(&shared, channel.as_deref(), attachment, direction).await)
                });
            }
        }
        loop {
            tokio::select! {
                done = fetching.join_next() => {
                    let Some(done) = done else { return Ok(true) };
                    let Ok((nth, place, fetched)) = done else { continue };
                    let Some(order) = orders.get_mut(nth) else { continue };
                    order.under_way = order.under_way.saturating_sub(1);
                    if let Some(attachment) = order.known.attachments.get_mut(place) {
                        *attachment = fetched;
                    }
                    if order.under_way == 0 && !self.record(order).await? {
                        return Ok(false);
                    }
                }
                () = self.shared.clock.sleep(RENEW) => {
                    for order in orders.iter_mut().filter(|order| order.has_news()) {
                        if !self.record(order).await? {
                            return Ok(false);
                        }
                    }
                    if !self.renew(Vec::new()).await? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Stores what is known of a message's attachments by now. `false`: the right to is lost.
    async fn record(&mut self, order: &mut Order) -> Result<bool, StoreError> {
        if order.has_news() {
            let known = Box::new(order.known.clone());
            let mut effects = self.told(&order.recorded, &order.known, self.shared.clock.now());
            effects.push(Effect::Rewrite { event: order.event, at: order.at, message: known });
            match self.renew(effects).await {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                // The message was erased, or taken away for its age, meanwhile.
                Err(StoreError::Refused(_)) => self.release(order).await?,
                Err(error) => return Err(error),
            }
            order.recorded = order.known.clone();
        }
        if order.under_way == 0 && tries_left(&order.known).is_none() {
            self.announce(order.known.id).await;
        }
        Ok(true)
    }

    /// What was fetched for a message that is not there any more.
    async fn release(&self, order: &Order) -> Result<(), StoreError> {
        let Some(files) = self.shared.files() else { return Ok(()) };
        for attachment in &order.known.attachments {
            if let Some(stored) = attachment.stored() {
                files.release(stored.sha256, attachment.id).await.map_err(|error| trouble(&error))?;
            }
        }
        Ok(())
    }

    /// Writes, and holds the right for longer.
    async fn renew(&mut self, mut effects: Vec<Effect>) -> Result<bool, StoreError> {
        let until = self.shared.clock.now().plus(LEASE);
        effects.push(Effect::SetFetchingAt(until));
        let is_held = self.write(effects).await?;
        if is_held {
            self.held = until;
        }
        Ok(is_held)
    }

    /// What the log is told of attachments that came to an end.
    fn told(&self, before: &Message, now_known: &Message, now: Timestamp) -> Vec<Effect> {
        let inbound = before.direction == Direction::Inbound && !before.auto_generated;
        let seen_late = now >= before.received_at.plus(AGENT_WAITS.saturating_sub(SURELY_SEEN));
        let wakes = if inbound && seen_late {
            vec![Wake { lane: Lane::Agent, only_if_owner: Some(Owner::Agent) }]
        } else {
            Vec::new()
        };
        let ended = before.attachments.iter().zip(&now_known.attachments).filter_map(|(before, now_known)| {
            let state = match now_known.state {
                AttachmentState::Stored(_) => FetchOutcome::Stored,
                AttachmentState::Failed { .. } => FetchOutcome::Failed,
                AttachmentState::Pending { .. } => return None,
            };
            before.is_pending().then_some((now_known.id, state))
        });
        let event = |(attachment_id, state)| Effect::Append {
            id: self.shared.ids.event(now, self.id.partition()),
            at: now,
            body: EventBody::AttachmentUpdated { message_id: before.id, attachment_id, state },
            wakes: wakes.clone(),
            status: None,
        };
        ended.map(event).collect()
    }

    async fn end(&self, effects: Vec<Effect>) -> Result<(), StoreError> {
        if self.write(effects).await? {
            // There may be more, due at once.
            self.shared.timer_set.notify_one();
        }
        Ok(())
    }

    /// Whoever waits for this message's attachments goes on.
    async fn announce(&self, message: MessageId) {
        if let Err(error) = self.shared.store.wake(Waiting::Attachments(message)).await {
            // They go on when their own time is over.
            self.shared.note_store_error(&error);
        }
        self.shared.wake(Lane::Agent);
        self.shared.wake(Lane::Deliver);
    }

    /// Writes while the right is held still; `false`: it is not.
    async fn write(&self, effects: Vec<Effect>) -> Result<bool, StoreError> {
        let guards = vec![Guard::FetchingAt(self.held)];
        let operation = self.shared.ids.operation();
        let append = Append { operation, conversation: self.id, once: None, guards, effects };
        let mut applied = self.shared.store.append(append.clone()).await;
        if matches!(applied, Err(StoreError::Unavailable(_))) {
            applied = self.shared.store.append(append).await;
        }
        let done = matches!(applied?, Applied::Done { .. });
        if done {
            self.shared.log_grew();
        }
        Ok(done)
    }
}

/// They may have come before there was anybody to wake.
pub(crate) async fn wake_if_here(shared: &Shared, message: MessageId, lane: Lane) {
    let here = match shared.store.message(message).await {
        Ok(Some((_, record))) => !record.message.awaits_attachments(),
        Ok(None) => true,
        Err(_) => false,
    };
    if here {
        shared.unpark(&Waiting::Attachments(message), lane).await;
    }
}

/// What a reply names by ids: attachments, and messages that it changes.
#[derive(Debug, Default)]
pub(crate) struct Here {
    attachments: BTreeMap<AttachmentId, (String, Stored)>,
    /// The messages that it changes.
    said: BTreeMap<MessageId, (Event, Message)>,
}

/// For effects that no reply brings.
pub(crate) static NOTHING_HERE: Here = Here { attachments: BTreeMap::new(), said: BTreeMap::new() };

impl Here {
    /// Looks for them: what was handed in, and what messages of the same conversation brought.
    pub(crate) async fn find(shared: &Shared, conversation: ConversationId, reply: &Reply) -> Result<Self, DeskError> {
        let mut here = BTreeMap::new();
        let named = reply.messages.iter().flat_map(|message| &message.attachments).filter_map(|of| match of {
            ReplyAttachment::Here(id) => Some(*id),
            ReplyAttachment::Elsewhere(_) => None,
        });
        for id in named {
            let found = match id.message() {
                None => match shared.files() {
                    Some(files) => files.upload(id).await.map_err(|error| DeskError::from(trouble(&error)))?,
                    None => None,
                }
                .map(|upload| (upload.name, upload.stored)),
                Some(message) => shared
                    .store
                    .message(message)
                    .await?
                    .filter(|(of, _)| *of == conversation)
                    .and_then(|(_, record)| record.message.attachment(id).cloned())
                    .and_then(|found| Some((found.name.clone(), found.stored()?.clone()))),
            };
            let found = found.ok_or_else(|| {
                let mend = "use one that POST /v1/attachments answered with in the last 24 hours, or one of this conversation's";
                DeskError::Invalid(format!("attachments: there is none with the id {id}; {mend}"))
            })?;
            here.insert(id, found);
        }
        Ok(Self { attachments: here, said: Self::changed(shared, conversation, reply).await? })
    }

    /// The messages of ours that the reply edits or deletes.
    async fn changed(
        shared: &Shared,
        conversation: ConversationId,
        reply: &Reply,
    ) -> Result<BTreeMap<MessageId, (Event, Message)>, DeskError> {
        let mut said = BTreeMap::new();
        for (id, change) in reply.changed() {
            let found = occurrence::event_of(shared.store.as_ref(), conversation, id).await?;
            let is_ours = |message: &Message| message.direction == Direction::Outbound && !message.private;
            let found = found.filter(|(_, message)| is_ours(message)).ok_or_else(|| {
                DeskError::Invalid(format!("actions: {id} is no message that was sent in this conversation"))
            })?;
            let thread = shared.store.conversation(conversation).await?.map(|conversation| conversation.thread);
            let channel = thread.and_then(|thread| shared.channel_of(&thread));
            let capabilities = channel.map(|channel| channel.connected.adapter.capabilities().clone());
            let cannot = match change {
                Change::Edit => capabilities.as_ref().is_some_and(|can| !can.edit).then_some("changed"),
                Change::Delete => capabilities.as_ref().is_some_and(|can| !can.delete).then_some("taken back"),
            };
            if let Some(cannot) = cannot {
                let mend = "say it in a new message";
                return Err(DeskError::Invalid(format!(
                    "actions: what was sent on this channel cannot be {cannot}; {mend}"
                )));
            }
            said.insert(id, found);
        }
        Ok(said)
    }

    /// A message that the reply changes.
    pub(crate) fn said(&self, id: MessageId) -> Option<(&Event, &Message)> {
        self.said.get(&id).map(|(event, message)| (event, message))
    }

    /// The attachments of a new message.
    pub(crate) fn attach(&self, message: MessageId, named: &[ReplyAttachment]) -> Vec<Attachment> {
        let mut attachments = Vec::new();
        for (place, of) in (0..u8::MAX).zip(named) {
            let id = AttachmentId::of_message(message, place);
            match of {
                ReplyAttachment::Here(named) => {
                    let found = self.attachments.get(named).cloned();
                    attachments.extend(found.map(|(name, stored)| Attachment {
                        id,
                        name,
                        state: AttachmentState::Stored(stored),
                    }));
                }
                ReplyAttachment::Elsewhere(file) => {
                    attachments.extend(arriving(message, vec![file.clone()]).pop().map(|of| Attachment { id, ..of }));
                }
            }
        }
        attachments
    }

    /// Before messages are stored that have some of these, their bytes are kept for them.
    pub(crate) async fn refer(&self, shared: &Shared, effects: &[Effect]) -> Result<(), DeskError> {
        let Some(files) = shared.files().filter(|_| !self.attachments.is_empty()) else { return Ok(()) };
        let messages = effects.iter().filter_map(|effect| match effect {
            Effect::Append { body, .. } => body.message(),
            _ => None,
        });
        for attachment in messages.flat_map(|message| &message.attachments) {
            let Some(stored) = attachment.stored() else { continue };
            files.refer(stored.sha256, attachment.id).await.map_err(|error| DeskError::from(trouble(&error)))?;
        }
        Ok(())
    }
}

/// Makes signed addresses, all of one moment.
pub(crate) struct Links {
    shared: Arc<Shared>,
    base: String,
    now: Timestamp,
}

impl Links {
    pub(crate) fn of(&self, id: AttachmentId) -> Link {
        let (query, expires_at) = self.shared.keys.attachment_link(id, self.now);
        Link { id, url: format!("{}/v1/attachments/{id}?{query}", self.base), expires_at }
    }
}

impl Shared {
    pub(crate) fn links(self: &Arc<Self>) -> Links {
        Links { shared: Arc::clone(self), base: self.live().options.public_url.clone(), now: self.clock.now() }
    }
}

async fn fetch_one(
    shared: &Shared,
    channel: Option<&ChannelState>,
    attachment: Attachment,
    direction: Direction,
) -> Attachment {
    let AttachmentState::Pending { at, tries } = &attachment.state else { return attachment };
    let (tries, id) = (tries.saturating_add(1), attachment.id);
    let fetched = match shared.files() {
        None => Err(FetchError::Refused("this daemon keeps no attachments".into())),
        Some(files) => {
            let live = shared.live();
            let mut exempt = live.options.exempt.clone();
            if direction == Direction::Outbound {
                exempt.extend(live.options.exempt_for_replies.iter().cloned());
            }
            match locate(channel, at).await {
                Ok(located) => {
                    exempt.extend(located.trusted_host());
                    let fetcher = Fetcher { exempt, limits: FetchLimits::default() };
                    fetch_into(shared, &files, &fetcher, &located.url, id, &attachment.name).await
                }
                Err(error) => Err(error),
            }
        }
    };
    let (name, state) = match fetched {
        Ok((name, stored)) => (name, AttachmentState::Stored(stored)),
        Err(FetchError::Refused(reason)) => (attachment.name, AttachmentState::Failed { reason }),
        // A full disk is mended by somebody some time: such a try does not count.
        Err(FetchError::NoRoom(_)) => {
            (attachment.name, AttachmentState::Pending { at: at.clone(), tries: tries.saturating_sub(1).max(1) })
        }
        Err(FetchError::Trouble(_)) if tries < TRIES => {
            (attachment.name, AttachmentState::Pending { at: at.clone(), tries })
        }
        Err(FetchError::Trouble(reason)) => (attachment.name, AttachmentState::Failed { reason }),
    };
    Attachment { id, name, state }
}

/// Where a file is fetched from, and whether its host is the operator's own choice.
struct Where {
    url: String,
    trusted: bool,
}

impl Where {
    fn trusted_host(&self) -> Option<Exempt> {
        self.trusted.then(|| url::Url::parse(&self.url).ok().and_then(|url| Exempt::of(&url))).flatten()
    }
}

async fn locate(channel: Option<&ChannelState>, at: &FileAt) -> Result<Where, FetchError> {
    let handle = match at {
        FileAt::Url(url) => return Ok(Where { url: url.clone(), trusted: false }),
        FileAt::Handle(handle) => handle,
    };
    let Some(channel) = channel else {
        return Err(FetchError::Trouble("the channel that it came on is not configured".into()));
    };
    match channel.connected.adapter.locate(handle).await {
        Ok(Located { url, trusted }) => Ok(Where { url, trusted }),
        Err(LocateError::Gone(reason)) => Err(FetchError::Refused(reason)),
        Err(LocateError::Later(reason)) => Err(FetchError::Trouble(reason)),
    }
}

async fn fetch_into(
    shared: &Shared,
    files: &Files,
    fetcher: &Fetcher,
    url: &str,
    id: AttachmentId,
    name: &str,
) -> Result<(String, Stored), FetchError> {
    shared.store.note_files().await.map_err(|error| FetchError::NoRoom(error.to_string()))?;
    let mut incoming = files.begin().await?;
    fetcher.fetch(url, &mut incoming).await?;
    // One that is called nothing in particular is called after what it is.
    let name = if name == "file" { plain_name(None, incoming.ending()) } else { name.to_owned() };
    Ok((name, incoming.keep(id).await?))
}

/// After which try what is still pending is tried again, if anything is.
fn tries_left(message: &Message) -> Option<u32> {
    let tries = message.attachments.iter().filter_map(|attachment| match attachment.state {
        AttachmentState::Pending { tries, .. } => Some(tries),
        _ => None,
    });
    tries.max()
}

pub(crate) fn trouble(error: &FilesError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// An attachment whose bytes can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readable {
    /// What it is called.
    pub name: String,
    /// Its bytes.
    pub stored: Stored,
    /// On which channel it came or went; `None`: it was handed in and belongs to no message.
    pub channel: Option<ChannelName>,
    /// Who handed it in, of such a one.
    pub by: Option<String>,
}

/// What was handed in, for messages to use.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Uploaded {
    /// Its id: `{"attachments": [{"id": "att_..."}]}` in a reply.
    pub id: AttachmentId,
    /// What it is called.
    pub name: String,
    /// What its bytes are, as they show themselves.
    pub media_type: String,
    /// How many there are.
    pub size: u64,
    /// Their SHA-256.
    #[schema(value_type = String)]
    pub sha256: ContentHash,
    /// Until then a reply can use it.
    pub usable_until: Timestamp,
}

impl Desk {
    /// An attachment, if its bytes are here.
    ///
    /// # Errors
    /// There is none of this id, its bytes are not here, or the store is not there.
    pub async fn attachment(&self, id: AttachmentId) -> Result<Readable, DeskError> {
        let none = || DeskError::NotFound("attachment");
        let Some(message) = id.message() else {
            let upload = self.files()?.upload(id).await.map_err(|error| trouble(&error))?.ok_or_else(none)?;
            return Ok(Readable { name: upload.name, stored: upload.stored, channel: None, by: Some(upload.by) });
        };
        let (conversation, record) = self.shared().store.message(message).await?.ok_or_else(none)?;
        let attachment = record.message.attachment(id).ok_or_else(none)?;
        let stored = attachment.stored().ok_or_else(none)?.clone();
        let channel = self.conversation(conversation).await?.channel;
        Ok(Readable { name: attachment.name.clone(), stored, channel: Some(channel), by: None })
    }

    /// Whether a signed address's query opens this attachment now.
    #[must_use]
    pub fn attachment_link_opens(&self, id: AttachmentId, query: &str) -> bool {
        self.shared().keys.attachment_link_opens(id, query, self.shared().clock.now())
    }

    /// An attachment's bytes, to be read, and how many.
    ///
    /// # Errors
    /// They are lost, or the folder cannot be read.
    pub async fn attachment_bytes(&self, stored: &Stored) -> Result<(OpenFile, u64), DeskError> {
        self.files()?.read(stored.sha256).await.map_err(|error| trouble(&error).into())
    }

    /// A place for bytes that are handed in.
    ///
    /// # Errors
    /// Nothing new is taken at the moment.
    pub async fn begin_upload(&self) -> Result<Incoming, DeskError> {
        if let Readiness::NotReady(reason) = self.readiness() {
            return Err(DeskError::Unavailable { reason, retry_after: 5 });
        }
        self.shared().store.note_files().await?;
        self.files()?.begin().await.map_err(|error| trouble(&error).into())
    }

    /// Keeps what was handed in, for a day or until a message uses it. `by`: who did.
    ///
    /// # Errors
    /// The folder does not take it.
    pub async fn finish_upload(&self, incoming: Incoming, name: Option<&str>, by: &str) -> Result<Uploaded, DeskError> {
        let files = self.files()?;
        let at = self.shared().clock.now();
        let id = self.shared().ids.attachment(at);
        let name = plain_name(name, incoming.ending());
        let stored = incoming.keep(id).await.map_err(|error| trouble(&error))?;
        let upload = Upload { name, stored, by: by.to_owned(), at };
        files.note_upload(id, &upload).await.map_err(|error| trouble(&error))?;
        let Upload { name, stored: Stored { media_type, size, sha256 }, .. } = upload;
        Ok(Uploaded { id, name, media_type, size, sha256, usable_until: at.plus(UNUSED_KEPT) })
    }

    fn files(&self) -> Result<Files, DeskError> {
        let none = || DeskError::Unavailable { reason: "this daemon keeps no attachments".into(), retry_after: 60 };
        self.shared().files().ok_or_else(none)
    }
}

/// What does not fit between what a check saw and the bytes that are here.
pub(crate) async fn missing(shared: &Shared, stored: Vec<(AttachmentId, Stored)>) -> Result<Vec<Flaw>, StoreError> {
    let Some(files) = shared.files() else { return Ok(Vec::new()) };
    let mut flaws = Vec::new();
    for (id, stored) in stored {
        let size = files.size(stored.sha256).await.map_err(|error| trouble(&error))?;
        // What went with its message since it was looked at is no flaw.
        if size != Some(stored.size) && is_referred_to(shared, id, stored.sha256).await? {
            flaws.push(flaw(id, size, stored.size));
        }
    }
    Ok(flaws)
}

/// The sentence about bytes that are not there, or not all.
#[must_use]
pub fn flaw(id: AttachmentId, found: Option<u64>, wanted: u64) -> Flaw {
    let what = match found {
        None => format!("the bytes of {id} are not in the folder of the attachments"),
        Some(found) => {
            format!("of {id} {found} bytes are in the folder of the attachments, and there should be {wanted}")
        }
    };
    Flaw { kind: FlawKind::Attachment, conversation: None, what }
}

/// Remembers whose bytes go with a contact, before anything of the contact does.
pub(crate) async fn note_erased(shared: &Shared, contact: ContactId) -> Result<(), StoreError> {
    let Some(files) = shared.files() else { return Ok(()) };
    let filter = ConversationFilter { contact: Some(contact), ..ConversationFilter::default() };
    let mut page = None;
    loop {
        let found = shared.store.conversations(filter.clone(), PageRequest { limit: 100, page }).await?;
        for conversation in &found.data {
            let mut before = None;
            while let Some(slice) = shared.store.messages(conversation.id, before, LOOK).await? {
                let of_message = |record: &MessageRecord| -> Vec<_> {
                    let stored = |of: &Attachment| Some((of.id, of.stored()?.sha256));
                    record.message.attachments.iter().filter_map(stored).collect()
                };
                let references: Vec<_> = slice.data.iter().flat_map(of_message).collect();
                if !references.is_empty() {
                    files.note_erased(references).await.map_err(|error| trouble(&error))?;
                }
                before = slice.data.last().map(|record| record.seq);
                if !slice.more || before.is_none() {
                    break;
                }
            }
        }
        page = found.next;
        if page.is_none() {
            return Ok(());
        }
    }
}

/// Takes away the bytes of those who were erased.
pub(crate) async fn settle_erased(shared: &Shared) -> Result<(), StoreError> {
    let Some(files) = shared.files() else { return Ok(()) };
    let erased = files.erased().await.map_err(|error| trouble(&error))?;
    if erased.is_empty() {
        return Ok(());
    }
    let goes_on = !shared.store.keeping().erasures().await?.is_empty();
    for (reference, sha256) in erased {
        let gone = !is_referred_to(shared, reference, sha256).await?;
        // What is still there while somebody is being erased may go in a moment.
        if gone || !goes_on {
            files.settle_erased(reference, sha256, gone).await.map_err(|error| trouble(&error))?;
        }
    }
    Ok(())
}

/// Takes away what was handed in and not used, and bytes that nothing refers to any more: what a message that went for its age
/// leaves, and what was kept for a message that was never stored.
pub(crate) async fn sweep(shared: &Shared) -> Result<(), StoreError> {
    let Some(files) = shared.files() else { return Ok(()) };
    let failed = |error: FilesError| trouble(&error);
    files.drop_unfinished(UNUSED_KEPT).await.map_err(failed)?;
    let before = shared.clock.now().minus(UNUSED_KEPT);
    for id in files.uploads().await.map_err(failed)? {
        if files.upload(id).await.map_err(failed)?.is_some_and(|upload| upload.at < before) {
            files.forget_upload(id).await.map_err(failed)?;
        }
    }
    for share in 0..=u8::MAX {
        for (number, held) in files.quiet_ones(share, UNUSED_KEPT).await.map_err(failed)?.into_iter().enumerate() {
            let mut dead = Vec::new();
            for reference in &held.references {
                if !is_referred_to(shared, *reference, held.sha256).await? {
                    dead.push(*reference);
                }
            }
            if held.references.len() == dead.len() || !dead.is_empty() {
                files.drop_quiet(held, dead).await.map_err(failed)?;
            }
            if number % 50 == 49 && !keeper::breathe(shared).await {
                return Ok(());
            }
        }
        if !keeper::breathe(shared).await {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether an attachment of this id is there and has these bytes.
async fn is_referred_to(shared: &Shared, id: AttachmentId, sha256: ContentHash) -> Result<bool, StoreError> {
    let stored = match id.message() {
        Some(message) => {
            let found = shared.store.message(message).await?;
            found.and_then(|(_, record)| record.message.attachment(id)?.stored().cloned())
        }
        None => match shared.files() {
            Some(files) => files.upload(id).await.map_err(|error| trouble(&error))?.map(|upload| upload.stored),
            None => None,
        },
    };
    Ok(stored.is_some_and(|stored| stored.sha256 == sha256))
}
