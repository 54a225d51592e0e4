//! What is struck: the daemons, their store, both ends.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use frontdesk_model::MessageId;
use frontdesk_testkit::{
    daemon::{Daemon, Site},
    far_end::FarEnd,
    ledger::{Dice, Said},
    process::memory,
    redis_proxy::{Lose, Proxy},
    redis_server::{ALWAYS, Server},
};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use crate::{
    Options, StoreKind,
    book::Ledger,
    ends::{self, Mood, Moods},
};

pub(crate) const TOKEN: &str = "campaign-token-0123456789";
/// How long a daemon may take to be ready again, and a point to be come by.
const PATIENCE: Duration = Duration::from_secs(60);
/// What Redis still has after a server's end comes out within this span, leases of 30 s included.
const SETTLED_WITHIN: Duration = Duration::from_secs(45);
/// What a server's last answers acknowledged is known to those who asked by then.
const ANSWERS_ARRIVE: Duration = Duration::from_millis(300);
const EVERYSEC: &[&str] = &["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""];

/// Points of a message's way at which a daemon dies, in their order.
pub(crate) const POINTS: [&str; 8] =
    ["accepting", "committed", "asking", "answered", "recorded", "intended", "sent", "concluded"];

/// One way to strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    Kill,
    KillAt(&'static str),
    Terminate,
    /// Stopped for so long, and then continued.
    Freeze(u64),
    Agent(Mood),
    FarEnd(Mood),
    Descriptors,
    FullDisk,
    /// The next lives have a wall clock that is an hour off.
    Clock(i64),
    RedisKill,
    RedisFreeze,
    RedisFull,
    RedisCut,
    Failover,
}

impl Blow {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9 at any moment",
            Self::KillAt(point) => point,
            Self::Terminate => "SIGTERM under load",
            Self::Freeze(_) => "SIGSTOP past the lease, SIGCONT",
            Self::Agent(Mood::Fails) => "agent answers 500",
            Self::Agent(Mood::Hangs) => "agent hangs",
            Self::Agent(Mood::Drips) => "agent drips",
            Self::Agent(_) => "agent unwell",
            Self::FarEnd(Mood::Busy) => "far end answers 429",
            Self::FarEnd(Mood::Fails) => "far end answers 500",
            Self::FarEnd(Mood::Resets) => "far end takes it and resets",
            Self::FarEnd(_) => "far end unwell",
            Self::Descriptors => "descriptors exhausted",
            Self::FullDisk => "disk full",
            Self::Clock(_) => "clock moved by an hour",
            Self::RedisKill => "Redis killed (everysec: its power cut)",
            Self::RedisFreeze => "Redis stands still",
            Self::RedisFull => "Redis out of memory",
            Self::RedisCut => "connections to Redis cut",
            Self::Failover => "the replica becomes the master",
        }
    }
}

/// A small disk of its own; gone when it is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Option<Self> {
        let out = Command::new("mount").args(["-t", "tmpfs", "-o", "size=768m", "tmpfs"]).arg(at).output().ok()?;
        out.status.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

pub(crate) struct Stand {
    pub(crate) sites: Vec<Site>,
    daemon: PathBuf,
    daemons: Vec<Daemon>,
    server: Option<Server>,
    /// Follows the server, and takes its place.
    replica: Option<Server>,
    /// The daemons' way to the server.
    proxy: Option<Proxy>,
    pub(crate) agent_mood: Arc<Moods>,
    pub(crate) shop_mood: Arc<Moods>,
    ledger: Arc<Ledger>,
    broken: Option<String>,
    everysec: bool,
    clock: i64,
    /// Deaths by force: of daemons and of Redis.
    pub(crate) kills: usize,
    /// Moments at which what a far end had just taken may not have been noted.
    pub(crate) interruptions: usize,
    /// What had come to the far end without being known to be on its way.
    pub(crate) unintended: usize,
    /// The most memory that a daemon had, in MiB.
    pub(crate) peak: f64,
    disk: Option<Disk>,
    _ends: (FarEnd, FarEnd),
    _folder: tempfile::TempDir,
}

