//! The JSON that agents and API clients see. Built from the model, never stored.

use std::borrow::Cow;

use frontdesk_model::{
    Attachment, AttachmentId, AttachmentState, Attention, Author, Button, Capabilities, Contact, ContactId,
    ContentHash, Conversation, ConversationId, DeadLetter, DeadLetterId, DeliveryStatus, Direction, Event, EventBody,
    EventId, FetchOutcome, Flaw, FlawKind, Identity, Lane, LoggedChange, Looked, MessageId, MessageRecord, Owner, Seq,
    Status, TextUnit, Timestamp, Version,
};
use frontdesk_richtext::Said;
use serde::Serialize;

use crate::attachments::Links;

/// A conversation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ConversationView<'a> {
    id: ConversationId,
    version: Version,
    status: Status,
    owner: Owner,
    #[schema(required)]
    assignee: Option<&'a str>,
    #[schema(required)]
    attention: Option<Attention>,
    #[schema(required)]
    snoozed_until: Option<Timestamp>,
    channel: &'a str,
    kind: &'a str,
    thread: &'a str,
    #[schema(required)]
    subject: Option<&'a str>,
    /// What the contact brought along when it began: the payload of the link that they followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a str>,
    last_seq: Seq,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> From<&'a Conversation> for ConversationView<'a> {
    fn from(of: &'a Conversation) -> Self {
        Self {
            id: of.id,
            version: of.version,
            status: of.status,
            owner: of.owner,
            assignee: of.assignee.as_deref(),
            attention: of.attention,
            snoozed_until: of.snoozed_until,
            channel: of.channel.as_str(),
            kind: of.thread.kind.as_str(),
            thread: of.thread.thread.as_str(),
            subject: of.subject.as_deref(),
            origin: of.origin.as_deref(),
            last_seq: of.last_seq,
            created_at: of.created_at,
            updated_at: of.updated_at,
        }
    }
}

impl ConversationView<'_> {
    /// As it was at another version.
    pub(crate) fn at(self, version: Version) -> Self {
        Self { version, ..self }
    }
}

/// A person on the other side.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ContactView<'a> {
    id: ContactId,
    #[schema(required)]
    name: Option<&'a str>,
    #[schema(required)]
    locale: Option<&'a str>,
    identities: &'a [Identity],
}

impl<'a> From<&'a Contact> for ContactView<'a> {
    fn from(of: &'a Contact) -> Self {
        Self { id: of.id, name: of.name.as_deref(), locale: of.locale.as_deref(), identities: &of.identities }
    }
}

/// Who wrote a message.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AuthorView<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<ContactId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

impl<'a> From<&'a Author> for AuthorView<'a> {
    fn from(of: &'a Author) -> Self {
        let (kind, id, name) = match of {
            Author::Contact { id, name } => ("contact", Some(*id), name.as_deref()),
            Author::Agent => ("agent", None, None),
            Author::Teammate { name } => ("teammate", None, Some(name.as_str())),
            Author::System => ("system", None, None),
        };
        Self { kind, id, name }
    }
}

/// A message. `text` is what was said as plain text, `markdown` the same as CommonMark, whichever form it came in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct MessageView<'a> {
    id: MessageId,
    seq: Seq,
    direction: Direction,
    author: AuthorView<'a>,
    #[schema(required)]
    external_id: Option<&'a str>,
    text: Cow<'a, str>,
    markdown: Cow<'a, str>,
    #[schema(required)]
    reply_to: Option<MessageId>,
    /// The words that it answers, where the sender picked some out.
    #[serde(skip_serializing_if = "Option::is_none")]
    quote: Option<&'a str>,
    /// Whose words these were first, when it was passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarded_from: Option<&'a str>,
    attachments: Vec<AttachmentView<'a>>,
    #[serde(skip_serializing_if = "<[Button]>::is_empty")]
    buttons: &'a [Button],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    private: bool,
    auto_generated: bool,
    authenticated: &'static str,
    #[schema(required)]
    sent_at: Option<Timestamp>,
    received_at: Timestamp,
    /// When it was last changed by whoever said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    edited_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<DeliveryStatus>,
}

