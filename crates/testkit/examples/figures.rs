//! Measures a built daemon: start to ready, idle memory, and what a message costs on its whole way (webhook in, agent,
//! webhook out, SQLite strict).
//!
//! ```text
//! cargo build --release && cargo run -p frontdesk-testkit --example figures -- target/release/frontdesk 5000 32
//! ```
//!
//! The agent and the far end run in this process; the figures of processor time are the daemon's alone. The last line
//! is a yardstick of the machine: how often it can make a small write durable.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::zombie_processes
)] // a measurement that fails says where and stops

use std::{
    io::Write,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use frontdesk_testkit::far_end::{FarEnd, Received, Reply};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Kernel ticks in a second, as `/proc/PID/stat` counts; 100 on every Linux that matters here.
const TICKS: f64 = 100.0;
const TOKEN: &str = "figures-token-0123456789";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let binary = arguments.next().unwrap_or_else(|| "target/release/frontdesk".into());
    let messages: usize = arguments.next().map_or(5000, |text| text.parse().expect("a number of messages"));
    let senders: usize = arguments.next().map_or(32, |text| text.parse().expect("a number of senders"));

    let agent = FarEnd::start(|_: &Received| Reply::text(200, r#"{"text":"Thank you, we will look into it."}"#)).await;
    let far_end = FarEnd::start(|_: &Received| Reply::status(204)).await;
    let folder = std::env::temp_dir().join(format!("frontdesk-figures-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let configuration = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\n[store]\nurl = \"sqlite:./data\"\nmin_free = \"1 MB\"\n\
         [tokens.load]\ntoken = \"{TOKEN}\"\nscopes = [\"ingest\", \"admin\"]\n[agent]\nurl = \"{}\"\n\
         [channels.shop]\nkind = \"webhook\"\ndeliver_url = \"{}\"\n",
        agent.url(),
        far_end.url()
    );
    std::fs::write(folder.join("channels.toml"), configuration).unwrap();

    let first = start(&binary, &folder, port).await;
    stop(first.1);
    let mut starts: Vec<Duration> = Vec::new();
    for _ in 0..4 {
        let (took, child) = start(&binary, &folder, port).await;
        starts.push(took);
        stop(child);
    }
    starts.sort();
    let (_, child) = start(&binary, &folder, port).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("start to ready      {:?} (first, with a new folder: {:?})", starts[starts.len() / 2], first.0);
    println!("idle memory         {:.1} MiB (VmRSS)", resident(child.id()));

    load(port, senders * 10, senders, "warm").await;
    far_end.wait_until("warmed up", |requests| requests.len() >= senders * 10).await;
    let before = (ticks(child.id()), Instant::now(), far_end.count());
    load(port, messages, senders, "m").await;
    let accepted = before.1.elapsed();
    let wanted = before.2 + messages;
    while far_end.count() < wanted {
        assert!(before.1.elapsed() < Duration::from_secs(300), "replies are missing: {} of {wanted}", far_end.count());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = before.1.elapsed();
    let cpu = (ticks(child.id()) - before.0) as f64 / TICKS;
    println!("messages            {messages} by {senders} senders, each answered and delivered");
    println!(
        "rate                {:.0} messages/s (accepted at {:.0}/s)",
        rate(messages, took),
        rate(messages, accepted)
    );
    println!("processor time      {:.0} ms per 1,000 messages", cpu * 1e6 / messages as f64);
    println!("memory after        {:.1} MiB (VmRSS)", resident(child.id()));
    println!("fsyncs of this disk {:.0}/s", fsyncs(&folder));
    stop(child);
    std::fs::remove_dir_all(&folder).unwrap();
}

fn rate(count: usize, span: Duration) -> f64 {
    count as f64 / span.as_secs_f64()
}

async fn start(binary: &str, folder: &Path, port: u16) -> (Duration, Child) {
    let began = Instant::now();
    let child = Command::new(binary)
        .arg("run")
        .arg("--config")
        .arg(folder.join("channels.toml"))
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("log")).unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("{binary} cannot be started: {error}"));
    loop {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await {
            stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            if answer.starts_with(b"HTTP/1.1 200") {
                return (began.elapsed(), child);
            }
        }
        assert!(began.elapsed() < Duration::from_secs(20), "not ready; its log: {}", folder.join("log").display());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn stop(mut child: Child) {
    Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    let ended = child.wait().unwrap();
    assert!(ended.success(), "the daemon ended with {ended}");
}

/// Sends over kept-alive connections; each message is a new conversation every tenth time.
async fn load(port: u16, messages: usize, senders: usize, name: &str) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for sender in 0..senders {
        let (next, name) = (Arc::clone(&next), name.to_owned());
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut answer = [0u8; 4096];
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= messages {
                    break;
                }
                let body = format!(
                    r#"{{"id":"{name}-{number}","thread":"{name}-{sender}-{}","from":{{"id":"u{sender}","name":"Ada"}},"text":"Where is my order number {number}? I have been waiting for a week."}}"#,
                    number / (senders * 10)
                );
                let request = format!(
                    "POST /v1/channels/shop/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(request.as_bytes()).await.unwrap();
                let read = stream.read(&mut answer).await.unwrap();
                let head = String::from_utf8_lossy(&answer[..read]);
                assert!(head.starts_with("HTTP/1.1 202"), "refused: {head}");
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
}

fn ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn resident(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn fsyncs(folder: &Path) -> f64 {
    let mut file = std::fs::File::create(folder.join("yardstick")).unwrap();
    let began = Instant::now();
    for _ in 0..500 {
        file.write_all(&[7; 512]).unwrap();
        file.sync_data().unwrap();
    }
    rate(500, began.elapsed())
}
