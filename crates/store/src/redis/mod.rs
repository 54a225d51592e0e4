//! Redis behind the store contract: one server, or a cluster, shared by any number of daemons.
//!
//! **One script per verb.** A verb that writes is one server-side script (`scripts/`), sent by its name in one round trip: it
//! checks everything that can be refused and writes afterwards, as an error midway takes nothing back. Calls of many callers
//! travel packed together on one connection for verbs and one for reads ([`link`]). Time is the server's. Three things take a second
//! trip: [`claim`](claims) looks at all partitions before it takes from some, a caller's [`Once`] is looked up by its own
//! hash, and a word about a [contact](contacts) that is new is brought to where contacts lie.
//!
//! **One slot.** A conversation belongs to one of 64 partitions, and all keys of a partition have its number in braces, so that a
//! script's keys lie together on a cluster too. Lists over all conversations are merged from the partitions' ([`merge`]).
//!
//! **Keys**, with the prefix `fd` in partition 7; what is in them is packed (MessagePack), see [`records`]:
//!
//! | key | what |
//! |---|---|
//! | `fd{7}c:ID` | a conversation, with its lanes: cursor, claim, tries |
//! | `fd{7}l:ID` | its log: a list, an event with what became of its message in each place |
//! | `fd{7}a:ID`, `fd{7}d:ID` | what waits behind the event that the agent or deliver lane has to do next; only while something does |
//! | `fd{7}s` | the schedule: a sorted set of lanes that have something to do, by class (fresh, tried, held) and moment |
//! | `fd{7}w` | what parked lanes wait for |
//! | `fd{7}i` | the index: conversations by channel, status, owner, attention and by assignee, newest last |
//! | `fd{7}t` | moments: the end of a snooze, the time by which an answer is due |
//! | `fd{7}f` | the feed: the newest 8192 changes, a list in the order of their moments |
//! | `fd{7}x` | dead letters |
//! | `fd{7}m:N` | messages by id, in 1024 small hashes: conversation and place |
//! | `fd{7}u:N`, `fd{7}h:N` | likewise: dedupe keys of messages; threads |
//! | `fd{7}o:ID` | what an operation answered, for ten minutes |
//! | `fd{7}q:HASH`, `fd{7}r:HASH` | where a caller's request is carried out; what became of it there |
//! | `fd{7}p` | words about contacts on their way to them |
//! | `fd{7}k`, `fd{7}j` | contacts by the first byte of their id; which conversations each takes part in |
//! | `fd{7}e` | contacts that are being erased, and how far that is |
//! | `fd{0}store` | the store's id, its form, the master key |
//! | `fd{0}daemons`, `fd{0}held` | who is there; who holds what one daemon alone may hold |
//!
//! **Bytes.** A million customers' messages with texts of 108 bytes in 100,000 conversations, each shown to the agent: 387 bytes a message
//! beyond its text, of them 164 in the log, 60 for its dedupe key, 44 for its id, 31 its share of the conversation, the rest indexes,
//! feed and contacts. Half a million with a delivered reply each: 411, as a reply's text is there twice, said and frozen. An operation takes
//! another 175 for ten minutes. **Time.** A customer's message on its whole way with its reply, four scripts, takes Redis 220 to 310
//! microseconds of a processor; on a machine of two cores that had other work too, 256 callers got 2,400 such ways a second
//! (`appendfsync everysec`) and 1,700 (`always`). Measured by `examples/redis_figures.rs` on Redis 7.0.
//!

mod check;
mod claims;
mod company;
mod contacts;
mod effects;
mod feed;
mod keeping;
mod keys;
mod link;
mod lists;
mod log;
mod merge;
mod pack;
mod records;
mod requests;
mod room;
mod settings;
mod start;
mod verbs;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use frontdesk_model::*;
use redis::Value;
use tokio::{sync::RwLock, task::AbortHandle};
use tokio_util::task::TaskTracker;

