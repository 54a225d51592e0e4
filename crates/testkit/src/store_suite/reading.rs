//! Lists, and what is the store's as a whole.

use std::{collections::BTreeSet, time::Duration};

use frontdesk_model::*;

use super::{Bench, LEASE, contact, rows, thread};

async fn list(bench: &Bench, filter: ConversationFilter, limit: usize) -> Vec<ConversationId> {
    let page = bench.store.conversations(filter, PageRequest { limit, page: None }).await.unwrap();
    page.data.iter().map(|conversation| conversation.id).collect()
}

/// Every conversation that was there and did not change is seen once.
pub async fn pages_are_complete_and_stable_while_new_rows_come(bench: Bench) {
    let mut made = BTreeSet::new();
    for number in 0..23 {
        made.insert(bench.say(&format!("order-{number}")).await.0);
        // Several within one moment, too.
        if number % 3 == 0 {
            bench.clock.advance(Duration::from_millis(1));
        }
    }
    let (mut seen, mut page) = (Vec::new(), None);
    loop {
        let request = PageRequest { limit: 5, page: page.take() };
        let found = bench.store.conversations(ConversationFilter::default(), request).await.unwrap();
        assert!(found.data.len() == 5 || found.next.is_none());
        seen.extend(found.data.iter().map(|conversation| conversation.id));
        bench.clock.advance(Duration::from_millis(1));
        bench.say(&format!("late-{}", seen.len())).await;
        page = found.next;
        if page.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 23);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), made);
}

/// A change that adds no event does not move it.
pub async fn the_conversation_that_grew_last_is_first(bench: Bench) {
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(bench.say(name).await.0);
        bench.clock.advance(Duration::from_millis(1));
    }
    let [a, b, c] = ids[..] else { panic!() };
    assert_eq!(list(&bench, ConversationFilter::default(), 10).await, [c, b, a]);
    bench.apply(a, vec![bench.note()]).await;
    bench.clock.advance(Duration::from_millis(1));
    bench.apply(b, vec![Effect::SetStatus(Status::Pending)]).await;
    assert_eq!(list(&bench, ConversationFilter::default(), 10).await, [a, c, b]);
}

/// Each alone and together.
pub async fn filters_choose(bench: Bench) {
    let [a, b, c] = [bench.say("a").await.0, bench.say("b").await.0, bench.say("c").await.0];
    let other: ChannelName = "other".parse().unwrap();
    let shop: ChannelName = "shop".parse().unwrap();
    bench.apply(a, vec![Effect::SetStatus(Status::Resolved), Effect::SetAssignee(Some("Mia".into()))]).await;
    bench.apply(b, vec![Effect::SetChannel(other.clone()), Effect::SetStatus(Status::Resolved)]).await;
    bench.apply(b, vec![Effect::PutParticipant(contact(2))]).await;
    let effects = vec![
        Effect::SetAttention(Some(Attention::Handoff)),
        Effect::SetOwner(Owner::Desk),
        Effect::SetAssignee(Some("Mia".into())),
    ];
    bench.apply(c, effects).await;
    let any = ConversationFilter::default;
    let chosen = async |filter| list(&bench, filter, 10).await.into_iter().collect::<BTreeSet<_>>();
    let on = |channels: &[&ChannelName]| channels.iter().map(|name| (*name).clone()).collect::<Vec<_>>();
    let resolved = || ConversationFilter { status: Some(Status::Resolved), ..any() };
    assert_eq!(chosen(resolved()).await, [a, b].into());
    assert_eq!(chosen(ConversationFilter { channels: on(&[&other]), ..any() }).await, [b].into());
    assert_eq!(chosen(ConversationFilter { channels: on(&[&other, &shop]), ..any() }).await, [a, b, c].into());
    assert_eq!(chosen(ConversationFilter { channels: on(&[&shop]), ..resolved() }).await, [a].into());
    let handoff = || ConversationFilter { attention: Some(Attention::Handoff), ..any() };
    assert_eq!(chosen(handoff()).await, [c].into());
    assert_eq!(chosen(ConversationFilter { attention: Some(Attention::Fallback), ..any() }).await, [].into());
    assert_eq!(chosen(ConversationFilter { channels: on(&[&other]), ..handoff() }).await, [].into());
    assert_eq!(chosen(ConversationFilter { owner: Some(Owner::Desk), ..any() }).await, [c].into());
    assert_eq!(chosen(ConversationFilter { owner: Some(Owner::Agent), ..any() }).await, [a, b].into());
    let mia = || ConversationFilter { assignee: Some("Mia".into()), ..any() };
    assert_eq!(chosen(mia()).await, [a, c].into());
    assert_eq!(chosen(ConversationFilter { owner: Some(Owner::Desk), ..mia() }).await, [c].into());
    assert_eq!(chosen(ConversationFilter { channels: on(&[&other]), ..mia() }).await, [].into());
    assert_eq!(chosen(ConversationFilter { assignee: Some("Max".into()), ..any() }).await, [].into());
    let of = |number| ConversationFilter { contact: Some(contact(number).id), ..any() };
    assert_eq!(chosen(of(1)).await, [a, b, c].into());
    assert_eq!(chosen(of(2)).await, [b].into());
    assert_eq!(chosen(of(3)).await, [].into());
    assert_eq!(chosen(ConversationFilter { contact: Some(contact(1).id), ..mia() }).await, [a, c].into());
    assert_eq!(chosen(ConversationFilter { status: Some(Status::Open), ..of(1) }).await, [c].into());
}

