//! The thread that writes: many requests, one transaction, one wait for the disk.

use std::{
    fs::File,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use frontdesk_model::{Clock, StoreError};
use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::{
    memory::{Memory, Point},
    room::Space,
};

/// At most this many requests share a transaction.
const GROUP: usize = 256;
/// More waiting requests than this make callers wait for their turn to be heard.
const QUEUE: usize = 4096;

/// What a request is carried out on.
pub(super) struct Core {
    pub(super) connection: Connection,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) space: Arc<Space>,
    pub(super) memory: Memory,
    /// The number that a conversation was given last. One that was given up with its transaction is not used again.
    pub(super) last_number: i64,
    /// Requests kept since old ones were last swept.
    pub(super) unswept: u32,
}

/// Why a request failed inside a transaction.
#[derive(Debug)]
pub(super) enum Failure {
    /// It contradicts the contract.
    Refused(String),
    /// It is new work, and there is no room for any.
    Full(String),
    /// SQLite failed.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    /// A broken constraint is the request's fault (an id that exists already): repeating it would break it again.
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Self::Refused(error.to_string()),
            _ => Self::Sql(error),
        }
    }
}

impl Failure {
    pub(super) fn another_verb() -> Self {
        Self::Refused("the operation id was used for another verb".into())
    }

    fn is_full(&self) -> bool {
        matches!(self, Self::Sql(error) if is_full(error))
    }

    pub(super) fn into_store_error(self) -> StoreError {
        match self {
            Self::Refused(reason) => StoreError::Refused(reason),
            Self::Full(reason) => StoreError::Full(reason),
            Self::Sql(error) if is_full(&error) => StoreError::Full("the data folder's disk is full".into()),
            Self::Sql(error) => StoreError::Unavailable(error.to_string()),
        }
    }
}

/// A used-up quota shows as an I/O error and is not told apart from one; it passes when there is room again.
fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// A request on its way. May be carried out more than once when its transaction fails.
trait Job: Send {
    fn run(&mut self, core: &mut Core) -> Result<(), Failure>;
    /// It has failed for good: it is not carried out (again).
    fn fail(&mut self, failure: Failure);
    fn has_failed(&self) -> bool;
    fn answer(self: Box<Self>);
}

struct Call<T, F> {
    run: F,
    result: Option<Result<T, Failure>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnMut(&mut Core) -> Result<T, Failure> + Send> Job for Call<T, F> {
    fn run(&mut self, core: &mut Core) -> Result<(), Failure> {
        self.result = Some(Ok((self.run)(core)?));
        Ok(())
    }

    fn fail(&mut self, failure: Failure) {
        self.result = Some(Err(failure));
    }

    fn has_failed(&self) -> bool {
        matches!(self.result, Some(Err(_)))
    }

    fn answer(self: Box<Self>) {
        let result = self.result.unwrap_or_else(|| Err(Failure::Refused("not carried out".into())));
        // A caller that no longer waits has given up on the answer, not on the effect.
        let _ = self.reply.send(result.map_err(Failure::into_store_error));
    }
}

/// The way to the writing thread.
pub(super) struct Writer {
    jobs: Mutex<Option<mpsc::SyncSender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    slots: Arc<tokio::sync::Semaphore>,
}

impl Writer {
    /// `lock` keeps others out of the folder: it is held until the thread has written its last.
    pub(super) fn start(
        connection: Connection,
        clock: Arc<dyn Clock>,
        space: Arc<Space>,
        last_number: i64,
        lock: File,
    ) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::sync_channel(QUEUE);
        let core = Core { connection, clock, space, memory: Memory::new(), last_number, unswept: 0 };
        let thread = thread::Builder::new().name("store-writer".into()).spawn(move || {
            write(core, &waiting);
            drop(lock);
        })?;
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
            slots: Arc::new(tokio::sync::Semaphore::new(QUEUE)),
        })
    }

    /// Has a request carried out and waits for its transaction. Dropped while it waits, the request may still run.
    pub(super) async fn call<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Core) -> Result<T, Failure> + Send + 'static,
    {
        let closed = || StoreError::Unavailable("the store is closed".into());
        // As many slots as the queue is long: sending never blocks the runtime's thread.
        let _slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| closed())?;
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)?;
        jobs.try_send(Box::new(Call { run, result: None, reply })).map_err(|_| closed())?;
        drop(jobs);
        answer.await.map_err(|_| closed())?
    }

    /// Lets the thread finish what waits and end. `Err`: it was asked to before.
    pub(super) async fn close(&self) -> Result<(), StoreError> {
        let thread = self.end().ok_or_else(|| StoreError::Unavailable("the store is closed".into()))?;
        let ended = tokio::task::spawn_blocking(move || thread.join()).await;
        match ended {
            Ok(Ok(())) => Ok(()),
            _ => Err(StoreError::Unavailable("the store's writer had failed".into())),
        }
    }

    /// The thread ends by itself once the queue is empty.
    fn end(&self) -> Option<JoinHandle<()>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Writer {
    /// Waits for the thread, so that whoever opens the folder next finds it free and everything written.
    fn drop(&mut self) {
        if let Some(thread) = self.end() {
            let _ = thread.join();
        }
    }
}