impl<'a> From<&'a MessageRecord> for MessageView<'a> {
    fn from(of: &'a MessageRecord) -> Self {
        Self::new(&of.message, of.seq, of.status)
    }
}

impl<'a> MessageView<'a> {
    fn new(message: &'a frontdesk_model::Message, seq: Seq, status: Option<DeliveryStatus>) -> Self {
        let Said { text, markdown } = match message.direction {
            Direction::Inbound => Said::by_a_stranger(&message.content),
            Direction::Outbound => Said::by_us(&message.content),
        };
        Self {
            id: message.id,
            seq,
            direction: message.direction,
            author: (&message.author).into(),
            external_id: message.external_id.as_ref().map(frontdesk_model::ExternalId::as_str),
            text,
            markdown,
            reply_to: message.reply_to,
            quote: message.quote.as_deref(),
            forwarded_from: message.forwarded_from.as_deref(),
            attachments: message.attachments.iter().map(Into::into).collect(),
            buttons: &message.buttons,
            private: message.private,
            auto_generated: message.auto_generated,
            authenticated: "none",
            sent_at: message.sent_at,
            received_at: message.received_at,
            edited_at: message.edited_at,
            status,
        }
    }
}

impl MessageView<'_> {
    /// With signed addresses of its attachments.
    pub(crate) fn linked(mut self, links: &Links) -> Self {
        for attachment in &mut self.attachments {
            if attachment.state == "stored" {
                let link = links.of(attachment.id);
                (attachment.url, attachment.expires_at) = (Some(link.url), Some(link.expires_at));
            }
        }
        self
    }
}

/// A file of a message. What is not known as long as its bytes are not here is null.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AttachmentView<'a> {
    id: AttachmentId,
    name: &'a str,
    /// `pending`: its bytes are being fetched; `stored`: they are here; `failed`: they could not be had.
    state: &'static str,
    /// What the bytes are, as they show themselves.
    #[schema(required)]
    media_type: Option<&'a str>,
    #[schema(required)]
    size: Option<u64>,
    #[schema(required, value_type = Option<String>)]
    sha256: Option<ContentHash>,
    /// Where the bytes are read without a token until `expires_at`: in events to the agent. Elsewhere null: read them at
    /// `/v1/attachments/{id}` with a token.
    #[schema(required)]
    url: Option<String>,
    #[schema(required)]
    expires_at: Option<Timestamp>,
    /// Why its bytes could not be had.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> From<&'a Attachment> for AttachmentView<'a> {
    fn from(of: &'a Attachment) -> Self {
        let stored = of.stored();
        Self {
            id: of.id,
            name: &of.name,
            state: of.state.word(),
            media_type: stored.map(|stored| stored.media_type.as_str()),
            size: stored.map(|stored| stored.size),
            sha256: stored.map(|stored| stored.sha256),
            url: None,
            expires_at: None,
            error: match &of.state {
                AttachmentState::Failed { reason } => Some(reason),
                _ => None,
            },
        }
    }
}