/// In the same order, whatever leads to them.
pub async fn filtered_lists_have_pages_too(bench: Bench) {
    let other: ChannelName = "other".parse().unwrap();
    let statuses = [Status::Open, Status::Pending, Status::Resolved];
    let mut made = Vec::new();
    for number in 0..40 {
        let (id, _) = bench.say(&format!("order-{number}")).await;
        let mut effects = vec![Effect::SetStatus(statuses[number % 3]), Effect::SetAssignee(Some("Mia".into()))];
        if number % 5 == 0 {
            effects.push(Effect::SetChannel(other.clone()));
        }
        if number % 7 == 0 {
            effects.push(Effect::SetOwner(Owner::Desk));
        }
        bench.apply(id, effects).await;
        made.insert(0, id);
        bench.clock.advance(Duration::from_millis(1));
    }
    let any = ConversationFilter::default;
    let filters = [
        any(),
        ConversationFilter { assignee: Some("Mia".into()), ..any() },
        ConversationFilter { contact: Some(contact(1).id), ..any() },
        ConversationFilter { channels: vec![other, "shop".parse().unwrap()], ..any() },
    ];
    for filter in filters {
        let (mut seen, mut page) = (Vec::new(), None);
        loop {
            let request = PageRequest { limit: 7, page: page.take() };
            let found = bench.store.conversations(filter.clone(), request).await.unwrap();
            seen.extend(found.data.iter().map(|conversation| conversation.id));
            page = found.next;
            if page.is_none() {
                break;
            }
        }
        assert_eq!(seen, made, "{filter:?}");
    }
}

/// Also one of another list.
pub async fn a_text_that_no_page_gave_is_refused(bench: Bench) {
    for name in ["a", "b"] {
        bench.say(name).await;
        bench.bury(&bench.one(Lane::Agent).await).await;
    }
    let first = |page| PageRequest { limit: 1, page };
    let of_conversations = bench.store.conversations(ConversationFilter::default(), first(None)).await.unwrap().next;
    let of_letters = bench.store.dead_letters(first(None)).await.unwrap().next;
    assert!(of_conversations.is_some() && of_letters.is_some());
    let odd = ["", "1", "x", "0.0", "'; DROP TABLE events", "\u{1f4a3}", "9999999999999999999999", "cnv_"];
    let odd = || odd.map(|text| Some(text.to_owned())).into_iter();
    for page in odd().chain([of_letters]) {
        let answer = bench.store.conversations(ConversationFilter::default(), first(page.clone())).await;
        assert!(matches!(answer, Err(StoreError::Refused(_))), "{page:?}: {answer:?}");
    }
    for page in odd().chain([of_conversations]) {
        let answer = bench.store.dead_letters(first(page.clone())).await;
        assert!(matches!(answer, Err(StoreError::Refused(_))), "{page:?}: {answer:?}");
    }
}

/// Neither none nor everything at once.
pub async fn a_page_has_from_1_to_200_rows(bench: Bench) {
    for limit in [0, 201, usize::MAX] {
        let page = || PageRequest { limit, page: None };
        let answer = bench.store.conversations(ConversationFilter::default(), page()).await;
        assert!(matches!(answer, Err(StoreError::Refused(_))), "{limit}: {answer:?}");
        let answer = bench.store.dead_letters(page()).await;
        assert!(matches!(answer, Err(StoreError::Refused(_))), "{limit}: {answer:?}");
    }
    bench.say("a").await;
    assert_eq!(list(&bench, ConversationFilter::default(), 200).await.len(), 1);
}

