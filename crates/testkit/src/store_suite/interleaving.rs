//! Several workers over several conversations, in random order, held to what can be observed.
//!
//! The first claim takes random steps one after the other and compares each answer with what must be so: seqs without gaps,
//! each lane's events in order, no two holders at once, no word for a fence that is over. The second lets workers
//! run at once and looks at what was settled.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use frontdesk_model::*;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tokio::task::JoinSet;

use super::{ALL, Bench, LEASE, checking, said, thread};

/// How many random steps are taken. Each store starts empty, so they are one long run, not many short ones.
const STEPS: usize = 1500;
const THREADS: [&str; 4] = ["a", "b", "c", "d"];

/// What a worker may do next. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    Say { thread: usize, claim: bool },
    Reply(usize),
    Note(usize),
    Claim { lane: Lane, limit: usize },
    Renew(usize),
    Keep(usize),
    Advance { claim: usize, reply: bool, next: Vec<Lane> },
    Repeat,
    Follow { rows: usize },
    Release { claim: usize, seconds: u64 },
    Wait { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let lane = || prop_oneof![Just(Lane::Agent), Just(Lane::Deliver)];
    let next = proptest::sample::subsequence(vec![Lane::Deliver, Lane::Agent], 0..=2);
    prop_oneof![
        4 => (0..THREADS.len(), any::<bool>()).prop_map(|(thread, claim)| Step::Say { thread, claim }),
        2 => (0..THREADS.len()).prop_map(Step::Reply),
        1 => (0..THREADS.len()).prop_map(Step::Note),
        6 => (lane(), 1..4_usize).prop_map(|(lane, limit)| Step::Claim { lane, limit }),
        1 => any::<usize>().prop_map(Step::Renew),
        1 => any::<usize>().prop_map(Step::Keep),
        6 => (any::<usize>(), any::<bool>(), next)
            .prop_map(|(claim, reply, next)| Step::Advance { claim, reply, next }),
        1 => Just(Step::Repeat),
        2 => (1..9_usize).prop_map(|rows| Step::Follow { rows }),
        2 => (any::<usize>(), 0..40_u64).prop_map(|(claim, seconds)| Step::Release { claim, seconds }),
        2 => (1..25_u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

type LaneKey = (ConversationId, Lane);

/// What must be so, kept beside the store.
#[derive(Default)]
struct Expected {
    threads: BTreeMap<usize, ConversationId>,
    last_seq: BTreeMap<ConversationId, u64>,
    /// What each lane has still to do, in order.
    work: BTreeMap<LaneKey, VecDeque<Seq>>,
    parked: BTreeMap<LaneKey, Timestamp>,
    /// The present claim of each lane, and until when.
    held: BTreeMap<LaneKey, (ClaimId, Duration)>,
    /// All claims there ever were: most are over.
    claims: Vec<Claim>,
    repeatable: Option<(Settle, Settled)>,
    /// Where a follower of all changes stands, and what it has seen.
    position: String,
    seen: Vec<(ConversationId, Seq)>,
}

impl Expected {
    fn logged(&mut self, conversation: ConversationId, woken: Option<Lane>) -> Seq {
        let last = self.last_seq.entry(conversation).or_default();
        *last += 1;
        if let Some(lane) = woken {
            self.work.entry((conversation, lane)).or_default().push_back(Seq(*last));
        }
        Seq(*last)
    }

    fn holds(&self, claim: &Claim, boot: Duration) -> bool {
        let held = self.held.get(&(claim.conversation.id, claim.lane));
        held.is_some_and(|(id, until)| *id == claim.id && *until > boot)
    }

    /// Lanes that a claim must or must not be given.
    fn is_due(&self, key: LaneKey, now: Timestamp, boot: Duration) -> bool {
        self.work.get(&key).is_some_and(|work| !work.is_empty())
            && self.parked.get(&key).is_none_or(|until| *until <= now)
            && self.held.get(&key).is_none_or(|(_, until)| *until <= boot)
    }

    /// A lane was given, or not, as it had to be.
    fn given(&mut self, key: LaneKey, claim: Option<&Claim>, now: Timestamp, boot: Duration) {
        assert_eq!(claim.is_some(), self.is_due(key, now, boot), "{claim:?}");
        if let Some(claim) = claim {
            assert_eq!((claim.conversation.id, claim.lane), key);
            assert_eq!(Some(&claim.event.seq), self.work[&key].front());
            self.held.insert(key, (claim.id, boot + LEASE));
            self.claims.push(claim.clone());
        }
    }

    fn due(&self, lane: Lane, now: Timestamp, boot: Duration) -> usize {
        self.work.keys().filter(|key| key.1 == lane && self.is_due(**key, now, boot)).count()
    }
}

/// Random, and said how to repeat: the seed is fixed unless `STORE_SUITE_SEED` names another.
pub async fn random_steps_of_several_workers_keep_every_promise(bench: Bench) {
    let seed = std::env::var("STORE_SUITE_SEED").ok().and_then(|text| text.parse::<u8>().ok()).unwrap_or(1);
    println!("STORE_SUITE_SEED={seed}");
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]));
    let mut expected = Expected { position: end(&bench).await, ..Expected::default() };
    let start = expected.position.clone();
    for number in 0..STEPS {
        let step = step().new_tree(&mut runner).unwrap().current();
        println!("{number}: {step:?}");
        take(&bench, &mut expected, step).await;
        if number % 50 == 0 {
            no_flaw(&bench).await;
        }
    }
    // Nothing is lost: what is left comes in its order.
    bench.clock.advance(Duration::from_secs(600));
    for lane in [Lane::Agent, Lane::Deliver] {
        while let Some(claim) = bench.try_one(lane).await {
            let work = expected.work.get_mut(&(claim.conversation.id, lane)).unwrap();
            assert_eq!(Some(claim.event.seq), work.pop_front());
            bench.finish(&claim).await;
        }
    }
    assert!(expected.work.values().all(VecDeque::is_empty), "{:?}", expected.work);
    // Who followed saw every event once, in the order in which one who comes now sees them.
    while follow(&bench, &mut expected, 50).await {}
    let all = bench.store.changes(Some(start), ChangeFilter::default(), ALL).await.unwrap();
    assert_eq!(all.data.iter().map(place).collect::<Vec<_>>(), expected.seen);
    for (conversation, last) in expected.last_seq {
        let seen = expected.seen.iter().filter(|(of, _)| *of == conversation).map(|(_, seq)| seq.0);
        assert!(seen.eq(1..=last));
        let places: Vec<u64> = bench.log(conversation).await.iter().map(|event| event.seq.0).collect();
        assert_eq!(places, (1..=last).collect::<Vec<_>>());
    }
    no_flaw(&bench).await;
}

