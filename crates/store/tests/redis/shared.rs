//! Several daemons on one Redis, and what is bounded there.

use std::{sync::Arc, time::Duration};

use frontdesk_model::*;
use frontdesk_store::RedisOptions;
use frontdesk_testkit::store_suite::{ALL, Bench, LEASE, neighbours, rows, thread};
use tokio::task::JoinSet;

use crate::server::{Server, bench, open_on, options, shared_server};

async fn say_in(bench: &Bench, thread: &ThreadKey) -> ConversationId {
    match bench.store.commit_inbound(bench.inbound(thread)).await.unwrap() {
        Committed::New { conversation, .. } => conversation,
        duplicate @ Committed::Duplicate { .. } => panic!("{duplicate:?}"),
    }
}

/// Of the same conversation, until one of them is done or silent for too long.
#[tokio::test]
async fn two_daemons_never_hold_the_same_lane() {
    let shared = options(shared_server().url());
    let one = bench(shared.clone()).await;
    let other = open_on(shared, &one.clock).await;
    let request = |bench: &Bench| ClaimRequest {
        operation: bench.operation(),
        lane: Lane::Agent,
        limit: 5,
        lease: LEASE,
        order: ClaimOrder::LongestDue,
    };
    one.say("a").await;
    one.say("b").await;
    let mine = one.claim(Lane::Agent, 1).await.claims;
    let theirs = other.claim(request(&one)).await.unwrap().claims;
    assert_eq!((mine.len(), theirs.len()), (1, 1));
    assert_ne!(mine[0].conversation.id, theirs[0].conversation.id);
    one.clock.advance(LEASE);
    let taken_over = other.claim(request(&one)).await.unwrap().claims;
    assert_eq!(taken_over.len(), 2);
    assert_eq!(one.settle(&mine[0], vec![one.note()], Then::Advance).await, Applied::LeaseLost);
    // The thread's conversation was made by one and is known to both.
    let inbound = one.inbound(&thread("a"));
    let committed = other.commit_inbound(inbound.clone()).await.unwrap();
    assert!(matches!(committed, Committed::New { conversation, .. } if conversation == mine[0].conversation.id));
    assert!(matches!(one.store.commit_inbound(inbound).await.unwrap(), Committed::Duplicate { .. }));
}

/// Whichever of them made a thread's conversation.
#[tokio::test]
async fn first_messages_through_two_daemons_at_once_make_one_conversation() {
    let shared = options(shared_server().url());
    let bench = Arc::new(bench(shared.clone()).await);
    let other = open_on(shared, &bench.clock).await;
    let mut calls = JoinSet::new();
    for number in 0..32 {
        let (bench, other) = (Arc::clone(&bench), Arc::clone(&other));
        calls.spawn(async move {
            let inbound = bench.inbound(&thread("order-77"));
            let store: &dyn Store = if number % 2 == 0 { &*other } else { &*bench.store };
            match store.commit_inbound(inbound).await.unwrap() {
                Committed::New { conversation, seq, .. } => (conversation, seq),
                duplicate @ Committed::Duplicate { .. } => panic!("{duplicate:?}"),
            }
        });
    }
    let mut taken = calls.join_all().await;
    taken.sort();
    assert!(taken.iter().all(|(id, _)| *id == taken[0].0));
    assert_eq!(taken.iter().map(|(_, seq)| seq.0).collect::<Vec<_>>(), (1..=32).collect::<Vec<_>>());
}

/// However many are due at the very same moment in one partition.
#[tokio::test]
async fn lanes_of_one_moment_are_all_claimed_and_all_woken() {
    let bench = bench(options(shared_server().url())).await;
    for thread in neighbours(600) {
        say_in(&bench, &thread).await;
    }
    let mut claims = bench.claim(Lane::Agent, 70).await.claims;
    claims.extend(bench.claim(Lane::Agent, 520).await.claims);
    assert_eq!(claims.len(), 590);
    let rest = bench.claim(Lane::Agent, 600).await;
    assert_eq!((rest.claims.len(), rest.next_due), (10, None));
    claims.extend(rest.claims);
    for claim in &claims {
        bench.park(claim, LEASE, Some(Waiting::Agent), 1).await;
    }
    assert_eq!(bench.store.wake(Waiting::Agent).await.unwrap(), 600);
    assert_eq!(bench.claim(Lane::Agent, 700).await.claims.len(), 600);
}