impl Stand {
    pub(crate) async fn build(options: &Options, ledger: &Arc<Ledger>) -> Self {
        let (agent_mood, shop_mood) = (Arc::new(Moods::default()), Arc::new(Moods::default()));
        let agent = ends::agent(ledger, &agent_mood, options.seed).await;
        let shop = ends::shop(ledger, &shop_mood, options.seed).await;
        let folder = tempfile::tempdir().unwrap();
        let disk = if options.store == StoreKind::Sqlite { Disk::mount(folder.path()) } else { None };
        let server = match options.store {
            StoreKind::Sqlite => None,
            StoreKind::Redis => Some(Server::start(if options.everysec { EVERYSEC } else { ALWAYS })),
        };
        let replica = server.as_ref().filter(|_| options.failover).map(|master| {
            let replica = Server::start(ALWAYS);
            replica.follow(master);
            replica
        });
        let proxy = server.as_ref().map(|server| Proxy::to(server.port));
        // Else what it answered during a standstill would have come too late for another reason.
        let timeout = if options.standstills { "60 s" } else { "2 s" };
        let sections = format!(
            "[tokens.campaign]\ntoken = \"{TOKEN}\"\nscopes = [\"ingest\", \"admin\"]\n\n[agent]\nurl = \"{}\"\n\
             timeout = \"{timeout}\"\n\n[channels.shop]\nkind = \"webhook\"\ndeliver_url = \"{}\"\n",
            agent.url(),
            shop.url()
        );
        // Two daemons on one Redis, throughout.
        let count = if server.is_some() { 2 } else { 1 };
        let sites = (0..count).map(|number| {
            let own = folder.path().join(number.to_string());
            std::fs::create_dir_all(&own).unwrap();
            let site = Site::at(&options.daemon, own).unwrap().with(&sections);
            match &proxy {
                None => site.with_store("min_free = \"1 MB\""),
                Some(proxy) => {
                    let durability = if options.everysec { "relaxed" } else { "strict" };
                    site.on(&proxy.url()).with_store(&format!("durability = \"{durability}\""))
                }
            }
        });
        let sites: Vec<Site> = sites.collect();
        let mut stand = Self {
            sites,
            daemon: options.daemon.clone(),
            daemons: Vec::new(),
            server,
            replica,
            proxy,
            agent_mood,
            shop_mood,
            ledger: Arc::clone(ledger),
            broken: options.sabotage.clone(),
            everysec: options.everysec,
            clock: 0,
            kills: 0,
            interruptions: 0,
            unintended: 0,
            peak: 0.0,
            disk,
            _ends: (agent, shop),
            _folder: folder,
        };
        for number in 0..count {
            let daemon = stand.start(number, None).await;
            stand.daemons.push(daemon);
        }
        stand
    }

    pub(crate) fn has_a_disk(&self) -> bool {
        self.disk.is_some()
    }

    async fn start(&mut self, number: usize, die_at: Option<String>) -> Daemon {
        let site = &mut self.sites[number];
        site.set_env("FRONTDESK_TRIAL_DIE_AT", die_at.as_deref());
        site.set_env("FRONTDESK_TRIAL_BREAK", self.broken.as_deref());
        let clock = self.clock.to_string();
        site.set_env("FRONTDESK_TRIAL_CLOCK", Some(&clock));
        let mut daemon = site.launch().unwrap();
        // One that dies at its point may do so before it was ever seen ready.
        if die_at.is_none() {
            daemon.ready().await.unwrap();
        }
        daemon
    }

    /// What the kernel saw of its memory, before it is gone.
    fn note_memory(&mut self, number: usize) {
        if let Ok(memory) = memory(self.daemons[number].pid()) {
            self.peak = self.peak.max(memory.peak);
        }
    }

    async fn kill(&mut self, number: usize) {
        self.note_memory(number);
        self.daemons[number].kill().await.unwrap();
        self.kills += 1;
        self.look_at_intents(number);
    }

    /// Whatever came to the far end must have been noted as on its way before.
    fn look_at_intents(&mut self, number: usize) {
        let fresh = self.ledger.with(|book| std::mem::take(&mut book.fresh));
        if self.server.is_some() {
            return;
        }
        let path = self.sites[number].data().join("frontdesk.db");
        // Who may write and closes last tidies the log of writes away: the daemon would find nothing left to recover.
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut parts = connection.prepare("SELECT state FROM parts WHERE message = ?1").unwrap();
        for id in fresh {
            let Ok(message) = id.parse::<MessageId>() else { continue };
            let state: Option<String> = parts.query_row([message.to_bytes()], |row| row.get(0)).optional().unwrap();
            self.unintended += usize::from(state.is_none_or(|state| state.contains("ready")));
        }
    }

