//! What the kernel says about a process: its memory and its processor time.

use std::{io, time::Duration};

/// Kernel ticks in a second, as `/proc` counts; 100 on every Linux that matters here.
const TICK: Duration = Duration::from_millis(10);

/// Memory of a process, in MiB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Memory {
    /// Now (`VmRSS`).
    pub resident: f64,
    /// The most since it began, or since [`forget_peak`] (`VmHWM`).
    pub peak: f64,
}

/// Its memory.
///
/// # Errors
/// There is no such process.
pub fn memory(process: u32) -> io::Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let mib = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        kib.map(|kib| kib / 1024.0).ok_or(io::ErrorKind::InvalidData)
    };
    Ok(Memory { resident: mib("VmRSS:")?, peak: mib("VmHWM:")? })
}

/// From now on its peak is counted anew.
///
/// # Errors
/// There is no such process, or it is somebody else's.
pub fn forget_peak(process: u32) -> io::Result<()> {
    std::fs::write(format!("/proc/{process}/clear_refs"), "5")
}

/// Processor time of all threads that a process ever had, in whole ticks of 10 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProcessorTime {
    /// In its own code.
    pub user: Duration,
    /// In the kernel's.
    pub system: Duration,
}

impl ProcessorTime {
    /// Both.
    #[must_use]
    pub fn total(self) -> Duration {
        self.user + self.system
    }
}

/// Its processor time so far.
///
/// # Errors
/// There is no such process.
pub fn processor_time(process: u32) -> io::Result<ProcessorTime> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    read_stat(&stat).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn read_stat(stat: &str) -> Option<ProcessorTime> {
    // The name before it stands in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(ProcessorTime { user: TICK * ticks()?, system: TICK * ticks()? })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ProcessorTime, read_stat};

    #[test]
    fn times_are_read_behind_a_name_with_anything_in_it() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 40 0 0 20 0 5 0 100 0 0";
        let (user, system) = (Duration::from_millis(2500), Duration::from_millis(400));
        assert_eq!(read_stat(stat), Some(ProcessorTime { user, system }));
    }
}