/// The newest are kept; whoever comes too late is told, and whoever stands among them is not.
#[tokio::test]
async fn the_feed_of_a_partition_keeps_the_newest_and_says_what_is_lost() {
    let capped = RedisOptions { feed: 50, ..options(shared_server().url()) };
    let bench = bench(capped).await;
    let start = bench.store.changes(None, ChangeFilter::default(), ALL).await.unwrap().position;
    let (id, _) = bench.say("order-77").await;
    for _ in 0..40 {
        bench.apply(id, (0..10).map(|_| bench.note()).collect()).await;
    }
    let late = bench.store.changes(Some(start), ChangeFilter::default(), ALL).await.unwrap();
    assert!(late.lost && (50..400).contains(&late.data.len()), "{}", late.data.len());
    assert_eq!(late.data.last().unwrap().event.seq, Seq(401));
    let kept = &late.data[late.data.len() - 50].position;
    let behind = bench.store.changes(Some(kept.clone()), ChangeFilter::default(), ALL).await.unwrap();
    assert_eq!((behind.data.len(), behind.lost), (49, false));
    // Of another partition nothing is lost.
    let (other, _) = bench.say("order-78").await;
    assert_ne!(other.partition(), id.partition());
    let next = bench.store.changes(Some(behind.position), ChangeFilter::default(), rows(5)).await.unwrap();
    assert_eq!((next.data.len(), next.lost), (1, false));
}

/// The middle of a long log is reached from its nearer end, and what waits behind a lane's event waits in a list.
#[tokio::test]
async fn a_long_log_is_read_claimed_and_rewound_like_a_short_one() {
    let bench = bench(options(shared_server().url())).await;
    let (id, _) = bench.say("order-77").await;
    for _ in 0..20 {
        bench.apply(id, (0..100).map(|_| bench.note()).collect()).await;
    }
    for _ in 0..30 {
        bench.say("order-77").await;
    }
    for seq in [1, 2002, 2003] {
        let claim = bench.one(Lane::Agent).await;
        assert_eq!(claim.event.seq, Seq(seq));
        bench.finish(&claim).await;
    }
    let middle = bench.store.events(id, Seq(1000), rows(3)).await.unwrap().unwrap();
    assert_eq!(middle.data.iter().map(|event| event.seq.0).collect::<Vec<_>>(), [1001, 1002, 1003]);
    let older = bench.store.messages(id, Some(Seq(2002)), rows(3)).await.unwrap().unwrap();
    assert_eq!(older.data.iter().map(|record| record.seq.0).collect::<Vec<_>>(), [1]);
    assert!(!older.more);
    bench.apply(id, vec![Effect::AnsweredThrough(Some(Seq(2010))), Effect::RewindAgentToUnanswered]).await;
    for seq in 2011..=2031 {
        let claim = bench.one(Lane::Agent).await;
        assert_eq!(claim.event.seq, Seq(seq));
        bench.finish(&claim).await;
    }
    assert!(bench.try_one(Lane::Agent).await.is_none());
}

/// What the server took for each script since its log was emptied, in microseconds.
fn costs(server: &Server) -> Vec<u64> {
    let entries: Vec<redis::Value> = server.say(&["SLOWLOG", "GET", "-1"]);
    let cost = |entry| {
        let redis::Value::Array(fields) = entry else { panic!("{entry:?}") };
        let words: Vec<Vec<u8>> = redis::from_redis_value(fields[3].clone()).unwrap();
        words[0].eq_ignore_ascii_case(b"EVALSHA").then(|| redis::from_redis_value(fields[2].clone()).unwrap())
    };
    entries.into_iter().filter_map(cost).collect()
}