    /// Strikes, and leaves everything running again.
    pub(crate) async fn strike(&mut self, blow: Blow, dice: &mut Dice) {
        let number = usize::try_from(dice.roll()).unwrap_or(0) % self.daemons.len();
        self.interruptions += match blow {
            Blow::Agent(_) | Blow::FarEnd(_) => 0,
            // It is killed to come by its point, and dies there.
            Blow::KillAt(_) => 2,
            _ => 1,
        };
        match blow {
            Blow::Kill => {
                self.kill(number).await;
                self.daemons[number] = self.start(number, None).await;
            }
            Blow::KillAt(point) => {
                self.kill(number).await;
                let times = dice.between(1, 40);
                self.daemons[number] = self.start(number, Some(format!("{point}:{times}"))).await;
                let died = self.daemons[number].ended(PATIENCE).await;
                assert!(died.is_ok(), "nobody came by {point}: {died:?}");
                self.kills += 1;
                self.look_at_intents(number);
                self.daemons[number] = self.start(number, None).await;
            }
            Blow::Terminate => {
                self.note_memory(number);
                self.daemons[number].terminate().unwrap();
                let ended = self.daemons[number].ended(PATIENCE).await.unwrap();
                assert!(ended.success(), "it ended with {ended}; it said:\n{}", self.daemons[number].said());
                self.daemons[number] = self.start(number, None).await;
            }
            Blow::Freeze(seconds) => {
                self.daemons[number].freeze().await.unwrap();
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                self.daemons[number].thaw().unwrap();
            }
            Blow::Agent(mood) => {
                self.agent_mood.set(mood);
                tokio::time::sleep(dice.millis(500, 2000)).await;
                self.agent_mood.set(Mood::Well);
            }
            Blow::FarEnd(mood) => {
                self.shop_mood.set(mood);
                tokio::time::sleep(dice.millis(300, 1000)).await;
                self.shop_mood.set(Mood::Well);
            }
            Blow::Descriptors => self.exhaust_descriptors(number, dice).await,
            Blow::FullDisk => self.fill_disk(dice).await,
            Blow::Clock(seconds) => {
                self.clock = seconds;
                self.kill(number).await;
                self.daemons[number] = self.start(number, None).await;
            }
            Blow::RedisKill if self.everysec => {
                let struck = self.cut_power(dice).await;
                self.write_off(&struck).await;
            }
            Blow::Failover => {
                let struck = self.fail_over(dice).await;
                self.write_off(&struck).await;
            }
            Blow::RedisKill | Blow::RedisFreeze | Blow::RedisFull | Blow::RedisCut => {
                self.strike_redis(blow, dice).await;
            }
        }
    }

    async fn exhaust_descriptors(&self, number: usize, dice: &mut Dice) {
        let limit = |most: &str| {
            let pid = self.daemons[number].pid().to_string();
            let set = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={most}:")]).status();
            assert!(set.is_ok_and(|set| set.success()), "prlimit");
        };
        limit("24");
        tokio::time::sleep(dice.millis(500, 1500)).await;
        limit("1024");
    }

    async fn fill_disk(&self, dice: &mut Dice) {
        use std::io::Write as _;
        let Some(disk) = &self.disk else { return };
        let filler = disk.0.join("filler");
        let mut file = std::fs::File::create(&filler).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        tokio::time::sleep(dice.millis(500, 1500)).await;
        std::fs::remove_file(filler).unwrap();
    }

