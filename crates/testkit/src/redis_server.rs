//! Redis servers for tests: on free ports, in temporary folders, gone with the test that started them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::missing_panics_doc)] // a test may stop at the first surprise

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use crate::daemon::Port;

/// Long enough for a machine that does many other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server has on its command line besides where it is.
pub const ALWAYS: &[&str] = &["--appendonly", "yes", "--appendfsync", "always", "--save", ""];

/// A server of the test's own.
pub struct Server {
    folder: tempfile::TempDir,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    bus: u16,
    /// Its own also while it is stopped.
    _ports: [Port; 2],
    args: Vec<String>,
    running: Option<Child>,
    life: Life,
}

/// How long a server lives, and its folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// As long as the test that has it.
    Test,
    /// As long as the process: nobody drops it.
    Process,
}

impl Server {
    /// Starts one with these words on its command line.
    pub fn start(args: &[&str]) -> Self {
        Self::start_for(Life::Test, args)
    }

    fn start_for(life: Life, args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        // Between finding a free port and listening there, somebody else may.
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let ports = [Port::take().unwrap(), Port::take().unwrap()];
            let mut server = Self {
                folder,
                port: ports[0].number,
                bus: ports[1].number,
                _ports: ports,
                args: args.clone(),
                running: None,
                life,
            };
            if server.run() {
                return server;
            }
        }
        panic!("no redis-server could be started; is it installed?");
    }

    /// Starts it where it was, with what it had written.
    pub fn run(&mut self) -> bool {
        // The shell ends the server when its input ends, which it does when the test's process is gone, however it went.
        let script = r#"redis-server "$@" </dev/null >/dev/null 2>&1 & server=$!; cat >/dev/null; kill -KILL $server; wait; rm -rf $TIDY"#;
        let mut command = Command::new("sh");
        if self.life == Life::Process {
            command.env("TIDY", self.folder.path());
        }
        command.args(["-c", script, "sh"]);
        if self.args.iter().any(|arg| arg == "--tls-port") {
            command.args(["--port", "0"]);
        } else {
            command.args(["--port", &self.port.to_string()]);
        }
        command.args(["--bind", "127.0.0.1", "--dir"]).arg(self.folder.path());
        command.args(["--cluster-port", &self.bus.to_string(), "--maxmemory-policy", "noeviction"]);
        let own = |arg: &String| arg.replace("{port}", &self.port.to_string());
        command.args(self.args.iter().map(own)).stdin(Stdio::piped()).stdout(Stdio::null());
        self.running = Some(command.spawn().unwrap());
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(_) if self.is_tls() || self.answers() => return true,
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        self.stop();
        false
    }

    fn is_tls(&self) -> bool {
        self.args.iter().any(|arg| arg == "--tls-port")
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut answer = [0; 16];
        let asked = stream.write_all(b"PING\r\n").and_then(|()| stream.read(&mut answer));
        // A password or a missing right is an answer too; loading is not.
        asked.is_ok_and(|read| read > 0 && !answer.starts_with(b"-LOADING"))
    }

    /// As `kill -9` does.
    pub fn stop(&mut self) {
        if let Some(mut shell) = self.running.take() {
            drop(shell.stdin.take());
            let _ = shell.wait();
        }
    }

    /// Becomes a replica of another one, and waits until it has everything.
    pub fn follow(&self, master: &Self) {
        let _: () = self.say(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
        self.has_followed();
    }

    /// Is a replica no more.
    pub fn lead(&self) {
        let _: () = self.say(&["REPLICAOF", "NO", "ONE"]);
    }

    /// Waits until a replica has what its master has.
    fn has_followed(&self) {
        let started = Instant::now();
        loop {
            let info: String = self.say(&["INFO", "replication"]);
            if info.contains("master_link_status:up") {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "the replica does not get its data");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How far its log of commands is written, with `appendonly yes`.
    pub fn written(&self) -> Written {
        let files = std::fs::read_dir(self.folder.path().join("appendonlydir")).unwrap();
        let mut logs: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        logs.retain(|path| path.to_string_lossy().ends_with(".incr.aof"));
        logs.sort();
        let log = logs.pop().unwrap();
        let length = std::fs::metadata(&log).unwrap().len();
        Written { log, length }
    }

    /// As a power cut does: what it wrote since then is gone. `kill -9` alone takes nothing, as the kernel still has what was not yet
    /// on the disk. Gives how many bytes are gone; none, where the log was rewritten meanwhile.
    pub fn cut_power(&mut self, since: &Written) -> u64 {
        let now = self.written();
        self.stop();
        if now.log != since.log {
            return 0;
        }
        let log = std::fs::OpenOptions::new().write(true).open(&since.log).unwrap();
        let gone = log.metadata().unwrap().len().saturating_sub(since.length);
        log.set_len(since.length).unwrap();
        gone
    }

    /// Its address for clients.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// A connection of the test's own.
    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url()).unwrap().get_connection_with_timeout(PATIENCE).unwrap()
    }

    /// Sends a command and gives its answer.
    pub fn say<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.connection()).unwrap()
    }

    fn pid(&self) -> rustix::process::Pid {
        let info: String = self.say(&["INFO", "server"]);
        let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().trim().parse().unwrap();
        rustix::process::Pid::from_raw(pid).unwrap()
    }

    /// Has the server stand still while the guard lives.
    pub fn freeze(&self) -> Frozen {
        let pid = self.pid();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        Frozen(pid)
    }
}

