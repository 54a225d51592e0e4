//! The figures, for people and for programs.

use std::{fmt, time::Duration};

use frontdesk_testkit::process::Memory;
use serde_json::{Value, json};

use crate::{
    Options,
    generator::Sent,
    ledger::{Ledger, Verdict},
    machine::{Spent, Strangers},
};

/// What the daemon is meant to reach with SQLite and full durability, on one core.
mod aims {
    pub(super) const RATE: f64 = 2500.0;
    pub(super) const CPU_MS: f64 = 250.0;
    pub(super) const CALM_P99_MS: f64 = 10.0;
    pub(super) const IDLE_MIB: f64 = 20.0;
    pub(super) const READY_MS: f64 = 100.0;
}

/// Everything.
pub(crate) struct Report {
    pub(crate) options: Options,
    pub(crate) cores: String,
    pub(crate) starts: Starts,
    pub(crate) idle_memory: Memory,
    /// Processor time of one idle second.
    pub(crate) idle_cpu: Duration,
    pub(crate) memory_after: Memory,
    pub(crate) figures: Figures,
    pub(crate) bare: Option<Figures>,
    /// Small durable appends a second.
    pub(crate) fsyncs: f64,
    pub(crate) durable: Option<Durable>,
    pub(crate) verdict: Verdict,
    pub(crate) profile: Option<String>,
}

/// From the start of the process to ready, medians.
pub(crate) struct Starts {
    pub(crate) empty: Duration,
    pub(crate) existing: Duration,
    /// Once, on the folder that the load left.
    pub(crate) existing_after_load: Duration,
}

/// Both kinds of load.
pub(crate) struct Figures {
    pub(crate) open: Phase,
    pub(crate) saturated: Phase,
}

/// Messages per durable write.
pub(crate) struct Durable {
    pub(crate) calm: f64,
    pub(crate) saturated: f64,
    /// Messages a second in that pass, which counting slows down.
    pub(crate) rate: f64,
}

/// One load.
pub(crate) struct Phase {
    count: usize,
    took: Duration,
    /// From the time it was due to the arrival at the far end.
    whole_way: Percentiles,
    /// To the 202.
    acknowledged: Percentiles,
    /// How late sending began: ours, not the daemon's, but part of both.
    late: Percentiles,
    daemon: Spent,
    load: Spent,
    strangers: Strangers,
}

/// In milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Percentiles {
    p50: f64,
    p99: f64,
    p999: f64,
    most: f64,
}

impl Percentiles {
    fn of(spans: impl Iterator<Item = Duration>) -> Self {
        let mut sorted: Vec<f64> = spans.map(|span| span.as_secs_f64() * 1000.0).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        // The smallest value that so many do not exceed.
        let at = |part: usize, of: usize| {
            let rank = (sorted.len() * part).div_ceil(of).max(1);
            sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
        };
        Self { p50: at(50, 100), p99: at(99, 100), p999: at(999, 1000), most: at(1, 1) }
    }

    fn json(self) -> Value {
        json!({"p50": rounded(self.p50), "p99": rounded(self.p99), "p99.9": rounded(self.p999), "max": rounded(self.most)})
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, p999, most } = self;
        write!(f, "p50 {p50:.2}  p99 {p99:.2}  p99.9 {p999:.2}  longest {most:.2} ms")
    }
}

impl Phase {
    pub(crate) fn new(ledger: &Ledger, sent: &Sent, daemon: Spent, load: Spent, strangers: Strangers) -> Self {
        let said = || ledger.said(&sent.conversations);
        Self {
            count: sent.count,
            took: sent.took,
            whole_way: Percentiles::of(said().filter_map(|said| Some(said.arrived? - said.due))),
            acknowledged: Percentiles::of(said().filter_map(|said| Some(said.acknowledged? - said.due))),
            late: Percentiles::of(said().map(|said| said.begun - said.due)),
            daemon,
            load,
            strangers,
        }
    }

    fn rate(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }

    /// Milliseconds for 1,000 messages.
    fn per_thousand(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.count as f64
    }

    fn cpu(&self) -> f64 {
        self.per_thousand(self.daemon.total())
    }

    /// Threads by what they took, the dearest first.
    fn threads(&self) -> Vec<(&str, f64)> {
        let mut threads: Vec<(&str, f64)> =
            self.daemon.threads.iter().map(|(name, time)| (name.as_str(), self.per_thousand(*time))).collect();
        threads.sort_by(|one, other| other.1.total_cmp(&one.1));
        threads
    }

