//! The daemon under load: built, started on a folder, stopped.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use frontdesk_testkit::daemon::{Daemon, Site};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::{ends::Ends, generator::Target, machine::Cores, wire::Wire};

const TOKEN: &str = "load-token-0123456789";
/// Between two attempts to reach a daemon that starts.
const LOOK: Duration = Duration::from_micros(500);
const PATIENCE: Duration = Duration::from_secs(30);

/// What stands between us and the daemon.
pub(crate) enum Wrapping {
    None,
    /// `strace`, which stops it at durable writes only.
    CountingFsyncs {
        listing: PathBuf,
    },
}

/// A running daemon.
pub(crate) struct Subject {
    site: Site,
    daemon: Daemon,
}

/// The release beside this program, built now. With symbols for a profile.
pub(crate) fn build(with_symbols: bool) -> PathBuf {
    let profile = if with_symbols { "profiling" } else { "release" };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--package", "frontdesk", "--bin", "frontdesk", "--profile", profile])
        .args(["--message-format", "json-render-diagnostics", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .stderr(std::process::Stdio::inherit())
        .output()
        .expect("cargo can be run, or --daemon names a daemon that is built");
    assert!(built.status.success(), "the daemon cannot be built");
    let artifacts = String::from_utf8(built.stdout).unwrap();
    let path = artifacts
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|artifact| artifact["executable"].as_str().map(PathBuf::from));
    path.expect("cargo names what it built")
}

/// A folder that goes with the run, on a real disk: beside this program.
pub(crate) fn folder(wanted: Option<&Path>) -> TempDir {
    let own = std::env::current_exe().unwrap();
    TempDir::with_prefix_in("load-", wanted.unwrap_or_else(|| own.parent().unwrap())).unwrap()
}

impl Subject {
    pub(crate) async fn start(binary: &Path, folder: &Path, ends: &Ends, cores: Cores, wrapping: &Wrapping) -> Self {
        let site = site(binary, folder, ends, wrapping);
        let mut daemon = cores.on_it(|| site.launch()).unwrap();
        daemon.ready().await.unwrap();
        Self { site, daemon }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    pub(crate) fn target(&self) -> Target {
        let head = format!(
            "POST /v1/channels/shop/messages HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\
             content-type: application/json\r\n"
        );
        Target { address: self.site.address(), head }
    }

    pub(crate) async fn stop(mut self) {
        self.daemon.terminate().unwrap();
        let ended = self.daemon.ended(PATIENCE).await.unwrap();
        assert!(ended.success(), "the daemon ended with {ended}; it said:\n{}", self.daemon.said());
    }
}

/// From the start of the process to the first 200 of `/readyz`.
pub(crate) async fn time_to_ready(binary: &Path, folder: &Path, ends: &Ends, cores: Cores) -> (Duration, Subject) {
    let site = site(binary, folder, ends, &Wrapping::None);
    let began = Instant::now();
    let daemon = cores.on_it(|| site.launch()).unwrap();
    while !is_ready(&site).await {
        assert!(began.elapsed() < PATIENCE, "not ready; it said:\n{}", daemon.said());
        tokio::time::sleep(LOOK).await;
    }
    (began.elapsed(), Subject { site, daemon })
}

async fn is_ready(site: &Site) -> bool {
    let Ok(stream) = TcpStream::connect(site.address()).await else { return false };
    let mut wire = Wire::new(stream);
    let asked = wire.write(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    asked.is_ok() && matches!(wire.read().await, Ok(Some(answer)) if answer.status() == 200)
}

fn site(binary: &Path, folder: &Path, ends: &Ends, wrapping: &Wrapping) -> Site {
    std::fs::create_dir_all(folder).unwrap();
    let (agent, far_end) = (ends.agent_url(), ends.far_end_url());
    let sections = format!(
        "[tokens.load]\ntoken = \"{TOKEN}\"\nscopes = [\"ingest\", \"admin\"]\n\n[agent]\nurl = \"{agent}\"\n\n\
         [channels.shop]\nkind = \"webhook\"\ndeliver_url = \"{far_end}\"\n"
    );
    let site = Site::at(binary, folder).unwrap().with_store("min_free = \"1 MB\"").with(&sections);
    match wrapping {
        Wrapping::None => site,
        Wrapping::CountingFsyncs { listing } => {
            let listing = listing.to_str().unwrap();
            // As the daemon's grandchild, so that the process we started is the daemon.
            site.under(&["strace", "-D", "-f", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-o", listing])
        }
    }
}
