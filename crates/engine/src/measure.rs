//! What the daemon counts about itself, through the `metrics` facade: without a recorder it costs next to nothing.
//!
//! | name | what |
//! |---|---|
//! | `frontdesk_messages_total{channel,direction}` | messages taken in; messages that came to an end on their way out |
//! | `frontdesk_agent_attempts_total{outcome}` · `frontdesk_agent_seconds` | requests to the agent, and how long they took |
//! | `frontdesk_delivery_attempts_total{channel,outcome}` · `frontdesk_delivery_seconds{channel}` | sends of parts |
//! | `frontdesk_endpoint_state{endpoint}` | 0 well, 1 unwell, 2 stopped; `agent` or `channel:NAME` |
//! | `frontdesk_lanes{lane,channel,state}` · `frontdesk_lane_oldest_seconds{lane,channel}` | what waits, and for how long |
//! | `frontdesk_conversations{status}` · `frontdesk_dead_letters` | how many there are |
//! | `frontdesk_store_seconds{verb}` · `frontdesk_store_errors_total{error}` | the store's answers |
//! | `frontdesk_first_response_seconds` · `frontdesk_response_seconds` | from a contact's message to the answer: the first of a conversation, and each |

use std::{collections::HashSet, future::Future, sync::Arc, time::Duration};

use frontdesk_model::{ChannelName, Conversation, DeliveryStatus, Direction, Lane, StoreError, Timestamp};

use crate::{health::Standing, runtime::Shared};

/// How often what waits is counted.
const CENSUS_EVERY: Duration = Duration::from_secs(15);

pub(crate) fn message(channel: &ChannelName, direction: Direction) {
    let direction = match direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    };
    metrics::counter!("frontdesk_messages_total", "channel" => channel.as_str().to_owned(), "direction" => direction)
        .increment(1);
}

pub(crate) fn agent_attempt(outcome: &'static str, took: Duration) {
    metrics::counter!("frontdesk_agent_attempts_total", "outcome" => outcome).increment(1);
    metrics::histogram!("frontdesk_agent_seconds").record(took);
}

pub(crate) fn delivery_attempt(channel: &ChannelName, outcome: &'static str, took: Duration) {
    let channel = channel.as_str().to_owned();
    metrics::counter!("frontdesk_delivery_attempts_total", "channel" => channel.clone(), "outcome" => outcome)
        .increment(1);
    metrics::histogram!("frontdesk_delivery_seconds", "channel" => channel).record(took);
}

pub(crate) fn delivered(channel: &ChannelName, status: DeliveryStatus) {
    if status == DeliveryStatus::Sent {
        message(channel, Direction::Outbound);
    }
}

pub(crate) fn response(took: Duration, first: bool) {
    metrics::histogram!("frontdesk_response_seconds").record(took);
    if first {
        metrics::histogram!("frontdesk_first_response_seconds").record(took);
    }
}

/// A conversation that waited was answered. Without the moment of the unanswered message its conversation's tells: right
/// for the first answer, left out for later ones.
pub(crate) fn answered(conversation: &Conversation, now: Timestamp) {
    if conversation.first_answered_at.is_none() {
        response(now.since(conversation.created_at), true);
    }
}

pub(crate) fn store_trouble(error: &StoreError) {
    let error = match error {
        StoreError::Full(_) => "full",
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Refused(_) => "refused",
    };
    metrics::counter!("frontdesk_store_errors_total", "error" => error).increment(1);
}

/// Times a verb.
pub(crate) async fn store<T>(verb: &'static str, call: impl Future<Output = T>) -> T {
    let asked = std::time::Instant::now();
    let answer = call.await;
    metrics::histogram!("frontdesk_store_seconds", "verb" => verb).record(asked.elapsed());
    answer
}

/// Counts what waits, again and again.
pub(crate) async fn census(shared: Arc<Shared>) {
    let mut known = HashSet::new();
    while !shared.is_draining() {
        count(&shared, &mut known).await;
        tokio::select! {
            () = shared.clock.sleep(CENSUS_EVERY) => {}
            () = shared.draining() => {}
        }
    }
}

async fn count(shared: &Shared, known: &mut HashSet<(Lane, ChannelName)>) {
    let live = shared.live();
    if let Some(agent) = &live.agent {
        endpoint("agent".into(), agent.work().health.standing().0);
    }
    for channel in live.channels() {
        endpoint(format!("channel:{}", channel.connected.name), channel.gate.health.standing().0);
    }
    let census = match shared.store.census().await {
        Ok(census) => census,
        Err(error) => return shared.note_store_error(&error),
    };
    for (status, number) in [("open", census.open), ("pending", census.pending), ("resolved", census.resolved)] {
        metrics::gauge!("frontdesk_conversations", "status" => status).set(precise(number));
    }
    metrics::gauge!("frontdesk_dead_letters").set(precise(census.dead_letters));
    // What had work before and has none now is zero, not gone.
    let mut gone = std::mem::take(known);
    for row in &census.lanes {
        let key = (row.lane, row.channel.clone());
        gone.remove(&key);
        let oldest = row.oldest_at.map_or(Duration::ZERO, |at| shared.clock.now().since(at));
        lane(&key, [row.ready, row.claimed, row.parked], oldest);
        known.insert(key);
    }
    for key in gone {
        lane(&key, [0; 3], Duration::ZERO);
    }
}

fn lane((lane, channel): &(Lane, ChannelName), counts: [u64; 3], oldest: Duration) {
    let lane = match lane {
        Lane::Agent => "agent",
        Lane::Deliver => "deliver",
    };
    let channel = channel.as_str();
    for (state, number) in ["ready", "claimed", "parked"].into_iter().zip(counts) {
        metrics::gauge!("frontdesk_lanes", "lane" => lane, "channel" => channel.to_owned(), "state" => state)
            .set(precise(number));
    }
    metrics::gauge!("frontdesk_lane_oldest_seconds", "lane" => lane, "channel" => channel.to_owned())
        .set(oldest.as_secs_f64());
}

fn endpoint(name: String, standing: Standing) {
    let state = match standing {
        Standing::Well => 0.0,
        Standing::Unwell => 1.0,
        Standing::Stopped => 2.0,
    };
    metrics::gauge!("frontdesk_endpoint_state", "endpoint" => name).set(state);
}

/// Counts beyond 2^53 would be rounded; there are none.
#[allow(clippy::cast_precision_loss)]
fn precise(number: u64) -> f64 {
    number as f64
}
