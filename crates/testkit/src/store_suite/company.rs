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

const SECOND: Duration = Duration::from_secs(1);

fn budget(of: &str, most: u32, within: Duration) -> Budget {
    Budget { of: of.into(), most, within }
}

async fn spend(bench: &Bench, budgets: &[Budget]) -> Spent {
    bench.store.company().spend(&channel("bot"), budgets, SECOND).await.unwrap()
}

fn after(millis: u64) -> Spent {
    Spent::After(Duration::from_millis(millis))
}

fn later(millis: u64) -> Spent {
    Spent::Later(Duration::from_millis(millis))
}

/// Also when places lie ahead, and across the edge of a span.
pub async fn a_budget_has_so_many_places_in_any_span(bench: Bench) {
    let three = [budget("account", 3, SECOND)];
    assert_eq!([spend(&bench, &three).await, spend(&bench, &three).await], [after(0), after(0)]);
    bench.clock.advance(Duration::from_millis(900));
    assert_eq!(spend(&bench, &three).await, after(0));
    assert_eq!([spend(&bench, &three).await, spend(&bench, &three).await], [after(100), after(100)]);
    // Three in the second from 0.9 s on: this one, and the two that lie ahead.
    assert_eq!(spend(&bench, &three).await, after(1000));
    assert_eq!(spend(&bench, &three).await, later(1100));
    assert_eq!(spend(&bench, &three).await, later(1100), "what is not taken is not spent");
    bench.clock.advance(Duration::from_millis(3000));
    assert_eq!(spend(&bench, &three).await, after(0));
}

/// The slowest decides, and whoever does not wait for it takes nothing of the others.
pub async fn a_place_is_taken_in_each_budget_or_in_none(bench: Bench) {
    let account = budget("account", 2, SECOND);
    let [one, other] = ["chat 1", "chat 2"].map(|chat| [account.clone(), budget(chat, 1, SECOND * 3)]);
    assert_eq!(spend(&bench, &one).await, after(0));
    assert_eq!(spend(&bench, &one).await, later(3000));
    assert_eq!(spend(&bench, &other).await, after(0), "the account had a place left");
    assert_eq!(spend(&bench, std::slice::from_ref(&account)).await, after(1000));
    bench.clock.advance(Duration::from_millis(2500));
    // A place that lies ahead in one budget does not keep another from what is free now.
    assert_eq!(spend(&bench, &one).await, after(500));
    assert_eq!(spend(&bench, std::slice::from_ref(&account)).await, after(0));
    assert_eq!(spend(&bench, std::slice::from_ref(&account)).await, after(1000));
}

/// Names are the channel's own.
pub async fn a_budget_is_its_channels_own(bench: Bench) {
    let one = [budget("account", 1, SECOND * 60)];
    let company = bench.store.company();
    for account in ["a", "b"] {
        assert_eq!(company.spend(&channel(account), &one, SECOND).await.unwrap(), after(0), "{account}");
        assert_eq!(company.spend(&channel(account), &one, SECOND).await.unwrap(), later(60_000), "{account}");
    }
    assert_eq!(company.spend(&channel("a"), &[], SECOND).await.unwrap(), after(0), "what is not counted is free");
}

/// In the order in which they asked.
pub async fn of_many_at_once_each_gets_a_place_of_its_own(bench: Bench) {
    let bench = Arc::new(bench);
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let bench = Arc::clone(&bench);
        all.spawn(async move { spend(&bench, &[budget("account", 10, SECOND / 2)]).await });
    }
    let mut spent = all.join_all().await;
    spent.sort_by_key(|spent| match spent {
        Spent::After(span) | Spent::Later(span) => *span,
    });
    let places = [0, 500, 1000].into_iter().flat_map(|millis| [after(millis); 10]);
    let none = [later(1500); 10];
    assert_eq!(spent, places.chain(none).collect::<Vec<_>>());
}

/// Nothing is taken.
pub async fn what_is_no_budget_is_refused(bench: Bench) {
    let sound = budget("account", 1, SECOND);
    for unsound in [
        budget("none", 0, SECOND),
        budget("too many", Budget::MOST + 1, SECOND),
        budget("no time", 1, Duration::ZERO),
        budget("too long", 1, Budget::WITHIN + SECOND),
    ] {
        let refused = bench.store.company().spend(&channel("bot"), &[sound.clone(), unsound.clone()], SECOND).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{unsound:?}: {refused:?}");
    }
    let many: Vec<_> = (0..=Budget::AT_ONCE).map(|number| budget(&number.to_string(), 1, SECOND)).collect();
    let refused = bench.store.company().spend(&channel("bot"), &many, SECOND).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert_eq!(spend(&bench, &[sound]).await, after(0));
}
