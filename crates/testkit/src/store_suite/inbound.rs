//! Taking messages in.

use std::{collections::BTreeSet, sync::Arc};

use frontdesk_model::*;
use tokio::task::JoinSet;

use super::{Bench, contact, neighbours, thread};

/// The log is the messages in the order in which they were taken.
pub async fn a_thread_is_one_conversation_with_its_messages_in_order(bench: Bench) {
    let mut taken = Vec::new();
    for place in 1..=5 {
        let inbound = bench.inbound(&thread("order-77"));
        taken.push(inbound.message);
        let committed = bench.store.commit_inbound(inbound).await.unwrap();
        assert!(matches!(committed, Committed::New { seq, .. } if seq == Seq(place)), "{committed:?}");
    }
    let all = bench.store.conversations(ConversationFilter::default(), PageRequest { limit: 10, page: None });
    let all = all.await.unwrap().data;
    assert_eq!(all.len(), 1);
    let logged: Vec<_> = bench.log(all[0].id).await.iter().map(|event| event.body.message().unwrap().id).collect();
    assert_eq!(logged, taken);
}

/// What is not said by effects starts as the contract says.
pub async fn a_new_conversation_is_as_it_was_named(bench: Bench) {
    let mut inbound = bench.inbound(&thread("order-77"));
    inbound.new.owner = Owner::Desk;
    inbound.new.subject = Some("An order".into());
    inbound.effects.retain(|effect| matches!(effect, Effect::Append { .. }));
    let new = inbound.new.clone();
    bench.store.commit_inbound(inbound).await.unwrap();
    let expected = Conversation {
        id: new.id,
        channel: new.channel,
        thread: thread("order-77"),
        status: Status::Open,
        owner: Owner::Desk,
        attention: None,
        assignee: None,
        snoozed_until: None,
        version: Version(0),
        subject: Some("An order".into()),
        origin: None,
        participants: Vec::new(),
        first_seq: Seq(1),
        last_seq: Seq(1),
        unanswered_from: None,
        answer_by: None,
        fetching: None,
        first_answered_at: None,
        batch: None,
        discarded: Vec::new(),
        created_at: new.at,
        updated_at: new.at,
    };
    assert_eq!(bench.conversation(new.id).await, expected);
}

/// Though everything else of the call differs, but for the partition.
pub async fn a_known_message_changes_nothing_and_repeats_the_first_answer(bench: Bench) {
    let first = bench.inbound(&thread("order-77"));
    let again = CommitInbound { dedupe: first.dedupe, ..bench.inbound(&neighbours(2)[1]) };
    let message = first.message;
    let Committed::New { conversation, .. } = bench.store.commit_inbound(first).await.unwrap() else { panic!() };
    let before = bench.conversation(conversation).await;
    let other = again.new.id;
    for _ in 0..2 {
        let committed = bench.store.commit_inbound(again.clone()).await.unwrap();
        assert_eq!(committed, Committed::Duplicate { conversation, message });
    }
    assert_eq!(bench.conversation(conversation).await, before);
    assert_eq!(bench.store.conversation(other).await.unwrap(), None);
}

/// One is new, the others are duplicates of that one.
pub async fn the_same_message_many_times_at_once_is_taken_once(bench: Bench) {
    let bench = Arc::new(bench);
    let first = bench.inbound(&thread("order-77"));
    let mut calls = JoinSet::new();
    for _ in 0..32 {
        let again = CommitInbound { dedupe: first.dedupe, ..bench.inbound(&thread("order-77")) };
        let bench = Arc::clone(&bench);
        calls.spawn(async move { (again.message, bench.store.commit_inbound(again).await.unwrap()) });
    }
    let answers = calls.join_all().await;
    let new: Vec<_> = answers.iter().filter(|(_, answer)| matches!(answer, Committed::New { .. })).collect();
    assert_eq!(new.len(), 1);
    for (_, answer) in &answers {
        if let Committed::Duplicate { message, .. } = answer {
            assert_eq!(*message, new[0].0);
        }
    }
}

/// Two calls for one thread are carried out one after the other.
pub async fn many_first_messages_at_once_make_one_conversation(bench: Bench) {
    let bench = Arc::new(bench);
    let mut calls = JoinSet::new();
    for _ in 0..32 {
        let bench = Arc::clone(&bench);
        calls.spawn(async move { bench.say("order-77").await });
    }
    let answers = calls.join_all().await;
    let conversations: BTreeSet<_> = answers.iter().map(|(conversation, _)| *conversation).collect();
    let places: BTreeSet<_> = answers.iter().map(|(_, seq)| seq.0).collect();
    assert_eq!(conversations.len(), 1);
    assert_eq!(places, (1..=32).collect());
}

