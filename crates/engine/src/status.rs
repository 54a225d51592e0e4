//! How everything is, for the operator: what `GET /v1/status` answers.

use frontdesk_model::{
    Census, ChannelName, DaemonId, KindName, Lane, LaneCensus, Presence, Room, StoreError, Timestamp, Waiting,
};
use serde::Serialize;

use crate::{
    agent::LOUD_PAUSE,
    desk::DeskError,
    health::{Health, Standing},
    runtime::Shared,
};

/// The daemon and everything around it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct StatusView {
    daemon: DaemonView,
    store: StoreView,
    /// Every daemon on the store, this one included, the one that started first at the front.
    daemons: Vec<PresentView>,
    agent: AgentView,
    channels: Vec<ChannelView>,
    lanes: Vec<LaneView>,
    conversations: ConversationsView,
    dead_letters: u64,
    /// What is unwell, a sentence each, the worst first. Empty when all is well.
    unwell: Vec<String>,
}

/// The daemon itself.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct DaemonView {
    version: &'static str,
    /// How it is reached.
    public_url: String,
    started_at: Timestamp,
    now: Timestamp,
    stopping: bool,
}

/// One daemon on the store, as it told the others at its latest meeting with them.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct PresentView {
    id: DaemonId,
    /// Its machine and process.
    name: String,
    version: String,
    started_at: Timestamp,
    seen_at: Timestamp,
    /// Whether it is the one that answers.
    this: bool,
    /// Events that it has with the agent.
    agent_in_hand: u64,
    /// Messages that it is sending.
    deliver_in_hand: u64,
    /// Channels on which it alone receives.
    holds: Vec<String>,
    /// What is unwell as it sees it.
    unwell: Vec<String>,
}

/// Where conversations are kept.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct StoreView {
    name: String,
    durability: String,
    /// Whether new messages are taken.
    room: bool,
    /// Why not.
    #[schema(required)]
    reason: Option<String>,
}

/// The agent endpoint.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct AgentView {
    state: StateView,
    #[schema(required)]
    since: Option<Timestamp>,
    #[schema(required)]
    reason: Option<String>,
    in_hand: usize,
    /// It asked for quiet, until then nothing is sent.
    #[schema(required)]
    quiet_until: Option<Timestamp>,
}

/// How an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateView {
    /// It works, as far as is known.
    Well,
    /// It fails; it is tried again by itself.
    Unwell,
    /// It said that it wants nothing more; it is resumed by hand.
    Stopped,
    /// It is not in the configuration.
    Absent,
}

/// One channel.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ChannelView {
    name: ChannelName,
    #[schema(required)]
    kind: Option<KindName>,
    state: StateView,
    #[schema(required)]
    since: Option<Timestamp>,
    #[schema(required)]
    reason: Option<String>,
    /// It asked for quiet, until then nothing is sent.
    #[schema(required)]
    quiet_until: Option<Timestamp>,
    /// When a message last came in, since the daemon started.
    #[schema(required)]
    last_received_at: Option<Timestamp>,
    /// When a part last went out, since the daemon started.
    #[schema(required)]
    last_sent_at: Option<Timestamp>,
    /// Conversations with a message that waits to go out.
    waiting: u64,
    /// When the oldest of those messages was written.
    #[schema(required)]
    oldest_at: Option<Timestamp>,
}

/// What lanes of one kind have to do on one channel.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct LaneView {
    lane: Lane,
    channel: ChannelName,
    ready: u64,
    claimed: u64,
    parked: u64,
    #[schema(required)]
    oldest_at: Option<Timestamp>,
}

/// How many conversations there are.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ConversationsView {
    open: u64,
    pending: u64,
    resolved: u64,
}

