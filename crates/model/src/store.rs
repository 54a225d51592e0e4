//! What a store owes. One suite in `testkit` holds every implementation to it.
//!
//! **Shape.** A store keeps one log of [`Event`]s per conversation. The log is the queue: a [`Lane`] of a conversation has a
//! cursor into it and is *due* when an event that wakes it lies beyond the cursor (or was asked for again by a
//! replay). A worker claims a due lane for a time, works on the one event the claim names, and settles.
//!
//! **Rules live elsewhere.** A verb carries [`Guard`]s and [`Effect`]s. The store checks all guards, then applies all effects in
//! order, in one atomic step, or changes nothing. It decides nothing else: which effects a situation asks for is
//! the engine's business.
//!
//! **Obligations of every verb.**
//! * It returns `Ok` only once its effects are as durable as [`Store::describe`] says, and until then nobody sees them.
//! * An `Err` of [`StoreError::Full`] or [`StoreError::Refused`] changed nothing. [`StoreError::Unavailable`] leaves open
//!   whether it ran: repeat it with the same [`OperationId`], and an operation that did run repeats its first answer
//!   without effect, for ten minutes, whatever happened since. The operation id is looked at before the fence.
//! * A verb under a [`ClaimId`] that is not the lane's present claim, or whose time is over, changes nothing and says so.
//! * `seq` grows by one for each event of a conversation, whoever writes.
//! * Lanes of one conversation never wait for each other; conversations never wait for each other.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    AccountId, Attention, Batch, ChannelName, Checked, ClaimId, Company, Contact, ContactId, Conversation,
    ConversationId, DeadLetterId, DedupeKey, DeliveryStatus, Event, EventBody, EventId, FrozenPart, Keeping, KindName,
    Message, MessageId, OperationId, Owner, Secret, Seq, Status, ThreadKey, Timestamp, Version,
};

/// A conversation store.
#[async_trait]
pub trait Store: Send + Sync {
    /// Takes one inbound message, atomically: known `dedupe`: nothing changes and the first answer is repeated (a message is of one
    /// thread, every time it comes: its key is looked for in the thread's partition, and need not be found from another);
    /// else finds the thread's conversation or makes one of `new`, then applies `effects` to it, then claims as `claim` asks.
    /// Two calls for one thread are carried out one after the other.
    async fn commit_inbound(&self, inbound: CommitInbound) -> Result<Committed, StoreError>;

    /// Changes a conversation without a claim: a reply through the API, a change of status. A known [`Once::key`] is looked at
    /// before anything else but the operation id, whichever conversation it was used in: before the guards, and before it is
    /// known whether there is such a conversation or room for anything.
    async fn append(&self, append: Append) -> Result<Applied, StoreError>;

    /// Claims up to `limit` due lanes of one kind, the longest due first, each for `lease`. Nobody else is given a claimed lane
    /// until it is settled or released or its time is over; claims whose time is over are due again at once.
    /// Each claim names one event: a replayed one first, else the first beyond the cursor that wakes the lane.
    async fn claim(&self, request: ClaimRequest) -> Result<Claims, StoreError>;

    /// Counts the lease anew from now. `Gone` when the claim is no longer the lane's.
    async fn renew(&self, claim: ClaimId, lease: Duration) -> Result<Held, StoreError>;

    /// Applies effects under a claim and then, in the same step, keeps the claim or ends it, moving the lane past its
    /// event, and claims as `next` asks. A repetition hands the same claim out again while it lasts, and none after. Must
    /// work on a full disk, as far as reserved space goes.
    async fn settle(&self, settle: Settle) -> Result<Settled, StoreError>;

    /// Ends a claim without moving past its event: the lane is due again at `until`. Must work on a full disk.
    async fn release(&self, release: Release) -> Result<Held, StoreError>;

    /// Makes every lane that was released with this `waiting` due now. Returns how many. There may be many: it need not be one
    /// step, and an error may leave some of them due already.
    async fn wake(&self, waiting: Waiting) -> Result<u64, StoreError>;

