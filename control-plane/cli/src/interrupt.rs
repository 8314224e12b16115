//! Ctrl-C.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, heard from when this was made: one that is pressed while something else is done waits here
/// (`tokio::signal::ctrl_c` hears only what comes while it is waited for).
#[derive(Debug)]
pub(crate) struct Interrupts(Signal);

impl Interrupts {
    /// # Errors
    /// When the system does not let this process take the signal.
    pub(crate) fn take() -> anyhow::Result<Self> {
        Self::of(SignalKind::interrupt())
    }

    fn of(kind: SignalKind) -> anyhow::Result<Self> {
        signal(kind).map(Self).context("failed to take signals")
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        self.0.recv().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_comes_while_nobody_waits_is_not_lost() {
        // Another signal: tests beside this one may listen to Ctrl-C.
        let mut interrupts = Interrupts::of(SignalKind::user_defined2()).unwrap();
        let mut witness = Interrupts::of(SignalKind::user_defined2()).unwrap();
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, rustix::process::Signal::USR2).unwrap();
        witness.next().await;
        interrupts.next().await;
    }
}
