//! The stored forms of the model's types.
//!
//! A **conversation** is a map with the names below, as the scripts work on it. An **event** is a list that no script looks
//! into; its `seq` and `at` stand beside it in the log's element `[marks, at, event, status, parts]`. New members go to the
//! end of a list, where they read as absent in what was stored before.

use frontdesk_model::*;
use serde::{Deserialize, Serialize};

use super::pack::{Item, Packer, Unreadable};

fn millis(item: &Item<'_>) -> Result<Timestamp, Unreadable> {
    Ok(Timestamp::from_millis(item.number()?))
}

fn seq(item: &Item<'_>) -> Result<Seq, Unreadable> {
    Ok(Seq(item.count()?))
}

fn moment(packer: &mut Packer, at: Timestamp) {
    packer.number(at.as_millis());
}

/// Places in a log and versions are far below the bound.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn text(packer: &mut Packer, text: impl AsRef<str>) {
    packer.text(text.as_ref());
}

/// A small enumeration in its stored numbers, which never change.
macro_rules! numbered {
    ($to:ident, $from:ident, $type:ty, { $($variant:path = $number:literal),* }) => {
        pub(super) fn $to(value: $type) -> i64 {
            match value { $($variant => $number),* }
        }
        fn $from(item: &Item<'_>) -> Result<$type, Unreadable> {
            match item.number()? { $($number => Ok($variant),)* _ => Err(Unreadable) }
        }
    };
}

numbered!(status_number, status, Status, { Status::Open = 1, Status::Pending = 2, Status::Resolved = 3 });
numbered!(owner_number, owner, Owner, { Owner::Agent = 0, Owner::Desk = 1 });
numbered!(attention_number, attention, Attention, {
    Attention::DeadLetter = 1, Attention::Handoff = 2, Attention::Fallback = 3
});
numbered!(delivery_number, delivery, DeliveryStatus, {
    DeliveryStatus::Queued = 1, DeliveryStatus::Sending = 2, DeliveryStatus::Sent = 3, DeliveryStatus::Failed = 4,
    DeliveryStatus::Partial = 5, DeliveryStatus::Uncertain = 6, DeliveryStatus::Discarded = 7
});
numbered!(trust_number, trust, Trust, { Trust::Verified = 1, Trust::Asserted = 2, Trust::Guess = 3 });

pub(super) fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Agent => "agent",
        Lane::Deliver => "deliver",
    }
}

fn lane(item: &Item<'_>) -> Result<Lane, Unreadable> {
    match item.bytes()? {
        b"a" | b"agent" => Ok(Lane::Agent),
        b"d" | b"deliver" => Ok(Lane::Deliver),
        _ => Err(Unreadable),
    }
}

fn name<T: std::str::FromStr>(item: &Item<'_>) -> Result<T, Unreadable> {
    item.text()?.parse().map_err(|_| Unreadable)
}

/// Runs of fixed length in one text of bytes.
fn runs<const N: usize>(item: &Item<'_>) -> Result<Vec<[u8; N]>, Unreadable> {
    let Some(item) = item.maybe() else { return Ok(Vec::new()) };
    let (runs, rest) = item.bytes()?.as_chunks::<N>();
    if rest.is_empty() { Ok(runs.to_vec()) } else { Err(Unreadable) }
}

// Conversations

/// What a thread's first message makes, as far as it is not the same for all.
pub(super) fn new_conversation(packer: &mut Packer, thread: &ThreadKey, new: &NewConversation) {
    let NewConversation { id: _, channel, owner, subject, at } = new;
    packer.map(8 + usize::from(subject.is_some()));
    packer.text("kind").text(thread.kind.as_str());
    packer.text("account").text(thread.account.as_str());
    packer.text("thread").text(thread.thread.as_str());
    packer.text("channel").text(channel.as_str());
    packer.text("status").number(status_number(Status::Open));
    packer.text("owner").number(owner_number(*owner));
    packer.text("made").number(at.as_millis()).text("grown").number(at.as_millis());
    if let Some(subject) = subject {
        packer.text("subject").text(subject);
    }
}

pub(super) fn conversation(id: ConversationId, stored: &[u8]) -> Result<Conversation, Unreadable> {
    conversation_of(id, &Item::read(stored)?)
}

