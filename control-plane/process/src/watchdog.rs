use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::notify;

/// Signs of life come so many times within the service manager's patience.
const SIGNS: u32 = 3;

/// Signs of life for a service manager that waits for them (`WatchdogSec=`). They come from the loop
/// whose standing still would be the daemon's, so that a daemon that hangs is started again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watchdog {
    pause: Option<Duration>,
    last: Option<Instant>,
}

impl Watchdog {
    /// As this process's service manager wants it; most want none.
    #[must_use]
    pub fn of_service_manager() -> Self {
        Self::patient(sd_notify::watchdog_enabled())
    }

    fn patient(patience: Option<Duration>) -> Self {
        Self { pause: patience.map(|patience| patience / SIGNS), last: None }
    }

    /// The longest that the loop may wait before its next sign.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.pause.unwrap_or(Duration::MAX)
    }

    /// The loop is well.
    pub fn beat(&mut self) {
        if self.is_due(Instant::now()) {
            notify(NotifyState::Watchdog);
        }
    }

    /// Whether a sign is due, which then was given: a busy loop turns thousands of times a second.
    fn is_due(&mut self, now: Instant) -> bool {
        let Some(pause) = self.pause else { return false };
        // Half of it, or a loop that waits for exactly a pause would be told to wait for the next one.
        if self.last.is_some_and(|last| now.duration_since(last) < pause / 2) {
            return false;
        }
        self.last = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_turns_gives_a_sign_at_least_every_third_of_the_patience() {
        let mut watchdog = Watchdog::patient(Some(Duration::from_secs(6)));
        assert_eq!(watchdog.pause(), Duration::from_secs(2));
        let begin = Instant::now();
        let due =
            |watchdog: &mut Watchdog, at: u64| watchdog.is_due(begin + Duration::from_millis(at));
        let turns = [0, 1, 999, 1000, 1001, 3001, 3002, 5001];
        let signs: Vec<_> = turns.into_iter().filter(|at| due(&mut watchdog, *at)).collect();
        assert_eq!(signs, [0, 1000, 3001, 5001]);
    }

    #[test]
    fn without_a_service_manager_that_waits_nothing_is_said() {
        let mut watchdog = Watchdog::patient(None);
        assert_eq!(watchdog.pause(), Duration::MAX);
        assert!(!watchdog.is_due(Instant::now()));
    }
}
