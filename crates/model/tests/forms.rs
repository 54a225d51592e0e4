//! The model's JSON forms. What is stored or sent changes only where a reviewer sees it.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

use frontdesk_model::*;

fn thread() -> ThreadKey {
    ThreadKey {
        kind: "webhook".parse().unwrap(),
        account: "shop".parse().unwrap(),
        thread: "order-77".parse().unwrap(),
    }
}

fn at() -> Timestamp {
    "2026-01-05T10:00:00Z".parse().unwrap()
}

fn conversation() -> Conversation {
    let partition = Partition::of(&thread());
    Conversation {
        id: ConversationId::new(at(), partition, [1; 9]),
        channel: "shop".parse().unwrap(),
        thread: thread(),
        status: Status::Open,
        owner: Owner::Agent,
        attention: Some(Attention::DeadLetter),
        assignee: None,
        snoozed_until: None,
        version: Version(12),
        subject: None,
        participants: vec![ContactId::from_bytes([2; 16])],
        first_seq: Seq(1),
        last_seq: Seq(57),
        unanswered_from: Some(Seq(56)),
        answer_by: None,
        fetching: None,
        first_answered_at: None,
        batch: None,
        discarded: vec![MessageId::new(at(), partition, [3; 9])],
        created_at: at(),
        updated_at: at(),
        origin: None,
    }
}

fn message() -> Message {
    let partition = Partition::of(&thread());
    Message {
        id: MessageId::new(at(), partition, [4; 9]),
        direction: Direction::Inbound,
        author: Author::Contact { id: ContactId::from_bytes([2; 16]), name: Some("Ada".into()) },
        external_id: Some("order-77-note-3".parse().unwrap()),
        content: Content::Markdown("**Where** is my order?".into()),
        reply_to: None,
        private: false,
        attachments: Vec::new(),
        auto_generated: false,
        sent_at: Some(at()),
        received_at: at(),
        buttons: Vec::new(),
        quote: None,
        forwarded_from: None,
        edited_at: None,
        settles_at: None,
    }
}

#[test]
fn a_conversation_is_stored_in_this_form() {
    let waits = Conversation {
        attention: None,
        assignee: Some("Mia".into()),
        snoozed_until: Some(at()),
        answer_by: Some(at()),
        first_answered_at: Some(at()),
        batch: Some(Batch { from: Seq(56), through: Seq(57) }),
        ..conversation()
    };
    insta::assert_json_snapshot!([conversation(), waits]);
}

#[test]
fn every_event_is_stored_in_this_form() {
    let partition = Partition::of(&thread());
    let event = |seq, body| Event { id: EventId::new(at(), partition, [5; 9]), seq: Seq(seq), at: at(), body };
    let reply = Message {
        direction: Direction::Outbound,
        author: Author::Teammate { name: "Mia".into() },
        external_id: None,
        content: Content::Text("It ships today.".into()),
        reply_to: Some(message().id),
        ..message()
    };
    let note = Message { private: true, auto_generated: true, sent_at: None, ..reply.clone() };
    insta::assert_json_snapshot!([
        event(1, EventBody::MessageCreated { message: message() }),
        event(2, EventBody::MessageCreated { message: reply }),
        event(
            3,
            EventBody::DeliveryUpdated {
                message_id: message().id,
                status: DeliveryStatus::Partial,
                parts: 3,
                error: Some("it answered 404".into()),
            }
        ),
        event(
            4,
            EventBody::ConversationUpdated {
                by: "agent".into(),
                status: Status::Open,
                owner: Owner::Desk,
                attention: Some(Attention::Handoff),
                assignee: None,
                snoozed_until: None,
                reason: Some("refund".into()),
            }
        ),
        event(
            5,
            EventBody::ConversationUpdated {
                by: "Mia".into(),
                status: Status::Pending,
                owner: Owner::Desk,
                attention: Some(Attention::Fallback),
                assignee: Some("Mia".into()),
                snoozed_until: Some(at()),
                reason: None,
            }
        ),
        event(6, EventBody::MessageCreated { message: note }),
    ]);
}

#[test]
fn what_a_lane_remembers_is_stored_in_this_form() {
    let contact = Contact {
        id: ContactId::from_bytes([2; 16]),
        name: Some("Ada".into()),
        locale: Some("en".into()),
        identities: vec![Identity { kind: "webhook".into(), value: "u42".into(), trust: Trust::Verified }],
    };
    let waiting = Waiting::Channel { kind: "webhook".parse().unwrap(), account: "shop".parse().unwrap() };
    let progress = Progress { attempts: 3, counted: 2, first_failed_at: Some(at()), last_failed_at: Some(at()) };
    insta::assert_json_snapshot!((
        contact,
        [Waiting::Agent, waiting],
        progress,
        [
            PartState::Ready,
            PartState::Intent,
            PartState::Sent { external_id: Some("77".into()) },
            PartState::Failed,
            PartState::Uncertain,
            PartState::Cancelled
        ],
    ));
}

#[test]
fn what_was_written_reads_back_the_same() {
    let written = serde_json::to_string(&conversation()).unwrap();
    assert_eq!(serde_json::from_str::<Conversation>(&written).unwrap(), conversation());
    let written = serde_json::to_string(&message()).unwrap();
    assert_eq!(serde_json::from_str::<Message>(&written).unwrap(), message());
}

#[test]
fn a_secret_shows_nothing_of_itself() {
    let secret = Secret::new("canary-of-a-secret".to_owned());
    assert_eq!(format!("{secret:?} {secret}"), "[secret] [secret]");
}
