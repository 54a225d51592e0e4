//! The other daemons on the same store: hearing of them, telling them how things are here, holding what one alone may hold.

use std::{collections::HashMap, sync::Arc, time::Duration};

use frontdesk_model::{DaemonId, Gathering, Pause, Presence, StoreError, Waiting};
use tokio::sync::watch;

use crate::{health::Standing, runtime::Shared};

/// Between two meetings.
const MEET_EVERY: Duration = Duration::from_secs(3);
/// A daemon that is silent for longer is gone, and its channels are free: the same as a lane's lease.
const STAY: Duration = Duration::from_secs(30);
/// What it holds alone it holds for this long after the last meeting at which it was told so, by its own clock: less than the others wait.
const HOLD: Duration = Duration::from_secs(20);

/// What is known of the others.
pub(crate) struct Company {
    pub(crate) me: DaemonId,
    heard: watch::Sender<Arc<Heard>>,
}

/// The latest meeting.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) gathering: Gathering,
    /// When it was asked for, in time since boot: what is held is held from there.
    at: Duration,
}

impl Company {
    pub(crate) fn new(me: DaemonId) -> Self {
        Self { me, heard: watch::Sender::default() }
    }

    pub(crate) fn heard(&self) -> Arc<Heard> {
        Arc::clone(&self.heard.borrow())
    }
}

/// Runs until the daemon drains, and then takes leave.
pub(crate) async fn run(shared: Arc<Shared>) {
    while !shared.is_draining() {
        if let Err(error) = meet(&shared).await {
            shared.note_store_error(&error);
        }
        tokio::select! {
            () = shared.clock.sleep(MEET_EVERY) => {}
            () = shared.draining() => {}
        }
    }
    if let Err(error) = shared.store.company().leave(shared.company.me).await {
        shared.note_store_error(&error);
    }
}

async fn meet(shared: &Shared) -> Result<(), StoreError> {
    let at = shared.clock.boot();
    let gathering = shared.store.company().meet(presence(shared)).await?;
    let live = shared.live();
    let mut rests: HashMap<&Waiting, Duration> = HashMap::new();
    for pause in &gathering.pauses {
        let rest = rests.entry(&pause.of).or_default();
        *rest = pause.rest.max(*rest);
    }
    for (of, rest) in rests {
        match of {
            Waiting::Agent => {
                if let Some(agent) = &live.agent {
                    agent.work().health.hushed(rest, at);
                }
            }
            Waiting::Channel { kind, account } => {
                if let Some(channel) = live.channel(kind, account) {
                    channel.gate.health.hushed(rest, at);
                }
            }
            // Nobody is asked to leave these alone.
            Waiting::Attachments(_) => {}
        }
    }
    shared.company.heard.send_replace(Arc::new(Heard { gathering, at }));
    Ok(())
}

fn presence(shared: &Shared) -> Presence {
    let live = shared.live();
    let now = shared.clock.boot();
    let mut unwell = Vec::new();
    let mut pauses = Vec::new();
    let mut wants = Vec::new();
    let mut in_hand = [0, 0];
    let mut note = |of: Waiting, health: &crate::health::Health, name: &str| {
        match health.standing() {
            (Standing::Well, ..) => {}
            (Standing::Unwell, _, reason) => unwell.push(format!("{name} is unwell: {reason}")),
            (Standing::Stopped, ..) => unwell.push(format!("{name} wants nothing more (410)")),
        }
        if let Some(rest) = health.own_pause(now) {
            pauses.push(Pause { of, rest });
        }
    };
    if let Some(agent) = &live.agent {
        in_hand = [agent.in_hand() as u64, 0];
        note(Waiting::Agent, &agent.work().health, "the agent");
    }
    if let Some(delivery) = &live.delivery {
        let [agent, _] = in_hand;
        in_hand = [agent, delivery.in_hand() as u64];
    }
    for channel in live.channels() {
        let connected = &channel.connected;
        let of = Waiting::Channel { kind: connected.kind.clone(), account: connected.account.clone() };
        note(of.clone(), &channel.gate.health, &format!("channel {}", connected.name));
        if connected.adapter.is_exclusive() {
            wants.push(of);
        }
    }
    unwell.sort();
    Presence {
        daemon: shared.company.me,
        name: live.options.name.clone(),
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: shared.started_at,
        at: shared.clock.now(),
        stay: STAY,
        in_hand,
        unwell,
        wants,
        pauses,
    }
}

/// Completes when this daemon is the one that holds a channel.
pub(crate) async fn held(shared: &Shared, channel: &Waiting) {
    let mut heard = shared.company.heard.subscribe();
    while !holds(shared, &heard.borrow_and_update(), channel) {
        // The sender lives in `shared`.
        let _ = heard.changed().await;
    }
}

/// Completes when it is not (or cannot be sure of it) any more.
pub(crate) async fn lost(shared: &Shared, channel: &Waiting) {
    let mut heard = shared.company.heard.subscribe();
    loop {
        let left = {
            let latest = heard.borrow_and_update();
            if !holds(shared, &latest, channel) {
                return;
            }
            (latest.at + HOLD).saturating_sub(shared.clock.boot())
        };
        tokio::select! {
            _ = heard.changed() => {}
            () = shared.clock.sleep(left) => {}
        }
    }
}

fn holds(shared: &Shared, heard: &Heard, channel: &Waiting) -> bool {
    let ours = |(held, holder): &(Waiting, DaemonId)| held == channel && *holder == shared.company.me;
    shared.clock.boot() < heard.at + HOLD && heard.gathering.held.iter().any(ours)
}