    /// Conversations for which a moment has come: the earliest of `snoozed_until`, `answer_by` and `fetching.at` is now or past.
    /// At most `limit`, the longest past first. They are here until an effect changes that moment: claims have no part in it.
    async fn timers(&self, limit: usize) -> Result<Timers, StoreError>;

    /// What was added to any log after a position, in one order that never changes: what is read once is never before what is
    /// read later, and nothing comes in between afterwards. `after` is a `position` that an earlier answer gave (else
    /// refused); without it the answer holds no change and the present end. Stays within `take`, but gives at least one
    /// change if the filter finds one, so a long backlog is read page by page.
    async fn changes(&self, after: Option<String>, filter: ChangeFilter, take: Take) -> Result<Changes, StoreError>;

    /// How much there is of everything, for the operator.
    async fn census(&self) -> Result<Census, StoreError>;

    /// One conversation.
    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError>;

    /// Conversations, the one whose log grew last first.
    async fn conversations(
        &self,
        filter: ConversationFilter,
        page: PageRequest,
    ) -> Result<Page<Conversation>, StoreError>;

    /// The conversation of a thread, and which messages of it are known under these keys: those of [`CommitInbound::dedupe`] and of
    /// [`Effect::Know`]. One place for each key, in their order.
    async fn find(&self, thread: &ThreadKey, keys: &[DedupeKey]) -> Result<Found, StoreError>;
    /// What was remembered last under this name.
    async fn recall(&self, name: &str) -> Result<Option<String>, StoreError>;
    /// Remembers a short text under a name, for good, instead of what was there.
    async fn remember(&self, name: &str, value: &str) -> Result<(), StoreError>;
    /// A conversation's messages from newest to oldest, before `before` if given. `None`: no such conversation.
    async fn messages(
        &self,
        id: ConversationId,
        before: Option<Seq>,
        take: Take,
    ) -> Result<Option<Slice<MessageRecord>>, StoreError>;

    /// A conversation's log in order, after `after`. `None`: no such conversation.
    async fn events(&self, id: ConversationId, after: Seq, take: Take) -> Result<Option<Slice<Event>>, StoreError>;

    /// One message, with what became of it.
    async fn message(&self, id: MessageId) -> Result<Option<(ConversationId, MessageRecord)>, StoreError>;

    /// An outbound message's frozen parts in order; empty before they are frozen.
    async fn parts(&self, id: MessageId) -> Result<Vec<Part>, StoreError>;

    /// One contact.
    async fn contact(&self, id: ContactId) -> Result<Option<Contact>, StoreError>;

    /// Dead letters, newest first.
    async fn dead_letters(&self, page: PageRequest) -> Result<Page<DeadLetter>, StoreError>;

    /// One dead letter.
    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, StoreError>;

    /// Ends a dead letter: checks `guards`, applies `effects` to its conversation and removes it, and for [`DeadLetterEnd::Replay`] makes its
    /// lane due with its event once more, before the lane's other events. Unknown (or already ended by another
    /// operation): [`Applied::NotFound`].
    async fn requeue(&self, requeue: Requeue) -> Result<Applied, StoreError>;

    /// The key that everything else is derived from: `candidate` becomes it if the store has none yet. Returns the one
    /// that counts, the same for all callers for ever.
    async fn master_key(&self, candidate: MasterKey) -> Result<MasterKey, StoreError>;

    /// From now on bytes of attachments lie beside the store. `true`: it was told before.
    async fn note_files(&self) -> Result<bool, StoreError>;

    /// Whether bytes of attachments lie beside the store.
    async fn has_files(&self) -> Result<bool, StoreError>;

    /// Whether new work may come in. Cheap: asked for every inbound message.
    fn room(&self) -> Room;

    /// What this store is and what it can lose, for the start-up lines.
    fn describe(&self) -> StoreDescription;

    /// How things leave it.
    fn keeping(&self) -> &dyn Keeping;

    /// Whether what it holds fits together; `None`: it cannot say.
    fn checked(&self) -> Option<&dyn Checked> {
        None
    }

    /// Who else is on it.
    fn company(&self) -> &dyn Company;

    /// Finishes what was handed in, writes everything down and lets go of the files. Every call after it fails.
    async fn close(&self) -> Result<(), StoreError>;
}

