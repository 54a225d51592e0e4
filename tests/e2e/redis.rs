//! The daemon on a Redis: kills of both, two daemons on one, and what is said at the start.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use frontdesk_testkit::{
    daemon::{Daemon, Site},
    far_end::{FarEnd, Reply},
    ledger::Dice,
    redis_server::{ALWAYS, Cluster, Server},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::watch,
    task::JoinSet,
};

use crate::{
    ten_kills::{Ledger, Refusals, Verdict, agent, seed, shop, wait_until_all_is_sent, write_to},
    world::{SHOP_SECRET, World, takes, text_of_delivery, text_of_event},
};

const KILLS: usize = 8;
const THREADS: usize = 24;
/// A lease's length and a look of another daemon, on a busy machine.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(60);

fn on(server: &Server, world: World) -> World {
    World { site: world.site.on(&server.url()).with_store("durability = \"strict\""), ..world }
}

/// In turn the daemon, Redis, and both, at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_the_daemon_and_of_redis_lose_nothing_double_nothing_and_keep_the_order() {
    let seed = seed();
    println!("seed {seed} (FRONTDESK_TEST_SEED repeats it)");
    let mut dice = Dice(seed);
    let mut server = Server::start(ALWAYS);
    let ledger = Arc::new(Ledger::default());
    let world = Arc::new(on(&server, World::of(agent(&ledger, seed).await, shop(&ledger, seed).await)));
    let (stop, stopped) = watch::channel(false);
    let (serving, is_serving) = watch::channel(true);
    let mut senders = JoinSet::new();
    let mut daemon = world.start().await;
    for thread in 0..THREADS {
        senders.spawn(write_to(
            thread,
            Arc::clone(&world),
            Arc::clone(&ledger),
            stopped.clone(),
            is_serving.clone(),
            Refusals::Unavailable,
        ));
    }
    for kill in 1..=KILLS {
        ledger.write(|book| book.life = kill);
        tokio::time::sleep(dice.millis(300, 1500)).await;
        ledger.until("something in flight", |book| book.in_flight() >= THREADS / 2).await;
        if kill % 3 != 1 {
            server.stop();
        }
        if kill % 3 != 2 {
            daemon.kill().await.unwrap();
        }
        ledger.write(|book| {
            let open: BTreeSet<_> =
                book.acknowledged.iter().filter(|said| !book.delivered.contains_key(said)).copied().collect();
            book.in_flight_at_kills.push(open);
        });
        if kill % 3 != 1 {
            tokio::time::sleep(dice.millis(10, 400)).await;
            assert!(server.run());
        }
        if kill % 3 != 2 {
            daemon = world.start().await;
        } else {
            // It comes back by itself.
            daemon.ready().await.unwrap();
        }
    }
    ledger.write(|book| book.life = KILLS + 1);
    stop.send_replace(true);
    serving.send_replace(true);
    let written: usize = senders.join_all().await.into_iter().sum();
    ledger.until("everything has come out", |book| book.delivered.len() >= written).await;
    wait_until_all_is_sent(&world).await;
    assert!(world.dead_letters().await.is_empty());
    daemon.terminate().unwrap();
    assert!(daemon.ended(Duration::from_secs(30)).await.unwrap().success());
    let verdict = ledger.read(|book| Verdict::of(book, written));
    println!(
        "{written} messages, {KILLS} kills, {} in flight at them: {} lost, {} asked again, {} repeats at the far end",
        verdict.in_flight, verdict.lost, verdict.asked_again, verdict.repeats_at_far_end
    );
    assert_eq!((verdict.lost, verdict.out_of_order_at_agent, verdict.out_of_order_at_far_end), (0, 0, 0));
    assert_eq!(verdict.most_ids_of_a_reply, 1, "a reply has one webhook-id however often it is sent");
    assert!(verdict.repeats_at_far_end <= verdict.in_flight, "only what was in flight comes again");
}