use self::{
    claims::Made,
    effects::Ask,
    keys::Names,
    link::Link,
    pack::Unreadable,
    room::{Memory, Space},
    start::{Absent, Started},
};
use crate::Durability;

pub use self::start::{Place, RedisOpenError};

/// How long an operation repeats its answer, in milliseconds; the scripts have it as `TEN_MINUTES`.
const REMEMBERED_MILLIS: i64 = 10 * 60 * 1000;
/// How often the servers' memory is looked at.
const LOOK_AT_MEMORY: Duration = Duration::from_secs(1);
/// How often words to contacts are looked for that nobody has brought: once in so many looks at the memory.
const BRING_POSTS_EVERY: u32 = 30;
/// So many threads' conversations are remembered, at least, and at most twice as many.
const THREADS: usize = 50_000;

/// How a Redis is opened.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS. The address of any one node where there is a
    /// cluster.
    pub url: String,
    /// Signs in under this name, whatever `url` says.
    pub user: Option<String>,
    /// With this password, whatever `url` says.
    pub password: Option<Secret>,
    /// A file in PEM form with the certificate that the server's was signed with; without it the public authorities count.
    pub ca: Option<PathBuf>,
    /// When an answer may be given.
    pub durability: Durability,
    /// What every key begins with: 1 to 32 of `[a-z0-9_-]`. Two stores in one database differ in it.
    pub prefix: String,
    /// A call that is not answered for so long may have been carried out or not.
    pub timeout: Duration,
    /// At most about this many changes are kept in each of the 64 partitions.
    pub feed: u32,
    /// Whose time counts for what is due.
    pub time: TimeSource,
}

/// Whose time counts for leases and for what is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeSource {
    /// The server's, which all daemons share.
    #[default]
    Server,
    /// That of the clock that the store was opened with: for tests that hold the time in their hand.
    Clock,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379/0".into(),
            user: None,
            password: None,
            ca: None,
            durability: Durability::Relaxed,
            prefix: "fd".into(),
            timeout: Duration::from_secs(5),
            feed: 8192,
            time: TimeSource::Server,
        }
    }
}

/// A store in a Redis, shared with every other daemon that opens it. A claim is settled, renewed and released by the store
/// that made it.
pub struct RedisStore {
    core: Arc<Core>,
    description: StoreDescription,
    /// Locked for writing only to close. Every call holds it for reading, so closing waits for what was handed in.
    open: RwLock<bool>,
    watch: AbortHandle,
}

/// What the calls are carried out with.
struct Core {
    link: Arc<Link>,
    names: Names,
    clock: Arc<dyn Clock>,
    time: TimeSource,
    feed_length: i64,
    store_id: String,
    space: Space,
    claims: Made,
    threads: Threads,
    /// What nobody waits for.
    tidying: TaskTracker,
}

impl RedisStore {
    /// Connects, and looks at the server's settings: whether it may throw data away, what it can lose, and whether the user may
    /// call what is called here.
    ///
    /// # Errors
    /// See [`RedisOpenError`].
    pub async fn open(options: RedisOptions, clock: Arc<dyn Clock>) -> Result<Self, RedisOpenError> {
        let started = start::start(&options, Absent::Make).await?;
        let description = started.description.clone();
        let core = Arc::new(Core::new(started, &options, clock));
        core.look_at_memory().await;
        let watched = Arc::downgrade(&core);
        let watch = tokio::spawn(async move {
            let mut looks = tokio::time::interval(LOOK_AT_MEMORY);
            looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            for number in 0_u32.. {
                looks.tick().await;
                let Some(core) = watched.upgrade() else { return };
                core.look_at_memory().await;
                if number.is_multiple_of(BRING_POSTS_EVERY)
                    && let Err(error) = core.bring_posts().await
                {
                    tracing::debug!(%error, "what was said of contacts waits to be brought to them");
                }
            }
        });
        Ok(Self { core, description, open: RwLock::new(true), watch: watch.abort_handle() })
    }

