//! What an update does not say and earlier ones did, for a short while and in memory only: which albums are meant for the bot (only
//! one of an album's messages names it), and in which topic a message stands (a reaction names the message alone). After a start
//! this is not known: then the rest of such an album is passed over, and such a reaction belongs to the group's general thread.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::place::Topic;

const ALBUMS: usize = 1_000;
const TOPICS: usize = 10_000;

#[derive(Default)]
pub(crate) struct Recent(Mutex<Held>);

#[derive(Default)]
struct Held {
    albums: HashSet<(i64, String)>,
    albums_in_order: VecDeque<(i64, String)>,
    topics: HashMap<(i64, i64), Topic>,
    topics_in_order: VecDeque<(i64, i64)>,
}

impl Recent {
    pub(crate) fn note_album(&self, chat: i64, album: &str) {
        let mut held = self.held();
        let key = (chat, album.to_owned());
        if held.albums.insert(key.clone()) {
            held.albums_in_order.push_back(key);
            if held.albums_in_order.len() > ALBUMS
                && let Some(oldest) = held.albums_in_order.pop_front()
            {
                held.albums.remove(&oldest);
            }
        }
    }

    pub(crate) fn knows_album(&self, chat: i64, album: &str) -> bool {
        self.held().albums.contains(&(chat, album.to_owned()))
    }

    pub(crate) fn note_topic(&self, chat: i64, message: i64, topic: Topic) {
        let mut held = self.held();
        if held.topics.insert((chat, message), topic).is_none() {
            held.topics_in_order.push_back((chat, message));
            if held.topics_in_order.len() > TOPICS
                && let Some(oldest) = held.topics_in_order.pop_front()
            {
                held.topics.remove(&oldest);
            }
        }
    }

    pub(crate) fn topic(&self, chat: i64, message: i64) -> Option<Topic> {
        self.held().topics.get(&(chat, message)).copied()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
