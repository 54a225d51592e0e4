//! What the kernel says about processes and the machine, and the machine's own yardstick for durable writes.

use std::{
    collections::BTreeMap,
    fmt,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    str::FromStr,
    time::{Duration, Instant},
};

use frontdesk_testkit::process::{ProcessorTime, processor_time};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Kernel ticks in a second, as `/proc` counts; 100 on every Linux that matters here.
const TICK: Duration = Duration::from_millis(10);

/// Where the daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cores {
    /// Wherever the kernel puts it, like everything else.
    All,
    /// On this one, and everything else on the others.
    One(usize),
}

impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            number => number.parse().map(Self::One).map_err(|_| "the number of a core, or \"all\"".into()),
        }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => write!(f, "shared by all processes"),
            Self::One(core) => write!(f, "core {core} for the daemon, the others for the load"),
        }
    }
}

impl Cores {
    /// With a single core there is nothing to divide.
    pub(crate) fn settle(self) -> Self {
        let cores = sched_getaffinity(None).unwrap();
        match self {
            Self::One(core) => {
                assert!(cores.is_set(core), "this process may not use core {core}");
                if cores.count() > 1 { self } else { Self::All }
            }
            Self::All => Self::All,
        }
    }

    /// This process leaves the daemon's core alone.
    pub(crate) fn keep_off(self) {
        if let Self::One(core) = self {
            let mut others = sched_getaffinity(None).unwrap();
            others.unset(core);
            sched_setaffinity(None, &others).unwrap();
        }
    }

    /// Whatever process is begun in there runs on the daemon's core.
    pub(crate) fn on_it<T>(self, begin: impl FnOnce() -> T) -> T {
        let Self::One(core) = self else { return begin() };
        let usual = sched_getaffinity(None).unwrap();
        let mut one = CpuSet::new();
        one.set(core);
        sched_setaffinity(None, &one).unwrap();
        let begun = begin();
        sched_setaffinity(None, &usual).unwrap();
        begun
    }
}

/// Processor time of a process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spent {
    /// User and system, in whole ticks, of all threads that ever were.
    pub(crate) user: Duration,
    pub(crate) system: Duration,
    /// Of the threads that are there, by name, as exact as the kernel has it.
    pub(crate) threads: BTreeMap<String, Duration>,
}

impl Spent {
    pub(crate) fn of(process: u32) -> Self {
        let ProcessorTime { user, system } = processor_time(process).unwrap();
        let mut threads = BTreeMap::new();
        for task in std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten() {
            // A thread may end meanwhile.
            let read = |name| std::fs::read_to_string(task.path().join(name)).ok();
            let (Some(name), Some(schedstat)) = (read("comm"), read("schedstat")) else { continue };
            let nanos = schedstat.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0);
            *threads.entry(name.trim().to_owned()).or_default() += Duration::from_nanos(nanos);
        }
        Self { user, system, threads }
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        let earlier = |name: &str| before.threads.get(name).copied().unwrap_or_default();
        Self {
            user: self.user - before.user,
            system: self.system - before.system,
            threads: self
                .threads
                .iter()
                .map(|(name, time)| (name.clone(), time.saturating_sub(earlier(name))))
                .collect(),
        }
    }

    pub(crate) fn total(&self) -> Duration {
        self.user + self.system
    }

    /// Of the threads that are there: finer than ticks, for short spans.
    pub(crate) fn exactly(&self) -> Duration {
        self.threads.values().sum()
    }
}

/// How busy the cores have been since the machine started, whoever kept them so.
#[derive(Debug)]
pub(crate) struct Busy {
    cores: Cores,
    at: Instant,
    /// Core, busy time.
    each: Vec<Duration>,
}

/// What others did, as shares of a core's time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strangers {
    /// On the daemon's core (or on all, if it has none of its own).
    pub(crate) with_daemon: f64,
    /// On the others.
    pub(crate) elsewhere: f64,
}

impl Busy {
    pub(crate) fn now(cores: Cores) -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        let is_core = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
        Self { cores, at: Instant::now(), each: stat.lines().filter(is_core).map(busy).collect() }
    }

    pub(crate) fn since(&self, before: &Self, daemon: &Spent, own: &Spent) -> Strangers {
        let passed = (self.at - before.at).as_secs_f64();
        let each: Vec<f64> =
            self.each.iter().zip(&before.each).map(|(now, then)| now.saturating_sub(*then).as_secs_f64()).collect();
        let share =
            |busy: f64, ours: f64, cores: usize| ((busy - ours) / (passed * cores.max(1) as f64)).clamp(0.0, 1.0);
        let (daemon, own) = (daemon.total().as_secs_f64(), own.total().as_secs_f64());
        let all: f64 = each.iter().sum();
        match self.cores {
            Cores::One(core) => Strangers {
                with_daemon: share(each[core], daemon, 1),
                elsewhere: share(all - each[core], own, each.len() - 1),
            },
            Cores::All => {
                let everywhere = share(all, daemon + own, each.len());
                Strangers { with_daemon: everywhere, elsewhere: everywhere }
            }
        }
    }
}

/// Of a line of `/proc/stat`: everything but idle time and waiting for disks.
fn busy(line: &str) -> Duration {
    let ticks: Vec<u32> = line.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(u32::MAX)).collect();
    TICK * ticks.iter().take(8).enumerate().filter(|(at, _)| *at != 3 && *at != 4).map(|(_, ticks)| ticks).sum::<u32>()
}

/// Small appends a second that this disk makes durable, one after another.
pub(crate) fn fsync_rate(folder: &Path) -> f64 {
    const APPENDS: u32 = 1000;
    let mut file = std::fs::File::create(folder.join("yardstick")).unwrap();
    let began = Instant::now();
    for _ in 0..APPENDS {
        file.write_all(&[7; 512]).unwrap();
        file.sync_data().unwrap();
    }
    f64::from(APPENDS) / began.elapsed().as_secs_f64()
}

/// How many durable writes `strace` has listed.
pub(crate) fn fsyncs_listed(listing: &Path) -> usize {
    let lines = std::fs::read_to_string(listing).unwrap_or_default();
    lines.lines().filter(|line| line.contains("sync(")).count()
}

/// The one in the middle.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Whether a program is there.
pub(crate) fn has(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// `perf`, recording a process.
pub(crate) struct Recording {
    perf: Child,
    file: PathBuf,
}

impl Recording {
    pub(crate) fn begin(process: u32, folder: &Path) -> Self {
        let file = folder.join("perf.data");
        let perf = Command::new("perf")
            .args(["record", "--quiet", "--freq", "999", "--pid", &process.to_string(), "--output"])
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .expect("--profile needs perf (the Debian package linux-perf)");
        Self { perf, file }
    }

    /// The share of each function, the dearest first.
    pub(crate) fn end(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.perf);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        self.perf.wait().unwrap();
        let report = Command::new("perf")
            .args(["report", "--stdio", "--quiet", "--no-children", "--percent-limit", "0.4", "--sort", "dso,symbol"])
            .arg("--input")
            .arg(&self.file)
            .output()
            .unwrap();
        String::from_utf8_lossy(&report.stdout).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::busy;

    #[test]
    fn idle_cores_and_waiting_ones_are_not_busy() {
        assert_eq!(busy("cpu1 10 1 20 9000 500 2 3 4 0 0"), Duration::from_millis(400));
    }
}
