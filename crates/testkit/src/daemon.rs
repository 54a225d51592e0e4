//! The built daemon as a child process: started on a folder, frozen, killed, started again on the same folder.
//!
//! A [`Site`] is a place where daemons live one after another: a folder with its `channels.toml`, its store, and a port
//! that is its own for as long as the site exists. A [`Daemon`] is one life of a daemon there. Whatever way a test
//! ends, dropping the [`Daemon`] kills and reaps its process.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr as UnixAddr, UnixListener},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How long a daemon may take until it is ready, and how long to wait for its end after a kill. A debug build on a busy
/// machine with two cores needs far less.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at something that gives no signal.
const LOOK: Duration = Duration::from_millis(5);
/// Below the range that kernels take outgoing ports from, so that no connection of a test takes a daemon's.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A folder and a port for one daemon after another.
#[derive(Debug)]
pub struct Site {
    binary: PathBuf,
    folder: PathBuf,
    port: Port,
    env: Vec<(String, String)>,
    wrapping: Vec<String>,
    server: String,
    url: String,
    store: String,
    sections: String,
    _temporary: Option<tempfile::TempDir>,
}

/// What a daemon did that a test did not want.
#[derive(Debug)]
pub struct Trouble(String);

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl Site {
    /// A site in a temporary folder, which goes with it.
    ///
    /// # Errors
    /// The folder cannot be made, or no port is free.
    pub fn new(binary: impl Into<PathBuf>) -> Result<Self, Trouble> {
        let temporary = tempfile::TempDir::with_prefix("frontdesk-test-")?;
        let mut site = Self::at(binary, temporary.path())?;
        site._temporary = Some(temporary);
        Ok(site)
    }

    /// A site in a folder that somebody else keeps.
    ///
    /// Both paths may be relative to where this process stands; the daemon itself stands in the folder.
    ///
    /// # Errors
    /// No port is free, or there is no current folder.
    pub fn at(binary: impl Into<PathBuf>, folder: impl Into<PathBuf>) -> Result<Self, Trouble> {
        Ok(Self {
            binary: std::path::absolute(binary.into())?,
            folder: std::path::absolute(folder.into())?,
            port: Port::take()?,
            env: Vec::new(),
            wrapping: Vec::new(),
            server: String::new(),
            url: "sqlite:./data".to_owned(),
            store: String::new(),
            sections: String::new(),
            _temporary: None,
        })
    }

    /// Adds to the configuration: whole tables, without `[server]` and `[store]`, which the site writes itself.
    #[must_use]
    pub fn with(mut self, sections: &str) -> Self {
        let _ = writeln!(self.sections, "{sections}");
        self
    }

    /// Keeps everything elsewhere than in its own folder's `data`.
    #[must_use]
    pub fn on(mut self, url: &str) -> Self {
        url.clone_into(&mut self.url);
        self
    }

    /// Adds lines to `[store]`, such as `min_free`.
    #[must_use]
    pub fn with_store(mut self, lines: &str) -> Self {
        let _ = writeln!(self.store, "{lines}");
        self
    }

    /// Adds a variable to the daemon's environment, which otherwise holds nothing of the test's own `FRONTDESK_` ones.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets, or takes back, a variable of the lives that begin from now on.
    pub fn set_env(&mut self, name: &str, value: Option<&str>) {
        self.env.retain(|(known, _)| known != name);
        self.env.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    /// Starts the daemon by a command that becomes it, such as `prlimit --nofile=64`.
    #[must_use]
    pub fn under(mut self, command: &[&str]) -> Self {
        self.wrapping.extend(command.iter().map(|&word| word.to_owned()));
        self
    }

    /// Adds lines to `[server]`, such as `admin_listen`.
    #[must_use]
    pub fn with_server(mut self, lines: &str) -> Self {
        let _ = writeln!(self.server, "{lines}");
        self
    }

    /// Replaces what [`Site::with`] added; takes effect with the next start, or with [`Site::write`] and a reload.
    pub fn reconfigure(&mut self, sections: &str) {
        sections.clone_into(&mut self.sections);
    }

    /// Writes the configuration, as a start does by itself.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self) -> Result<PathBuf, Trouble> {
        let file = self.folder.join("channels.toml");
        std::fs::write(&file, self.configuration())?;
        Ok(file)
    }

    /// Where the configuration and `data` are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The store's folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where its daemons listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port.number).into()
    }

    /// An address of the API, such as `/v1/conversations`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// Starts a daemon and waits until it is ready.
    ///
    /// # Errors
    /// It ended, or was not ready in time; with what it had said.
    pub async fn start(&self) -> Result<Daemon, Trouble> {
        let mut daemon = self.launch()?;
        daemon.ready().await?;
        Ok(daemon)
    }

    /// Starts a daemon and waits for nothing.
    ///
    /// # Errors
    /// The process cannot be made.
    pub fn launch(&self) -> Result<Daemon, Trouble> {
        let file = self.write()?;
        let mut command = match self.wrapping.split_first() {
            None => Command::new(&self.binary),
            Some((wrapper, arguments)) => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(&self.binary);
                command
            }
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("FRONTDESK_") {
                command.env_remove(name);
            }
        }
        command
            .args(["run", "--config"])
            .arg(&file)
            .current_dir(&self.folder)
            .env_remove("NOTIFY_SOCKET")
            .env_remove("STATE_DIRECTORY")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let said = Arc::new(Mutex::new(String::new()));
        let readers = [
            child.stdout.take().map(|pipe| overhear(pipe, &said)),
            child.stderr.take().map(|pipe| overhear(pipe, &said)),
        ];
        Ok(Daemon {
            child,
            said,
            readers: readers.into_iter().flatten().collect(),
            address: self.address(),
            ended: None,
        })
    }

    fn configuration(&self) -> String {
        let Self { server, url, store, sections, .. } = self;
        let listen = self.address();
        format!("[server]\nlisten = \"{listen}\"\n{server}\n[store]\nurl = \"{url}\"\n{store}\n{sections}")
    }
}

