//! How long servers are waited for.

use std::time::Duration;

/// The longest that a server may be silent before another one's turn comes.
const SILENCE: Duration = Duration::from_secs(2);

/// How long servers are waited for; who leads has no more time than its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// A server that is silent for so long is given up for another.
    pub(crate) silence: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { silence: SILENCE }
    }
}

impl Pace {
    /// A leader gives a sign of life each fifth of its lease. One that hangs takes two more, and as
    /// much is left for another server.
    pub(crate) fn within(lease: Duration) -> Self {
        Self { silence: SILENCE.min(lease * 2 / 5) }
    }

    /// How long a request may take where a silent server is given up below it: the next one has time
    /// to answer.
    pub(crate) fn with_another(self) -> Duration {
        self.silence * 3 / 2
    }

    /// How long it may take to try each of so many servers.
    pub(crate) fn with_each(self, servers: usize) -> Duration {
        let servers = u32::try_from(servers).unwrap_or(u32::MAX);
        self.silence.saturating_mul(servers).max(self.with_another())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_that_hangs_costs_no_lease() {
        for seconds in [2, 3, 5, 10, 600] {
            let lease = Duration::from_secs(seconds);
            let pace = Pace::within(lease);
            let renewed = lease / 5;
            assert!(renewed + pace.silence <= lease * 3 / 5, "{pace:?} of {lease:?}");
            assert!(renewed + pace.with_another() <= lease * 4 / 5, "{pace:?} of {lease:?}");
            assert!(pace.silence >= Duration::from_millis(800), "a busy server is no silent one");
        }
    }

    #[test]
    fn each_server_has_its_time() {
        let each = |servers| Pace::default().with_each(servers).as_secs();
        assert_eq!((each(1), each(2), each(3), each(5)), (3, 4, 6, 10));
    }

    #[test]
    fn a_long_lease_is_no_reason_to_wait_longer() {
        assert_eq!(Pace::within(Duration::from_secs(5)), Pace::default());
        assert_eq!(Pace::within(Duration::from_secs(600)), Pace::default());
        assert_eq!(Pace::default().with_another(), Duration::from_secs(3));
    }
}