fn conversation_of(id: ConversationId, map: &Item<'_>) -> Result<Conversation, Unreadable> {
    let batch = map.get("batch").maybe();
    let people = runs::<24>(map.get("people"))?;
    let contact = |[id @ .., _, _, _, _, _, _, _, _]: [u8; 24]| ContactId::from_bytes(id);
    let discarded = runs::<16>(map.get("discarded"))?;
    Ok(Conversation {
        id,
        channel: name(map.get("channel"))?,
        thread: ThreadKey {
            kind: name(map.get("kind"))?,
            account: name(map.get("account"))?,
            thread: name(map.get("thread"))?,
        },
        status: status(map.get("status"))?,
        owner: owner(map.get("owner"))?,
        attention: map.get("attention").maybe().map(attention).transpose()?,
        assignee: map.get("assignee").maybe().map(name).transpose()?,
        snoozed_until: map.get("snoozed").maybe().map(millis).transpose()?,
        version: Version(map.get("version").count()?),
        subject: map.get("subject").maybe().map(name).transpose()?,
        origin: map.get("origin").maybe().map(name).transpose()?,
        participants: people.into_iter().map(contact).collect(),
        first_seq: seq(map.get("first"))?,
        last_seq: seq(map.get("last"))?,
        unanswered_from: map.get("asked").maybe().map(seq).transpose()?,
        answer_by: map.get("due").maybe().map(millis).transpose()?,
        first_answered_at: map.get("answered").maybe().map(millis).transpose()?,
        batch: batch
            .map(|batch| Ok::<_, Unreadable>(Batch { from: seq(batch.at(0))?, through: seq(batch.at(1))? }))
            .transpose()?,
        fetching: map
            .get("fetch")
            .maybe()
            .map(|fetch| {
                let (from, through) = (seq(fetch.at(0))?, seq(fetch.at(1))?);
                Ok::<_, Unreadable>(Fetching { from, through, at: millis(map.get("fetching"))? })
            })
            .transpose()?,
        discarded: discarded.into_iter().map(MessageId::from_bytes).collect(),
        created_at: millis(map.get("made"))?,
        updated_at: millis(map.get("grown"))?,
    })
}

/// Since when a lane of a conversation has something to do, if it has.
pub(super) struct Working {
    pub(super) channel: ChannelName,
    pub(super) since: Option<Timestamp>,
}

impl Working {
    pub(super) fn read(stored: &[u8], lane: Lane) -> Result<Self, Unreadable> {
        let map = Item::read(stored)?;
        let lane = map.get(lane_name(lane));
        let redo = lane.get("redo").list()?.iter().map(|redo| redo.at(2));
        let mut since: Option<Timestamp> = None;
        for at in lane.get("since").maybe().into_iter().chain(redo) {
            let at = millis(at)?;
            since = Some(since.map_or(at, |since| since.min(at)));
        }
        Ok(Self { channel: name(map.get("channel"))?, since })
    }
}

// Events

/// An event without its place and time.
pub(super) fn pack_event(id: EventId, at: Timestamp, body: &EventBody) -> Vec<u8> {
    let mut packer = Packer::new();
    match body {
        EventBody::MessageCreated { message } => {
            let more = More::of(message);
            let members = if more.is_some() { 13 } else { 11 + usize::from(!message.attachments.is_empty()) };
            packer.list(members).bytes(&id.to_bytes()).number(0);
            pack_message(&mut packer, at, message, more.as_ref());
        }
        EventBody::MessageDeleted { message_id } => {
            packer.list(3).bytes(&id.to_bytes()).number(3).bytes(&message_id.to_bytes());
        }
        EventBody::AttachmentUpdated { message_id, attachment_id, state } => {
            packer.list(5).bytes(&id.to_bytes()).number(4).bytes(&message_id.to_bytes());
            packer.text(&attachment_id.to_string()).number(match state {
                FetchOutcome::Stored => 0,
                FetchOutcome::Failed => 1,
            });
        }
        EventBody::MessageEdited { .. }
        | EventBody::MessageWithdrawn { .. }
        | EventBody::ReactionAdded(_)
        | EventBody::ReactionRemoved(_)
        | EventBody::ButtonPressed { .. }
        | EventBody::Unreadable { .. } => {
            // Rare ones are kept in the model's own form. It always serialises.
            let body = serde_json::to_string(body).unwrap_or_default();
            packer.list(3).bytes(&id.to_bytes()).number(5).text(&body);
        }
        EventBody::DeliveryUpdated { message_id, status, parts, error } => {
            packer.list(6).bytes(&id.to_bytes()).number(1).bytes(&message_id.to_bytes());
            packer.number(delivery_number(*status)).number((*parts).into()).maybe(error.as_ref(), text);
        }
        EventBody::ConversationUpdated { by, status, owner, attention, assignee, snoozed_until, reason } => {
            packer.list(9).bytes(&id.to_bytes()).number(2).text(by);
            packer.number(status_number(*status)).number(owner_number(*owner));
            packer.maybe(*attention, |packer, attention| {
                packer.number(attention_number(attention));
            });
            packer.maybe(assignee.as_ref(), text).maybe(*snoozed_until, moment).maybe(reason.as_ref(), text);
        }
    }
    packer.done()
}