    async fn call<T>(&self, call: impl AsyncFnOnce(&Core) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let open = self.open.read().await;
        if *open { call(&self.core).await } else { Err(closed()) }
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

/// A store in a Redis, only to be looked at: beside the daemons that share it, or without any.
pub struct RedisView(Core);

impl RedisView {
    /// Connects to a store that is there.
    ///
    /// # Errors
    /// See [`RedisOpenError`].
    pub async fn open(options: RedisOptions, clock: Arc<dyn Clock>) -> Result<Self, RedisOpenError> {
        let started = start::start(&options, Absent::Refuse).await?;
        Ok(Self(Core::new(started, &options, clock)))
    }
}

#[async_trait]
impl Checked for RedisView {
    async fn check(&self, look: Look) -> Result<Looked, StoreError> {
        self.0.check(look).await
    }
}

impl Core {
    fn new(started: Started, options: &RedisOptions, clock: Arc<dyn Clock>) -> Self {
        Self {
            link: Arc::new(started.link),
            names: started.names,
            clock,
            time: options.time,
            feed_length: i64::from(options.feed.max(1)),
            store_id: started.description.store_id,
            space: Space::new(),
            claims: Made::new(),
            threads: Threads::default(),
            tidying: TaskTracker::new(),
        }
    }

    fn say_time(&self, ask: &mut Ask) {
        if self.time == TimeSource::Clock {
            ask.say("now").number(self.clock.now().as_millis());
        }
    }

    /// The time that counts, in milliseconds, when a server shows this one in microseconds.
    fn shown(&self, micros: i64) -> i64 {
        match self.time {
            TimeSource::Server => micros / 1000,
            TimeSource::Clock => self.clock.now().as_millis(),
        }
    }

    async fn look_at_memory(&self) {
        match self.link.each_master("INFO", &["memory", "replication"]).await {
            Ok(answers) => {
                let read = |info| Memory::read(&start::text(info));
                let servers: Vec<Memory> = answers.into_iter().filter_map(read).collect();
                self.space.note(&servers);
            }
            Err(error) => self.space.note_silence(match link::failed(error) {
                StoreError::Unavailable(reason) => reason,
                other => other.to_string(),
            }),
        }
    }

    async fn master_key(&self, candidate: &MasterKey) -> Result<MasterKey, StoreError> {
        let mut both = candidate.key.expose().to_vec();
        both.extend(candidate.id.as_bytes());
        let shard = keys::Shard::of_byte(0);
        let mut put = redis::cmd("HSETNX");
        put.arg(self.names.store()).arg("master_key").arg(both);
        let mut get = redis::cmd("HGET");
        get.arg(self.names.store()).arg("master_key");
        // Nothing is written where there is one: a daemon starts on a full Redis too.
        let mut found = self.link.ask_one(link::Purpose::Verb, shard, get.clone()).await?;
        if found == Value::Nil {
            self.link.ask_one(link::Purpose::Verb, shard, put).await?;
            found = self.link.ask_one(link::Purpose::Verb, shard, get).await?;
        }
        let Value::BulkString(stored) = found else { return Err(Unreadable.into()) };
        let (key, id) = stored.split_first_chunk::<32>().ok_or(Unreadable)?;
        let id = String::from_utf8(id.to_vec()).map_err(|_| Unreadable)?;
        Ok(MasterKey { key: Secret::new(*key), id })
    }

    async fn find(&self, thread: &ThreadKey, keys: &[DedupeKey]) -> Result<Found, StoreError> {
        let shard = keys::Shard::from(Partition::of(thread));
        let digest = keys::thread_digest(thread);
        let look = |key: String, field: &[u8]| {
            let mut get = redis::cmd("HGET");
            get.arg(key).arg(field);
            get
        };
        let calls = std::iter::once(look(self.names.thread(shard, &digest), &digest))
            .chain(keys.iter().map(|key| look(self.names.dedupe(shard, *key), &key.0)))
            .collect();
        let answers = self.link.ask(link::Purpose::Read, vec![(shard, calls)]).await?;
        let mut answers = answers.into_iter().flatten();
        let conversation = match answers.next() {
            Some(Value::BulkString(id)) => {
                let id = id.as_slice().try_into().map_err(|_| Unreadable)?;
                Some(ConversationId::from_bytes(id))
            }
            _ => None,
        };
        let message = |answer| match answer {
            Value::BulkString(known) => {
                let (_, message) = known.split_last_chunk::<16>().ok_or(Unreadable)?;
                Ok(Some(MessageId::from_bytes(*message)))
            }
            _ => Ok(None),
        };
        let messages = answers.map(message).collect::<Result<_, Unreadable>>()?;
        Ok(Found { conversation, messages })
    }

    async fn recall(&self, name: &str) -> Result<Option<String>, StoreError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.names.remembered()).arg(name);
        match self.link.ask_one(link::Purpose::Read, keys::Shard::of_byte(0), get).await? {
            Value::BulkString(text) => Ok(Some(String::from_utf8(text).map_err(|_| Unreadable)?)),
            _ => Ok(None),
        }
    }

