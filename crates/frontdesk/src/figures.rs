//! The daemon's figures as Prometheus reads them, with what the process itself uses.

use std::{fmt::Write as _, sync::Arc};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// From a tenth of a millisecond to a minute: what a store, an agent and a far end take.
const SECONDS: [f64; 18] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];
/// From a second to a day: what a customer waits for an answer.
const RESPONSES: [f64; 12] = [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0];

/// What each figure is, as `/metrics` says it.
const MEANINGS: [(Figure, &str, &str); 19] = [
    (Figure::Gauge, "frontdesk_build_info", "Always 1; the label is the daemon's version."),
    (Figure::Counter, "frontdesk_messages_total", "Messages taken in (inbound) and sent (outbound)."),
    (Figure::Counter, "frontdesk_agent_attempts_total", "Requests to the agent, by how they ended."),
    (Figure::Histogram, "frontdesk_agent_seconds", "What a request to the agent took."),
    (Figure::Counter, "frontdesk_delivery_attempts_total", "Tries to send, by how they ended."),
    (Figure::Histogram, "frontdesk_delivery_seconds", "What a try to send took."),
    (Figure::Histogram, "frontdesk_response_seconds", "What customers waited for an answer."),
    (Figure::Histogram, "frontdesk_first_response_seconds", "What customers waited for a conversation's first answer."),
    (Figure::Counter, "frontdesk_store_errors_total", "What the store could not do, by why."),
    (Figure::Histogram, "frontdesk_store_seconds", "What each verb of the store took."),
    (Figure::Gauge, "frontdesk_conversations", "Conversations, by status."),
    (Figure::Gauge, "frontdesk_dead_letters", "What was given up and is neither replayed nor dropped."),
    (
        Figure::Gauge,
        "frontdesk_lanes",
        "Conversations with work, by what for, channel, and whether it waits, is in hand or is parked.",
    ),
    (Figure::Gauge, "frontdesk_lane_oldest_seconds", "How long the oldest work has waited."),
    (
        Figure::Gauge,
        "frontdesk_endpoint_state",
        "The agent and each channel: 0 is well, 1 unwell, 2 stopped until it is resumed.",
    ),
    (Figure::Counter, "frontdesk_http_refused_total", "Requests, connections and streams turned away, by why."),
    (Figure::Counter, "frontdesk_http_requests_total", "Requests answered, by route and class of status."),
    (Figure::Histogram, "frontdesk_http_request_seconds", "What a request took until its answer began."),
    (Figure::Gauge, "frontdesk_http_streams_open", "Streams of changes that are open."),
];

/// How a figure moves.
#[derive(Clone, Copy)]
enum Figure {
    Counter,
    Gauge,
    Histogram,
}

/// Writes all figures down.
pub(crate) type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// Installs the recorder for this process. `None`: another is there already (a test, an example), and keeps counting.
pub(crate) fn install() -> Option<Render> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("response_seconds".into()), &RESPONSES)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS));
    let handle = builder.ok()?.install_recorder().ok()?;
    for (figure, name, meaning) in MEANINGS {
        match figure {
            Figure::Counter => metrics::describe_counter!(name, meaning),
            Figure::Gauge => metrics::describe_gauge!(name, meaning),
            Figure::Histogram => metrics::describe_histogram!(name, meaning),
        }
    }
    metrics::gauge!("frontdesk_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Some(Arc::new(move || render(&handle)))
}

fn render(handle: &PrometheusHandle) -> String {
    handle.run_upkeep();
    let mut page = handle.render();
    process(&mut page);
    page
}

/// What `/proc` says of this process, under the names that Prometheus's own libraries give. What cannot be read is left out.
fn process(page: &mut String) {
    let mut say = |name: &str, kind: &str, meaning: &str, figure: f64| {
        // Writing to a string cannot fail.
        let _ = write!(page, "# HELP {name} {meaning}\n# TYPE {name} {kind}\n{name} {figure}\n\n");
    };
    if let Ok(stat) = std::fs::read_to_string("/proc/self/stat") {
        // The name in brackets may hold anything; the figures follow its last bracket.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok());
        let ticks = rustix::param::clock_ticks_per_second();
        if let (Some(user), Some(system)) = (number(11), number(12)) {
            let spent = (user + system) / precise(ticks);
            say("process_cpu_seconds_total", "counter", "Processor time that the daemon spent.", spent);
        }
        if let Some(pages) = number(21) {
            let bytes = pages * precise(rustix::param::page_size() as u64);
            say("process_resident_memory_bytes", "gauge", "Memory that the daemon has.", bytes);
        }
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        say("process_open_fds", "gauge", "Descriptors that are open.", precise(open.count() as u64));
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        say("process_max_fds", "gauge", "Descriptors that may be open.", precise(most));
    }
}

/// Figures beyond 2^53 would be rounded; there are none.
#[allow(clippy::cast_precision_loss)]
fn precise(number: u64) -> f64 {
    number as f64
}
