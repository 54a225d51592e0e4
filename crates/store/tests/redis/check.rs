//! What is wrong in a Redis is found: each test damages a store on purpose.

use std::{sync::Arc, time::Duration};

use frontdesk_model::*;
use frontdesk_testkit::store_suite::{
    Bench,
    checking::{checked, some_of_everything},
};

use crate::server::{bench, options, shared_server};

/// Names and values.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// A store with some of everything, and how its keys begin.
struct Scene {
    bench: Bench,
    prefix: String,
    ids: [ConversationId; 4],
}

impl Scene {
    async fn new() -> Self {
        let options = options(shared_server().url());
        let prefix = options.prefix.clone();
        let bench = bench(options).await;
        let ids = some_of_everything(&bench).await;
        Self { bench, prefix, ids }
    }

    /// A key of a conversation's partition; `~` stands for the conversation's id.
    fn key(&self, conversation: usize, name: &str) -> String {
        let id = self.ids[conversation];
        let bare = id.to_string().split_once('_').unwrap().1.to_owned();
        format!("{}{{{}}}{}", self.prefix, id.partition().number(), name.replace('~', &bare))
    }

    fn say<T: redis::FromRedisValue>(&self, words: &[&[u8]]) -> T {
        let mut command = redis::cmd(std::str::from_utf8(words[0]).unwrap());
        command.arg(&words[1..]);
        command.query(&mut shared_server().connection()).unwrap()
    }

    /// The key of this sort of bucket of a conversation's partition that holds something.
    fn bucket(&self, conversation: usize, sort: char) -> (String, Entries) {
        let pattern = self.key(conversation, &format!("{sort}:*"));
        let escaped = pattern.replace('{', "[{]").replace('}', "[}]");
        let keys: Vec<String> = self.say(&[b"KEYS", escaped.as_bytes()]);
        let key = keys.into_iter().min().unwrap();
        let entries = self.say(&[b"HGETALL", key.as_bytes()]);
        (key, entries)
    }

    /// These and nothing else, in steps of any size.
    async fn finds(&self, expected: &[(FlawKind, Option<usize>, &str)]) {
        for rows in [1000, 1] {
            let found = checked(&self.bench, rows).await.flaws;
            let place = |id: ConversationId| self.ids.iter().position(|known| *known == id);
            let short: Vec<_> = found.iter().map(|flaw| (flaw.kind, flaw.conversation.and_then(place))).collect();
            let wanted: Vec<_> = expected.iter().map(|(kind, place, _)| (*kind, *place)).collect();
            assert_eq!(short, wanted, "in steps of {rows}: {found:?}, and not {expected:?}");
            for (found, (_, _, wanted)) in found.iter().zip(expected) {
                assert!(found.what.contains(wanted), "{}", found.what);
                assert!(!found.what.contains("Where is my order"), "{}", found.what);
            }
        }
    }
}

#[tokio::test]
async fn a_log_that_is_too_short_or_too_long_is_found() {
    let scene = Scene::new().await;
    let log = scene.key(0, "l:~");
    let last: Vec<u8> = scene.say(&[b"RPOP", log.as_bytes()]);
    let gone = (FlawKind::Log, Some(0), "event 3 is missing");
    scene.finds(&[gone, (FlawKind::Message, Some(0), "leads to an event that is not there")]).await;
    for _ in 0..2 {
        scene.say::<i64>(&[b"RPUSH", log.as_bytes(), &last]);
    }
    scene
        .finds(&[
            (FlawKind::Log, Some(0), "event 4 lies behind the end of the log, 3"),
            (FlawKind::Schedule, Some(0), "does not know of it"),
            (FlawKind::Message, Some(0), "is found somewhere else"),
        ])
        .await;
}

#[tokio::test]
async fn what_cannot_be_read_is_found() {
    let scene = Scene::new().await;
    let log = scene.key(0, "l:~");
    let first: Vec<u8> = scene.say(&[b"LINDEX", log.as_bytes(), b"0"]);
    scene.say::<()>(&[b"LSET", log.as_bytes(), b"0", b"\x93\x00\x01\xa1x"]);
    scene.finds(&[(FlawKind::Unreadable, Some(0), "event 1 cannot be read")]).await;
    scene.say::<()>(&[b"LSET", log.as_bytes(), b"0", &first]);
    let conversation = scene.key(0, "c:~");
    let stored: Vec<u8> = scene.say(&[b"GET", conversation.as_bytes()]);
    scene.say::<()>(&[b"SET", conversation.as_bytes(), b"\x81\xa1x\x01"]);
    let found = checked(&scene.bench, 1000).await.flaws;
    assert!(found.iter().any(|flaw| flaw.kind == FlawKind::Unreadable && flaw.conversation == Some(scene.ids[0])));
    scene.say::<()>(&[b"SET", conversation.as_bytes(), &stored]);
    scene.finds(&[]).await;
}