/// Why a verb did not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No space for new work; nothing changed.
    #[error("the store is full: {0}")]
    Full(String),
    /// The store could not be asked, or did not answer; it may have done the work.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The call contradicts the contract or what is stored; nothing changed.
    #[error("the store refused: {0}")]
    Refused(String),
}

/// Kinds of work due in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LaneKind)]
pub enum Lane {
    /// Events for the agent endpoint.
    Agent,
    /// Messages for the platform.
    Deliver,
}

/// One atomic change of a conversation. Applied in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a verb has a handful of effects, and the largest is the commonest")]
pub enum Effect {
    /// Adds an event with the next `seq`. An outbound message gets `status`; an inbound one and a
    /// private note have none.
    Append {
        /// Its id.
        id: EventId,
        /// When.
        at: Timestamp,
        /// What.
        body: EventBody,
        /// Which lanes it makes due. A woken lane that is claimed stays claimed; the end of the claim makes it due.
        wakes: Vec<Wake>,
        /// Where an outbound message starts: `queued`, or `discarded`.
        status: Option<DeliveryStatus>,
    },
    /// The version grows by one.
    BumpVersion,
    /// The channel under which the thread is known now.
    SetChannel(ChannelName),
    /// The status, whatever it was.
    SetStatus(Status),
    /// The status, where it is one of `from`.
    SetStatusIf {
        /// What it has to be.
        from: Vec<Status>,
        /// What it becomes.
        to: Status,
    },
    /// The owner.
    SetOwner(Owner),
    /// Why the desk should look, or that it need not.
    SetAttention(Option<Attention>),
    /// Why the desk should look, unless it has a reason already.
    AddAttention(Attention),
    /// Takes the attention away where it is this one.
    ClearAttentionIf(Attention),
    /// Takes the attention away where it is [`Attention::DeadLetter`] and the conversation has no other dead letter than the
    /// one that this verb ends.
    ClearDeadLetterAttention,
    /// Who looks after it.
    SetAssignee(Option<String>),
    /// Until when it sleeps.
    SetSnooze(Option<Timestamp>),
    /// By when the first unanswered message should be answered, whatever was set before; nothing is set where nothing waits
    /// for an answer.
    SetAnswerBy(Option<Timestamp>),
    /// Like [`Effect::SetAnswerBy`], where none is set yet and this one owns the conversation (by then: an effect before it
    /// counts).
    StartAnswerBy {
        /// Who has to own it.
        only_if_owner: Owner,
        /// The moment.
        at: Timestamp,
    },
    /// Our side has answered, for the first time unless it did before.
    NoteAnswered(Timestamp),
    /// The events that the agent is asked about together; `None` when it has answered.
    SetBatch(Option<Batch>),
    /// The agent lane has done with its own events up to here, as if it had been given each, and goes on behind them, at once if
    /// it had been parked. Replays that were asked for stay. No step back; refused beyond the log's end.
    AgentDoneThrough(Seq),
    /// The contact is recorded (again) and one of the conversation's participants.
    PutParticipant(Contact),
    /// The last event appended is the first that waits for an answer, unless an earlier one does.
    MarkUnanswered,
    /// Everything up to here is answered; what waits now, where anything waited, is the first message after it that
    /// [waits for an answer](EventBody::waits_for_answer) at all, unless an even later one was the first already. `None`: up
    /// to the end. When nothing waits any more, `answer_by` is gone too; else it stays.
    AnsweredThrough(Option<Seq>),
    /// The agent lane goes on at the first unanswered message, or at the end when there is none.
    RewindAgentToUnanswered,
    /// The agent lane skips all that is in the log.
    AgentFollowsTail,
    /// These replies were discarded; the agent has not been told yet.
    NoteDiscarded(Vec<MessageId>),
    /// The agent has been told of the discarded replies.
    ClearDiscarded,
    /// The message's parts, for good; its status becomes `sending`.
    Freeze {
        /// Which message.
        message: MessageId,
        /// All of them, in order.
        parts: Vec<FrozenPart>,
    },
    /// What is known of one frozen part.
    SetPart {
        /// Which message.
        message: MessageId,
        /// Its place, from 0.
        index: u16,
        /// Its state.
        state: PartState,
    },
    /// What is known of an outbound message.
    SetDelivery {
        /// Which message.
        message: MessageId,
        /// Its status.
        status: DeliveryStatus,
    },
    /// Work is parked for good.
    AddDeadLetter(DeadLetter),
    /// The message as it is now: its attachments were fetched, or it was changed. Its id, direction and author stay. Refused
    /// where there is no such message any more.
    Rewrite {
        /// The message's event.
        event: EventId,
        /// When that was recorded.
        at: Timestamp,
        /// The message.
        message: Box<Message>,
    },
    /// From now on the message is found under this key too, by [`Store::find`], for as long as it is kept: instead of what was found
    /// under it by an earlier one of these. Not one that a message came with.
    Know {
        /// The key.
        key: DedupeKey,
        /// The message, of this conversation.
        message: MessageId,
    },
    /// What the contact brought along, where nothing is noted yet.
    SetOrigin(String),
    /// An event's message has attachments that have still to be fetched.
    MarkFetching {
        /// The event; `None`: the last one appended.
        event: Option<Seq>,
        /// By when it is looked at.
        at: Timestamp,
    },
    /// When what has still to be fetched is looked at, where there is anything.
    SetFetchingAt(Timestamp),
    /// Up to here nothing has to be fetched any more; what lies behind it, if anything does, is looked at by this moment.
    FetchedThrough {
        /// The place.
        through: Seq,
        /// The moment.
        at: Timestamp,
    },
}