    async fn remember(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let mut put = redis::cmd("HSET");
        put.arg(self.names.remembered()).arg(name).arg(value);
        self.link.ask_one(link::Purpose::Verb, keys::Shard::of_byte(0), put).await.map(drop)
    }

    async fn note_files(&self) -> Result<bool, StoreError> {
        let mut put = redis::cmd("HSETNX");
        put.arg(self.names.store()).arg(FILES).arg(1);
        let answer = self.link.ask_one(link::Purpose::Verb, keys::Shard::of_byte(0), put).await?;
        Ok(answer == Value::Int(0))
    }

    async fn has_files(&self) -> Result<bool, StoreError> {
        let mut get = redis::cmd("HGET");
        get.arg(self.names.store()).arg(FILES);
        Ok(self.link.ask_one(link::Purpose::Verb, keys::Shard::of_byte(0), get).await? != Value::Nil)
    }
}

/// Under this name the store knows that bytes of attachments lie beside it.
const FILES: &str = "files";

/// A server's answer to `TIME`, in microseconds.
fn micros(time: &Value) -> Result<i64, Unreadable> {
    let Value::Array(parts) = time else { return Err(Unreadable) };
    let number = |part: Option<&Value>| match part {
        Some(Value::BulkString(text)) => std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok()),
        _ => None,
    };
    let (seconds, rest) = number(parts.first()).zip(number(parts.get(1))).ok_or(Unreadable)?;
    Ok(seconds.saturating_mul(1_000_000).saturating_add(rest))
}

/// Which conversation a thread had when it was last asked for. It rarely changes, and a script that is told a wrong one says so. What was
/// asked for of late stays.
#[derive(Default)]
struct Threads {
    known: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<[u8; 16], ConversationId>,
    old: HashMap<[u8; 16], ConversationId>,
}

impl Threads {
    fn get(&self, thread: &[u8; 16]) -> Option<ConversationId> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.young.get(thread).or_else(|| known.old.get(thread)).copied()?;
        known.put(*thread, found);
        Some(found)
    }

    fn put(&self, thread: [u8; 16], conversation: ConversationId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).put(thread, conversation);
    }
}