    fn json(&self) -> Value {
        let threads: serde_json::Map<String, Value> =
            self.threads().into_iter().map(|(name, time)| (name.to_owned(), rounded(time))).collect();
        json!({
            "messages": self.count,
            "seconds": rounded(self.took.as_secs_f64()),
            "messages_per_second": rounded(self.rate()),
            "whole_way_ms": self.whole_way.json(),
            "acknowledged_ms": self.acknowledged.json(),
            "sent_late_ms": self.late.json(),
            "cpu_ms_per_1000": {
                "user": rounded(self.per_thousand(self.daemon.user)),
                "system": rounded(self.per_thousand(self.daemon.system)),
                "all": rounded(self.cpu()),
                "threads": threads,
            },
            "load_cpu_ms_per_1000": rounded(self.per_thousand(self.load.total())),
            "other_processes": {
                "with_daemon": rounded(self.strangers.with_daemon),
                "elsewhere": rounded(self.strangers.elsewhere),
            },
        })
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  whole way           {}", self.whole_way)?;
        writeln!(f, "  acknowledged        {}", self.acknowledged)?;
        writeln!(
            f,
            "  processor time      {:.0} ms per 1,000 messages ({:.0} user, {:.0} system); the load itself {:.0}",
            self.cpu(),
            self.per_thousand(self.daemon.user),
            self.per_thousand(self.daemon.system),
            self.per_thousand(self.load.total()),
        )?;
        let threads: Vec<String> = self.threads().iter().map(|(name, time)| format!("{name} {time:.0}")).collect();
        writeln!(f, "    by thread         {}", threads.join(", "))?;
        writeln!(
            f,
            "  other processes     {:.0} % of the daemon's core, {:.0} % of the others",
            self.strangers.with_daemon * 100.0,
            self.strangers.elsewhere * 100.0
        )
    }
}

impl Report {
    /// Whether the ledger agrees with what was acknowledged.
    pub(crate) fn is_sound(&self) -> bool {
        self.verdict.is_sound()
    }

    pub(crate) fn json(&self) -> Value {
        let Verdict { accepted, lost, doubled, out_of_order, strange, refused, broken } = self.verdict;
        let bare = self.bare.as_ref();
        json!({
            "cores": self.cores,
            "senders": self.options.senders,
            "in_flight": self.options.in_flight,
            "ready_ms": {
                "empty_folder": millis(self.starts.empty),
                "existing_folder": millis(self.starts.existing),
                "after_load": millis(self.starts.existing_after_load),
            },
            "memory_mib": {
                "idle": rounded(self.idle_memory.resident),
                "peak": rounded(self.memory_after.peak),
                "after": rounded(self.memory_after.resident),
            },
            "idle_cpu_ms_per_second": millis(self.idle_cpu),
            "open": self.figures.open.json(),
            "saturated": self.figures.saturated.json(),
            "messages_per_fsync": self.durable.as_ref().map(|durable| json!({
                "open": rounded(durable.calm),
                "saturated": rounded(durable.saturated),
                "messages_per_second_while_counted": rounded(durable.rate),
            })),
            "ledger": {
                "accepted": accepted, "lost": lost, "doubled": doubled, "out_of_order": out_of_order,
                "strange": strange, "refused": refused, "broken": broken,
            },
            "yardsticks": {
                "fsyncs_per_second": rounded(self.fsyncs),
                "bare_loop": bare.map(|bare| json!({"open": bare.open.json(), "saturated": bare.saturated.json()})),
            },
            "ratios": bare.map(|bare| json!({
                "messages_per_second_to_bare": rounded(self.figures.saturated.rate() / bare.saturated.rate()),
                "cpu_to_bare": rounded(self.figures.saturated.cpu() / bare.saturated.cpu()),
                "open_p99_to_bare": rounded(self.figures.open.whole_way.p99 / bare.open.whole_way.p99),
                "messages_per_second_to_fsyncs": rounded(self.figures.saturated.rate() / self.fsyncs),
            })),
            "aims": {
                "messages_per_second": aims::RATE, "cpu_ms_per_1000": aims::CPU_MS, "open_p99_ms": aims::CALM_P99_MS,
                "idle_mib": aims::IDLE_MIB, "ready_ms": aims::READY_MS,
            },
            "profile": self.profile,
        })
    }