/// Where the store can say.
async fn no_flaw(bench: &Bench) {
    if bench.store.checked().is_some() {
        checking::expect_no_flaw(bench).await;
    }
}

async fn end(bench: &Bench) -> String {
    bench.store.changes(None, ChangeFilter::default(), ALL).await.unwrap().position
}

fn place(change: &LoggedChange) -> (ConversationId, Seq) {
    (change.conversation.id, change.event.seq)
}

/// Reads on. Whether there is more.
async fn follow(bench: &Bench, expected: &mut Expected, rows: usize) -> bool {
    let take = Take { rows, bytes: usize::MAX };
    let after = Some(expected.position.clone());
    let changes = bench.store.changes(after, ChangeFilter::default(), take).await.unwrap();
    assert!(changes.data.len() <= rows && !changes.lost);
    expected.seen.extend(changes.data.iter().map(place));
    expected.position = changes.position;
    changes.more
}

async fn take(bench: &Bench, expected: &mut Expected, step: Step) {
    let (now, boot) = (bench.clock.now(), bench.clock.boot());
    match step {
        Step::Say { thread: which, claim } => {
            let next = claim.then_some(ClaimNext { lane: Lane::Agent, lease: LEASE });
            let inbound = CommitInbound { claim: next, ..bench.inbound(&thread(THREADS[which])) };
            let committed = bench.store.commit_inbound(inbound).await.unwrap();
            let Committed::New { conversation, seq, claim: claimed } = committed else { panic!("{committed:?}") };
            assert_eq!(*expected.threads.entry(which).or_insert(conversation), conversation);
            assert_eq!(seq, expected.logged(conversation, Some(Lane::Agent)));
            if claim {
                expected.given((conversation, Lane::Agent), claimed.as_deref(), now, boot);
            } else {
                assert_eq!(claimed, None);
            }
        }
        Step::Follow { rows } => drop(follow(bench, expected, rows).await),
        Step::Reply(which) | Step::Note(which) => {
            let Some(conversation) = expected.threads.get(&which).copied() else { return };
            let (effect, woken) = match step {
                Step::Reply(_) => (bench.reply().1, Some(Lane::Deliver)),
                _ => (bench.note(), None),
            };
            let applied = bench.append(conversation, Vec::new(), vec![effect]).await;
            let seq = expected.logged(conversation, woken);
            assert!(matches!(applied, Applied::Done { last_seq, .. } if last_seq == seq), "{applied:?}");
        }
        Step::Claim { lane, limit } => {
            let claims = bench.claim(lane, limit).await.claims;
            assert_eq!(claims.len(), limit.min(expected.due(lane, now, boot)));
            for claim in claims {
                expected.given((claim.conversation.id, lane), Some(&claim), now, boot);
            }
        }
        Step::Wait { seconds } => bench.clock.advance(Duration::from_secs(seconds)),
        Step::Repeat => {
            if let Some((settle, first)) = expected.repeatable.clone() {
                let again = bench.store.settle(settle).await.unwrap();
                assert_eq!(again.applied, first.applied);
                let still = first.next.into_iter().filter(|claim| expected.holds(claim, boot)).map(|claim| claim.id);
                assert!(again.next.iter().map(|claim| claim.id).eq(still));
            }
        }
        Step::Renew(which) | Step::Keep(which) => {
            let Some(claim) = chosen(expected, which) else { return };
            let held = expected.holds(&claim, boot);
            if matches!(step, Step::Renew(_)) {
                let answer = bench.store.renew(claim.id, LEASE).await.unwrap();
                assert_eq!(answer == Held::Yes, held);
                if held {
                    expected.held.insert((claim.conversation.id, claim.lane), (claim.id, boot + LEASE));
                }
            } else {
                let applied = bench.settle(&claim, vec![bench.note()], Then::Keep).await;
                assert_eq!(applied != Applied::LeaseLost, held, "{applied:?}");
                if held {
                    expected.logged(claim.conversation.id, None);
                }
            }
        }
        Step::Advance { claim, reply, next } => {
            let Some(claim) = chosen(expected, claim) else { return };
            let effects = if reply { vec![bench.reply().1] } else { Vec::new() };
            let next: Vec<ClaimNext> = next.into_iter().map(|lane| ClaimNext { lane, lease: LEASE }).collect();
            let settle = Settle { next: next.clone(), ..bench.settling(&claim, effects, Then::Advance) };
            let settled = bench.store.settle(settle.clone()).await.unwrap();
            let held = settled.applied != Applied::LeaseLost;
            assert_eq!(held, expected.holds(&claim, boot), "{settled:?}");
            if held {
                let key = (claim.conversation.id, claim.lane);
                assert_eq!(expected.work.get_mut(&key).unwrap().pop_front(), Some(claim.event.seq));
                expected.held.remove(&key);
                expected.parked.remove(&key);
                if reply {
                    expected.logged(claim.conversation.id, Some(Lane::Deliver));
                }
            }
            assert!(held || settled.next.is_empty());
            for ClaimNext { lane, .. } in next.into_iter().filter(|_| held) {
                let given = settled.next.iter().find(|claim| claim.lane == lane);
                expected.given((claim.conversation.id, lane), given, now, boot);
            }
            expected.repeatable = Some((settle, settled));
        }
        Step::Release { claim, seconds } => {
            let Some(claim) = chosen(expected, claim) else { return };
            let span = Duration::from_secs(seconds);
            let held = bench.park(&claim, span, Some(Waiting::Agent), 1).await;
            assert_eq!(held == Held::Yes, expected.holds(&claim, boot));
            if held == Held::Yes {
                let key = (claim.conversation.id, claim.lane);
                expected.held.remove(&key);
                expected.parked.insert(key, now.plus(span));
            }
        }
    }
}

