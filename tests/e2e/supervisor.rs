//! What the daemon and its supervisor tell each other, and the doors beside the public one.

use std::{
    collections::BTreeSet,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::PathBuf,
    time::Duration,
};

use frontdesk_testkit::far_end::{FarEnd, Reply};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::world::{World, takes};

/// What systemd would hear.
struct Supervisor {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Supervisor {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, path, _folder: folder }
    }

    /// The messages up to one that says this.
    fn hears(&self, wanted: &str) -> Vec<String> {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|_| panic!("never {wanted}, but {heard:?}"));
            heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
            assert!(std::time::Instant::now() < deadline, "never {wanted}, but {heard:?}");
            if heard.last().unwrap().lines().any(|line| line.starts_with(wanted)) {
                return heard;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_supervisor_hears_every_step_of_the_daemons_life() {
    let supervisor = Supervisor::new();
    let mut world = World::of(FarEnd::start(|_| Reply::status(410)).await, FarEnd::start(takes).await);
    let notify = supervisor.path.to_str().unwrap().to_owned();
    world.site = world.site.with_env("NOTIFY_SOCKET", &notify).with_env("WATCHDOG_USEC", "200000");
    let mut daemon = world.start().await;
    supervisor.hears("READY=1");
    supervisor.hears("WATCHDOG=1");
    world.say("t", "1", "hello").await;
    let heard = supervisor.hears("STATUS=serving; 1 channel; the agent wants no more events (410)");
    assert!(heard.iter().any(|message| message.contains("WATCHDOG=1")), "it lives all the while");
    daemon.hang_up().unwrap();
    let heard = supervisor.hears("RELOADING=1");
    assert!(heard.last().unwrap().contains("MONOTONIC_USEC="), "{heard:?}");
    supervisor.hears("READY=1");
    let file = world.site.write().unwrap();
    std::fs::write(file, "nonsense").unwrap();
    daemon.hang_up().unwrap();
    supervisor.hears("RELOADING=1");
    let heard = supervisor.hears("READY=1");
    assert!(heard.last().unwrap().contains("STATUS=the new configuration is refused"), "{heard:?}");
    daemon.terminate().unwrap();
    let heard = supervisor.hears("STOPPING=1");
    assert!(heard.last().unwrap().contains("EXTEND_TIMEOUT_USEC="), "{heard:?}");
    assert!(daemon.ended(Duration::from_secs(30)).await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_daemon_is_not_said_to_live() {
    let supervisor = Supervisor::new();
    let mut world = World::that_echoes().await;
    let notify = supervisor.path.to_str().unwrap().to_owned();
    world.site = world.site.with_env("NOTIFY_SOCKET", &notify).with_env("WATCHDOG_USEC", "200000");
    let daemon = world.start().await;
    supervisor.hears("WATCHDOG=1");
    daemon.freeze().await.unwrap();
    // What was said before it stood still is read; then there is silence.
    supervisor.socket.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
    let mut buffer = [0; 4096];
    let mut more = 0;
    while supervisor.socket.recv(&mut buffer).is_ok() {
        more += 1;
        assert!(more < 10, "it goes on saying that it lives");
    }
    daemon.thaw().unwrap();
    supervisor.socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    supervisor.hears("WATCHDOG=1");
}

/// Asks by the control socket; the answer as it comes.
async fn by_socket(path: &PathBuf, request: &str) -> String {
    let mut stream = UnixStream::connect(path).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_control_socket_opens_to_its_owner_alone_and_may_do_everything() {
    let world = World::that_echoes().await;
    let mut daemon = world.start().await;
    let socket = world.site.data().join("control.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let ask = "GET /v1/status HTTP/1.1\r\nHost: frontdesk\r\nConnection: close\r\n\r\n";
    let answer = by_socket(&socket, ask).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    daemon.kill().await.unwrap();
    assert!(socket.exists(), "a killed daemon leaves its socket behind");
    let mut daemon = world.start().await;
    assert!(by_socket(&socket, ask).await.starts_with("HTTP/1.1 200"), "and the next one takes its place");
    daemon.terminate().unwrap();
    daemon.ended(Duration::from_secs(30)).await.unwrap();
    assert!(!socket.exists(), "a stopped one takes it along");
}

#[tokio::test]
async fn t45_metrics_and_status_are_open_on_their_own_listener_only() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut world = World::that_echoes().await;
    world.site = world.site.with_server(&format!("admin_listen = \"127.0.0.1:{port}\""));
    let _daemon = world.start().await;
    world.say("t", "1", "hello").await;
    world.shop.wait_for(1).await;
    let admin = |path: &str| world.http.get(format!("http://127.0.0.1:{port}{path}")).send();
    let figures = admin("/metrics").await.unwrap().text().await.unwrap();
    for figure in [
        "frontdesk_messages_total{channel=\"shop\",direction=\"inbound\"} 1",
        "frontdesk_agent_attempts_total{outcome=\"answered\"} 1",
        "frontdesk_store_seconds_bucket{verb=\"commit_inbound\"",
        "frontdesk_first_response_seconds_count 1",
        "frontdesk_endpoint_state{endpoint=\"agent\"} 0",
        "process_resident_memory_bytes",
    ] {
        assert!(figures.contains(figure), "{figure} is missing in:\n{figures}");
    }
    let headed = |word: &str| -> BTreeSet<&str> {
        figures.lines().filter_map(|line| line.strip_prefix(word)?.split(' ').next()).collect()
    };
    assert_eq!(headed("# TYPE "), headed("# HELP "), "each figure says what it is");
    assert!(figures.contains("# TYPE process_cpu_seconds_total counter"), "{figures}");
    let status: Value = admin("/v1/status").await.unwrap().json().await.unwrap();
    assert_eq!(status["unwell"], Value::Array(Vec::new()));
    assert_eq!(admin("/v1/conversations").await.unwrap().status(), StatusCode::NOT_FOUND);
    let public = |path: &'static str| world.request(Method::GET, path);
    assert_eq!(public("/metrics").send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(public("/v1/status").send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let bot = public("/v1/status").bearer_auth(crate::world::BOT).send().await.unwrap();
    assert_eq!(bot.status(), StatusCode::FORBIDDEN);
}

/// Becomes the daemon with a listening socket as descriptor 3, as systemd's socket activation does.
const ACTIVATE: &str = r#"
import os, socket, sys
port, names, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listening.bind(("127.0.0.1", port))
listening.listen(128)
if listening.fileno() != 3:
    os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
sys.stdout.write("listening\n")
sys.stdout.flush()
early = socket.create_connection(("127.0.0.1", port), timeout=20)
early.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
if os.fork() == 0:
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = "1"
    os.environ["LISTEN_FDNAMES"] = names
    os.execv(command[0], command)
answer = early.makefile("rb").readline()
sys.stdout.write(answer.decode())
sys.stdout.flush()
os.wait()
"#;

#[tokio::test]
async fn a_connection_made_while_the_daemon_is_down_is_served_after_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = folder.path().join("channels.toml");
    // The address in the configuration is not used.
    std::fs::write(&file, "[server]\nlisten = \"127.0.0.1:1\"\n[channels.shop]\nkind = \"webhook\"\n").unwrap();
    let said = folder.path().join("said");
    let mut child = std::process::Command::new("python3")
        .args(["-c", ACTIVATE, &port.to_string(), "frontdesk", env!("CARGO_BIN_EXE_frontdesk"), "run", "--config"])
        .arg(&file)
        .env_remove("NOTIFY_SOCKET")
        .stdout(std::process::Stdio::piped())
        .stderr(std::fs::File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert_eq!(lines.next().unwrap().unwrap(), "listening");
    assert_eq!(lines.next().unwrap().unwrap().trim_end(), "HTTP/1.1 200 OK", "the early connection");
    let ready = crate::world::client().get(format!("http://127.0.0.1:{port}/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK);
    let said = std::fs::read_to_string(&said).unwrap();
    assert!(
        said.contains(&format!("http://127.0.0.1:{port} (API")),
        "what it listens at, and not what it would: {said}"
    );
    let daemons = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
    let daemon = rustix::process::Pid::from_raw(daemons.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(daemon, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}