/// A lane that an event makes due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    /// Which lane.
    pub lane: Lane,
    /// Only while this one owns the conversation (as it is when the event is appended); else the lane, if it has nothing
    /// left to do, follows the tail past it.
    pub only_if_owner: Option<Owner>,
}

/// What must hold for a verb to have any effect. Checked against the state before its effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// The conversation's version is this one.
    VersionIs(Version),
    /// The conversation's owner is this one.
    OwnerIs(Owner),
    /// The message's parts are not frozen yet.
    NotFrozen(MessageId),
    /// It sleeps until exactly this moment.
    SnoozedUntil(Timestamp),
    /// It should be answered by exactly this moment.
    AnswerBy(Timestamp),
    /// What has still to be fetched is looked at by exactly this moment.
    FetchingAt(Timestamp),
}

/// One inbound message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInbound {
    /// Whose conversation.
    pub thread: ThreadKey,
    /// Known means: seen before.
    pub dedupe: DedupeKey,
    /// The message's id, for the answer to a later duplicate.
    pub message: MessageId,
    /// Used when the thread has no conversation yet. Owner, status open, version 0, empty log.
    pub new: NewConversation,
    /// What happens to the conversation.
    pub effects: Vec<Effect>,
    /// Claims a lane in the same step.
    pub claim: Option<ClaimNext>,
}

/// Claims a lane of the conversation that a verb changes, if after its effects the lane is due and nobody has it. Of several
/// events, it is given the one that a [`Store::claim`] would have been given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimNext {
    /// Which kind.
    pub lane: Lane,
    /// For how long, counted from when the store takes the request.
    pub lease: Duration,
}

/// A conversation that may have to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewConversation {
    /// Its id, in the thread's partition.
    pub id: ConversationId,
    /// Its channel.
    pub channel: ChannelName,
    /// Who answers it.
    pub owner: Owner,
    /// Its subject.
    pub subject: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// What became of an inbound message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// Taken.
    New {
        /// Its conversation.
        conversation: ConversationId,
        /// Its event's place.
        seq: Seq,
        /// The claim that was asked for, if the lane could be had.
        claim: Option<Box<Claim>>,
    },
    /// Here before; nothing changed.
    Duplicate {
        /// Its conversation.
        conversation: ConversationId,
        /// Under which id it was taken the first time.
        message: MessageId,
    },
}

/// What a thread is known to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Its conversation, if it has one.
    pub conversation: Option<ConversationId>,
    /// For each key the message, if one is known under it. It may have been taken away since.
    pub messages: Vec<Option<MessageId>>,
}