fn write(mut core: Core, waiting: &mpsc::Receiver<Box<dyn Job>>) {
    let mut group = Vec::with_capacity(GROUP);
    while let Ok(first) = waiting.recv() {
        group.push(first);
        while group.len() < GROUP {
            let Ok(next) = waiting.try_recv() else { break };
            group.push(next);
        }
        core.carry_out(&mut group);
        for job in group.drain(..) {
            job.answer();
        }
    }
    let _ = core.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    let Core { connection, space, .. } = core;
    drop(connection);
    space.keep_what_opening_takes();
}

/// How a transaction is left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusals {
    /// One that leaves half of its work behind ends the transaction: none is expected.
    EndIt,
    /// Each request has a savepoint, to which its refusal goes back.
    AreUndone,
}

/// Why none of a transaction happened.
enum Ended {
    /// A request was refused when it had written something. It has failed; the others have not been carried out.
    ByRefusal,
    ByFailure(Failure),
}

impl From<rusqlite::Error> for Ended {
    fn from(error: rusqlite::Error) -> Self {
        Self::ByFailure(Failure::Sql(error))
    }
}

impl Core {
    /// Carries the requests out, together if that is possible: a refusal that comes before anything was written costs
    /// nothing. Another one, which only a mistake of ours or a broken contract brings about, has the others carried out
    /// again, each with a savepoint. (Savepoints at all times cost a tenth of the writer's time: SQLite copies every page
    /// of a savepoint before it changes it.)
    fn carry_out(&mut self, group: &mut [Box<dyn Job>]) {
        let failure = match self.transact(group, Refusals::EndIt) {
            Ok(()) => return,
            Err(Ended::ByFailure(failure)) => failure,
            Err(Ended::ByRefusal) => match self.transact(group, Refusals::AreUndone) {
                Ok(()) => return,
                Err(Ended::ByFailure(failure)) => failure,
                Err(Ended::ByRefusal) => Failure::Refused("refused twice".into()),
            },
        };
        tracing::debug!(?failure, "a group of writes is repeated one by one");
        if failure.is_full() {
            self.space.give_up_reserve();
        }
        self.one_by_one(group);
    }

    /// The group's transaction failed: nobody shall fail for another.
    fn one_by_one(&mut self, group: &mut [Box<dyn Job>]) {
        for job in group {
            let alone = std::slice::from_mut(job);
            let ended = match self.transact(alone, Refusals::EndIt) {
                Err(Ended::ByFailure(failure)) if failure.is_full() && self.space.give_up_reserve() => {
                    self.transact(alone, Refusals::EndIt)
                }
                ended => ended,
            };
            if let (Err(Ended::ByFailure(failure)), [job]) = (ended, alone) {
                job.fail(failure);
            }
        }
    }

    /// Carries the requests out in one transaction. `Err`: none of them happened.
    fn transact(&mut self, group: &mut [Box<dyn Job>], refusals: Refusals) -> Result<(), Ended> {
        let ended = self.within_transaction(group, refusals);
        // However it failed, no transaction stays open: the next one could not begin.
        if ended.is_err() {
            self.undo();
        }
        ended
    }

    fn within_transaction(&mut self, group: &mut [Box<dyn Job>], refusals: Refusals) -> Result<(), Ended> {
        let undone = refusals == Refusals::AreUndone;
        self.execute("BEGIN IMMEDIATE")?;
        for job in group.iter_mut().filter(|job| !job.has_failed()) {
            let (point, written) = (self.memory.point(), self.connection.total_changes());
            if undone {
                self.execute("SAVEPOINT job")?;
            }
            let failure = match job.run(self) {
                Ok(()) => None,
                Err(failure @ (Failure::Refused(_) | Failure::Full(_))) => Some(failure),
                Err(failure) => return Err(Ended::ByFailure(failure)),
            };
            if let Some(failure) = failure {
                job.fail(failure);
                self.memory.go_back(&point);
                if undone {
                    self.execute("ROLLBACK TO job")?;
                } else if self.connection.total_changes() != written {
                    return Err(Ended::ByRefusal);
                }
            }
            if undone {
                self.execute("RELEASE job")?;
            }
        }
        self.execute("COMMIT")?;
        self.memory.keep(self.boot());
        Ok(())
    }

    fn execute(&self, statement: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(statement)?.execute([]).map(drop)
    }

    fn undo(&mut self) {
        self.memory.go_back(&Point::default());
        // Some failures have rolled the transaction back already.
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}