impl StatusView {
    /// All of it in a line: how many channels, and the worst of what is unwell.
    #[must_use]
    pub fn line(&self) -> String {
        let configured = self.channels.iter().filter(|channel| channel.state != StateView::Absent).count();
        let mut line = format!("serving; {configured} channel{}", if configured == 1 { "" } else { "s" });
        if let Some(worst) = self.unwell.first() {
            line.push_str("; ");
            line.push_str(worst);
        }
        if let more @ 1.. = self.unwell.len().saturating_sub(1) {
            line.push_str(&format!(" (and {more} more: frontdesk status)"));
        }
        line
    }
}

impl From<Standing> for StateView {
    fn from(of: Standing) -> Self {
        match of {
            Standing::Well => Self::Well,
            Standing::Unwell => Self::Unwell,
            Standing::Stopped => Self::Stopped,
        }
    }
}

pub(crate) async fn of(shared: &Shared) -> Result<StatusView, DeskError> {
    // A store that does not answer is no reason to say nothing of all the rest.
    let (census, unheard) = match shared.store.census().await {
        Ok(census) => (census, None),
        Err(StoreError::Unavailable(reason)) => (Census::default(), Some(reason)),
        Err(error) => return Err(error.into()),
    };
    let live = shared.live();
    let described = shared.store.describe();
    let reason = match (unheard, shared.store.room()) {
        (Some(reason), _) => Some(format!("{reason}; until it answers, it is not known what waits")),
        (None, Room::Low(reason)) => Some(reason),
        (None, Room::Enough) => None,
    };
    let quiet = |health: &Health| Some(shared.clock.now().plus(health.quiet_for(shared.clock.boot())?));
    let store = StoreView { name: described.name, durability: described.durability, room: reason.is_none(), reason };
    let agent = match &live.agent {
        None => AgentView { state: StateView::Absent, since: None, reason: None, in_hand: 0, quiet_until: None },
        Some(worker) => {
            let (standing, since, reason) = worker.work().health.standing();
            let quiet_until = quiet(&worker.work().health);
            AgentView { state: standing.into(), since, reason: said(reason), in_hand: worker.in_hand(), quiet_until }
        }
    };
    let mut channels: Vec<ChannelView> = live
        .channels()
        .map(|state| {
            let name = &state.connected.name;
            let (standing, since, reason) = state.gate.health.standing();
            ChannelView {
                name: name.clone(),
                kind: Some(state.connected.kind.clone()),
                state: standing.into(),
                since,
                reason: said(reason),
                quiet_until: quiet(&state.gate.health),
                last_received_at: state.gate.last.received(),
                last_sent_at: state.gate.last.sent(),
                waiting: waiting(&census, name),
                oldest_at: oldest(&census, name),
            }
        })
        .collect();
    // What waits for a channel that is not configured (any more) is shown, not hidden.
    for row in &census.lanes {
        if row.lane == Lane::Deliver && channels.iter().all(|channel| channel.name != row.channel) {
            channels.push(ChannelView {
                name: row.channel.clone(),
                kind: None,
                state: StateView::Absent,
                since: None,
                reason: Some("it is not in the configuration; its messages wait until it is".into()),
                quiet_until: None,
                last_received_at: None,
                last_sent_at: None,
                waiting: waiting(&census, &row.channel),
                oldest_at: oldest(&census, &row.channel),
            });
        }
    }
    channels.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    let unwell = what_is_unwell(&store, &agent, &channels, census.dead_letters, shared.clock.now());
    Ok(StatusView {
        daemon: DaemonView {
            version: env!("CARGO_PKG_VERSION"),
            public_url: live.options.public_url.clone(),
            started_at: shared.started_at,
            now: shared.clock.now(),
            stopping: shared.is_draining(),
        },
        store,
        daemons: present(shared),
        agent,
        channels,
        lanes: census.lanes.iter().map(LaneView::from).collect(),
        conversations: ConversationsView { open: census.open, pending: census.pending, resolved: census.resolved },
        dead_letters: census.dead_letters,
        unwell,
    })
}