/// One of the latest claims, whether it still holds or not.
fn chosen(expected: &Expected, which: usize) -> Option<Claim> {
    let recent = expected.claims.len().min(8);
    let first = expected.claims.len() - recent;
    (recent > 0).then(|| expected.claims[first + which % recent].clone())
}

/// Some of them stop in the middle of their work and say nothing more. What was settled is read off the log: each
/// settling write leaves an event that names the message it was about.
pub async fn workers_at_once_settle_every_event_once_and_in_order(bench: Bench) {
    const SAID: usize = 40;
    let bench = Arc::new(bench);
    let settled = Arc::new(AtomicUsize::new(0));
    let mut people = JoinSet::new();
    for name in THREADS {
        let bench = Arc::clone(&bench);
        people.spawn(async move {
            for _ in 0..SAID {
                bench.say(name).await;
            }
        });
    }
    for worker in 0..6 {
        let lane = if worker % 2 == 0 { Lane::Agent } else { Lane::Deliver };
        people.spawn(work(Arc::clone(&bench), lane, worker, Arc::clone(&settled), 2 * SAID * THREADS.len()));
    }
    while let Some(done) = people.join_next().await {
        done.unwrap();
    }
    let all = bench.store.conversations(ConversationFilter::default(), PageRequest { limit: 10, page: None }).await;
    let all = all.unwrap().data;
    assert_eq!(all.len(), THREADS.len());
    for conversation in all {
        let log = bench.log(conversation.id).await;
        assert!(log.iter().zip(1..).all(|(event, seq)| event.seq == Seq(seq)));
        let (mut inbound, mut answered, mut outbound, mut delivered) = (vec![], vec![], vec![], vec![]);
        for event in log {
            match event.body {
                EventBody::MessageCreated { message } if message.direction == Direction::Inbound => {
                    inbound.push(message.id);
                }
                EventBody::MessageCreated { message } => {
                    outbound.push(message.id);
                    answered.extend(message.reply_to);
                }
                EventBody::DeliveryUpdated { message_id, .. } => delivered.push(message_id),
                EventBody::MessageDeleted { .. }
                | EventBody::MessageEdited { .. }
                | EventBody::MessageWithdrawn { .. }
                | EventBody::ReactionAdded(_)
                | EventBody::ReactionRemoved(_)
                | EventBody::ButtonPressed { .. }
                | EventBody::Unreadable { .. }
                | EventBody::AttachmentUpdated { .. }
                | EventBody::ConversationUpdated { .. } => {}
            }
        }
        assert_eq!(inbound.len(), SAID);
        assert_eq!(answered, inbound);
        assert_eq!(delivered, outbound);
    }
    no_flaw(&bench).await;
}