/// One life of a daemon.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    said: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    address: SocketAddr,
    ended: Option<ExitStatus>,
}

impl Daemon {
    /// Waits until `GET /readyz` answers 200.
    ///
    /// # Errors
    /// The daemon ended, or the time is over.
    pub async fn ready(&mut self) -> Result<(), Trouble> {
        let deadline = Instant::now() + PATIENCE;
        while !is_ready(self.address).await {
            if let Some(status) = self.poll()? {
                self.listen_to_the_end();
                return Err(Trouble(format!(
                    "the daemon ended with {status} before it was ready; it said:\n{}",
                    self.said()
                )));
            }
            if Instant::now() > deadline {
                return Err(Trouble(format!("not ready after {PATIENCE:?}; it said:\n{}", self.said())));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits for the end. What it had in hand is cut off between two instructions.
    ///
    /// # Errors
    /// The process is not ours any more, or does not end.
    pub async fn kill(&mut self) -> Result<(), Trouble> {
        self.signal(Signal::KILL)?;
        self.ended(PATIENCE).await.map(drop)
    }

    /// `SIGTERM`: asks it to finish and end.
    ///
    /// # Errors
    /// The process is not there any more.
    pub fn terminate(&self) -> Result<(), Trouble> {
        self.signal(Signal::TERM)
    }

    /// `SIGHUP`: asks it to read its configuration anew.
    ///
    /// # Errors
    /// The process is not there any more.
    pub fn hang_up(&self) -> Result<(), Trouble> {
        self.signal(Signal::HUP)
    }

    /// `SIGSTOP`, and waits until it stands still: afterwards no thread of it runs.
    ///
    /// # Errors
    /// The process is not there any more, or does not stop.
    pub async fn freeze(&self) -> Result<(), Trouble> {
        self.signal(Signal::STOP)?;
        let deadline = Instant::now() + PATIENCE;
        while !self.is_stopped()? {
            if Instant::now() > deadline {
                return Err(Trouble("the daemon does not stop".into()));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// `SIGCONT`.
    ///
    /// # Errors
    /// The process is not there any more.
    pub fn thaw(&self) -> Result<(), Trouble> {
        self.signal(Signal::CONT)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It still runs after `patience`.
    pub async fn ended(&mut self, patience: Duration) -> Result<ExitStatus, Trouble> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.poll()? {
                self.listen_to_the_end();
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(Trouble(format!("it still runs after {patience:?}; it said:\n{}", self.said())));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// All that it has written to standard error and standard output so far. Complete once it has ended.
    #[must_use]
    pub fn said(&self) -> String {
        lock(&self.said).clone()
    }

    /// Waits until it has said this.
    ///
    /// # Errors
    /// It did not in time.
    pub async fn says(&mut self, words: &str) -> Result<(), Trouble> {
        let deadline = Instant::now() + PATIENCE;
        while !lock(&self.said).contains(words) {
            if Instant::now() > deadline || self.poll()?.is_some() {
                self.listen_to_the_end();
                return Err(Trouble(format!("never said {words:?}, but:\n{}", self.said())));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<ExitStatus>, Trouble> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Its pipes end with it, so the readers do.
    fn listen_to_the_end(&mut self) {
        if self.ended.is_some() {
            for reader in self.readers.drain(..) {
                let _ = reader.join();
            }
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), Trouble> {
        if let Some(status) = self.ended {
            return Err(Trouble(format!("it has ended with {status} already; it said:\n{}", self.said())));
        }
        // Until it is reaped, which only happens here, no other process gets its number.
        kill_process(Pid::from_child(&self.child), signal).map_err(|error| Trouble(format!("no signal: {error}")))
    }

    fn is_stopped(&self) -> Result<bool, Trouble> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name before it stands in parentheses and may hold anything.
        let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
        Ok(state == Some("T"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn lock(said: &Mutex<String>) -> MutexGuard<'_, String> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

fn overhear(pipe: impl io::Read + Send + 'static, said: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let said = Arc::clone(said);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let mut said = lock(&said);
            said.push_str(&String::from_utf8_lossy(&line));
            said.push('\n');
        }
    })
}

async fn is_ready(address: SocketAddr) -> bool {
    let look = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<bool, io::Error>(answer.starts_with(b"HTTP/1.1 200"))
    };
    matches!(tokio::time::timeout(Duration::from_secs(2), look).await, Ok(Ok(true)))
}

/// A port that no other site and no other test's server on this machine uses: a name in the kernel's own namespace of sockets says so, and goes with
/// the process however it ends.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    _claim: UnixListener,
}

impl Port {
    pub(crate) fn take() -> Result<Self, Trouble> {
        // Sites of parallel processes start looking at different places.
        let spread = std::process::id().wrapping_mul(97) % u32::try_from(PORTS.len()).unwrap_or(1);
        let start = PORTS.start + u16::try_from(spread).unwrap_or(0);
        for number in (start..PORTS.end).chain(PORTS.start..start) {
            let name = UnixAddr::from_abstract_name(format!("frontdesk-test-port-{number}"))?;
            let Ok(claim) = UnixListener::bind_addr(&name) else { continue };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _claim: claim });
            }
        }
        Err(Trouble("no port is free".into()))
    }
}
