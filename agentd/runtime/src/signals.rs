//! The actions of signals.

use nix::sys::signal::{SigHandler, Signal, signal};

/// What this process itself needs other than the default: a reader of its output that is gone must
/// not end it, and Rust tells a stack that is too small by the other two.
const OWN: [Signal; 3] = [Signal::SIGPIPE, Signal::SIGSEGV, Signal::SIGBUS];

/// Ends the ignoring of signals that an agent has passed on which was started by `nohup` or in the
/// background of a shell: ends of children would go unnoticed, and the container's first process
/// would begin with them.
pub(crate) fn stop_ignoring() {
    Signal::iterator().filter(|one| !OWN.contains(one)).for_each(restore);
}

/// Gives every signal its default action, which is what every program expects to begin with.
pub(crate) fn restore_all() {
    Signal::iterator().for_each(restore);
}

#[allow(unsafe_code)]
fn restore(one: Signal) {
    // SAFETY: the default action runs no code of this process, and no code of it relies on a
    // handler to be called: Rust's own for a stack overflow only words the end that follows
    // anyway. SIGKILL and SIGSTOP, which have no other action, are refused, which changes nothing.
    let _ = unsafe { signal(one, SigHandler::SigDfl) };
}
