//! Servers that die, stand still or run out of memory.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use frontdesk_model::*;
use frontdesk_store::RedisOptions;
use frontdesk_testkit::{
    redis_proxy::Proxy,
    store_suite::{Bench, thread},
};

use crate::server::{ALWAYS, Cluster, Server, bench, open_on, options};

/// Repeats a call until the store is there again.
macro_rules! until_there {
    ($call:expr) => {
        loop {
            match $call.await {
                Err(StoreError::Unavailable(_)) => tokio::task::yield_now().await,
                answer => break answer.unwrap(),
            }
        }
    };
}

/// What was acknowledged is there, leases too, and scripts are learnt anew.
#[tokio::test]
async fn a_server_that_was_killed_comes_back_with_everything() {
    let mut server = Server::start(ALWAYS);
    let bench = bench(options(server.url())).await;
    let (id, _) = bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    for round in 2..5 {
        server.stop();
        let append = bench.appending(id, Vec::new(), vec![bench.note()]);
        let answer = bench.store.append(append.clone()).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        assert!(server.run());
        let applied = until_there!(bench.store.append(append.clone()));
        assert!(matches!(applied, Applied::Done { last_seq, .. } if last_seq == Seq(round)), "{applied:?}");
        assert!(bench.try_one(Lane::Agent).await.is_none(), "somebody has it");
        assert_eq!(bench.store.renew(claim.id, Duration::from_secs(30)).await.unwrap(), Held::Yes);
    }
    bench.finish(&claim).await;
    assert_eq!(bench.log(id).await.len(), 4);
    assert_eq!(bench.say("order-77").await, (id, Seq(5)));
}

/// A restart between any two calls is not even noticed but for an error: every script of every verb is there again.
#[tokio::test]
async fn scripts_that_a_server_has_forgotten_are_sent_again() {
    let server = Server::start(ALWAYS);
    let bench = bench(options(server.url())).await;
    let forget = || server.say::<()>(&["SCRIPT", "FLUSH"]);
    forget();
    let (id, _) = bench.say("order-77").await;
    forget();
    let claim = bench.one(Lane::Agent).await;
    forget();
    bench.park(&claim, Duration::from_secs(60), Some(Waiting::Agent), 1).await;
    forget();
    assert_eq!(bench.store.wake(Waiting::Agent).await.unwrap(), 1);
    forget();
    let claim = bench.one(Lane::Agent).await;
    forget();
    assert_eq!(bench.store.renew(claim.id, Duration::from_secs(30)).await.unwrap(), Held::Yes);
    forget();
    let letter = bench.bury(&claim).await;
    forget();
    assert!(matches!(bench.requeue(&letter, DeadLetterEnd::Drop).await, Applied::Done { .. }));
    forget();
    assert_eq!(bench.log(id).await.len(), 1);
    forget();
    assert_eq!(bench.store.census().await.unwrap().open, 1);
    forget();
    let page = PageRequest { limit: 5, page: None };
    assert_eq!(bench.store.conversations(ConversationFilter::default(), page).await.unwrap().data.len(), 1);
}

/// It may have heard the call: the repetition says so.
#[tokio::test]
async fn a_server_that_stands_still_is_unavailable_and_then_fine() {
    let server = Server::start(ALWAYS);
    let patience = Duration::from_millis(300);
    let bench = bench(RedisOptions { timeout: patience, ..options(server.url()) }).await;
    let (id, _) = bench.say("order-77").await;
    // The server knows the scripts: what it hears while it stands still it carries out when it goes on.
    bench.apply(id, Vec::new()).await;
    let append = bench.appending(id, Vec::new(), vec![bench.note()]);
    let inbound = bench.inbound(&thread("order-77"));
    {
        let _frozen = server.freeze();
        let answer = bench.store.append(append.clone()).await;
        assert_eq!(answer, Err(StoreError::Unavailable("Redis did not answer in time".into())));
        assert!(matches!(bench.store.commit_inbound(inbound.clone()).await, Err(StoreError::Unavailable(_))));
        assert!(matches!(bench.store.conversation(id).await, Err(StoreError::Unavailable(_))));
        while bench.store.room() == Room::Enough {
            tokio::task::yield_now().await;
        }
    }
    let applied = until_there!(bench.store.append(append.clone()));
    assert_eq!(applied, Applied::Done { version: Version(1), last_seq: Seq(2) });
    let committed = until_there!(bench.store.commit_inbound(inbound.clone()));
    assert!(matches!(committed, Committed::Duplicate { conversation, .. } if conversation == id), "{committed:?}");
    assert_eq!(bench.log(id).await.len(), 3);
}