    fn write_yardsticks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let saturated = &self.figures.saturated;
        writeln!(f, "the machine's yardsticks")?;
        writeln!(
            f,
            "  durable appends     {:.0}/s one after another; messages a second per append a second: {:.2}",
            self.fsyncs,
            saturated.rate() / self.fsyncs
        )?;
        let Some(bare) = &self.bare else { return Ok(()) };
        writeln!(
            f,
            "  bare loop           {:.0} messages/s, {:.0} ms of processor time per 1,000, p99 {:.2} ms when calm",
            bare.saturated.rate(),
            bare.saturated.cpu(),
            bare.open.whole_way.p99
        )?;
        writeln!(
            f,
            "  the daemon to it    {:.2} of the rate, {:.2} times the processor time, {:.2} times the p99 when calm",
            saturated.rate() / bare.saturated.rate(),
            saturated.cpu() / bare.saturated.cpu(),
            self.figures.open.whole_way.p99 / bare.open.whole_way.p99
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { open, saturated } = &self.figures;
        let ready = millis_f64(self.starts.empty).max(millis_f64(self.starts.existing));
        writeln!(f, "webhook in, agent, webhook out; SQLite, strict; {}", self.cores)?;
        writeln!(
            f,
            "start to ready        {:.0} ms on an empty folder, {:.0} on an existing one, {:.0} after the load{}",
            millis_f64(self.starts.empty),
            millis_f64(self.starts.existing),
            millis_f64(self.starts.existing_after_load),
            aim(ready, Side::Below, aims::READY_MS)
        )?;
        writeln!(
            f,
            "memory                {:.1} MiB idle, {:.1} at most, {:.1} after the load (VmRSS, VmHWM){}",
            self.idle_memory.resident,
            self.memory_after.peak,
            self.memory_after.resident,
            aim(self.idle_memory.resident, Side::Below, aims::IDLE_MIB)
        )?;
        writeln!(f, "idle                  {:.2} ms of processor time a second", millis_f64(self.idle_cpu))?;
        writeln!(
            f,
            "{:.0} messages/s, open  {} messages{}",
            self.options.rate,
            open.count,
            aim(open.whole_way.p99, Side::Below, aims::CALM_P99_MS)
        )?;
        open.write(f)?;
        writeln!(f, "  sent late           {}", open.late)?;
        writeln!(
            f,
            "saturated             {:.0} messages/s ({} messages, {} senders, {} under way){}{}",
            saturated.rate(),
            saturated.count,
            self.options.senders,
            self.options.in_flight,
            aim(saturated.rate(), Side::Above, aims::RATE),
            aim(saturated.cpu(), Side::Below, aims::CPU_MS)
        )?;
        saturated.write(f)?;
        match &self.durable {
            Some(durable) => writeln!(
                f,
                "messages per fsync    {:.2} saturated, {:.2} when calm (a pass of its own, at {:.0} messages/s)",
                durable.saturated, durable.calm, durable.rate
            )?,
            None => writeln!(f, "messages per fsync    not counted (needs strace)")?,
        }
        let Verdict { accepted, lost, doubled, out_of_order, strange, refused, broken } = self.verdict;
        writeln!(
            f,
            "ledger                {accepted} accepted: {lost} lost, {doubled} doubled, {out_of_order} out of order, \
             {strange} never sent; {refused} refused, {broken} without an answer"
        )?;
        self.write_yardsticks(f)?;
        if let Some(profile) = &self.profile {
            writeln!(f, "the daemon's functions by their share of its processor time\n{profile}")?;
        }
        Ok(())
    }
}

enum Side {
    Above,
    Below,
}

fn aim(value: f64, side: Side, aim: f64) -> String {
    let (reached, words) = match side {
        Side::Above => (value >= aim, "at least"),
        Side::Below => (value <= aim, "at most"),
    };
    format!("  [aim: {words} {aim}{}]", if reached { ", reached" } else { ", MISSED" })
}

fn millis_f64(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

fn millis(span: Duration) -> Value {
    rounded(millis_f64(span))
}

/// Three digits behind the point are more than any of these figures is worth.
fn rounded(value: f64) -> Value {
    json!((value * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Percentiles;

    #[test]
    fn a_percentile_is_a_value_that_so_many_do_not_exceed() {
        let spans = (1..=1000).rev().map(Duration::from_millis);
        assert_eq!(Percentiles::of(spans), Percentiles { p50: 500.0, p99: 990.0, p999: 999.0, most: 1000.0 });
        let one = Percentiles::of([Duration::from_millis(7)].into_iter());
        assert_eq!(one, Percentiles { p50: 7.0, p99: 7.0, p999: 7.0, most: 7.0 });
    }
}