/// An event of a log, as the API shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct EventView<'a> {
    id: EventId,
    seq: Seq,
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: Timestamp,
    data: EventDataView<'a>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum EventDataView<'a> {
    Message(Box<MessageView<'a>>),
    Edit {
        /// As it is after the change.
        message: Box<MessageView<'a>>,
        before: BeforeView<'a>,
        by: AuthorView<'a>,
    },
    Reaction(ReactionView<'a>),
    Button(PressView<'a>),
    Unreadable {
        /// The input as it came.
        raw: &'a str,
        /// Why it could not be read.
        reason: &'a str,
    },
    Delivery {
        message_id: MessageId,
        status: DeliveryStatus,
        parts: u16,
        #[schema(required)]
        error: Option<&'a str>,
    },
    Deleted {
        message_id: MessageId,
    },
    Attachment {
        message_id: MessageId,
        attachment_id: AttachmentId,
        state: FetchOutcome,
    },
    Conversation {
        by: &'a str,
        status: Status,
        owner: Owner,
        #[schema(required)]
        assignee: Option<&'a str>,
        #[schema(required)]
        attention: Option<Attention>,
        #[schema(required)]
        snoozed_until: Option<Timestamp>,
        #[schema(required)]
        reason: Option<&'a str>,
    },
}

impl<'a> From<&'a Event> for EventView<'a> {
    fn from(of: &'a Event) -> Self {
        let data = match &of.body {
            EventBody::MessageCreated { message } => {
                EventDataView::Message(Box::new(MessageView::new(message, of.seq, None)))
            }
            EventBody::MessageEdited { message, seq, before, by } => EventDataView::Edit {
                message: Box::new(MessageView::new(message, *seq, None)),
                before: BeforeView::new(message, before),
                by: by.into(),
            },
            EventBody::ReactionAdded(reaction) | EventBody::ReactionRemoved(reaction) => {
                EventDataView::Reaction(reaction.into())
            }
            EventBody::ButtonPressed { button, message_id, by } => {
                EventDataView::Button(PressView::new(button, *message_id, by))
            }
            EventBody::Unreadable { raw, reason } => EventDataView::Unreadable { raw, reason },
            EventBody::MessageDeleted { message_id } | EventBody::MessageWithdrawn { message_id, .. } => {
                EventDataView::Deleted { message_id: *message_id }
            }
            EventBody::AttachmentUpdated { message_id, attachment_id, state } => {
                EventDataView::Attachment { message_id: *message_id, attachment_id: *attachment_id, state: *state }
            }
            EventBody::DeliveryUpdated { message_id, status, parts, error } => EventDataView::Delivery {
                message_id: *message_id,
                status: *status,
                parts: *parts,
                error: error.as_deref(),
            },
            EventBody::ConversationUpdated { by, status, owner, attention, assignee, snoozed_until, reason } => {
                EventDataView::Conversation {
                    by,
                    status: *status,
                    owner: *owner,
                    assignee: assignee.as_deref(),
                    attention: *attention,
                    snoozed_until: *snoozed_until,
                    reason: reason.as_deref(),
                }
            }
        };
        Self { id: of.id, seq: of.seq, kind: of.body.kind(), timestamp: of.at, data }
    }
}

/// A dead letter.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct DeadLetterView<'a> {
    id: DeadLetterId,
    conversation_id: ConversationId,
    lane: Lane,
    seq: Seq,
    event_id: EventId,
    channel: &'a str,
    reason: &'a str,
    attempts: u32,
    at: Timestamp,
}

impl<'a> From<&'a DeadLetter> for DeadLetterView<'a> {
    fn from(of: &'a DeadLetter) -> Self {
        Self {
            id: of.id,
            conversation_id: of.conversation,
            lane: of.lane,
            seq: of.seq,
            event_id: of.event,
            channel: of.channel.as_str(),
            reason: &of.reason,
            attempts: of.attempts,
            at: of.at,
        }
    }
}

/// A step of a check of the store.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CheckView<'a> {
    /// What does not fit together.
    data: Vec<FlawView<'a>>,
    /// Conversations that the step came to the end of.
    conversations: u64,
    /// Events that it looked at.
    events: u64,
    /// The `page` that follows; null at the end of the check.
    #[schema(required)]
    next: Option<&'a str>,
}

/// Something in the store that does not fit together.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct FlawView<'a> {
    kind: FlawKind,
    /// Where it is in a conversation.
    #[schema(required)]
    conversation_id: Option<ConversationId>,
    /// What it is, without anything that a customer wrote.
    detail: &'a str,
}

impl<'a> From<&'a Looked> for CheckView<'a> {
    fn from(of: &'a Looked) -> Self {
        let flaw =
            |flaw: &'a Flaw| FlawView { kind: flaw.kind, conversation_id: flaw.conversation, detail: &flaw.what };
        Self {
            data: of.flaws.iter().map(flaw).collect(),
            conversations: of.conversations,
            events: of.events,
            next: of.resume.as_deref(),
        }
    }
}

