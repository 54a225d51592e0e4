//! Whether the disk has room for new work, and the space kept aside for what is in flight.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use frontdesk_model::{Room, StoreError};

const RESERVE: &str = "reserve";
/// How long a measurement counts.
const FRESH: Duration = Duration::from_secs(1);

/// The disk that the folder is on.
pub(super) struct Space {
    folder: PathBuf,
    min_free: u64,
    reserve: u64,
    measured: Mutex<(Option<Instant>, Room)>,
}

impl Space {
    pub(super) fn new(folder: &Path, min_free: u64, reserve: u64) -> Self {
        let space = Self { folder: folder.to_owned(), min_free, reserve, measured: Mutex::new((None, Room::Enough)) };
        space.keep_reserve();
        space
    }

    /// Measures at most once a second. A disk that cannot be measured counts as roomy: writing will tell.
    pub(super) fn room(&self) -> Room {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        if measured.0.is_some_and(|at| at.elapsed() < FRESH) {
            return measured.1.clone();
        }
        let room = self.measure();
        if measured.0.is_some() && room == Room::Enough && measured.1 != Room::Enough {
            self.keep_reserve();
        }
        *measured = (Some(Instant::now()), room.clone());
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

    pub(super) fn admit(&self) -> Result<(), StoreError> {
        match self.room() {
            Room::Enough => Ok(()),
            Room::Low(reason) => Err(StoreError::Full(reason)),
        }
    }

    /// A write found the disk full: measurements are void, and the reserve is given up. Whether there was one.
    pub(super) fn give_up_reserve(&self) -> bool {
        let low = Room::Low("the data folder's disk is full".into());
        *self.measured.lock().unwrap_or_else(PoisonError::into_inner) = (Some(Instant::now()), low);
        fs::remove_file(self.folder.join(RESERVE)).is_ok()
    }

    /// Real bytes, not a hole: only they can be given up. Without room for them the store works on, with a warning.
    fn keep_reserve(&self) {
        let path = self.folder.join(RESERVE);
        let there = fs::metadata(&path).map(|found| found.len()).unwrap_or(0);
        let roomy = self.free().is_none_or(|free| free > self.reserve.saturating_mul(2));
        if self.reserve == 0 || there == self.reserve || !roomy {
            return;
        }
        let kept = File::create(&path).and_then(|mut file| {
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