const OUTBOUND: i64 = 1;
const PRIVATE: i64 = 2;
const AUTOMATIC: i64 = 4;

/// What few messages have, in the model's own form.
#[derive(Serialize, Deserialize)]
struct More {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    buttons: Vec<Button>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quote: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    forwarded_from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edited_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settles_at: Option<Timestamp>,
}

impl More {
    fn of(message: &Message) -> Option<Self> {
        let Message { buttons, quote, forwarded_from, edited_at, settles_at, .. } = message;
        let any = !buttons.is_empty()
            || quote.is_some()
            || forwarded_from.is_some()
            || edited_at.is_some()
            || settles_at.is_some();
        any.then(|| Self {
            buttons: buttons.clone(),
            quote: quote.clone(),
            forwarded_from: forwarded_from.clone(),
            edited_at: *edited_at,
            settles_at: *settles_at,
        })
    }
}

fn pack_message(packer: &mut Packer, at: Timestamp, message: &Message, more: Option<&More>) {
    let Message {
        id,
        direction,
        author,
        external_id,
        content,
        attachments,
        reply_to,
        private,
        auto_generated,
        sent_at,
        received_at,
        // These are in `more`.
        buttons: _,
        quote: _,
        forwarded_from: _,
        edited_at: _,
        settles_at: _,
    } = message;
    let outbound = if *direction == Direction::Outbound { OUTBOUND } else { 0 };
    let private = if *private { PRIVATE } else { 0 };
    let automatic = if *auto_generated { AUTOMATIC } else { 0 };
    packer.bytes(&id.to_bytes()).number(outbound | private | automatic);
    match author {
        Author::Contact { id, name } => {
            packer.list(3).number(0).bytes(&id.to_bytes()).maybe(name.as_ref(), text);
        }
        Author::Agent => {
            packer.list(1).number(1);
        }
        Author::Teammate { name } => {
            packer.list(2).number(2).text(name);
        }
        Author::System => {
            packer.list(1).number(3);
        }
    }
    packer.maybe(external_id.as_ref().map(ExternalId::as_str), text);
    match content {
        Content::Text(source) => packer.number(0).text(source),
        Content::Markdown(source) => packer.number(1).text(source),
    };
    packer.maybe(reply_to.as_ref(), |packer, id| {
        packer.bytes(&id.to_bytes());
    });
    packer.maybe(*sent_at, moment).maybe(Some(*received_at).filter(|received| *received != at), moment);
    // Few messages have any; what they are is the model's own form. It always serialises.
    if !attachments.is_empty() {
        packer.text(&serde_json::to_string(attachments).unwrap_or_default());
    } else if more.is_some() {
        packer.none();
    }
    if let Some(more) = more {
        packer.text(&serde_json::to_string(more).unwrap_or_default());
    }
}

fn event(at_seq: Seq, at: Timestamp, stored: &[u8]) -> Result<Event, Unreadable> {
    let list = Item::read(stored)?;
    let body = match list.at(1).number()? {
        0 => EventBody::MessageCreated { message: message(at, &list)? },
        1 => EventBody::DeliveryUpdated {
            message_id: MessageId::from_bytes(list.at(2).id()?),
            status: delivery(list.at(3))?,
            parts: u16::try_from(list.at(4).number()?).map_err(|_| Unreadable)?,
            error: list.at(5).maybe().map(name).transpose()?,
        },
        2 => EventBody::ConversationUpdated {
            by: name(list.at(2))?,
            status: status(list.at(3))?,
            owner: owner(list.at(4))?,
            attention: list.at(5).maybe().map(attention).transpose()?,
            assignee: list.at(6).maybe().map(name).transpose()?,
            snoozed_until: list.at(7).maybe().map(millis).transpose()?,
            reason: list.at(8).maybe().map(name).transpose()?,
        },
        4 => EventBody::AttachmentUpdated {
            message_id: MessageId::from_bytes(list.at(2).id()?),
            attachment_id: list.at(3).text()?.parse().map_err(|_| Unreadable)?,
            state: match list.at(4).number()? {
                0 => FetchOutcome::Stored,
                1 => FetchOutcome::Failed,
                _ => return Err(Unreadable),
            },
        },
        5 => serde_json::from_slice(list.at(2).bytes()?).map_err(|_| Unreadable)?,
        3 => EventBody::MessageDeleted { message_id: MessageId::from_bytes(list.at(2).id()?) },
        _ => return Err(Unreadable),
    };
    Ok(Event { id: EventId::from_bytes(list.at(0).id()?), seq: at_seq, at, body })
}