/// A change without a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Repeats are recognised by it.
    pub operation: OperationId,
    /// Of which conversation.
    pub conversation: ConversationId,
    /// The caller's own mark of this request, so that it has its effects once however often it comes.
    pub once: Option<Once>,
    /// What must hold.
    pub guards: Vec<Guard>,
    /// What changes.
    pub effects: Vec<Effect>,
}

/// Makes a request that a caller may repeat have its effects once. Kept only if it had them, as it was when it had them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Names the request; a keyed hash.
    pub key: [u8; 32],
    /// What the request says; a keyed hash. The same key with another one is refused.
    pub fingerprint: [u8; 32],
    /// What a repeat is answered, beside the version.
    pub answer: String,
    /// For how long it is kept, at least; afterwards it is forgotten some time.
    pub keep: Duration,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    /// All effects hold.
    Done {
        /// The version after it.
        version: Version,
        /// The log's end after it.
        last_seq: Seq,
    },
    /// This guard did not hold; nothing changed. The conversation as it is.
    Guarded {
        /// The first guard that failed.
        failed: Guard,
        /// The present version.
        version: Version,
    },
    /// The same request had its effects before; nothing changed.
    Repeated {
        /// In which conversation it had them.
        conversation: ConversationId,
        /// The version after it, then.
        version: Version,
        /// What [`Once::answer`] was.
        answer: String,
    },
    /// The key was used before, for a request that said something else; nothing changed.
    KeyReused,
    /// The claim is not (or no longer) the lane's; nothing changed.
    LeaseLost,
    /// No such conversation or dead letter; nothing changed.
    NotFound,
}

/// Whether a claim is still the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Held {
    /// It was, and the verb did its work.
    Yes,
    /// It was not; nothing changed.
    Gone,
}

/// Asks for work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimRequest {
    /// Repeats are recognised by it: the same claims are handed out again.
    pub operation: OperationId,
    /// Which kind.
    pub lane: Lane,
    /// At most this many; at least 1.
    pub limit: usize,
    /// For how long, counted from when the store takes the request.
    pub lease: Duration,
    /// Which come first when more are due.
    pub order: ClaimOrder,
}

/// Which due lanes come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClaimOrder {
    /// Those that have been due the longest.
    #[default]
    LongestDue,
    /// Those whose event no earlier claim was released with, then the longest due: so that one request to an unwell
    /// endpoint is not spent on what has just failed.
    UntriedFirst,
}

/// Work handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// What was due.
    pub claims: Vec<Claim>,
    /// When the next unclaimed lane of this kind becomes due, as far as is known now; `None` when none is waiting.
    pub next_due: Option<Timestamp>,
}

/// One lane of one conversation, held for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The fence.
    pub id: ClaimId,
    /// Which lane.
    pub lane: Lane,
    /// The conversation as it is now.
    pub conversation: Conversation,
    /// The event to work on.
    pub event: Event,
    /// Whether a replay asked for it.
    pub turn: Turn,
    /// On a replay: where the batch began that the dead letter was about.
    pub batch_from: Option<Seq>,
    /// What earlier claims of this event left behind; new for a new event.
    pub progress: Progress,
    /// Who wrote the event's message, for an inbound one.
    pub contact: Option<Contact>,
    /// For an outbound message: its status and parts.
    pub delivery: Option<Delivery>,
}

/// How a lane came to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    /// It was next.
    Next,
    /// A dead letter of it is being replayed.
    Replay,
}

/// What a worker remembers of the tries at one event. Kept with the lane; gone when the lane moves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Requests made so far.
    pub attempts: u32,
    /// Those of them that count against the event.
    pub counted: u32,
    /// When the first failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_failed_at: Option<Timestamp>,
    /// When the latest failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failed_at: Option<Timestamp>,
}

/// How far an outbound message has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its status.
    pub status: DeliveryStatus,
    /// Its frozen parts in order; empty before they are frozen.
    pub parts: Vec<Part>,
}

/// One frozen part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What to send.
    pub frozen: FrozenPart,
    /// What is known of it.
    pub state: PartState,
}