/// An event of the change stream: the agent's envelope, without what only the agent may have.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ChangeView<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    id: EventId,
    timestamp: Timestamp,
    data: ChangeDataView<'a>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ChangeDataView<'a> {
    seq: Seq,
    conversation: ConversationView<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<ContactView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<MessageView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<BeforeView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reaction: Option<ReactionView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    button: Option<PressView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<DeletedView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attachment: Option<FetchedView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<DeliveryView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<UpdateView<'a>>,
}

/// What a message said before it was changed.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct BeforeView<'a> {
    text: Cow<'a, str>,
    markdown: Cow<'a, str>,
}

impl<'a> BeforeView<'a> {
    fn new(message: &frontdesk_model::Message, before: &'a frontdesk_model::Content) -> Self {
        let Said { text, markdown } = match message.direction {
            Direction::Inbound => Said::by_a_stranger(before),
            Direction::Outbound => Said::by_us(before),
        };
        Self { text, markdown }
    }

    pub(crate) fn of(body: &'a EventBody) -> Option<Self> {
        match body {
            EventBody::MessageEdited { message, before, .. } => Some(Self::new(message, before)),
            _ => None,
        }
    }
}

/// A reaction to a message.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ReactionView<'a> {
    /// An emoji; or, for one that is no character, what the platform calls it.
    reaction: &'a str,
    #[schema(required)]
    message_id: Option<MessageId>,
    by: AuthorView<'a>,
}

impl<'a> From<&'a frontdesk_model::Reaction> for ReactionView<'a> {
    fn from(of: &'a frontdesk_model::Reaction) -> Self {
        Self { reaction: &of.reaction, message_id: of.message_id, by: (&of.by).into() }
    }
}

impl<'a> ReactionView<'a> {
    pub(crate) fn of(body: &'a EventBody) -> Option<Self> {
        match body {
            EventBody::ReactionAdded(reaction) | EventBody::ReactionRemoved(reaction) => Some(reaction.into()),
            _ => None,
        }
    }
}

/// A pressed button.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct PressView<'a> {
    id: &'a str,
    label: &'a str,
    /// Under which message it stood.
    #[schema(required)]
    message_id: Option<MessageId>,
    by: AuthorView<'a>,
}

impl<'a> PressView<'a> {
    fn new(button: &'a Button, message_id: Option<MessageId>, by: &'a Author) -> Self {
        Self { id: &button.id, label: &button.label, message_id, by: by.into() }
    }

    pub(crate) fn of(body: &'a EventBody) -> Option<Self> {
        match body {
            EventBody::ButtonPressed { button, message_id, by } => Some(Self::new(button, *message_id, by)),
            _ => None,
        }
    }
}

/// A message that was erased, or taken back.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct DeletedView {
    message_id: MessageId,
}

/// How the fetching of an attachment ended; its message says the rest.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct FetchedView {
    message_id: MessageId,
    attachment_id: AttachmentId,
    state: FetchOutcome,
}

impl FetchedView {
    pub(crate) fn of(body: &EventBody) -> Option<Self> {
        match body {
            EventBody::AttachmentUpdated { message_id, attachment_id, state } => {
                Some(Self { message_id: *message_id, attachment_id: *attachment_id, state: *state })
            }
            _ => None,
        }
    }
}

/// What became of an outbound message.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct DeliveryView<'a> {
    message_id: MessageId,
    status: DeliveryStatus,
    parts: u16,
    #[schema(required)]
    error: Option<&'a str>,
}

/// Who changed the conversation to what.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct UpdateView<'a> {
    by: &'a str,
    status: Status,
    owner: Owner,
    #[schema(required)]
    assignee: Option<&'a str>,
    #[schema(required)]
    attention: Option<Attention>,
    #[schema(required)]
    snoozed_until: Option<Timestamp>,
    #[schema(required)]
    reason: Option<&'a str>,
}

