//! The daemon's figures as Prometheus reads them, with what the process itself uses.

use std::sync::Arc;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// From a tenth of a millisecond to a minute: what a store, an agent and a far end take.
const SECONDS: [f64; 18] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];
/// From a second to a day: what a customer waits for an answer.
const RESPONSES: [f64; 12] = [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0];

/// Writes all figures down.
pub(crate) type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// Installs the recorder for this process. `None`: another is there already (a test, an example), and keeps counting.
pub(crate) fn install() -> Option<Render> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("response_seconds".into()), &RESPONSES)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS));
    let handle = builder.ok()?.install_recorder().ok()?;
    metrics::gauge!("frontdesk_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Some(Arc::new(move || render(&handle)))
}

fn render(handle: &PrometheusHandle) -> String {
    handle.run_upkeep();
    process();
    handle.render()
}

/// What `/proc` says of this process. What cannot be read is left out.
fn process() {
    let Some(stat) = std::fs::read_to_string("/proc/self/stat").ok() else { return };
    // The name in brackets may hold anything; the figures follow its last bracket.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let number = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok());
    let ticks = rustix::param::clock_ticks_per_second();
    if let (Some(user), Some(system)) = (number(11), number(12)) {
        metrics::gauge!("process_cpu_seconds_total").set((user + system) / precise(ticks));
    }
    if let Some(pages) = number(21) {
        metrics::gauge!("process_resident_memory_bytes").set(pages * precise(rustix::param::page_size() as u64));
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        metrics::gauge!("process_open_fds").set(precise(open.count() as u64));
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        metrics::gauge!("process_max_fds").set(precise(most));
    }
}

/// Figures beyond 2^53 would be rounded; there are none.
#[allow(clippy::cast_precision_loss)]
fn precise(number: u64) -> f64 {
    number as f64
}