/// As many as are asked for, from where they are asked for.
pub async fn messages_come_newest_first_and_events_in_order(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    bench.apply(id, vec![bench.note(), bench.reply().1]).await;
    bench.say("order-77").await;
    let messages = async |before, limit| {
        let found = bench.store.messages(id, before, rows(limit)).await.unwrap().unwrap();
        found.data.iter().map(|record| record.seq.0).collect::<Vec<_>>()
    };
    assert_eq!(messages(None, 10).await, [4, 3, 1]);
    assert_eq!(messages(None, 2).await, [4, 3]);
    assert_eq!(messages(Some(Seq(3)), 10).await, [1]);
    assert_eq!(messages(Some(Seq(1)), 10).await, [0; 0]);
    let events = async |after, limit| {
        let found = bench.store.events(id, Seq(after), rows(limit)).await.unwrap().unwrap();
        found.data.iter().map(|event| event.seq.0).collect::<Vec<_>>()
    };
    assert_eq!(events(0, 10).await, [1, 2, 3, 4]);
    assert_eq!(events(1, 2).await, [2, 3]);
    assert_eq!(events(4, 2).await, [0; 0]);
}

/// By bytes too, yet never nothing while there is something.
pub async fn an_answer_stays_within_its_bounds_and_says_whether_there_is_more(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    for _ in 0..4 {
        bench.say("order-77").await;
    }
    let taken = async |rows, bytes| {
        let take = Take { rows, bytes };
        let messages = bench.store.messages(id, None, take).await.unwrap().unwrap();
        let events = bench.store.events(id, Seq::ZERO, take).await.unwrap().unwrap();
        assert_eq!((messages.data.len(), messages.more), (events.data.len(), events.more));
        (events.data.len(), events.more)
    };
    assert_eq!(taken(5, usize::MAX).await, (5, false));
    assert_eq!(taken(4, usize::MAX).await, (4, true));
    assert_eq!(taken(5, 0).await, (1, true));
    let (some, more) = taken(5, 700).await;
    assert!((2..5).contains(&some) && more, "{some}");
    let nothing = Take { rows: 0, bytes: 1000 };
    assert!(matches!(bench.store.messages(id, None, nothing).await, Err(StoreError::Refused(_))));
    assert!(matches!(bench.store.events(id, Seq::ZERO, nothing).await, Err(StoreError::Refused(_))));
}

/// Replies that were not sent, for the agent to hear of.
pub async fn what_was_discarded_is_noted_until_told(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let ids = [bench.message_id(), bench.message_id()];
    bench.apply(id, vec![Effect::NoteDiscarded(vec![ids[0]])]).await;
    bench.apply(id, vec![Effect::NoteDiscarded(vec![ids[1]])]).await;
    assert_eq!(bench.conversation(id).await.discarded, ids);
    bench.apply(id, vec![Effect::ClearDiscarded]).await;
    assert_eq!(bench.conversation(id).await.discarded, []);
}

/// The first candidate's, whoever else proposes one.
pub async fn the_master_key_is_the_same_for_all(bench: Bench) {
    let candidate = |number: u8| MasterKey { id: format!("key0000{number}"), key: Secret::new([number; 32]) };
    let (a, b) = tokio::join!(bench.store.master_key(candidate(1)), bench.store.master_key(candidate(2)));
    let key = a.unwrap();
    assert_eq!(b.unwrap(), key);
    assert!(key == candidate(1) || key == candidate(2));
    assert_eq!(bench.store.master_key(candidate(3)).await.unwrap(), key);
}

/// What was handed in before is answered.
pub async fn a_closed_store_fails_every_call(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    let last = bench.store.commit_inbound(bench.inbound(&thread("order-77")));
    let (last, closed) = tokio::join!(last, bench.store.close());
    assert!(matches!(last, Ok(Committed::New { .. })), "{last:?}");
    closed.unwrap();
    let request = ClaimRequest {
        operation: bench.operation(),
        lane: Lane::Agent,
        limit: 1,
        lease: LEASE,
        order: ClaimOrder::LongestDue,
    };
    let page = PageRequest { limit: 1, page: None };
    let fails = [
        bench.store.commit_inbound(bench.inbound(&thread("order-77"))).await.err(),
        bench.store.claim(request).await.err(),
        bench.store.settle(bench.settling(&claim, Vec::new(), Then::Advance)).await.err(),
        bench.store.renew(claim.id, LEASE).await.err(),
        bench.store.wake(Waiting::Agent).await.err(),
        bench.store.conversation(id).await.err(),
        bench.store.dead_letters(page).await.err(),
        bench.store.close().await.err(),
    ];
    for (call, error) in fails.iter().enumerate() {
        assert!(matches!(error, Some(StoreError::Unavailable(_))), "call {call}: {error:?}");
    }
}
