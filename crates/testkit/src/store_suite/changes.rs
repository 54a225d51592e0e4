//! What was added to any log, in one order.

use std::{collections::BTreeMap, sync::Arc};

use frontdesk_model::*;
use tokio::task::JoinSet;

use super::{ALL, Bench, contact, rows};

async fn read(bench: &Bench, after: &str, take: Take) -> Changes {
    filtered(bench, after, ChangeFilter::default(), take).await
}

async fn filtered(bench: &Bench, after: &str, filter: ChangeFilter, take: Take) -> Changes {
    bench.store.changes(Some(after.to_owned()), filter, take).await.unwrap()
}

async fn end(bench: &Bench) -> String {
    let changes = bench.store.changes(None, ChangeFilter::default(), ALL).await.unwrap();
    assert_eq!((changes.data, changes.more, changes.lost), (Vec::new(), false, false));
    changes.position
}

fn places(changes: &Changes) -> Vec<(ConversationId, u64)> {
    changes.data.iter().map(|change| (change.conversation.id, change.event.seq.0)).collect()
}

/// Over all conversations, page by page, from wherever one stands.
pub async fn every_change_comes_once_in_one_order(bench: Bench) {
    bench.say("before").await;
    let start = end(&bench).await;
    let mut added = Vec::new();
    for name in ["a", "b", "a", "c", "b"] {
        let (id, seq) = bench.say(name).await;
        added.push((id, seq.0));
        bench.apply(id, vec![bench.note(), bench.reply().1]).await;
        added.extend([(id, seq.0 + 1), (id, seq.0 + 2)]);
        // What adds no event is no change of the log.
        bench.apply(id, vec![Effect::BumpVersion]).await;
    }
    let all = read(&bench, &start, ALL).await;
    assert_eq!((places(&all), all.more), (added.clone(), false));
    for size in [1, 2, 4, 15] {
        let (mut seen, mut position) = (Vec::new(), start.clone());
        loop {
            let page = read(&bench, &position, rows(size)).await;
            assert_eq!(page.data.len(), size.min(15 - seen.len()));
            seen.extend(places(&page));
            assert_eq!(page.more, seen.len() < 15);
            position = page.position;
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, added);
        assert_eq!(read(&bench, &position, ALL).await.data, []);
    }
    // Each change says where one goes on behind it.
    for (index, change) in all.data.iter().enumerate() {
        assert_eq!(places(&read(&bench, &change.position, ALL).await), added[index + 1..]);
    }
    let later = bench.say("later").await;
    assert_eq!(places(&read(&bench, &all.position, ALL).await), [(later.0, later.1.0)]);
}

/// Nor one that a guard held back.
pub async fn a_write_that_was_refused_is_no_change(bench: Bench) {
    let (id, _) = bench.say("order-77").await;
    let start = end(&bench).await;
    let nowhere = Effect::SetPart { message: bench.message_id(), index: 0, state: PartState::Failed };
    let refused = bench.appending(id, Vec::new(), vec![bench.note(), nowhere]);
    bench.store.append(refused).await.unwrap_err();
    bench.append(id, vec![Guard::OwnerIs(Owner::Desk)], vec![bench.note()]).await;
    bench.apply(id, vec![bench.note()]).await;
    assert_eq!(places(&read(&bench, &start, ALL).await), [(id, 2)]);
}

/// Rows and bytes, yet never nothing while there is something.
pub async fn an_answer_stays_within_its_bounds(bench: Bench) {
    let start = end(&bench).await;
    for _ in 0..5 {
        bench.say("order-77").await;
    }
    let taken = async |rows, bytes| {
        let changes = read(&bench, &start, Take { rows, bytes }).await;
        (changes.data.len(), changes.more)
    };
    assert_eq!(taken(3, usize::MAX).await, (3, true));
    assert_eq!(taken(5, usize::MAX).await, (5, false));
    assert_eq!(taken(5, 0).await, (1, true));
    let (some, more) = taken(5, 1500).await;
    assert!((2..5).contains(&some) && more, "{some}");
    let nothing = bench.store.changes(Some(start.clone()), ChangeFilter::default(), rows(0)).await;
    assert!(matches!(nothing, Err(StoreError::Refused(_))), "{nothing:?}");
}

/// As they are now.
pub async fn a_change_shows_what_it_happened_to(bench: Bench) {
    let start = end(&bench).await;
    let (id, _) = bench.say("order-77").await;
    let message = bench.queue_reply(id).await;
    bench.apply(id, vec![bench.note(), Effect::SetDelivery { message, status: DeliveryStatus::Sent }]).await;
    let conversation = bench.conversation(id).await;
    let changes = read(&bench, &start, ALL).await.data;
    assert!(changes.iter().all(|change| change.conversation == conversation));
    assert_eq!(changes.iter().map(|change| change.event.clone()).collect::<Vec<_>>(), bench.log(id).await);
    let status: Vec<_> = changes.iter().map(|change| change.status).collect();
    assert_eq!(status, [None, Some(DeliveryStatus::Sent), None]);
    let contacts: Vec<_> = changes.iter().map(|change| change.contact.clone()).collect();
    assert_eq!(contacts, [Some(contact(1)), None, None]);
}

