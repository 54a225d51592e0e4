//! The company of a daemon that has its store for itself: nobody else can be there, as the folder is locked. So it lives in memory.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use frontdesk_model::*;

use super::SqliteStore;

/// Of more than this nobody can be the only one.
const MOST_WANTED: usize = 64;

/// Who is there, and who holds what.
#[derive(Default)]
pub(super) struct Guests(Mutex<Book>);

#[derive(Default)]
struct Book {
    /// With when they were heard of last, in time since boot.
    there: Vec<(Presence, Duration)>,
    held: Vec<(Waiting, DaemonId)>,
}

impl Guests {
    fn book(&self) -> MutexGuard<'_, Book> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn forget(&mut self, gone: impl Fn(&Presence, Duration) -> bool) {
        self.there.retain(|(guest, heard)| !gone(guest, *heard));
        let there = &self.there;
        self.held.retain(|(_, holder)| there.iter().any(|(guest, _)| guest.daemon == *holder));
    }

    fn gathering(&self, of: DaemonId, now: Duration) -> Gathering {
        let mut daemons: Vec<_> = self.there.iter().map(|(guest, _)| guest.clone()).collect();
        daemons.sort_by_key(|guest| (guest.started_at, guest.daemon));
        let others = self.there.iter().filter(|(guest, _)| guest.daemon != of);
        let pauses = others.flat_map(|(guest, heard)| {
            let since = now.saturating_sub(*heard);
            guest
                .pauses
                .iter()
                .filter(move |pause| pause.rest > since)
                .map(move |pause| Pause { of: pause.of.clone(), rest: pause.rest.saturating_sub(since) })
        });
        Gathering { daemons, held: self.held.clone(), pauses: pauses.collect() }
    }
}

#[async_trait]
impl Company for SqliteStore {
    async fn meet(&self, presence: Presence) -> Result<Gathering, StoreError> {
        if presence.wants.len() > MOST_WANTED {
            return Err(StoreError::Refused(format!("a daemon is the only one of at most {MOST_WANTED} channels")));
        }
        let (now, me) = (self.clock.boot(), presence.daemon);
        let mut book = self.guests.book();
        book.there.retain(|(guest, _)| guest.daemon != me);
        book.held.retain(|(channel, holder)| *holder != me || presence.wants.contains(channel));
        let wants = presence.wants.clone();
        book.there.push((presence, now));
        book.forget(|guest, heard| now.saturating_sub(heard) > guest.stay);
        for channel in wants {
            if book.held.iter().all(|(held, _)| *held != channel) {
                book.held.push((channel, me));
            }
        }
        Ok(book.gathering(me, now))
    }

    async fn leave(&self, daemon: DaemonId) -> Result<(), StoreError> {
        self.guests.book().forget(|guest, _| guest.daemon == daemon);
        Ok(())
    }

    fn is_open(&self) -> bool {
        false
    }
}