fn middle(mut costs: Vec<u64>) -> u64 {
    assert!(costs.len() >= 20, "{} calls", costs.len());
    costs.sort_unstable();
    costs[costs.len() / 2]
}

/// To claim, to settle, to read a page of at either end and in the middle; by the server's own time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_of_100_000_messages_is_as_cheap_as_one_of_ten() {
    const LONG: u64 = 100_000;
    const ROUNDS: usize = 30;
    let server = Server::start(&["--save", "", "--slowlog-max-len", "100000", "--slowlog-log-slower-than", "-1"]);
    let bench = bench(options(server.url())).await;
    let (short, _) = bench.say("short").await;
    bench.apply(short, (0..9).map(|_| bench.note()).collect()).await;
    let (long, _) = bench.say("long").await;
    for _ in 0..LONG / 500 {
        bench.apply(long, (0..500).map(|_| bench.note()).collect()).await;
    }
    assert_eq!(bench.conversation(long).await.last_seq, Seq(LONG + 1));
    let measure = || {
        server.say::<()>(&["SLOWLOG", "RESET"]);
        server.say::<()>(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    };
    for claim in [bench.one(Lane::Agent).await, bench.one(Lane::Agent).await] {
        bench.finish(&claim).await;
    }
    let mut found: Vec<(&str, [u64; 2])> = Vec::new();
    for (place, (name, id)) in [("short", short), ("long", long)].into_iter().enumerate() {
        let mut note = |what: &'static str, cost: u64| match found.iter_mut().find(|(known, _)| *known == what) {
            Some((_, both)) => both[place] = cost,
            None => found.push((what, [cost, 0])),
        };
        measure();
        for _ in 0..ROUNDS {
            bench.say(name).await;
        }
        note("commit", middle(costs(&server)));
        let (mut claiming, mut settling) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            measure();
            let claim = bench.one(Lane::Agent).await;
            claiming.push(costs(&server).iter().sum());
            measure();
            bench.finish(&claim).await;
            settling.push(costs(&server).iter().sum());
        }
        note("claim", middle(claiming));
        note("settle", middle(settling));
        let end = bench.conversation(id).await.last_seq.0;
        for (what, after) in [("page at the front", 0), ("in the middle", end / 2 - 5), ("at the end", end - 10)] {
            measure();
            for _ in 0..ROUNDS {
                let page = bench.store.events(id, Seq(after), rows(10)).await.unwrap().unwrap();
                assert_eq!(page.data.len(), 10);
            }
            note(what, middle(costs(&server)));
        }
        measure();
        for _ in 0..ROUNDS {
            assert_eq!(bench.store.messages(id, None, rows(10)).await.unwrap().unwrap().data.len(), 10);
        }
        note("newest messages", middle(costs(&server)));
    }
    println!("microseconds of the server, in a conversation of ten and of 100,000: {found:?}");
    for (what, [short, long]) in found {
        assert!(long <= 2 * short + 60, "{what}: {short} us in a short conversation, {long} us in a long one");
    }
}

/// Set back or forward, nobody is left with a lease that never ends, and nothing is due for ever.
#[tokio::test]
async fn a_lease_that_ends_further_off_than_it_is_long_is_over() {
    let shared = options(shared_server().url());
    let bench = bench(shared.clone()).await;
    bench.clock.advance(Duration::from_secs(3600));
    bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    let earlier = frontdesk_testkit::clock::TestClock::new("2026-01-05T10:00:00Z".parse().unwrap());
    let set_back = open_on(shared, &earlier).await;
    let request = ClaimRequest {
        operation: bench.operation(),
        lane: Lane::Agent,
        limit: 5,
        lease: LEASE,
        order: ClaimOrder::LongestDue,
    };
    let claims = set_back.claim(request).await.unwrap();
    assert_eq!(claims.claims.len(), 1, "{:?}", claims.next_due);
    assert_eq!(bench.settle(&claim, Vec::new(), Then::Advance).await, Applied::LeaseLost);
}
