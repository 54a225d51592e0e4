//! The service's file, held against systemd's own judgement, offline.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may stop at the first surprise

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const SERVICE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../systemd/frontdesk.service");

const SOCKET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../systemd/frontdesk.socket");
const CREDENTIALS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../systemd/credentials.conf.example");

/// The exposure that is allowed, in tenths of systemd's scale: 1.5 of 10.
const THRESHOLD: &str = "--threshold=15";

/// The shipped unit, its program replaced by the one that was built: `verify` wants it to exist.
fn unit() -> String {
    let text = fs::read_to_string(SERVICE).unwrap();
    assert!(text.contains("ExecStart=/usr/bin/frontdesk run --config /etc/frontdesk/channels.toml\n"));
    text.replace("/usr/bin/frontdesk", env!("CARGO_BIN_EXE_frontdesk"))
}

fn analyze(arguments: &[&str], unit: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("frontdesk.service");
    fs::write(&file, unit).unwrap();
    Command::new("systemd-analyze")
        .args(arguments)
        .arg(&file)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("systemd-analyze is installed (Debian: apt-get install systemd)")
}

/// Without `--recursive-errors=no` unknown keys are only warned about.
fn verify(unit: &str) -> Output {
    analyze(&["verify", "--man=no", "--recursive-errors=no"], unit)
}

fn security(unit: &str) -> Output {
    analyze(&["security", "--offline=true", "--no-pager", THRESHOLD], unit)
}

#[test]
fn the_service_is_valid() {
    let output = verify(&unit());
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_validity_test_can_fail() {
    for broken in [
        unit().replace("UMask=", "UMaks="),
        unit().replace("DynamicUser=yes", "DynamicUser=perhaps"),
        unit().replace("[Service]", "[Servcie]"),
        unit().replace(env!("CARGO_BIN_EXE_frontdesk"), "/nowhere/frontdesk"),
    ] {
        assert!(!verify(&broken).status.success(), "{broken}");
    }
}

#[test]
fn the_service_is_hardened() {
    let output = security(&unit());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_hardening_test_can_fail() {
    let soft = "[Service]\nExecStart=/bin/true\n";
    assert!(!security(soft).status.success());
    // Two slips at once are enough to be noticed.
    let slipped = unit().replace("SystemCallFilter=", "#").replace("CapabilityBoundingSet=", "#");
    assert!(!security(&slipped).status.success());
}

#[test]
fn the_service_waits_for_ready_and_gives_the_drain_its_time() {
    let unit = unit();
    let has = |line: &str| unit.lines().any(|one| one == line);
    assert!(has("Type=notify"));
    assert!(has("ExecReload=/bin/kill -HUP $MAINPID"));
    assert!(has("WatchdogSec=30"));
    assert!(has("TimeoutStopSec=45"), "longer than the 30 s that a drain may take");
    assert!(has("RestartPreventExitStatus=2"), "a wrong configuration is not tried again and again");
    assert!(has("StateDirectory=frontdesk"));
    assert!(Path::new(SERVICE).is_file());
}

#[test]
fn the_socket_and_the_credentials_go_with_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let service = folder.path().join("frontdesk.service");
    fs::write(&service, unit()).unwrap();
    let socket = folder.path().join("frontdesk.socket");
    fs::copy(SOCKET, &socket).unwrap();
    let dropins = folder.path().join("frontdesk.service.d");
    fs::create_dir(&dropins).unwrap();
    fs::copy(CREDENTIALS, dropins.join("credentials.conf")).unwrap();
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args([&socket, &service])
        .env("SYSTEMD_UNIT_PATH", format!("{}:", folder.path().display()))
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let socket = fs::read_to_string(SOCKET).unwrap();
    assert!(socket.contains("FileDescriptorName=frontdesk\n"), "the daemon knows its socket by this name");
}
