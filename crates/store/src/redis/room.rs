//! Whether Redis is there and has memory for new work. Looked at in the background, so that asking costs nothing.

use std::sync::{PoisonError, RwLock};

use frontdesk_model::Room;

/// New work is refused when this many hundredths of maxmemory are used.
const FULL_AT: u64 = 90;

/// What the last look found.
pub(super) struct Space {
    found: RwLock<Found>,
}

struct Found {
    /// As the servers' memory is, when it was last heard of.
    memory: Room,
    /// Why there was nobody to take writes at the last look.
    unheard: Option<String>,
}

/// What one server says of its memory, in bytes. `most`: its maxmemory, 0 for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) used: u64,
    pub(super) most: u64,
    /// The policy by which it throws data away when that is used up, if it does.
    pub(super) evicts: Option<String>,
    /// It follows another server, and takes no writes.
    pub(super) follows: bool,
}

impl Memory {
    /// From the answer to `INFO memory replication`.
    pub(super) fn read(info: &str) -> Option<Self> {
        let evicts = field(info, "maxmemory_policy").filter(|policy| *policy != "noeviction").map(str::to_owned);
        Some(Self {
            used: field(info, "used_memory")?.parse().ok()?,
            most: field(info, "maxmemory")?.parse().ok()?,
            evicts,
            follows: field(info, "role") == Some("slave"),
        })
    }

    fn is_low(&self) -> bool {
        self.most > 0 && self.used / FULL_AT >= self.most / 100
    }
}

/// The value of a name in an answer to `INFO`.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

impl Space {
    pub(super) fn new() -> Self {
        Self { found: RwLock::new(Found { memory: Room::Enough, unheard: None }) }
    }

    pub(super) fn room(&self) -> Room {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        found.unheard.clone().map_or_else(|| found.memory.clone(), Room::Low)
    }

    /// As the servers' memory is: whether they answer every call finds out by itself.
    pub(super) fn memory(&self) -> Room {
        self.found.read().unwrap_or_else(PoisonError::into_inner).memory.clone()
    }

    /// Nobody answered.
    pub(super) fn note_silence(&self, reason: String) {
        self.found.write().unwrap_or_else(PoisonError::into_inner).unheard = Some(reason);
    }

    /// The servers' memory, just looked at. The fullest counts.
    pub(super) fn note(&self, servers: &[Memory]) {
        let evicts = servers.iter().find_map(|memory| memory.evicts.as_deref());
        let low = servers.iter().filter(|memory| memory.is_low()).max_by_key(|memory| memory.used);
        let room = match (evicts, low) {
            // Refused at the start, and somebody may say it later.
            (Some(policy), _) => Room::Low(format!(
                "Redis has been told to throw conversations away when its memory is full (maxmemory-policy {policy}); say maxmemory-policy noeviction to it, and new messages are taken again"
            )),
            (None, Some(Memory { used, most, .. })) => Room::Low(format!(
                "Redis uses {} of the {} MB that it may (maxmemory); new messages are taken again below {FULL_AT} %",
                used / 1_000_000,
                most / 1_000_000
            )),
            (None, None) => Room::Enough,
        };
        // Whether it takes a write all the same, as it may have become the master since, each call finds out by itself.
        let unheard = servers.iter().any(|server| server.follows).then(|| {
            "this Redis has become a replica, which takes no writes; make it the master again with REPLICAOF NO ONE, or let [store] url lead to its master".to_owned()
        });
        *self.found.write().unwrap_or_else(PoisonError::into_inner) = Found { memory: room, unheard };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_tenths_of_the_memory_are_the_bound() {
        let space = Space::new();
        let memory = |used, most| Memory { used, most, evicts: None, follows: false };
        for (used, most, enough) in [(1, 0, true), (899, 1000, true), (901, 1000, false), (1_000_000_000, 0, true)] {
            space.note(&[memory(1_000_000, 100_000_000), memory(used * 1_000_000, most * 1_000_000)]);
            assert_eq!(space.room() == Room::Enough, enough, "{used} of {most}");
        }
    }

    #[test]
    fn info_is_read_by_its_names() {
        let info = "# Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\nmaxmemory:0\r\n";
        assert_eq!(Memory::read(info), Some(Memory { used: 1_048_576, most: 0, evicts: None, follows: false }));
        let replica = format!("{info}# Replication\r\nrole:slave\r\n");
        let space = Space::new();
        space.note(&Memory::read(&replica).into_iter().collect::<Vec<_>>());
        assert!(matches!(space.room(), Room::Low(reason) if reason.contains("replica")));
        assert_eq!(field(info, "absent"), None);
    }
}