/// What is known of one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PartState {
    /// Not tried, or certainly not delivered. Left by `intent` or `cancelled`.
    Ready,
    /// About to be sent, or just sent: found in this state by a new claim, nobody knows. Left by any other.
    Intent,
    /// Delivered. Final.
    Sent {
        /// What the platform calls it. `None` where it does not say, and once a change that made the message shorter took it back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        external_id: Option<String>,
    },
    /// Refused. Left only by a replay.
    Failed,
    /// Perhaps delivered. Left only by a replay.
    Uncertain,
    /// Not tried because an earlier part was refused. Left only by a replay.
    Cancelled,
}

/// Ends or continues a claim with effects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settle {
    /// Repeats are recognised by it.
    pub operation: OperationId,
    /// The fence.
    pub claim: ClaimId,
    /// What must hold.
    pub guards: Vec<Guard>,
    /// What changes in the claim's conversation.
    pub effects: Vec<Effect>,
    /// What becomes of the claim, where the guards hold.
    pub then: Then,
    /// Claims lanes of the conversation in the same step, where the guards hold: others, and its own if it moves past the claim.
    pub next: Vec<ClaimNext>,
    /// What is known already of a message that one of those may come to.
    pub intend: Option<Intend>,
}

/// A message is about to be sent, should a claim that is made in the same step come to it: then its parts are frozen, and the
/// first is in [`PartState::Intent`]. For whoever has made sure that it can go at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intend {
    /// Which message. Not frozen yet.
    pub message: MessageId,
    /// All its parts, in order; at least one.
    pub parts: Vec<FrozenPart>,
}

impl Intend {
    /// What holds where a claim comes to it.
    #[must_use]
    pub fn effects(&self) -> [Effect; 2] {
        let Self { message, parts } = self;
        [
            Effect::Freeze { message: *message, parts: parts.clone() },
            Effect::SetPart { message: *message, index: 0, state: PartState::Intent },
        ]
    }
}

/// What became of a settling write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Its effects.
    pub applied: Applied,
    /// The claims that were asked for, of the lanes that could be had.
    pub next: Vec<Claim>,
}

/// What becomes of a claim when its effects are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It goes on.
    Keep,
    /// It ends, and the lane moves past the claim's event: for [`Turn::Next`] the cursor becomes the event's `seq` (unless an
    /// effect moved it further), for [`Turn::Replay`] the replay is done. The lane is due at once if it has more to do.
    Advance,
}

/// Ends a claim without moving on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Repeats are recognised by it.
    pub operation: OperationId,
    /// The fence.
    pub claim: ClaimId,
    /// When the lane is due again.
    pub until: Timestamp,
    /// What it waits for, so that [`Store::wake`] can find it.
    pub waiting: Option<Waiting>,
    /// What the next claim of this event should know.
    pub progress: Progress,
}

/// What a parked lane waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// The agent endpoint.
    Agent,
    /// The far end of this account on this kind of channel.
    Channel {
        /// The kind.
        kind: KindName,
        /// The account.
        account: AccountId,
    },
    /// Attachments of this message.
    Attachments(MessageId),
}

/// Which conversations to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConversationFilter {
    /// Only of this status.
    pub status: Option<Status>,
    /// Only of these channels; empty for all.
    pub channels: Vec<ChannelName>,
    /// Only with this attention.
    pub attention: Option<Attention>,
    /// Only of this owner.
    pub owner: Option<Owner>,
    /// Only with this assignee.
    pub assignee: Option<String>,
    /// Only those that this contact takes part in.
    pub contact: Option<ContactId>,
}

/// How much of a list one answer may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Take {
    /// At most this many rows; at least 1.
    pub rows: usize,
    /// No further row once those taken hold more than this many bytes, about as stored. The first row is always taken, so an
    /// answer holds at most this much and one row.
    pub bytes: usize,
}

/// Some rows of a list whose rows say themselves where they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Whether there are more behind them.
    pub more: bool,
}

/// Conversations for which a moment has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timers {
    /// Those.
    pub due: Vec<Conversation>,
    /// When the next moment comes of one that is not among them; past, where `limit` left it out.
    pub next_due: Option<Timestamp>,
}