fn message(at: Timestamp, list: &Item<'_>) -> Result<Message, Unreadable> {
    let flags = list.at(3).number()?;
    let author = list.at(4);
    let more: Option<More> = match list.at(12).maybe() {
        Some(stored) => Some(serde_json::from_slice(stored.bytes()?).map_err(|_| Unreadable)?),
        None => None,
    };
    let (buttons, quote, forwarded_from, edited_at, settles_at) = more
        .map(|more| (more.buttons, more.quote, more.forwarded_from, more.edited_at, more.settles_at))
        .unwrap_or_default();
    Ok(Message {
        id: MessageId::from_bytes(list.at(2).id()?),
        direction: if flags & OUTBOUND == 0 { Direction::Inbound } else { Direction::Outbound },
        author: match author.at(0).number()? {
            0 => Author::Contact {
                id: ContactId::from_bytes(author.at(1).id()?),
                name: author.at(2).maybe().map(name).transpose()?,
            },
            1 => Author::Agent,
            2 => Author::Teammate { name: name(author.at(1))? },
            3 => Author::System,
            _ => return Err(Unreadable),
        },
        external_id: list.at(5).maybe().map(name).transpose()?,
        content: match list.at(6).number()? {
            0 => Content::Text(name(list.at(7))?),
            1 => Content::Markdown(name(list.at(7))?),
            _ => return Err(Unreadable),
        },
        attachments: match list.at(11).maybe() {
            Some(stored) => serde_json::from_slice(stored.bytes()?).map_err(|_| Unreadable)?,
            None => Vec::new(),
        },
        reply_to: list.at(8).maybe().map(|id| id.id().map(MessageId::from_bytes)).transpose()?,
        private: flags & PRIVATE != 0,
        auto_generated: flags & AUTOMATIC != 0,
        sent_at: list.at(9).maybe().map(millis).transpose()?,
        received_at: list.at(10).maybe().map(millis).transpose()?.unwrap_or(at),
        buttons,
        quote,
        forwarded_from,
        edited_at,
        settles_at,
    })
}

/// An element of a log: the event, and what became of its message, of an outbound one.
pub(super) struct Element {
    pub(super) event: Event,
    pub(super) delivery: Option<Delivery>,
}

impl Element {
    pub(super) fn read(at_seq: Seq, stored: &[u8]) -> Result<Self, Unreadable> {
        let list = Item::read(stored)?;
        let event = event(at_seq, millis(list.at(1))?, list.at(2).bytes()?)?;
        let delivery = list.at(3).maybe().map(|status| {
            let (parts, _) = list.at(4).list()?.as_chunks::<2>();
            Ok(Delivery { status: delivery(status)?, parts: parts.iter().map(part).collect::<Result<_, _>>()? })
        });
        Ok(Self { event, delivery: delivery.transpose()? })
    }

    pub(super) fn status(&self) -> Option<DeliveryStatus> {
        self.delivery.as_ref().map(|delivery| delivery.status)
    }
}

// Parts

pub(super) fn pack_frozen(part: &FrozenPart) -> String {
    part.0.to_string()
}

pub(super) fn pack_state(state: &PartState) -> String {
    match state {
        PartState::Ready => "r".into(),
        PartState::Intent => "i".into(),
        PartState::Sent { external_id: None } => "s".into(),
        PartState::Sent { external_id: Some(id) } => format!("S{id}"),
        PartState::Failed => "f".into(),
        PartState::Uncertain => "u".into(),
        PartState::Cancelled => "c".into(),
    }
}

