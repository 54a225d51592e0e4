//! Loads the built daemon and measures it: webhook in, agent, webhook out.
//!
//! ```text
//! cargo run --release -p frontdesk-testkit --example load
//! ```
//!
//! builds the release beside itself, if need be, and runs it on a folder of its own. One process holds the senders, the
//! agent endpoint and the far end, on one thread that shares no core with the daemon where the machine has two. Every
//! message carries the numbers of its conversation and of itself; a ledger outside the daemon compares what was acknowledged
//! with what came to the agent and to the far end (`ledger.rs`), and the program ends with 1 when they disagree.
//!
//! Two kinds of load (`generator.rs`): an *open* one, that sends at fixed times whatever the daemon does and measures from those
//! times, so that a daemon that stands still is not excused; and a *closed* one at saturation, with a bounded number of
//! messages under way. The same closed and open load then goes to a bare loop (`bare.rs`), a process that makes the same three
//! HTTP exchanges with the same libraries and stores nothing; it and the rate of small durable appends are the yardsticks
//! of the machine. What other processes did meanwhile is said, because it falsifies everything else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::cast_precision_loss)] // a measurement that fails says where and stops

mod bare;
mod ends;
mod generator;
mod ledger;
mod machine;
mod report;
mod subject;
mod wire;

use std::{path::PathBuf, process::ExitCode, rc::Rc, time::Duration};

use clap::Parser;
use frontdesk_testkit::process::memory;

use self::{
    ends::Ends,
    generator::Ground,
    machine::{Cores, Spent},
    report::{Figures, Phase, Report, Starts},
    subject::{Subject, Wrapping},
};

