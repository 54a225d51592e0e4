//! What daemons on one store know of each other.

use std::{sync::Arc, time::Duration};

use frontdesk_model::*;

use super::Bench;

const STAY: Duration = Duration::from_secs(30);

fn channel(account: &str) -> Waiting {
    Waiting::Channel { kind: "webhook".parse().unwrap(), account: account.parse().unwrap() }
}

/// The daemon of this number.
fn daemon(bench: &Bench, number: u8) -> Presence {
    Presence {
        daemon: DaemonId::from_bytes([number; 16]),
        name: format!("host-{number} (pid {number})"),
        version: "0.1.0".into(),
        started_at: Timestamp::from_millis(1_767_607_200_000 + i64::from(number)),
        at: bench.clock.now(),
        stay: STAY,
        in_hand: [u64::from(number), 0],
        unwell: Vec::new(),
        wants: Vec::new(),
        pauses: Vec::new(),
    }
}

fn wanting(bench: &Bench, number: u8, accounts: &[&str]) -> Presence {
    Presence { wants: accounts.iter().map(|account| channel(account)).collect(), ..daemon(bench, number) }
}

async fn meet(bench: &Bench, presence: Presence) -> Gathering {
    bench.store.company().meet(presence).await.unwrap()
}

/// In the order in which they started.
pub async fn everybody_hears_of_everybody_until_they_are_silent_for_too_long(bench: Bench) {
    let alone = meet(&bench, daemon(&bench, 2)).await;
    assert_eq!(alone.daemons, [daemon(&bench, 2)]);
    let (first, second) = (daemon(&bench, 1), daemon(&bench, 2));
    assert_eq!(meet(&bench, first.clone()).await.daemons, [first.clone(), second]);
    bench.clock.advance(STAY - Duration::from_secs(1));
    let second = daemon(&bench, 2);
    assert_eq!(meet(&bench, second.clone()).await.daemons, [first, second.clone()]);
    bench.clock.advance(Duration::from_secs(2));
    let later = daemon(&bench, 2);
    assert_eq!(meet(&bench, later.clone()).await.daemons, std::slice::from_ref(&later));
    bench.store.company().leave(later.daemon).await.unwrap();
    assert_eq!(meet(&bench, daemon(&bench, 3)).await.daemons, [daemon(&bench, 3)]);
}

/// All of it.
pub async fn what_a_daemon_tells_is_what_it_told_last(bench: Bench) {
    meet(&bench, daemon(&bench, 1)).await;
    let unwell = vec!["channel shop is unwell".to_owned()];
    let told = Presence { in_hand: [7, 8], unwell, ..daemon(&bench, 1) };
    meet(&bench, told.clone()).await;
    let heard = meet(&bench, daemon(&bench, 2)).await;
    assert_eq!(heard.daemons.first(), Some(&told));
}

/// The next one has it at once.
pub async fn one_alone_holds_a_channel_until_it_goes_or_wants_it_no_more(bench: Bench) {
    let [one, two] = [1, 2].map(|number| DaemonId::from_bytes([number; 16]));
    let held = meet(&bench, wanting(&bench, 1, &["a", "b"])).await.held;
    assert_eq!(sorted(held), [(channel("a"), one), (channel("b"), one)]);
    let held = meet(&bench, wanting(&bench, 2, &["a", "c"])).await.held;
    assert_eq!(sorted(held), [(channel("a"), one), (channel("b"), one), (channel("c"), two)]);
    let held = meet(&bench, wanting(&bench, 1, &["b"])).await.held;
    assert_eq!(sorted(held), [(channel("b"), one), (channel("c"), two)]);
    let held = meet(&bench, wanting(&bench, 2, &["a", "b", "c"])).await.held;
    assert_eq!(sorted(held), [(channel("a"), two), (channel("b"), one), (channel("c"), two)]);
    bench.store.company().leave(one).await.unwrap();
    let held = meet(&bench, wanting(&bench, 2, &["a", "b", "c"])).await.held;
    assert_eq!(sorted(held), [(channel("a"), two), (channel("b"), two), (channel("c"), two)]);
}

fn sorted(mut held: Vec<(Waiting, DaemonId)>) -> Vec<(Waiting, DaemonId)> {
    held.sort_by_key(|(channel, _)| format!("{channel:?}"));
    held
}

/// And does not get it back while another has it.
pub async fn a_silent_holder_loses_its_channel(bench: Bench) {
    let two = DaemonId::from_bytes([2; 16]);
    meet(&bench, wanting(&bench, 1, &["a"])).await;
    bench.clock.advance(STAY - Duration::from_secs(1));
    let held = meet(&bench, wanting(&bench, 2, &["a"])).await.held;
    assert_eq!(held, [(channel("a"), DaemonId::from_bytes([1; 16]))]);
    bench.clock.advance(Duration::from_secs(2));
    assert_eq!(meet(&bench, wanting(&bench, 2, &["a"])).await.held, [(channel("a"), two)]);
    assert_eq!(meet(&bench, wanting(&bench, 1, &["a"])).await.held, [(channel("a"), two)]);
}

/// And all hear the same.
pub async fn of_many_at_once_one_gets_it(bench: Bench) {
    let bench = Arc::new(bench);
    let mut all = tokio::task::JoinSet::new();
    for number in 1..=16 {
        let bench = Arc::clone(&bench);
        all.spawn(async move { meet(&bench, wanting(&bench, number, &["a"])).await.held });
    }
    let heard = all.join_all().await;
    let first = heard.first().cloned().unwrap();
    assert_eq!(first.len(), 1);
    assert!(heard.iter().all(|held| *held == first), "{heard:?}");
}

/// Who told it is not told it.
pub async fn the_others_hear_who_wants_quiet_and_for_how_long(bench: Bench) {
    let pause = |rest| Pause { of: channel("a"), rest: Duration::from_secs(rest) };
    let told = Presence { pauses: vec![pause(20)], ..daemon(&bench, 1) };
    assert_eq!(meet(&bench, told).await.pauses, []);
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(meet(&bench, daemon(&bench, 2)).await.pauses, [pause(15)]);
    bench.clock.advance(Duration::from_secs(15));
    assert_eq!(meet(&bench, daemon(&bench, 2)).await.pauses, []);
}

/// Nothing is changed by the attempt.
pub async fn too_much_is_not_wanted(bench: Bench) {
    let accounts: Vec<String> = (0..65).map(|number| format!("a{number}")).collect();
    let accounts: Vec<&str> = accounts.iter().map(String::as_str).collect();
    let refused = bench.store.company().meet(wanting(&bench, 1, &accounts)).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(meet(&bench, daemon(&bench, 2)).await.daemons, [daemon(&bench, 2)]);
}