/// Inbound, replies and settling workers write to one log.
pub async fn seq_has_no_gaps_whoever_writes_at_once(bench: Bench) {
    let bench = Arc::new(bench);
    let (conversation, _) = bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    let mut calls = JoinSet::new();
    for number in 0..30 {
        let (bench, claim) = (Arc::clone(&bench), claim.clone());
        calls.spawn(async move {
            match number % 3 {
                0 => assert!(bench.say("order-77").await.1 > Seq(1)),
                1 => bench.apply(conversation, vec![bench.reply().1]).await,
                _ => assert_ne!(bench.settle(&claim, vec![bench.note()], Then::Keep).await, Applied::LeaseLost),
            }
        });
    }
    calls.join_all().await;
    let places: Vec<u64> = bench.log(conversation).await.iter().map(|event| event.seq.0).collect();
    assert_eq!(places, (1..=31).collect::<Vec<_>>());
    assert_eq!(bench.conversation(conversation).await.last_seq, Seq(31));
}

/// Whatever a name holds, it is a name: no separator, quote or brace joins two threads.
pub async fn t42_odd_names_of_threads_stay_apart(bench: Bench) {
    let names = ["a}:{b", "a", "}:{b", "a'b", "a\"b", "a;--", "a%", "a_", "A", "ä", "a:b", "a:b:", "a/b", "*", "a\\"];
    let mut made = BTreeSet::new();
    for name in names {
        made.insert(bench.say(name).await.0);
        let (account, kind) = (ThreadKey { account: name.parse().unwrap(), ..thread("x") }, "web");
        for odd in [account.clone(), ThreadKey { kind: kind.parse().unwrap(), ..account }] {
            let committed = bench.store.commit_inbound(bench.inbound(&odd)).await.unwrap();
            let Committed::New { conversation, seq, .. } = committed else { panic!("{committed:?}") };
            assert_eq!(seq, Seq(1));
            made.insert(conversation);
            assert_eq!(bench.conversation(conversation).await.thread, odd);
        }
    }
    assert_eq!(made.len(), names.len() * 3);
}

/// In the order of their appearance.
pub async fn participants_stand_once_and_contacts_are_renewed(bench: Bench) {
    let (conversation, _) = bench.say("order-77").await;
    let renamed = Contact { name: Some("Ada L.".into()), ..contact(1) };
    let effects = vec![Effect::PutParticipant(contact(2)), Effect::PutParticipant(renamed.clone())];
    bench.apply(conversation, effects).await;
    assert_eq!(bench.conversation(conversation).await.participants, [contact(1).id, contact(2).id]);
    assert_eq!(bench.store.contact(renamed.id).await.unwrap(), Some(renamed));
    assert_eq!(bench.store.contact(contact(9).id).await.unwrap(), None);
}

/// `SetStatusIf`, and the other plain effects.
pub async fn a_status_changes_only_from_where_it_may(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let open = || Effect::SetStatusIf { from: vec![Status::Resolved], to: Status::Open };
    bench.apply(id, vec![Effect::SetStatus(Status::Pending), open()]).await;
    assert_eq!(bench.conversation(id).await.status, Status::Pending);
    let channel: ChannelName = "store".parse().unwrap();
    bench.apply(id, vec![Effect::SetStatus(Status::Resolved), open(), Effect::SetChannel(channel.clone())]).await;
    let conversation = bench.conversation(id).await;
    assert_eq!((conversation.status, conversation.channel), (Status::Open, channel));
}

/// Each says itself when it does nothing.
pub async fn plain_effects_do_what_they_say(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let (one, two) = (Timestamp::from_millis(1_000), Timestamp::from_millis(2_000));
    let batch = Batch { from: Seq(1), through: Seq(1) };
    let effects = vec![
        Effect::SetAttention(Some(Attention::Fallback)),
        Effect::ClearAttentionIf(Attention::Handoff),
        Effect::SetAssignee(Some("Mia".into())),
        Effect::SetSnooze(Some(one)),
        Effect::NoteAnswered(one),
        Effect::NoteAnswered(two),
        Effect::SetBatch(Some(batch)),
    ];
    bench.apply(id, effects).await;
    let conversation = bench.conversation(id).await;
    assert_eq!(conversation.attention, Some(Attention::Fallback));
    assert_eq!(conversation.assignee.as_deref(), Some("Mia"));
    assert_eq!((conversation.snoozed_until, conversation.first_answered_at), (Some(one), Some(one)));
    assert_eq!(conversation.batch, Some(batch));
    let effects = vec![
        Effect::ClearAttentionIf(Attention::Fallback),
        Effect::SetAssignee(None),
        Effect::SetSnooze(None),
        Effect::SetBatch(None),
    ];
    bench.apply(id, effects).await;
    let Conversation { attention, assignee, snoozed_until, batch, .. } = bench.conversation(id).await;
    assert_eq!((attention, assignee, snoozed_until, batch), (None, None, None, None));
}