/// Loads the built daemon and measures it: webhook in, agent, webhook out.
#[derive(Debug, Clone, Parser)]
#[command(name = "load")]
pub(crate) struct Options {
    /// The daemon; by default the release is built and taken.
    #[arg(long)]
    daemon: Option<PathBuf>,
    /// Where its folders are made; by default beside the build. A folder in memory makes the figures worthless.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Messages at saturation.
    #[arg(long, default_value_t = 20_000)]
    messages: usize,
    /// Connections that hand messages in.
    #[arg(long, default_value_t = 64)]
    senders: usize,
    /// Messages under way at once, at saturation.
    #[arg(long, default_value_t = 256)]
    in_flight: usize,
    /// Conversations at saturation; by default each has ten messages.
    #[arg(long)]
    conversations: Option<usize>,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 80)]
    text_bytes: usize,
    /// Messages a second of the open load.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// Seconds of the open load.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Starts to take the median of.
    #[arg(long, default_value_t = 5)]
    starts: usize,
    /// The one core of the daemon, or "all". Everything else runs on the others.
    #[arg(long, default_value = "0")]
    cpu: Cores,
    /// Messages of the separate pass that counts durable writes; 0: none.
    #[arg(long, default_value_t = 4000)]
    fsync_messages: usize,
    /// Leaves out the bare loop.
    #[arg(long)]
    no_bare: bool,
    /// Records where the daemon's time goes at saturation (needs `perf`).
    #[arg(long)]
    profile: bool,
    /// Everything as one JSON object.
    #[arg(long)]
    json: bool,
    /// Be the bare loop: the agent's address and the far end's.
    #[arg(long, hide = true, num_args = 2)]
    bare_loop: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(ends) = &options.bare_loop {
        bare::serve(&ends[0], &ends[1]);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = tokio::task::LocalSet::new().block_on(&runtime, measure(&options));
    if options.json {
        println!("{:#}", report.json());
    } else {
        print!("{report}");
    }
    if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure(options: &Options) -> Report {
    let daemon = options.daemon.clone().unwrap_or_else(|| subject::build(options.profile));
    let folder = subject::folder(options.folder.as_deref());
    let cores = options.cpu.settle();
    cores.keep_off();
    let ground = Ground::new(options);
    let ends = Ends::open(&ground).await;

    let starts = start_times(options, &daemon, folder.path(), &ends, cores).await;
    let main = folder.path().join("main");
    let subject = Subject::start(&daemon, &main, &ends, cores, &Wrapping::None).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle_memory = memory(subject.pid()).unwrap();
    let before = Spent::of(subject.pid());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let idle_cpu = Spent::of(subject.pid()).since(&before).exactly();

    let target = subject.target();
    generator::warm_up(&ground, &target).await;
    let open = phase(&ground, subject.pid(), cores, generator::open(&ground, &target)).await;
    let fsyncs = machine::fsync_rate(folder.path());
    let recording = options.profile.then(|| machine::Recording::begin(subject.pid(), folder.path()));
    let saturated = phase(&ground, subject.pid(), cores, generator::closed(&ground, &target, options.messages)).await;
    let profile = recording.map(machine::Recording::end);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let memory_after = memory(subject.pid()).unwrap();
    subject.stop().await;
    let (existing, child) = subject::time_to_ready(&daemon, &main, &ends, cores).await;
    child.stop().await;

    let durable = count_fsyncs(options, &ground, &daemon, folder.path(), &ends, cores).await;
    let verdict = ground.ledger().verdict();
    let bare = if options.no_bare { None } else { Some(bare_figures(options, cores).await) };
    Report {
        options: options.clone(),
        cores: cores.to_string(),
        starts: Starts { existing_after_load: existing, ..starts },
        idle_memory,
        idle_cpu,
        memory_after,
        figures: Figures { open, saturated },
        bare,
        fsyncs,
        durable,
        verdict,
        profile,
    }
}

/// Runs a phase and says what it took of whom.
async fn phase(ground: &Rc<Ground>, pid: u32, cores: Cores, load: impl Future<Output = generator::Sent>) -> Phase {
    let (subject, own, all) = (Spent::of(pid), Spent::of(std::process::id()), machine::Busy::now(cores));
    let sent = load.await;
    let (subject, own) = (Spent::of(pid).since(&subject), Spent::of(std::process::id()).since(&own));
    let strangers = machine::Busy::now(cores).since(&all, &subject, &own);
    Phase::new(&ground.ledger(), &sent, subject, own, strangers)
}

async fn start_times(
    options: &Options,
    daemon: &std::path::Path,
    folder: &std::path::Path,
    ends: &Ends,
    cores: Cores,
) -> Starts {
    let (mut empty, mut existing) = (Vec::new(), Vec::new());
    for number in 0..options.starts.max(1) {
        let site = folder.join(format!("start-{number}"));
        for times in [&mut empty, &mut existing] {
            let (took, child) = subject::time_to_ready(daemon, &site, ends, cores).await;
            child.stop().await;
            times.push(took);
        }
    }
    Starts { empty: machine::median(empty), existing: machine::median(existing), existing_after_load: Duration::ZERO }
}

/// Durable writes per message, in a pass of its own: counting them slows each one down.
async fn count_fsyncs(
    options: &Options,
    ground: &Rc<Ground>,
    daemon: &std::path::Path,
    folder: &std::path::Path,
    ends: &Ends,
    cores: Cores,
) -> Option<report::Durable> {
    if options.fsync_messages == 0 || !machine::has("strace") {
        return None;
    }
    let listing = folder.join("fsyncs");
    let wrapping = Wrapping::CountingFsyncs { listing: listing.clone() };
    let subject = Subject::start(daemon, &folder.join("fsync"), ends, cores, &wrapping).await;
    let target = subject.target();
    generator::warm_up(ground, &target).await;
    let before = machine::fsyncs_listed(&listing);
    let calm = generator::open_for(ground, &target, 200).await;
    let middle = machine::fsyncs_listed(&listing);
    let full = generator::closed(ground, &target, options.fsync_messages).await;
    let after = machine::fsyncs_listed(&listing);
    subject.stop().await;
    Some(report::Durable {
        calm: calm.count as f64 / (middle - before).max(1) as f64,
        saturated: full.count as f64 / (after - middle).max(1) as f64,
        rate: full.count as f64 / full.took.as_secs_f64(),
    })
}

/// The same load on the bare loop, with a ledger of its own.
async fn bare_figures(options: &Options, cores: Cores) -> Figures {
    let ground = Ground::new(options);
    let ends = Ends::open(&ground).await;
    let bare = bare::Bare::start(&ends, cores).await;
    let target = bare.target();
    generator::warm_up(&ground, &target).await;
    let open = phase(&ground, bare.pid(), cores, generator::open(&ground, &target)).await;
    let saturated = phase(&ground, bare.pid(), cores, generator::closed(&ground, &target, options.messages)).await;
    Figures { open, saturated }
}