    async fn strike_redis(&mut self, blow: Blow, dice: &mut Dice) {
        let Some(server) = &mut self.server else { return };
        match blow {
            Blow::RedisKill => {
                server.stop();
                self.kills += 1;
                tokio::time::sleep(dice.millis(10, 500)).await;
                assert!(server.run(), "Redis does not start again");
            }
            Blow::RedisFreeze => {
                // Of a daemon that breaks a promise more is asked: always longer than it waits for an answer, 5 s.
                let least = if self.broken.is_some() { 5500 } else { 500 };
                let frozen = server.freeze();
                tokio::time::sleep(dice.millis(least, 7000)).await;
                drop(frozen);
            }
            Blow::RedisFull => {
                server.say::<String>(&["CONFIG", "SET", "maxmemory", "1mb"]);
                tokio::time::sleep(dice.millis(500, 1500)).await;
                server.say::<String>(&["CONFIG", "SET", "maxmemory", "0"]);
            }
            _ => {
                let Some(proxy) = &self.proxy else { return };
                for _ in 0..20 {
                    // One script more is lost on its way there, or its answer on the way back.
                    let lose = if dice.between(0, 3) == 0 { Lose::Call } else { Lose::Answer };
                    proxy.cut_at("EVALSHA", u32::try_from(dice.between(0, 20)).unwrap_or(0), lose);
                    let began = Instant::now();
                    while !proxy.has_cut() && began.elapsed() < Duration::from_secs(2) {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                proxy.spare();
            }
        }
        self.all_ready().await;
    }

    /// They come back by themselves.
    async fn all_ready(&mut self) {
        for daemon in &mut self.daemons {
            daemon.ready().await.unwrap();
        }
    }

    /// What is still there comes out; the rest is gone.
    async fn write_off(&mut self, struck: &BTreeSet<Said>) {
        self.all_ready().await;
        self.ledger.until(SETTLED_WITHIN, |book| struck.iter().all(|said| book.delivered.contains_key(said))).await;
        self.ledger.with(|book| book.write_off(struck));
    }

    /// The replica is made the master, as it is when the master does not seem to live. That one goes on for a while: what it takes then,
    /// the other never has. Gives what was in flight when it was gone.
    async fn fail_over(&mut self, dice: &mut Dice) -> BTreeSet<Said> {
        let (Some(master), Some(replica), Some(proxy)) = (&mut self.server, &mut self.replica, &self.proxy) else {
            return BTreeSet::new();
        };
        replica.lead();
        tokio::time::sleep(dice.millis(0, 1000)).await;
        master.stop();
        self.kills += 1;
        proxy.lead_to(replica.port);
        tokio::time::sleep(ANSWERS_ARRIVE).await;
        let struck = self.ledger.with(|book| book.in_flight());
        std::mem::swap(master, replica);
        // The one that was the master comes back, and follows.
        assert!(replica.run(), "Redis does not start again");
        replica.follow(master);
        struck
    }

    /// The power of Redis's machine goes: what it wrote in the last second is not on its disk. Gives what was in flight.
    async fn cut_power(&mut self, dice: &mut Dice) -> BTreeSet<Said> {
        let Some(server) = &mut self.server else { return BTreeSet::new() };
        let since = server.written();
        tokio::time::sleep(dice.millis(200, 1000)).await;
        server.cut_power(&since);
        self.kills += 1;
        tokio::time::sleep(ANSWERS_ARRIVE).await;
        let struck = self.ledger.with(|book| book.in_flight());
        assert!(server.run(), "Redis does not start again");
        struck
    }

    /// As an operator ends them, who then has the store looked through.
    pub(crate) async fn end(&mut self) -> Result<(), String> {
        let running = self.check_store();
        self.end_daemons().await?;
        running.and_then(|()| self.check_store())
    }

    /// `frontdesk store check` has to find nothing.
    fn check_store(&self) -> Result<(), String> {
        let site = &self.sites[0];
        let configuration = site.write().map_err(|error| error.to_string())?;
        let mut command = Command::new(&self.daemon);
        command.args(["store", "check", "--json", "--config"]).arg(configuration);
        let out = command.output().map_err(|error| error.to_string())?;
        if out.status.success() {
            return Ok(());
        }
        let said = [out.stdout, out.stderr].concat();
        Err(format!("store check: {}", String::from_utf8_lossy(&said).trim()))
    }

    async fn end_daemons(&mut self) -> Result<(), String> {
        for number in 0..self.daemons.len() {
            self.note_memory(number);
            self.daemons[number].terminate().map_err(|error| error.to_string())?;
            let began = Instant::now();
            let ended = self.daemons[number].ended(PATIENCE).await.map_err(|error| error.to_string())?;
            if !ended.success() {
                return Err(format!("a daemon ended with {ended} after {:?}", began.elapsed()));
            }
        }
        Ok(())
    }
}