fn part([frozen, state]: &[Item<'_>; 2]) -> Result<Part, Unreadable> {
    let frozen = serde_json::from_slice(frozen.bytes()?).map_err(|_| Unreadable)?;
    let state = match state.text()? {
        "r" => PartState::Ready,
        "i" => PartState::Intent,
        "s" => PartState::Sent { external_id: None },
        "f" => PartState::Failed,
        "u" => PartState::Uncertain,
        "c" => PartState::Cancelled,
        other => {
            let id = other.strip_prefix('S').ok_or(Unreadable)?;
            PartState::Sent { external_id: Some(id.to_owned()) }
        }
    };
    Ok(Part { frozen: FrozenPart(frozen), state })
}

// Contacts

pub(super) fn pack_contact(contact: &Contact) -> Vec<u8> {
    let Contact { id: _, name, locale, identities } = contact;
    let mut packer = Packer::new();
    packer.list(3).maybe(name.as_ref(), text).maybe(locale.as_ref(), text).list(identities.len());
    for Identity { kind, value, trust } in identities {
        packer.list(3).text(kind).text(value).number(trust_number(*trust));
    }
    packer.done()
}

fn contact_of(id: ContactId, known: &[u8]) -> Result<Contact, Unreadable> {
    let list = Item::read(known)?;
    let identity =
        |item: &Item<'_>| Ok(Identity { kind: name(item.at(0))?, value: name(item.at(1))?, trust: trust(item.at(2))? });
    Ok(Contact {
        id,
        name: list.at(0).maybe().map(name).transpose()?,
        locale: list.at(1).maybe().map(name).transpose()?,
        identities: list.at(2).list()?.iter().map(identity).collect::<Result<_, _>>()?,
    })
}

/// A contact as it is stored `[at, known]`, and since when.
pub(super) fn contact(id: ContactId, stored: &[u8]) -> Result<(i64, Contact), Unreadable> {
    let list = Item::read(stored)?;
    Ok((list.at(0).number()?, contact_of(id, list.at(1).bytes()?)?))
}

// Dead letters

/// The id stands first: letters are found and ordered by it.
pub(super) fn pack_letter(letter: &DeadLetter) -> Vec<u8> {
    let DeadLetter { id, conversation, lane, seq, event, batch_from, channel, reason, attempts, at } = letter;
    let mut stored = id.to_bytes().to_vec();
    let mut packer = Packer::new();
    packer.list(9).bytes(&conversation.to_bytes()).text(lane_name(*lane)).number(signed(seq.0));
    packer.bytes(&event.to_bytes()).maybe(*batch_from, |packer, seq| {
        packer.number(signed(seq.0));
    });
    packer.text(channel.as_str()).text(reason).number((*attempts).into()).number(at.as_millis());
    stored.extend(packer.done());
    stored
}

pub(super) fn letter(stored: &[u8]) -> Result<DeadLetter, Unreadable> {
    let (id, rest) = stored.split_first_chunk::<16>().ok_or(Unreadable)?;
    let list = Item::read(rest)?;
    Ok(DeadLetter {
        id: DeadLetterId::from_bytes(*id),
        conversation: ConversationId::from_bytes(list.at(0).id()?),
        lane: lane(list.at(1))?,
        seq: seq(list.at(2))?,
        event: EventId::from_bytes(list.at(3).id()?),
        batch_from: list.at(4).maybe().map(seq).transpose()?,
        channel: name(list.at(5))?,
        reason: name(list.at(6))?,
        attempts: u32::try_from(list.at(7).number()?).map_err(|_| Unreadable)?,
        at: millis(list.at(8))?,
    })
}

// Claims

/// A claim as a script describes it. Its contact is looked up elsewhere.
pub(super) fn claim(item: &Item<'_>) -> Result<Claim, Unreadable> {
    let id = ConversationId::from_bytes(item.at(2).id()?);
    let at_seq = seq(item.at(4))?;
    let Element { event, delivery } = Element::read(at_seq, item.at(6).bytes()?)?;
    let progress = item.at(8);
    Ok(Claim {
        id: ClaimId::from_bytes(item.at(0).id()?),
        lane: lane(item.at(1))?,
        conversation: conversation(id, item.at(3).bytes()?)?,
        event,
        turn: if item.at(5).is_true() { Turn::Replay } else { Turn::Next },
        batch_from: item.at(7).maybe().map(seq).transpose()?,
        progress: match progress.maybe() {
            Some(_) => Progress {
                attempts: u32::try_from(progress.at(2).number()?).map_err(|_| Unreadable)?,
                counted: u32::try_from(progress.at(3).number()?).map_err(|_| Unreadable)?,
                first_failed_at: progress.at(4).maybe().map(millis).transpose()?,
                last_failed_at: progress.at(5).maybe().map(millis).transpose()?,
            },
            None => Progress::default(),
        },
        contact: None,
        delivery,
    })
}

pub(super) fn pack_progress(packer: &mut Packer, progress: Progress) {
    let Progress { attempts, counted, first_failed_at, last_failed_at } = progress;
    packer.list(4).number(attempts.into()).number(counted.into());
    packer.maybe(first_failed_at, moment).maybe(last_failed_at, moment);
}
