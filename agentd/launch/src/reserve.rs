//! What is kept from all tasks together, so that the agent and whoever looks after the host can still
//! start processes when tasks have started all that they may.

use std::fs;

/// The kernel's bounds on processes and threads of the whole host.
const BOUNDS: [&str; 2] = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];

/// Processes and threads that all tasks of the host may have together: three quarters of what there can
/// be. `None` where the host does not tell.
pub(crate) fn processes_of_all_tasks() -> Option<u64> {
    share(BOUNDS.map(|path| fs::read_to_string(path).ok()?.trim().parse().ok()))
}

fn share(bounds: [Option<u64>; 2]) -> Option<u64> {
    let least = bounds.into_iter().flatten().min()?;
    Some((least / 4 * 3).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_left_to_the_host() {
        assert_eq!(share([Some(32_768), Some(1 << 20)]), Some(24_576));
        assert_eq!(share([None, Some(400)]), Some(300));
        assert_eq!(share([None, None]), None);
        assert!(processes_of_all_tasks().is_some_and(|most| most > 100));
    }
}