/// Gone, and standing still: new work is refused with a moment to come again, and what was refused is taken then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_does_not_answer_means_503_and_then_everything_goes_on() {
    let mut server = Server::start(ALWAYS);
    let world = on(&server, World::that_echoes().await);
    let _daemon = world.start().await;
    let id = world.say("t", "1", "before").await;
    world.settled(&id, "sent").await;
    let refused = async |number: &str| {
        let began = Instant::now();
        let answer = world.post("t", number, "meanwhile").await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        while world.http.get(world.site.url("/readyz")).send().await.unwrap().status() != 503 {
            assert!(began.elapsed() < Duration::from_secs(20), "still ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(world.http.get(world.site.url("/healthz")).send().await.unwrap().status(), 200);
    };
    server.stop();
    refused("2").await;
    // What the daemon knows without its store is told all the same.
    let status = world.cli(&["status", "--check"]).await;
    assert_eq!(status.status.code(), Some(1), "{status:?}");
    assert!(status.out.contains("the store takes no new messages: nothing listens"), "{status:?}");
    assert!(status.out.contains("Agent") && status.out.contains("shop"), "{status:?}");
    assert!(server.run());
    take(&world, "2").await;
    {
        let _frozen = server.freeze();
        refused("3").await;
    }
    take(&world, "3").await;
    let delivered = world.shop.wait_for(3).await;
    let words: Vec<String> = delivered.iter().map(text_of_delivery).collect();
    assert_eq!(words, ["re: before", "re: meanwhile", "re: meanwhile"]);
    world.settled(&id, "sent").await;
    assert_eq!(world.messages(&id).await.len(), 6);
}

/// As a sender does: again and again under the same id.
async fn take(world: &World, number: &str) {
    let began = Instant::now();
    while world.post("t", number, "meanwhile").await.unwrap().status() != 202 {
        assert!(began.elapsed() < Duration::from_secs(30), "not well again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_on_a_cluster_answers_customers() {
    let cluster = Cluster::start(ALWAYS);
    let world = World::that_echoes().await;
    let world = World { site: world.site.on(&cluster.url()).with_store("durability = \"strict\""), ..world };
    let mut daemon = world.start().await;
    daemon.says("Redis Cluster of redis://127.0.0.1").await.unwrap();
    for number in 0..12 {
        let id = world.say(&format!("thread-{number}"), "1", "hello").await;
        world.settled(&id, "sent").await;
    }
    assert_eq!(world.get("/v1/conversations?limit=50").await["data"].as_array().unwrap().len(), 12);
    daemon.terminate().unwrap();
    assert!(daemon.ended(Duration::from_secs(30)).await.unwrap().success());
}

/// Without tokens and a secret of the operator's: what they make is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_daemons_on_one_redis_have_the_same_keys_and_one_takes_over_from_the_other() {
    let server = Server::start(ALWAYS);
    let asked_by = Arc::new(Mutex::new(0));
    let asked = Arc::clone(&asked_by);
    // The first daemon dies before it hears an answer.
    let agent = FarEnd::start(move |request| {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        let reply = Reply::json(200, json!({ "text": format!("re: {}", text_of_event(request)) }));
        if *asked == 1 { reply.after(Duration::from_secs(3600)) } else { reply }
    })
    .await;
    let far_end = FarEnd::start(takes).await;
    let sections = format!(
        "[agent]\nurl = \"{}\"\n[channels.shop]\nkind = \"webhook\"\nsecret = \"{SHOP_SECRET}\"\ndeliver_url = \"{}\"\n",
        agent.url(),
        far_end.url()
    );
    let site = || Site::new(env!("CARGO_BIN_EXE_frontdesk")).unwrap().with(&sections).on(&server.url());
    let (one, other) = (site(), site());
    let (mut first, _second) = (one.start().await.unwrap(), other.start().await.unwrap());
    for key in ["shop.token", "agent.secret"] {
        let read = |site: &Site| std::fs::read_to_string(site.data().join(key)).unwrap();
        assert_eq!(read(&one), read(&other), "{key}");
    }
    let token = std::fs::read_to_string(other.data().join("shop.token")).unwrap().trim().to_owned();
    let client = crate::world::client();
    let body = crate::world::message("t", "1", "hello");
    let taken = client.post(one.url("/v1/channels/shop/messages")).bearer_auth(&token).body(body.to_string());
    assert_eq!(taken.send().await.unwrap().status(), 202);
    agent.wait_for(1).await;
    let began = Instant::now();
    first.kill().await.unwrap();
    // What is known to one is known to the other at once.
    let again = client.post(other.url("/v1/channels/shop/messages")).bearer_auth(&token).body(body.to_string());
    let again = again.send().await.unwrap();
    assert!(again.status() == 202 && again.headers().contains_key("frontdesk-duplicate"));
    while far_end.count() == 0 {
        assert!(began.elapsed() < TAKEN_OVER_WITHIN, "not taken over");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let delivered = far_end.wait_for(1).await;
    println!("taken over after {:?}", began.elapsed());
    assert_eq!(text_of_delivery(&delivered[0]), "re: hello");
    assert_eq!(*asked_by.lock().unwrap(), 2);
}

/// Each of them would send all of it within less than a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_daemons_together_send_no_more_than_a_channels_rate() {
    let server = Server::start(ALWAYS);
    let far_end = FarEnd::start(takes).await;
    let world = World::that_echoes().await;
    let sections = format!(
        "[agent]\nurl = \"{}\"\n[channels.shop]\nkind = \"webhook\"\ndeliver_url = \"{}\"\nrate = \"5/s\"\n",
        world.agent.url(),
        far_end.url()
    );
    let site = || Site::new(env!("CARGO_BIN_EXE_frontdesk")).unwrap().with(&sections).on(&server.url());
    let sites = [site(), site()];
    let _daemons = [sites[0].start().await.unwrap(), sites[1].start().await.unwrap()];
    let token = std::fs::read_to_string(sites[0].data().join("shop.token")).unwrap().trim().to_owned();
    let client = crate::world::client();
    for number in 0..20 {
        let url = sites[number % 2].url("/v1/channels/shop/messages");
        let body = crate::world::message(&format!("t{number}"), "1", "hello");
        let taken = client.post(url).bearer_auth(&token).body(body.to_string()).send().await.unwrap();
        assert_eq!(taken.status(), 202);
    }
    let delivered = far_end.wait_for(20).await;
    let (first, last) = (delivered[0].at, delivered[19].at);
    // From the first to the last of twenty lie three whole spans; a send may be a little late, and never early.
    assert!(last - first > Duration::from_millis(2800), "{:?}", last - first);
}

/// Its own folder is nobody else's, and the command line finds the daemon there.
#[tokio::test]
async fn the_daemons_folder_beside_a_redis_is_its_own() {
    let server = Server::start(ALWAYS);
    let world = on(&server, World::that_echoes().await);
    let world = World { site: world.site.with_store("folder = \"own\""), ..world };
    let mut daemon = world.start().await;
    world.say("t", "1", "hello").await;
    let words = format!("Redis at redis://127.0.0.1:{}/0 (strict): a power cut loses nothing", server.port);
    daemon.says(&words).await.unwrap();
    let status = world.cli(&["status"]).await.fine();
    assert!(status.contains("Redis at"), "{status}");
    let folder = world.site.folder().join("own");
    let names: BTreeSet<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, ["attachments", "control.sock", "lock"].map(str::to_owned).into());
    let twin = Site::at(env!("CARGO_BIN_EXE_frontdesk"), world.site.folder()).unwrap();
    let twin = twin.on(&server.url()).with_store("folder = \"own\"");
    let said = refused(&twin).await;
    assert!(said.contains("another Frontdesk uses the folder") && said.contains("mend: "), "{said}");
}

async fn refused(site: &Site) -> String {
    let mut daemon: Daemon = site.launch().unwrap();
    assert_eq!(daemon.ended(Duration::from_secs(20)).await.unwrap().code(), Some(1));
    daemon.said()
}

#[tokio::test]
async fn a_start_says_what_can_be_lost_and_refuses_what_would_break_its_word() {
    let server = Server::start(&["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]);
    let site = || Site::new(env!("CARGO_BIN_EXE_frontdesk")).unwrap().on(&server.url());
    let mut daemon = site().start().await.unwrap();
    daemon.says("(relaxed): a power cut can lose what was acknowledged in the last second or two").await.unwrap();
    // The lines stand below the sentence.
    daemon.says("\n                appendfsync always\n").await.unwrap();
    let said = refused(&site().with_store("durability = \"strict\"")).await;
    assert!(said.contains("is more than redis://127.0.0.1") && said.contains("appendfsync always"), "{said}");
    server.say::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let said = refused(&site()).await;
    assert!(said.contains("maxmemory-policy noeviction"), "{said}");
    let gone = site().on("redis://127.0.0.1:1/0");
    let said = refused(&gone).await;
    assert!(
        said.contains("nothing listens at redis://127.0.0.1:1/0; start Redis there, or correct [store] url"),
        "{said}"
    );
}

/// As after the start of a machine. Whoever stops the daemon meanwhile does not wait for that.
#[tokio::test]
async fn a_redis_that_still_loads_its_data_is_waited_for() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let loads = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut asked).await {
                    // Each command is answered; each begins with a star.
                    let commands = asked[..read].iter().filter(|byte| **byte == b'*').count();
                    let answer = "-LOADING Redis is loading the dataset in memory\r\n".repeat(commands);
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let site = Site::new(env!("CARGO_BIN_EXE_frontdesk")).unwrap().on(&format!("redis://{address}/0"));
    let mut daemon = site.launch().unwrap();
    let began = Instant::now();
    while !daemon.said().contains("is still loading its data from disk") {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", daemon.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    daemon.terminate().unwrap();
    assert!(daemon.ended(Duration::from_secs(10)).await.unwrap().success());
    loads.abort();
}

/// Which starts the daemon beside everything else, and is told what it waits for.
#[tokio::test]
async fn under_a_supervisor_a_redis_that_is_not_there_yet_is_waited_for() {
    let mut server = Server::start(ALWAYS);
    server.stop();
    let world = on(&server, World::that_echoes().await);
    let socket = world.site.folder().join("notify.sock");
    let supervisor = tokio::net::UnixDatagram::bind(&socket).unwrap();
    let site = world.site.with_env("NOTIFY_SOCKET", socket.to_str().unwrap());
    let world = World { site, ..world };
    let mut daemon = world.site.launch().unwrap();
    let mut told = [0; 1024];
    let read = tokio::time::timeout(Duration::from_secs(20), supervisor.recv(&mut told)).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&told[..read]).into_owned();
    assert!(told.starts_with("STATUS=nothing listens at redis://127.0.0.1:"), "{told}");
    assert!(server.run());
    daemon.ready().await.unwrap();
    world.say("t", "1", "hello").await;
}

/// Beside its daemons and without any, what a Redis holds can be looked through.
#[tokio::test]
async fn a_redis_is_checked_with_and_without_a_daemon() {
    let server = Server::start(ALWAYS);
    let world = on(&server, World::that_echoes().await);
    world.site.write().unwrap();
    let nothing = world.cli(&["store", "check"]).await.refused(1);
    assert!(nothing.contains("no Frontdesk has kept anything in redis://127.0.0.1"), "{nothing}");
    let mut daemon = world.start().await;
    let id = world.say("t", "1", "hello").await;
    world.settled(&id, "sent").await;
    let fine = world.cli(&["store", "check"]).await.fine();
    assert!(fine.contains("all is well: 1 conversations and 3 events were looked at"), "{fine}");
    daemon.terminate().unwrap();
    assert!(daemon.ended(Duration::from_secs(30)).await.unwrap().success());
    let fine = world.cli(&["store", "check"]).await.fine();
    assert!(fine.contains("all is well: 1 conversations and 3 events were looked at"), "{fine}");
    let logs: Vec<String> = server.say(&["KEYS", "fd*l:*"]);
    server.say::<Vec<u8>>(&["RPOP", &logs[0]]);
    let said = world.cli(&["store", "check", "--json"]).await;
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(said.out.contains("event 3 is missing") && said.out.contains(&id), "{said:?}");
}