/// Claims and settles until everything is settled. Every seventh claim is dropped without a word.
async fn work(bench: Arc<Bench>, lane: Lane, mut turn: usize, settled: Arc<AtomicUsize>, all: usize) {
    while settled.load(Ordering::SeqCst) < all {
        let claims = bench.claim(lane, 2).await.claims;
        if claims.is_empty() {
            // Whoever went silent is waited for until their time is over.
            bench.clock.advance(LEASE / 4);
            tokio::task::yield_now().await;
        }
        for claim in claims {
            turn += 1;
            if turn.is_multiple_of(7) {
                continue;
            }
            let message = claim.event.body.message().unwrap().id;
            let applied = bench.settle(&claim, vec![trace(&bench, lane, message)], Then::Advance).await;
            match applied {
                Applied::Done { .. } => drop(settled.fetch_add(1, Ordering::SeqCst)),
                other => assert_eq!(other, Applied::LeaseLost),
            }
        }
    }
}

fn trace(bench: &Bench, lane: Lane, message: MessageId) -> Effect {
    match lane {
        Lane::Agent => {
            let reply = Message { reply_to: Some(message), ..said(bench.message_id(), Direction::Outbound) };
            let wakes = vec![Wake { lane: Lane::Deliver, only_if_owner: None }];
            bench.event(reply, wakes, Some(DeliveryStatus::Queued))
        }
        Lane::Deliver => Effect::Append {
            id: bench.event_id(),
            at: bench.clock.now(),
            body: EventBody::DeliveryUpdated {
                message_id: message,
                status: DeliveryStatus::Sent,
                parts: 1,
                error: None,
            },
            wakes: Vec::new(),
            status: None,
        },
    }
}