/// Work that nobody would find, and places in lists that lead nowhere.
#[tokio::test]
async fn what_nobody_would_find_is_found_and_what_leads_nowhere() {
    let scene = Scene::new().await;
    let (schedule, member) = (scene.key(0, "s"), [scene.ids[0].to_bytes().as_slice(), b"a"].concat());
    let score: String = scene.say(&[b"ZSCORE", schedule.as_bytes(), &member]);
    scene.say::<i64>(&[b"ZREM", schedule.as_bytes(), &member]);
    scene.finds(&[(FlawKind::Schedule, Some(0), "the agent lane has work, and nobody will find it")]).await;
    scene.say::<i64>(&[b"ZADD", schedule.as_bytes(), b"1", &member]);
    scene.say::<i64>(&[b"ZADD", schedule.as_bytes(), score.as_bytes(), &member]);
    scene.finds(&[]).await;

    let mut nobody = scene.ids[0].to_bytes();
    nobody[15] ^= 1;
    let lost = [nobody.as_slice(), b"a"].concat();
    scene.say::<i64>(&[b"ZADD", schedule.as_bytes(), b"1", &lost]);
    scene.say::<i64>(&[b"ZADD", scene.key(0, "t").as_bytes(), b"1", &nobody]);
    let letters = [[7; 16].as_slice(), b"\xc1"].concat();
    scene.say::<i64>(&[b"ZADD", scene.key(0, "x").as_bytes(), b"0", &letters]);
    scene
        .finds(&[
            (FlawKind::Schedule, None, "there is something to do in a conversation that is not there"),
            (FlawKind::List, None, "the timers show a conversation that is not there"),
            (FlawKind::Unreadable, None, "an entry of the dead letters cannot be read"),
        ])
        .await;
}

#[tokio::test]
async fn a_lane_that_waits_for_what_does_not_know_of_it_is_found() {
    let scene = Scene::new().await;
    let waits = scene.key(2, "w");
    let members: Vec<Vec<u8>> = scene.say(&[b"ZRANGE", waits.as_bytes(), b"0", b"-1"]);
    scene.say::<i64>(&[b"ZREM", waits.as_bytes(), &members[0]]);
    scene.finds(&[(FlawKind::Schedule, Some(2), "the agent lane is marked in a way that nobody looks for")]).await;
    let mut other = members[0].clone();
    other[0] ^= 1;
    scene.say::<i64>(&[b"ZADD", waits.as_bytes(), b"0", &members[0]]);
    scene.say::<i64>(&[b"ZADD", waits.as_bytes(), b"0", &other]);
    scene.finds(&[(FlawKind::Schedule, Some(2), "wait for something that it does not wait for")]).await;
}

#[tokio::test]
async fn lists_timers_and_assignees_that_show_it_as_it_is_not_are_found() {
    let scene = Scene::new().await;
    let index = scene.key(2, "i");
    let elsewhere = "lists show it under a channel";
    let members: Vec<Vec<u8>> = scene.say(&[b"ZRANGE", index.as_bytes(), b"0", b"-1"]);
    let own: Vec<&Vec<u8>> = members.iter().filter(|member| member.ends_with(&scene.ids[2].to_bytes())).collect();
    assert_eq!(own.len(), 2, "one by its channel, one by its assignee");
    for member in own {
        scene.say::<i64>(&[b"ZREM", index.as_bytes(), member]);
        scene.finds(&[(FlawKind::List, Some(2), elsewhere)]).await;
        scene.say::<i64>(&[b"ZADD", index.as_bytes(), b"0", member]);
    }
    let mut other = members.iter().find(|member| member.ends_with(&scene.ids[2].to_bytes())).unwrap().clone();
    let time = other.len() - 17;
    other[time] ^= 1;
    scene.say::<i64>(&[b"ZADD", index.as_bytes(), b"0", &other]);
    scene.finds(&[(FlawKind::List, Some(2), elsewhere)]).await;
    scene.say::<i64>(&[b"ZREM", index.as_bytes(), &other]);
    scene.say::<i64>(&[b"ZADD", scene.key(2, "t").as_bytes(), b"5", &scene.ids[2].to_bytes()]);
    let moment = "it is to be woken at another moment than its own";
    scene.finds(&[(FlawKind::List, Some(2), moment), (FlawKind::List, Some(2), moment)]).await;
}