/// Sets maxmemory so that these hundredths of it are used; `None`: plenty is left.
fn use_up(server: &Server, hundredths: Option<u64>) {
    let info: String = server.say(&["INFO", "memory"]);
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim();
    let most = match hundredths {
        Some(hundredths) => used.parse::<u64>().unwrap() * 100 / hundredths,
        None => 1 << 30,
    };
    server.say::<()>(&["CONFIG", "SET", "maxmemory", &most.to_string()]);
}

async fn settles(bench: &Bench, claims: &[Claim]) {
    let [to_settle, to_release, to_renew, to_bury] = claims else { panic!("{claims:?}") };
    let settled = bench.settle(to_settle, vec![bench.reply().1, Effect::BumpVersion], Then::Advance).await;
    assert!(matches!(settled, Applied::Done { .. }), "{settled:?}");
    assert_eq!(bench.park(to_release, Duration::ZERO, Some(Waiting::Agent), 1).await, Held::Yes);
    assert_eq!(bench.store.renew(to_renew.id, Duration::from_secs(30)).await.unwrap(), Held::Yes);
    let letter = bench.bury(to_bury).await;
    assert!(matches!(bench.requeue(&letter, DeadLetterEnd::Replay).await, Applied::Done { .. }));
    assert_eq!(bench.store.wake(Waiting::Agent).await.unwrap(), 0);
    assert_eq!(bench.claim(Lane::Deliver, 5).await.claims.len(), 1);
}

/// Full for Redis itself: beyond maxmemory.
#[tokio::test]
async fn on_a_full_server_what_is_in_flight_is_settled_and_new_work_is_refused() {
    let server = Server::start(ALWAYS);
    let bench = bench(options(server.url())).await;
    for name in ["a", "b", "c", "d"] {
        bench.say(name).await;
    }
    let claims = bench.claim(Lane::Agent, 4).await.claims;
    let id = claims[0].conversation.id;
    use_up(&server, Some(150));
    let refused = bench.store.commit_inbound(bench.inbound(&thread("new"))).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    let refused = bench.store.append(bench.appending(id, Vec::new(), vec![bench.note()])).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    settles(&bench, &claims).await;
    assert_eq!(bench.log(id).await.len(), 2);
    let key = MasterKey { id: "key00001".into(), key: Secret::new([1; 32]) };
    until_enough(&bench, &server).await;
    bench.store.master_key(key).await.unwrap();
    bench.say("new").await;
}

/// Gives memory back and waits until the store takes new work.
async fn until_enough(bench: &Bench, server: &Server) {
    use_up(server, None);
    while bench.store.room() != Room::Enough {
        tokio::task::yield_now().await;
    }
}