fn present(shared: &Shared) -> Vec<PresentView> {
    let live = shared.live();
    let heard = shared.company.heard();
    let named = |of: &Waiting| match of {
        Waiting::Agent => "agent".to_owned(),
        Waiting::Channel { kind, account } => match live.channel(kind, account) {
            Some(channel) => channel.connected.name.to_string(),
            None => format!("{kind}:{account}"),
        },
        Waiting::Attachments(_) => "attachments".to_owned(),
    };
    let view = |daemon: &Presence| {
        let [agent_in_hand, deliver_in_hand] = daemon.in_hand;
        let held = heard.gathering.held.iter().filter(|(_, holder)| *holder == daemon.daemon);
        PresentView {
            id: daemon.daemon,
            name: daemon.name.clone(),
            version: daemon.version.clone(),
            started_at: daemon.started_at,
            seen_at: daemon.at,
            this: daemon.daemon == shared.company.me,
            agent_in_hand,
            deliver_in_hand,
            holds: held.map(|(of, _)| named(of)).collect(),
            unwell: daemon.unwell.clone(),
        }
    };
    heard.gathering.daemons.iter().map(view).collect()
}

impl From<&LaneCensus> for LaneView {
    fn from(of: &LaneCensus) -> Self {
        let LaneCensus { lane, channel, ready, claimed, parked, oldest_at } = of;
        Self {
            lane: *lane,
            channel: channel.clone(),
            ready: *ready,
            claimed: *claimed,
            parked: *parked,
            oldest_at: *oldest_at,
        }
    }
}

fn said(reason: String) -> Option<String> {
    Some(reason).filter(|reason| !reason.is_empty())
}

fn deliveries<'c>(census: &'c Census, channel: &'c ChannelName) -> impl Iterator<Item = &'c LaneCensus> {
    census.lanes.iter().filter(move |row| row.lane == Lane::Deliver && row.channel == *channel)
}

fn waiting(census: &Census, channel: &ChannelName) -> u64 {
    deliveries(census, channel).map(|row| row.ready + row.claimed + row.parked).sum()
}

fn oldest(census: &Census, channel: &ChannelName) -> Option<Timestamp> {
    deliveries(census, channel).filter_map(|row| row.oldest_at).min()
}

fn what_is_unwell(
    store: &StoreView,
    agent: &AgentView,
    channels: &[ChannelView],
    dead_letters: u64,
    now: Timestamp,
) -> Vec<String> {
    let long = |quiet_until: Option<Timestamp>| quiet_until.filter(|until| until.since(now) > LOUD_PAUSE);
    let mut unwell = Vec::new();
    if let Some(reason) = &store.reason {
        unwell.push(format!("the store takes no new messages: {reason}"));
    }
    let why = |reason: &Option<String>| reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match agent.state {
        StateView::Stopped => {
            unwell.push("the agent wants no more events (410); go on with: frontdesk agent resume".into());
        }
        StateView::Unwell => unwell.push(format!("the agent is unwell{}; events wait", why(&agent.reason))),
        StateView::Well | StateView::Absent => {}
    }
    if let Some(until) = long(agent.quiet_until) {
        unwell.push(format!(
            "the agent asked for quiet; events wait until {until}, or go on at once with: frontdesk agent resume"
        ));
    }
    for channel in channels {
        let name = &channel.name;
        match channel.state {
            StateView::Stopped => unwell
                .push(format!("channel {name} takes no more messages; go on with: frontdesk channel resume {name}")),
            StateView::Unwell => {
                unwell.push(format!("channel {name} is unwell{}; messages wait", why(&channel.reason)));
            }
            StateView::Absent => {
                unwell.push(format!("messages wait for channel {name}, which is not in the configuration"));
            }
            StateView::Well => {}
        }
        if let Some(until) = long(channel.quiet_until) {
            unwell.push(format!(
                "channel {name} asked for quiet; messages wait until {until}, or go on at once with: frontdesk channel resume {name}"
            ));
        }
    }
    match dead_letters {
        0 => {}
        1 => unwell.push("there is 1 dead letter; see: frontdesk dead-letters list".into()),
        more => unwell.push(format!("there are {more} dead letters; see: frontdesk dead-letters list")),
    }
    unwell
}
