//! Whether the disk has room for new work, and the space kept aside for what is in flight.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use frontdesk_model::Room;

use super::writer::Failure;

const RESERVE: &str = "reserve";
/// What of the reserve is kept even from those who settle: SQLite's index of the log of writes has to find room when the
/// folder is opened.
const TO_OPEN: u64 = 256 * 1024;
/// As long as that log is short, its index takes this.
const LEAST_TO_OPEN: u64 = 32 * 1024;
/// How long a measurement counts.
const FRESH: Duration = Duration::from_secs(1);

/// The disk that the folder is on.
pub(super) struct Space {
    folder: PathBuf,
    min_free: u64,
    reserve: u64,
    measured: Mutex<Measured>,
}

struct Measured {
    at: Option<Instant>,
    room: Room,
    /// The reserve is gone, to those who settle. Until it is back there is no room for new work: it would take what the
    /// reserve was given up for.
    given_up: bool,
}

impl Space {
    pub(super) fn new(folder: &Path, min_free: u64, reserve: u64) -> Self {
        let measured = Measured { at: None, room: Room::Enough, given_up: false };
        let space = Self { folder: folder.to_owned(), min_free, reserve, measured: Mutex::new(measured) };
        space.keep_reserve();
        space
    }

    /// Measures at most once a second. A disk that cannot be measured counts as roomy: writing will tell.
    pub(super) fn room(&self) -> Room {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        if measured.at.is_some_and(|at| at.elapsed() < FRESH) {
            return measured.room.clone();
        }
        let mut room = self.measure();
        if measured.at.is_some() && room == Room::Enough && measured.room != Room::Enough {
            self.keep_reserve();
            measured.given_up = measured.given_up && !self.reserve_stands();
            if measured.given_up {
                room = disk_full();
            }
        }
        measured.at = Some(Instant::now());
        measured.room = room.clone();
        room
    }

    fn measure(&self) -> Room {
        let Some(free) = self.free() else { return Room::Enough };
        if free >= self.min_free {
            return Room::Enough;
        }
        Room::Low(format!(
            "the data folder's disk has {} MB free; new messages are taken again above {} MB ([store] min_free)",
            free / 1_000_000,
            self.min_free / 1_000_000
        ))
    }

    fn free(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.folder).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// For new work only, and only after a look for its first answer: what has run already is not refused.
    pub(super) fn admit(&self) -> Result<(), Failure> {
        match self.room() {
            Room::Enough => Ok(()),
            Room::Low(reason) => Err(Failure::Full(reason)),
        }
    }

    /// A write found the disk full: measurements are void, and the reserve is given up but for its last bit. Whether there
    /// was one.
    pub(super) fn give_up_reserve(&self) -> bool {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        *measured = Measured { at: Some(Instant::now()), room: disk_full(), given_up: self.reserve > 0 };
        let reserve = fs::OpenOptions::new().write(true).open(self.folder.join(RESERVE));
        reserve
            .is_ok_and(|file| file.metadata().is_ok_and(|found| found.len() > TO_OPEN) && file.set_len(TO_OPEN).is_ok())
    }

    /// The files are closed, which gave some room back: as much of it as there is, up to what opening takes at most, is kept
    /// for the next opening, whoever fills the disk.
    pub(super) fn keep_what_opening_takes(&self) {
        let path = self.folder.join(RESERVE);
        let kept = fs::metadata(&path).map_or(0, |found| found.len());
        let wanted = TO_OPEN.min(self.reserve);
        let mut sizes =
            std::iter::successors(Some(wanted), |size| Some(size / 2)).take_while(|size| *size >= LEAST_TO_OPEN);
        // With none of them the next opening needs room, and says so.
        let _ = kept >= wanted || sizes.any(|size| set_aside(&path, size).is_ok());
    }

    fn reserve_stands(&self) -> bool {
        fs::metadata(self.folder.join(RESERVE)).is_ok_and(|found| found.len() == self.reserve)
    }

    /// Real bytes, not a hole: only they can be given up. Without room for them the store works on, with a warning.
    fn keep_reserve(&self) {
        let path = self.folder.join(RESERVE);
        let roomy = self.free().is_none_or(|free| free > self.reserve.saturating_mul(2));
        if self.reserve == 0 || self.reserve_stands() || !roomy {
            return;
        }
        if let Err(error) = set_aside(&path, self.reserve) {
            tracing::warn!(%error, "no space can be kept aside for settling on a full disk");
        }
    }
}

/// Takes so many bytes of the disk, or none.
fn set_aside(path: &Path, bytes: u64) -> std::io::Result<()> {
    let taken =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).and_then(|mut file| {
            match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
                Ok(()) => Ok(()),
                Err(_) => {
                    let block = [0u8; 65_536];
                    let mut left = bytes;
                    while left > 0 {
                        let now = usize::try_from(left).unwrap_or(block.len()).min(block.len());
                        file.write_all(block.get(..now).unwrap_or(&block))?;
                        left -= now as u64;
                    }
                    Ok(())
                }
            }
        });
    if taken.is_err() {
        let _ = fs::remove_file(path);
    }
    taken
}

fn disk_full() -> Room {
    Room::Low("the data folder's disk is full; new messages are taken again when there is room".into())
}

/// Whether the disk has not even the room that opening takes.
pub(super) fn is_full(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < TO_OPEN)
}

/// Gives a bit of the reserve back to the disk, for opening the folder. What is left of it goes on standing for who settles.
pub(super) fn give_up_what_opening_takes(folder: &Path) {
    let path = folder.join(RESERVE);
    let kept = fs::metadata(&path).map_or(0, |found| found.len());
    let given = if kept >= 2 * TO_OPEN {
        fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(kept - TO_OPEN))
    } else {
        fs::remove_file(&path)
    };
    if let Err(error) = given {
        tracing::debug!(%error, "there is no reserve to open the folder with");
    }
}