impl<'a> From<&'a LoggedChange> for ChangeView<'a> {
    fn from(of: &'a LoggedChange) -> Self {
        let event = &of.event;
        let mut data = ChangeDataView {
            seq: event.seq,
            conversation: (&of.conversation).into(),
            contact: of.contact.as_ref().map(Into::into),
            message: None,
            before: BeforeView::of(&event.body),
            reaction: ReactionView::of(&event.body),
            button: PressView::of(&event.body),
            deleted: None,
            attachment: None,
            delivery: None,
            change: None,
        };
        match &event.body {
            EventBody::MessageCreated { message } => {
                data.message = Some(MessageView::new(message, event.seq, of.status));
            }
            EventBody::MessageEdited { message, seq, .. } => {
                data.message = Some(MessageView::new(message, *seq, None));
            }
            EventBody::MessageDeleted { message_id } | EventBody::MessageWithdrawn { message_id, .. } => {
                data.deleted = Some(DeletedView { message_id: *message_id });
            }
            // What could not be read is nobody's: it is looked at where its dead letter is.
            EventBody::ReactionAdded(_)
            | EventBody::ReactionRemoved(_)
            | EventBody::ButtonPressed { .. }
            | EventBody::Unreadable { .. } => {}
            EventBody::AttachmentUpdated { .. } => data.attachment = FetchedView::of(&event.body),
            EventBody::DeliveryUpdated { message_id, status, parts, error } => {
                data.delivery = Some(DeliveryView {
                    message_id: *message_id,
                    status: *status,
                    parts: *parts,
                    error: error.as_deref(),
                });
            }
            EventBody::ConversationUpdated { by, status, owner, attention, assignee, snoozed_until, reason } => {
                data.change = Some(UpdateView {
                    by,
                    status: *status,
                    owner: *owner,
                    assignee: assignee.as_deref(),
                    attention: *attention,
                    snoozed_until: *snoozed_until,
                    reason: reason.as_deref(),
                });
            }
        }
        Self { kind: event.body.kind(), id: event.id, timestamp: event.at, data }
    }
}

/// What is posted to the agent endpoint.
#[derive(Debug, Serialize)]
pub(crate) struct AgentEvent<'a> {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) id: EventId,
    pub(crate) timestamp: Timestamp,
    pub(crate) attempt: u32,
    pub(crate) data: AgentEventData<'a>,
}

/// Its `data`.
#[derive(Debug, Serialize)]
pub(crate) struct AgentEventData<'a> {
    pub(crate) seq: Seq,
    pub(crate) conversation: ConversationView<'a>,
    pub(crate) contact: Option<ContactView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<MessageView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<BeforeView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reaction: Option<ReactionView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) button: Option<PressView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attachment: Option<FetchedView>,
    pub(crate) history: Vec<MessageView<'a>>,
    pub(crate) coalesced: Vec<MessageView<'a>>,
    #[serde(skip_serializing_if = "<[MessageId]>::is_empty")]
    pub(crate) discarded: &'a [MessageId],
    pub(crate) capabilities: Option<CapabilitiesView>,
    pub(crate) reply_url: String,
    pub(crate) reply_token: String,
}

impl<'a> AgentEventData<'a> {
    pub(crate) fn message_view(message: &'a frontdesk_model::Message, seq: Seq) -> MessageView<'a> {
        MessageView::new(message, seq, None)
    }
}

/// What the conversation's channel can do.
#[derive(Debug, Serialize)]
pub(crate) struct CapabilitiesView {
    max_text: Option<usize>,
    unit: TextUnit,
    buttons: bool,
    edit: bool,
    delete: bool,
    attachments: bool,
    typing: bool,
}

impl From<&Capabilities> for CapabilitiesView {
    fn from(of: &Capabilities) -> Self {
        Self {
            max_text: of.max_text,
            unit: of.unit,
            buttons: of.buttons,
            edit: of.edit,
            delete: of.delete,
            attachments: of.attachments,
            typing: of.typing,
        }
    }
}
