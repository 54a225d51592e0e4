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

    /// A write found the disk full: measurements are void, and the reserve is given up. Whether there was one.
    pub(super) fn give_up_reserve(&self) -> bool {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        *measured = Measured { at: Some(Instant::now()), room: disk_full(), given_up: self.reserve > 0 };
        remove_reserve(&self.folder)
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
        let owners = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let kept = owners.and_then(|mut file| {
            match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, self.reserve) {
                Ok(()) => Ok(()),
                Err(_) => {
                    let block = [0u8; 65_536];
                    let mut left = self.reserve;
                    while left > 0 {
                        let now = usize::try_from(left).unwrap_or(block.len()).min(block.len());
                        file.write_all(block.get(..now).unwrap_or(&block))?;
                        left -= now as u64;
                    }
                    Ok(())
                }
            }
        });
        if let Err(error) = kept {
            tracing::warn!(%error, "no space can be kept aside for settling on a full disk");
            let _ = fs::remove_file(path);
        }
    }
}

fn disk_full() -> Room {
    Room::Low("the data folder's disk is full; new messages are taken again when there is room".into())
}

/// Gives the reserve's bytes back to the disk. Whether there were any.
pub(super) fn remove_reserve(folder: &Path) -> bool {
    fs::remove_file(folder.join(RESERVE)).is_ok()
}
