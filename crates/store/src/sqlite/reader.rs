//! The reading side: a connection of its own that sees only what is committed.

use std::{
    sync::{Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use frontdesk_model::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::writer::Failure;

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// Reads beside the writer, on a thread of its own.
pub(super) struct Reader {
    reads: Mutex<Option<mpsc::Sender<Read>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Reader {
    pub(super) fn start(connection: Connection) -> std::io::Result<Self> {
        let (reads, waiting) = mpsc::channel::<Read>();
        let thread = thread::Builder::new().name("store-reader".into()).spawn(move || {
            while let Ok(read) = waiting.recv() {
                read(&connection);
            }
        })?;
        Ok(Self { reads: Mutex::new(Some(reads)), thread: Mutex::new(Some(thread)) })
    }

    /// The caller waits for its answer, so no more reads queue up than there are callers.
    pub(super) async fn read<T, E, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        Failure: From<E>,
        F: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    {
        let closed = || StoreError::Unavailable("the store is closed".into());
        let (reply, answer) = oneshot::channel();
        let run: Read = Box::new(move |connection| {
            let _ = reply.send(read(connection).map_err(|error| Failure::from(error).into_store_error()));
        });
        match self.reads.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(reads) => reads.send(run).map_err(|_| closed())?,
            None => return Err(closed()),
        }
        answer.await.map_err(|_| closed())?
    }

    /// Answers what was asked before, and lets go of the file.
    pub(super) fn close(&self) {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.close();
    }
}