/// Nearly full: from nine tenths of maxmemory on.
#[tokio::test]
async fn a_nearly_full_server_takes_no_new_work_and_says_why() {
    let server = Server::start(ALWAYS);
    // So that what a connection takes is far less than what is left.
    server.say::<i64>(&["SETRANGE", "filler", "30000000", "x"]);
    let shared = options(server.url());
    let bench = bench(shared.clone()).await;
    for name in ["a", "b", "c", "d"] {
        bench.say(name).await;
    }
    assert_eq!(bench.store.room(), Room::Enough);
    let known = bench.inbound(&thread("a"));
    bench.store.commit_inbound(known.clone()).await.unwrap();
    let claims = bench.claim(Lane::Agent, 4).await.claims;
    let id = claims[0].conversation.id;
    let once = Once { key: [1; 32], fingerprint: [1; 32], answer: "1".into(), keep: Duration::from_secs(60) };
    let request = |once| Append { once: Some(once), ..bench.appending(id, Vec::new(), vec![bench.note()]) };
    bench.store.append(request(once.clone())).await.unwrap();
    use_up(&server, Some(95));
    while bench.store.room() == Room::Enough {
        tokio::task::yield_now().await;
    }
    let Room::Low(reason) = bench.store.room() else { panic!() };
    assert!(reason.contains("maxmemory") && reason.contains("90 %"), "{reason}");
    let refused = bench.store.commit_inbound(bench.inbound(&thread("new"))).await;
    assert_eq!(refused, Err(StoreError::Full(reason.clone())));
    let refused = bench.store.append(bench.appending(id, Vec::new(), vec![bench.note()])).await;
    assert_eq!(refused, Err(StoreError::Full(reason)));
    // What is known needs no room.
    assert!(matches!(bench.store.commit_inbound(known).await.unwrap(), Committed::Duplicate { .. }));
    assert!(matches!(bench.store.append(request(once)).await.unwrap(), Applied::Repeated { .. }));
    settles(&bench, &claims).await;
    let opened = open_on(shared, &bench.clock).await;
    assert!(matches!(opened.room(), Room::Low(_)), "looked at before the first call");
    until_enough(&bench, &server).await;
    bench.say("new").await;
}