/// A place in a server's log of commands.
pub struct Written {
    log: PathBuf,
    length: u64,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A server that stands still.
pub struct Frozen(rustix::process::Pid);

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(self.0, rustix::process::Signal::CONT);
    }
}

/// Three masters that share the slots.
pub struct Cluster {
    /// Its servers.
    pub nodes: Vec<Server>,
}

impl Cluster {
    /// Starts three servers with these words on their command lines and waits until they are one.
    pub fn start(args: &[&str]) -> Self {
        Self::start_for(Life::Test, args)
    }

    fn start_for(life: Life, args: &[&str]) -> Self {
        let args: Vec<&str> =
            args.iter().copied().chain(["--cluster-enabled", "yes", "--cluster-node-timeout", "5000"]).collect();
        let nodes: Vec<Server> = (0..3).map(|_| Server::start_for(life, &args)).collect();
        for (node, (first, last)) in nodes.iter().zip([(0, 5460), (5461, 10922), (10923, 16383)]) {
            let _: () = node.say(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            let _: () = node.say(&["CLUSTER", "SET-CONFIG-EPOCH", &(first / 5000 + 1).to_string()]);
            let bus = nodes[0].bus.to_string();
            let _: () = node.say(&["CLUSTER", "MEET", "127.0.0.1", &nodes[0].port.to_string(), &bus]);
        }
        let started = Instant::now();
        let is_whole = |node: &Server| {
            let info: String = node.say(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        while !nodes.iter().all(is_whole) {
            assert!(started.elapsed() < PATIENCE, "the cluster does not come together");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { nodes }
    }

    /// Adds a replica of one of them and waits until it has everything. It is the last of the nodes.
    pub fn add_replica_of(&mut self, place: usize, args: &[&str]) {
        let args: Vec<&str> = args.iter().copied().chain(["--cluster-enabled", "yes"]).collect();
        let replica = Server::start(&args);
        let bus = self.nodes[0].bus.to_string();
        let _: () = replica.say(&["CLUSTER", "MEET", "127.0.0.1", &self.nodes[0].port.to_string(), &bus]);
        let id: String = self.nodes[place].say(&["CLUSTER", "MYID"]);
        let started = Instant::now();
        let knows = |node: &Server| {
            let nodes: String = node.say(&["CLUSTER", "NODES"]);
            nodes.contains(&id) && !nodes.contains("handshake")
        };
        while !knows(&replica) {
            assert!(started.elapsed() < PATIENCE, "the replica does not come to the cluster");
            std::thread::sleep(Duration::from_millis(20));
        }
        let _: () = replica.say(&["CLUSTER", "REPLICATE", &id]);
        replica.has_followed();
        self.nodes.push(replica);
    }

    /// The address of one of them.
    pub fn url(&self) -> String {
        self.nodes[0].url()
    }
}

/// A server that all tests of this binary share; each has keys of its own there.
pub fn shared_server() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(|| Server::start_for(Life::Process, ALWAYS))
}

/// Likewise a cluster.
pub fn shared_cluster() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start_for(Life::Process, ALWAYS))
}
