//! Signals that whoever started this process ignores.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The one that Rust's start-up ignores itself, and gives back to whatever is executed.
const PIPE: i32 = 13;
/// The kernel's own word that a program is broken (SIGILL, SIGFPE, SIGSEGV). Nobody can ignore those,
/// and handlers for them are not to be had without `unsafe`: where a `kill` of one of them is to be
/// ignored, it stays so.
const FAULTS: [i32; 3] = [4, 8, 11];
/// The C library keeps the numbers from here up to its `SIGRTMIN` for itself.
const PLAIN_SIGNALS: i32 = 31;

/// Takes signals that are ignored over: they still have no effect here, but what this process
/// executes begins with their default actions, as every program expects. `nohup` and shells that
/// start something in the background pass ignored signals on, and a task that ignores SIGTERM
/// or SIGINT without knowing of it can be ended by nothing but force.
///
/// # Errors
///
/// When the kernel does not tell which signals are ignored, or keeps one of them.
pub fn take_ignored_signals() -> io::Result<()> {
    let nobody_looks = Arc::new(AtomicBool::new(false));
    for signal in ignored(&fs::read_to_string("/proc/self/status")?) {
        signal_hook::flag::register(signal, nobody_looks.clone())?;
    }
    Ok(())
}

/// Which signals a `/proc/…/status` says to be ignored, of those that can be taken over.
fn ignored(status: &str) -> Vec<i32> {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok()).unwrap_or_default();
    (1..=PLAIN_SIGNALS)
        .filter(|signal| mask >> (signal - 1) & 1 == 1)
        .filter(|signal| *signal != PIPE && !FAULTS.contains(signal))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_read_from_the_kernels_mask() {
        assert_eq!(ignored("Name:\tx\nSigIgn:\t0000000000001007\nSigCgt:\tff\n"), [1, 2, 3]);
        assert_eq!(ignored("SigIgn:\tffffffffffffffff\n").len(), 31 - 4);
        assert!(ignored("").is_empty());
        assert!(ignored("SigIgn:\tnonsense\n").is_empty());
    }
}