/// Which changes to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChangeFilter {
    /// Only of conversations on these channels; empty for all.
    pub channels: Vec<ChannelName>,
    /// Only of this conversation.
    pub conversation: Option<ConversationId>,
}

/// Some changes in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// What was added.
    pub data: Vec<LoggedChange>,
    /// Where the next answer goes on: behind all that was looked at, also behind what the filter left out. Opaque.
    pub position: String,
    /// Whether there is more to look at behind `position` now; the filter may leave all of it out.
    pub more: bool,
    /// Whether some changes behind `after` are not kept any more.
    pub lost: bool,
}

/// An event with what it happened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedChange {
    /// The conversation as it is now.
    pub conversation: Conversation,
    /// The event.
    pub event: Event,
    /// What became of its message, of an outbound one.
    pub status: Option<DeliveryStatus>,
    /// Who wrote its message, of an inbound one.
    pub contact: Option<Contact>,
    /// Where an answer goes on behind it. Opaque.
    pub position: String,
}

/// How much there is of everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Census {
    /// Lanes that have something to do, by kind and channel; none for what has nothing.
    pub lanes: Vec<LaneCensus>,
    /// Conversations that are open.
    pub open: u64,
    /// Conversations that wait for the customer.
    pub pending: u64,
    /// Conversations that are done.
    pub resolved: u64,
    /// Dead letters.
    pub dead_letters: u64,
}

/// What lanes of one kind have to do on one channel. A lane is counted once, as claimed before all else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneCensus {
    /// Which kind.
    pub lane: Lane,
    /// The conversations' channel.
    pub channel: ChannelName,
    /// Lanes that could be claimed now.
    pub ready: u64,
    /// Lanes that are claimed.
    pub claimed: u64,
    /// Lanes that wait for their time.
    pub parked: u64,
    /// When the oldest event was recorded that one of them still has to do.
    pub oldest_at: Option<Timestamp>,
}

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// At most this many rows, from 1 to 200.
    pub limit: usize,
    /// What the page before gave as `next`; a text that no page gave is refused.
    pub page: Option<String>,
}

/// Some rows of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub data: Vec<T>,
    /// For the next page; `None` at the end. Opaque.
    pub next: Option<String>,
}

/// A message with its place and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRecord {
    /// Its event's place.
    pub seq: Seq,
    /// The message.
    pub message: Message,
    /// Of an outbound one.
    pub status: Option<DeliveryStatus>,
}

/// Work that was parked after its last attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// Of which conversation.
    pub conversation: ConversationId,
    /// Which kind of work.
    pub lane: Lane,
    /// Which event.
    pub seq: Seq,
    /// The event's id.
    pub event: EventId,
    /// Where the batch began that ends with the event, if it was asked about in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_from: Option<Seq>,
    /// The conversation's channel then.
    pub channel: ChannelName,
    /// Why, in a sentence without secrets or customers' text.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was parked.
    pub at: Timestamp,
}

/// Ends a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requeue {
    /// Repeats are recognised by it.
    pub operation: OperationId,
    /// Which.
    pub dead_letter: DeadLetterId,
    /// What must hold of its conversation.
    pub guards: Vec<Guard>,
    /// What changes in its conversation.
    pub effects: Vec<Effect>,
    /// How it ends.
    pub end: DeadLetterEnd,
}

/// How a dead letter ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterEnd {
    /// Its work is tried anew.
    Replay,
    /// Its work is given up.
    Drop,
}

/// The key from which others are derived, and its short name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterKey {
    /// Names the key in what is derived from it; 8 characters of `[0-9a-z]`.
    pub id: String,
    /// 32 random bytes.
    pub key: Secret<[u8; 32]>,
}

/// Whether a store takes new work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Room {
    /// Yes.
    Enough,
    /// No: only what is in flight can be finished. Why, for the operator.
    Low(String),
}

/// What a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreDescription {
    /// What and where, without credentials.
    pub name: String,
    /// What a power cut can lose or repeat, in a sentence.
    pub durability: String,
    /// Names the data, so that two places holding the same data can be told from two that do not.
    pub store_id: String,
}
