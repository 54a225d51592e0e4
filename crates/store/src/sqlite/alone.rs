//! The company of a daemon that has its store for itself: nobody else can be there, as the folder is locked. So it lives in memory.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use frontdesk_model::*;

use super::SqliteStore;

/// Of more than this nobody can be the only one.
const MOST_WANTED: usize = 64;
/// With more budgets than this, those that count no more are looked for and forgotten.
const MANY_BUDGETS: usize = 1_024;

/// Who is there, who holds what, and what is spent.
#[derive(Default)]
pub(super) struct Guests(Mutex<Book>);

#[derive(Default)]
struct Book {
    /// With when they were heard of last, in time since boot.
    there: Vec<(Presence, Duration)>,
    held: Vec<(Waiting, DaemonId)>,
    /// What is spent of each budget.
    spent: HashMap<(Waiting, String), Places>,
    /// How many budgets there may be before some are forgotten.
    many: usize,
}

/// The moments of the places that were taken last, in time since boot and in their order.
#[derive(Default)]
struct Places {
    moments: Vec<Duration>,
    /// When they count no more.
    over: Duration,
}

impl Places {
    /// When the next place is free.
    fn next(&self, most: usize, within: Duration) -> Option<Duration> {
        let first = self.moments.len().checked_sub(most)?;
        // So many places further on the span is over.
        self.moments.get(first).map(|moment| *moment + within)
    }

    fn take(&mut self, at: Duration, most: usize, within: Duration) {
        let place = self.moments.partition_point(|moment| *moment <= at);
        self.moments.insert(place, at);
        self.moments.drain(..self.moments.len().saturating_sub(most));
        self.over = self.moments.last().map_or(at, |last| *last + within);
    }
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

    fn spend(&mut self, channel: &Waiting, budgets: &[Budget], patience: Duration, now: Duration) -> Spent {
        let key = |budget: &Budget| (channel.clone(), budget.of.clone());
        let most = |budget: &Budget| usize::try_from(budget.most).unwrap_or(usize::MAX);
        let free = budgets.iter().filter_map(|budget| self.spent.get(&key(budget))?.next(most(budget), budget.within));
        let at = free.fold(now, Duration::max);
        if at - now > patience {
            return Spent::Later(at - now);
        }
        for budget in budgets {
            self.spent.entry(key(budget)).or_default().take(at, most(budget), budget.within);
        }
        if self.spent.len() > self.many.max(MANY_BUDGETS) {
            self.spent.retain(|_, places| places.over > now);
            // So the look costs little, however many there are.
            self.many = self.spent.len() * 2;
        }
        Spent::After(at - now)
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

    async fn spend(&self, channel: &Waiting, budgets: &[Budget], patience: Duration) -> Result<Spent, StoreError> {
        if budgets.len() > Budget::AT_ONCE || !budgets.iter().all(Budget::is_sound) {
            return Err(StoreError::Refused("these are no budgets".into()));
        }
        Ok(self.guests.book().spend(channel, budgets, patience, self.clock.boot()))
    }

    fn is_open(&self) -> bool {
        false
    }
}