/// What a start refuses is not overlooked later.
#[tokio::test]
async fn a_server_that_is_told_to_throw_data_away_gets_no_new_work() {
    let server = Server::start(ALWAYS);
    let bench = bench(options(server.url())).await;
    bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    server.say::<()>(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
    while bench.store.room() == Room::Enough {
        tokio::task::yield_now().await;
    }
    let refused = bench.store.commit_inbound(bench.inbound(&thread("order-77"))).await;
    let Err(StoreError::Full(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("maxmemory-policy volatile-lru"), "{reason}");
    bench.finish(&claim).await;
    server.say::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    until_enough(&bench, &server).await;
    bench.say("order-77").await;
}

/// Conversations of other masters go on as long as the cluster lets them; those of this one, when it is back.
#[tokio::test]
async fn a_master_of_a_cluster_that_was_killed_comes_back_with_everything() {
    let args: Vec<&str> = [ALWAYS, &["--cluster-require-full-coverage", "no"]].concat();
    let mut cluster = Cluster::start(&args);
    let patience = Duration::from_millis(500);
    let bench = bench(RedisOptions { timeout: patience, ..options(cluster.url()) }).await;
    let names: Vec<String> = (0..24).map(|number| format!("order-{number}")).collect();
    for name in &names {
        bench.say(name).await;
    }
    cluster.nodes[1].stop();
    let (mut taken, mut refused) = (0, Vec::new());
    for name in &names {
        let inbound = bench.inbound(&thread(name));
        match bench.store.commit_inbound(inbound.clone()).await {
            Ok(Committed::New { seq, .. }) => {
                assert_eq!(seq, Seq(2));
                taken += 1;
            }
            Err(StoreError::Unavailable(_)) => refused.push((name, inbound)),
            other => panic!("{other:?}"),
        }
    }
    assert!(taken > 0 && !refused.is_empty(), "{taken} taken, {} refused", refused.len());
    assert!(cluster.nodes[1].run());
    for (name, inbound) in refused {
        let committed = until_there!(bench.store.commit_inbound(inbound.clone()));
        let Committed::New { conversation, seq, .. } = committed else { panic!("{name}: {committed:?}") };
        assert_eq!((seq, bench.log(conversation).await.len()), (Seq(2), 2));
    }
    let page = PageRequest { limit: 200, page: None };
    assert_eq!(until_there!(bench.store.conversations(ConversationFilter::default(), page.clone())).data.len(), 24);
}

/// A replica that has been promoted knows no script, and the address that led to the old master leads to it. What both had is there.
#[tokio::test]
async fn the_next_master_under_the_same_address_is_gone_on_with() {
    let (old, new) = (Server::start(ALWAYS), Server::start(ALWAYS));
    new.say::<()>(&["REPLICAOF", "127.0.0.1", &old.port.to_string()]);
    let proxy = Proxy::to(old.port);
    let bench = bench(options(proxy.url())).await;
    let (id, _) = bench.say("order-77").await;
    let claim = bench.one(Lane::Agent).await;
    while old.say::<i64>(&["WAIT", "1", "100"]) == 0 {}
    let info: String = new.say(&["INFO", "replication"]);
    assert!(info.contains("master_link_status:up"), "{info}");
    new.say::<()>(&["REPLICAOF", "NO", "ONE"]);
    old.say::<()>(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]);
    proxy.lead_to(new.port);
    let append = bench.appending(id, Vec::new(), vec![bench.note()]);
    let first = bench.store.append(append.clone()).await;
    assert_eq!(first, Err(StoreError::Unavailable("this Redis is a replica, which takes no writes".into())));
    let applied = bench.store.append(append).await.unwrap();
    assert!(matches!(applied, Applied::Done { last_seq: Seq(2), .. }), "{applied:?}");
    bench.finish(&claim).await;
    assert_eq!(bench.say("order-77").await, (id, Seq(3)));
}

/// Nobody is told of it: the cluster's other nodes know.
#[tokio::test]
async fn a_replica_of_a_cluster_that_takes_over_is_found_and_gone_on_with() {
    let mut cluster = Cluster::start(ALWAYS);
    cluster.add_replica_of(1, ALWAYS);
    let patience = Duration::from_millis(1000);
    let bench = bench(RedisOptions { timeout: patience, ..options(cluster.url()) }).await;
    let names: Vec<String> = (0..24).map(|number| format!("order-{number}")).collect();
    for name in &names {
        bench.say(name).await;
    }
    let claims = bench.claim(Lane::Agent, 24).await.claims;
    while cluster.nodes[1].say::<i64>(&["WAIT", "1", "100"]) == 0 {}
    cluster.nodes[1].stop();
    cluster.nodes[3].say::<()>(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
    for claim in &claims {
        let settle = bench.settling(claim, vec![bench.note()], Then::Advance);
        let settled = until_there!(bench.store.settle(settle.clone()));
        assert!(matches!(settled.applied, Applied::Done { last_seq: Seq(2), .. }), "{settled:?}");
    }
    for name in &names {
        let inbound = bench.inbound(&thread(name));
        let committed = until_there!(bench.store.commit_inbound(inbound.clone()));
        assert!(matches!(committed, Committed::New { seq: Seq(3), .. }), "{committed:?}");
    }
}

/// The cluster does that by itself some seconds later, and callers keep calling meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_while_many_call_is_gone_on_with() {
    let mut cluster = Cluster::start(ALWAYS);
    cluster.add_replica_of(1, ALWAYS);
    let patience = Duration::from_millis(1000);
    let bench = Arc::new(bench(RedisOptions { timeout: patience, ..options(cluster.url()) }).await);
    for number in 0..24 {
        bench.say(&format!("order-{number}")).await;
    }
    while cluster.nodes[1].say::<i64>(&["WAIT", "1", "100"]) == 0 {}
    cluster.nodes[1].stop();
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..24 {
        let bench = Arc::clone(&bench);
        callers.spawn(async move {
            let inbound = bench.inbound(&thread(&format!("order-{number}")));
            let began = Instant::now();
            loop {
                match bench.store.commit_inbound(inbound.clone()).await {
                    Ok(Committed::New { seq, .. }) => return seq,
                    Err(StoreError::Unavailable(_)) => assert!(began.elapsed() < Duration::from_secs(40), "{number}"),
                    other => panic!("{other:?}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    assert_eq!(callers.join_all().await, [Seq(2); 24]);
}
