//! What the system knows of a process: processor time, memory, open files. Read from /proc, so on Linux only; elsewhere
//! everything here is `None`, and whoever shows it leaves it out.

use std::path::PathBuf;
use std::time::Duration;

/// A reading of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Processor time so far, of all threads, user and system.
    pub cpu: Duration,
    /// Memory in use, in bytes.
    pub resident: u64,
    /// Threads.
    pub threads: u64,
}

/// What a process uses now; `None` if it does not exist or the system has no /proc.
#[must_use]
pub fn usage(pid: Option<u32>) -> Option<Usage> {
    let folder = folder(pid);
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything, also spaces and parentheses.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = std::fs::read_to_string(folder.join("status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Usage {
        cpu: Duration::from_millis(ticks * 1_000 / ticks_per_second()),
        resident: field("VmRSS:")? * 1_024,
        threads: field("Threads:")?,
    })
}

/// How many files, sockets included, a process has open.
#[must_use]
pub fn open_files(pid: Option<u32>) -> Option<u64> {
    let entries = std::fs::read_dir(folder(pid).join("fd")).ok()?;
    u64::try_from(entries.count()).ok()
}

fn folder(pid: Option<u32>) -> PathBuf {
    match pid {
        Some(pid) => PathBuf::from(format!("/proc/{pid}")),
        None => PathBuf::from("/proc/self"),
    }
}

/// The unit of processor times in /proc, from the auxiliary vector that the kernel hands to each process.
fn ticks_per_second() -> u64 {
    const AT_CLKTCK: u64 = 17;
    const USUAL: u64 = 100;
    let Ok(vector) = std::fs::read("/proc/self/auxv") else {
        return USUAL;
    };
    let words: Vec<u64> = vector
        .chunks_exact(8)
        .map(|word| word.try_into().map_or(0, u64::from_ne_bytes))
        .collect();
    let ticks = words
        .chunks_exact(2)
        .find(|pair| pair[0] == AT_CLKTCK)
        .map(|pair| pair[1]);
    ticks.filter(|ticks| *ticks > 0).unwrap_or(USUAL)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read_the_same_by_both_names() {
        let own = usage(None).unwrap();
        assert!(own.resident > 1_000_000 && own.threads >= 1);
        let by_id = usage(Some(std::process::id())).unwrap();
        assert!(by_id.cpu >= own.cpu && by_id.resident > 1_000_000);
        assert!(open_files(None).unwrap() >= 3);
        assert_eq!(usage(Some(u32::MAX)), None);
    }

    #[test]
    fn processor_time_grows_with_work() {
        let before = usage(None).unwrap().cpu;
        let mut sum = 0u64;
        // Waits for the state, not for a time: a loaded machine only makes this take longer.
        while usage(None).unwrap().cpu < before + Duration::from_millis(20) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}