/// And one goes on behind what it left out.
pub async fn a_filter_leaves_out_what_is_not_asked_for(bench: Bench) {
    let start = end(&bench).await;
    let other: ChannelName = "other".parse().unwrap();
    let shop: ChannelName = "shop".parse().unwrap();
    let (a, _) = bench.say("a").await;
    let (b, _) = bench.say("b").await;
    bench.apply(b, vec![Effect::SetChannel(other.clone()), bench.note()]).await;
    for _ in 0..3 {
        bench.apply(a, vec![bench.note()]).await;
    }
    let on = |channels: &[&ChannelName]| ChangeFilter {
        channels: channels.iter().map(|name| (*name).clone()).collect(),
        ..ChangeFilter::default()
    };
    let of_a = [(a, 1), (a, 2), (a, 3), (a, 4)];
    let of_b = [(b, 1), (b, 2)];
    let found = filtered(&bench, &start, on(&[&other]), ALL).await;
    assert_eq!((places(&found), found.more), (of_b.to_vec(), false));
    assert_eq!(found.position, end(&bench).await, "behind what was left out");
    assert_eq!(places(&filtered(&bench, &start, on(&[&shop]), ALL).await), of_a);
    assert_eq!(filtered(&bench, &start, on(&[&shop, &other]), ALL).await.data.len(), 6);
    let absent: ChannelName = "absent".parse().unwrap();
    assert_eq!(filtered(&bench, &start, on(&[&absent]), ALL).await.data, []);
    let one = |id| ChangeFilter { conversation: Some(id), ..ChangeFilter::default() };
    assert_eq!(places(&filtered(&bench, &start, one(a), ALL).await), of_a);
    let first = filtered(&bench, &start, one(a), rows(2)).await;
    assert_eq!((places(&first), first.more), (of_a[..2].to_vec(), true));
    assert_eq!(places(&filtered(&bench, &first.position, one(a), ALL).await), of_a[2..]);
    assert_eq!(places(&filtered(&bench, &first.position, one(b), ALL).await), of_b[2..]);
    assert_eq!(filtered(&bench, &end(&bench).await, one(a), ALL).await.data, []);
    let nobody = bench.new_conversation(&super::thread("nobody")).id;
    assert_eq!(filtered(&bench, &start, one(nobody), ALL).await.data, []);
    let neither = ChangeFilter { conversation: Some(a), ..on(&[&other]) };
    assert_eq!(filtered(&bench, &start, neither, ALL).await.data, []);
}

/// However many the filter leaves out before the first that it does not.
pub async fn a_change_behind_many_others_is_found_at_once(bench: Bench) {
    let start = end(&bench).await;
    let (busy, _) = bench.say("busy").await;
    for _ in 0..50 {
        bench.apply(busy, (0..100).map(|_| bench.note()).collect()).await;
    }
    let (id, _) = bench.say("other").await;
    let other: ChannelName = "other".parse().unwrap();
    bench.apply(id, vec![Effect::SetChannel(other.clone())]).await;
    let filter = ChangeFilter { channels: vec![other], conversation: None };
    assert_eq!(places(&filtered(&bench, &start, filter, rows(1)).await), [(id, 1)]);
}

/// Nor one beyond the end.
pub async fn a_position_that_no_answer_gave_is_refused(bench: Bench) {
    bench.say("order-77").await;
    let given = end(&bench).await;
    let odd = ["", "0", "1", "-1", "x", "9999999999999999999999", "'; DROP TABLE events", "\u{1f4a3}"];
    let odd = odd.iter().map(|text| (*text).to_owned());
    let altered = [format!("{given}0"), format!("{given}x"), format!(" {given}"), format!("x{given}")];
    for text in odd.chain(altered) {
        let answer = bench.store.changes(Some(text.clone()), ChangeFilter::default(), ALL).await;
        assert!(matches!(answer, Err(StoreError::Refused(_))), "{text}: {answer:?}");
    }
    assert_eq!(read(&bench, &given, ALL).await.data, []);
}

/// What is seen once never comes after something that is seen later.
pub async fn who_follows_many_writers_misses_nothing(bench: Bench) {
    const WRITES: usize = 60;
    let bench = Arc::new(bench);
    let start = end(&bench).await;
    let mut writers = JoinSet::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        let bench = Arc::clone(&bench);
        writers.spawn(async move {
            for _ in 0..WRITES {
                bench.say(name).await;
            }
        });
    }
    let (mut seen, mut position) = (Vec::new(), start.clone());
    while seen.len() < 6 * WRITES {
        let page = read(&bench, &position, rows(7)).await;
        seen.extend(places(&page));
        position = page.position;
        if page.data.is_empty() {
            tokio::task::yield_now().await;
        }
    }
    writers.join_all().await;
    let mut last: BTreeMap<ConversationId, u64> = BTreeMap::new();
    for (id, seq) in &seen {
        let before = last.insert(*id, *seq).unwrap_or_default();
        assert_eq!(*seq, before + 1);
    }
    assert_eq!(places(&read(&bench, &start, ALL).await), seen);
}