#[tokio::test]
async fn messages_and_threads_that_lead_elsewhere_are_found() {
    let scene = Scene::new().await;
    let (bucket, entries) = scene.bucket(3, 'm');
    let (message, place) = &entries[0];
    scene.say::<i64>(&[b"HDEL", bucket.as_bytes(), message]);
    let found = checked(&scene.bench, 1000).await.flaws;
    assert!(found.len() == 1 && found[0].what.contains("is not found by its id"), "{found:?}");
    let beyond = [&place[..16], b"99"].concat();
    scene.say::<i64>(&[b"HSET", bucket.as_bytes(), message, &beyond]);
    let found: Vec<_> = checked(&scene.bench, 1000).await.flaws.into_iter().map(|flaw| flaw.what).collect();
    assert!(
        found.len() == 2 && found[0].contains("found somewhere else") && found[1].contains("not there"),
        "{found:?}"
    );
    scene.say::<i64>(&[b"HSET", bucket.as_bytes(), message, place]);
    scene.finds(&[]).await;

    let (bucket, entries) = scene.bucket(3, 'h');
    let (digest, id) = &entries[0];
    scene.say::<i64>(&[b"HDEL", bucket.as_bytes(), digest]);
    let found = checked(&scene.bench, 1000).await;
    assert_eq!((found.conversations, found.events), (4, 6), "it is looked at all the same");
    assert!(found.flaws.len() == 1 && found.flaws[0].what == "its thread does not lead to it", "{:?}", found.flaws);
    let mut nobody = id.clone();
    nobody[15] ^= 1;
    scene.say::<i64>(&[b"HSET", bucket.as_bytes(), digest, id]);
    let mut another = digest.clone();
    another[0] ^= 1;
    scene.say::<i64>(&[b"HSET", bucket.as_bytes(), &another, &nobody]);
    scene.finds(&[(FlawKind::Thread, None, "a thread leads to it, and it is not there")]).await;
}

#[tokio::test]
async fn people_that_are_not_known_or_take_no_part_are_found() {
    let scene = Scene::new().await;
    let contact = scene.bench.store.conversation(scene.ids[0]).await.unwrap().unwrap().participants[0].to_bytes();
    let shard = contact[0] % PARTITIONS;
    let key = |kind: &str| format!("{}{{{shard}}}{kind}", scene.prefix);
    let member = [contact, scene.ids[0].to_bytes()].concat();
    scene.say::<i64>(&[b"ZREM", key("j").as_bytes(), &member]);
    scene.finds(&[(FlawKind::Participant, Some(0), "is not listed for it")]).await;
    let mut stranger = member.clone();
    stranger[15] ^= 1;
    scene.say::<i64>(&[b"ZADD", key("j").as_bytes(), b"0", &member]);
    scene.say::<i64>(&[b"ZADD", key("j").as_bytes(), b"0", &stranger]);
    scene.finds(&[(FlawKind::Participant, Some(0), "is listed for it, and takes no part in it")]).await;
    scene.say::<i64>(&[b"ZREM", key("j").as_bytes(), &stranger]);
    let known: Vec<u8> = scene.say(&[b"HGET", key("k").as_bytes(), &contact]);
    scene.say::<i64>(&[b"HDEL", key("k").as_bytes(), &contact]);
    let found = checked(&scene.bench, 1000).await.flaws;
    assert!(!found.is_empty() && found.iter().all(|flaw| flaw.what.contains("and is not known")), "{found:?}");
    scene.say::<i64>(&[b"HSET", key("k").as_bytes(), &contact, &known]);
    scene.finds(&[]).await;
}

#[tokio::test]
async fn a_feed_with_a_gap_is_found() {
    let scene = Scene::new().await;
    let feed = scene.key(0, "f");
    let second: Vec<u8> = scene.say(&[b"LINDEX", feed.as_bytes(), b"1"]);
    scene.say::<i64>(&[b"LREM", feed.as_bytes(), b"1", &second]);
    scene.finds(&[(FlawKind::List, None, "the feed has a gap before change 3")]).await;
}

/// While a dozen callers write, nothing that is only on its way counts as a flaw.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_checks_while_others_write_sees_no_flaw() {
    let bench = Arc::new(bench(options(shared_server().url())).await);
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writers: Vec<_> = (0..12)
        .map(|number| {
            let (bench, done) = (Arc::clone(&bench), Arc::clone(&done));
            tokio::spawn(async move {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let (id, _) = bench.say(&format!("order-{}", number % 5)).await;
                    bench.queue_reply(id).await;
                    for lane in [Lane::Agent, Lane::Deliver] {
                        if let Some(claim) = bench.try_one(lane).await.filter(|_| lane == Lane::Agent) {
                            bench.finish(&claim).await;
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        })
        .collect();
    for rows in [1000, 50] {
        assert_eq!(checked(&bench, rows).await.flaws, [], "in steps of {rows}");
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(checked(&bench, 1000).await.flaws, []);
}
