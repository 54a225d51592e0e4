//! The thread that writes: many requests, one transaction, one wait for the disk.

use std::{
    fs::File,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use frontdesk_model::{Clock, StoreError};
use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::room::Space;

/// At most this many requests share a transaction.
const GROUP: usize = 256;
/// More waiting requests than this make callers wait for their turn to be heard.
const QUEUE: usize = 4096;

/// What a request is carried out on.
pub(super) struct Core {
    pub(super) connection: Connection,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) space: Arc<Space>,
    /// Requests since the last sweep of old operation ids.
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
    fn fail(&mut self, failure: Failure);
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
        lock: File,
    ) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::sync_channel(QUEUE);
        let core = Core { connection, clock, space, unswept: 0 };
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
        if let Err(failure) = core.transact(&mut group) {
            one_by_one(&mut core, &mut group, &failure);
        }
        for job in group.drain(..) {
            job.answer();
        }
    }
    let _ = core.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
}

/// The group's transaction failed: nobody shall fail for another.
fn one_by_one(core: &mut Core, group: &mut [Box<dyn Job>], failure: &Failure) {
    let space = Arc::clone(&core.space);
    tracing::debug!(?failure, "a group of writes is repeated one by one");
    if failure.is_full() {
        space.give_up_reserve();
    }
    for job in group {
        let alone = std::slice::from_mut(job);
        let failed = match core.transact(alone) {
            Err(failure) if failure.is_full() && space.give_up_reserve() => core.transact(alone),
            ended => ended,
        };
        if let (Err(failure), [job]) = (failed, alone) {
            job.fail(failure);
        }
    }
}

impl Core {
    /// Carries the jobs out in one transaction. `Err`: none of them happened.
    fn transact(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        let ended = self.carry_out(group);
        // However it failed, no transaction stays open: the next one could not begin.
        if ended.is_err() {
            self.undo();
        }
        ended
    }

    fn carry_out(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        self.execute("BEGIN IMMEDIATE")?;
        for job in group {
            self.execute("SAVEPOINT job")?;
            match job.run(self) {
                Ok(()) => self.execute("RELEASE job")?,
                Err(failure @ (Failure::Refused(_) | Failure::Full(_))) => {
                    self.execute("ROLLBACK TO job")?;
                    self.execute("RELEASE job")?;
                    job.fail(failure);
                }
                Err(failure) => return Err(failure),
            }
        }
        self.execute("COMMIT").map_err(Failure::Sql)
    }

    fn execute(&self, statement: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(statement)?.execute([]).map(drop)
    }

    fn undo(&self) {
        // Some failures have rolled the transaction back already.
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}