impl Generations {
    fn put(&mut self, thread: [u8; 16], conversation: ConversationId) {
        if self.young.len() >= THREADS {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(thread, conversation);
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn commit_inbound(&self, inbound: CommitInbound) -> Result<Committed, StoreError> {
        self.call(async |core| core.commit_inbound(inbound).await).await
    }

    async fn append(&self, append: Append) -> Result<Applied, StoreError> {
        self.call(async |core| core.append(append).await).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claims, StoreError> {
        self.call(async |core| core.claim(request).await).await
    }

    async fn renew(&self, claim: ClaimId, lease: Duration) -> Result<Held, StoreError> {
        self.call(async |core| core.renew(claim, lease).await).await
    }

    async fn settle(&self, settle: Settle) -> Result<Settled, StoreError> {
        self.call(async |core| core.settle(settle).await).await
    }

    async fn release(&self, release: Release) -> Result<Held, StoreError> {
        self.call(async |core| core.release(release).await).await
    }

    async fn wake(&self, waiting: Waiting) -> Result<u64, StoreError> {
        self.call(async |core| core.wake(&waiting).await).await
    }

    async fn timers(&self, limit: usize) -> Result<Timers, StoreError> {
        self.call(async |core| core.timers(limit).await).await
    }

    async fn changes(&self, after: Option<String>, filter: ChangeFilter, take: Take) -> Result<Changes, StoreError> {
        self.call(async |core| core.changes(after, &filter, take).await).await
    }

    async fn census(&self) -> Result<Census, StoreError> {
        self.call(async |core| core.census().await).await
    }

    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StoreError> {
        self.call(async |core| core.conversation(id).await).await
    }

    async fn conversations(
        &self,
        filter: ConversationFilter,
        page: PageRequest,
    ) -> Result<Page<Conversation>, StoreError> {
        self.call(async |core| core.conversations(&filter, &page).await).await
    }

    async fn messages(
        &self,
        id: ConversationId,
        before: Option<Seq>,
        take: Take,
    ) -> Result<Option<Slice<MessageRecord>>, StoreError> {
        self.call(async |core| core.messages(id, before, take).await).await
    }

    async fn events(&self, id: ConversationId, after: Seq, take: Take) -> Result<Option<Slice<Event>>, StoreError> {
        self.call(async |core| core.events(id, after, take).await).await
    }

    async fn message(&self, id: MessageId) -> Result<Option<(ConversationId, MessageRecord)>, StoreError> {
        self.call(async |core| core.message(id).await).await
    }

    async fn parts(&self, id: MessageId) -> Result<Vec<Part>, StoreError> {
        self.call(async |core| core.parts(id).await).await
    }

    async fn contact(&self, id: ContactId) -> Result<Option<Contact>, StoreError> {
        self.call(async |core| core.contact(id).await).await
    }

    async fn dead_letters(&self, page: PageRequest) -> Result<Page<DeadLetter>, StoreError> {
        self.call(async |core| core.dead_letters(&page).await).await
    }

    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, StoreError> {
        self.call(async |core| core.dead_letter(id).await).await
    }

    async fn requeue(&self, requeue: Requeue) -> Result<Applied, StoreError> {
        self.call(async |core| core.requeue(requeue).await).await
    }

    async fn find(&self, thread: &ThreadKey, keys: &[DedupeKey]) -> Result<Found, StoreError> {
        self.call(async |core| core.find(thread, keys).await).await
    }

    async fn recall(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.call(async |core| core.recall(name).await).await
    }

    async fn remember(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.call(async |core| core.remember(name, value).await).await
    }

    async fn master_key(&self, candidate: MasterKey) -> Result<MasterKey, StoreError> {
        self.call(async |core| core.master_key(&candidate).await).await
    }

    async fn note_files(&self) -> Result<bool, StoreError> {
        self.call(async |core| core.note_files().await).await
    }

    async fn has_files(&self) -> Result<bool, StoreError> {
        self.call(async |core| core.has_files().await).await
    }

    fn company(&self) -> &dyn Company {
        self
    }

    fn keeping(&self) -> &dyn Keeping {
        self
    }

    fn checked(&self) -> Option<&dyn Checked> {
        Some(self)
    }

    fn room(&self) -> Room {
        self.core.space.room()
    }

    fn describe(&self) -> StoreDescription {
        self.description.clone()
    }

    async fn close(&self) -> Result<(), StoreError> {
        let mut open = self.open.write().await;
        if !std::mem::replace(&mut *open, false) {
            return Err(closed());
        }
        self.watch.abort();
        self.core.tidying.close();
        self.core.tidying.wait().await;
        Ok(())
    }
}
