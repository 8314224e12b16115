//! Waits for the container, passes signals on, and ends as it ended.

use std::process::ExitCode;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, raise, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::fault::{Attempt, Fault};
use crate::terminal::Terminal;

/// What reaches the first process of the container instead of us.
const PASSED_ON: [Signal; 9] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGCONT,
    Signal::SIGWINCH,
];

/// How the first process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Code(u8),
    Signal(Signal),
}

impl End {
    /// Ends this process in the same way.
    #[allow(unsafe_code)]
    pub(crate) fn repeat(self) -> ExitCode {
        let number = match self {
            Self::Code(code) => return ExitCode::from(code),
            Self::Signal(number) => number,
        };
        // A dump of this program would be no dump of the task.
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
        // SAFETY: the default action replaces no handler of ours; nothing but the end follows.
        let _ = unsafe { signal(number, SigHandler::SigDfl) };
        let _ = SigSet::empty().thread_set_mask();
        let _ = raise(number);
        // Only for a signal that ends nobody by itself.
        ExitCode::from(128_u8.wrapping_add(u8::try_from(number as i32).unwrap_or(0)))
    }
}

/// The signals of this process, taken from its first moment on.
#[derive(Debug)]
pub(crate) struct Signals {
    all: SignalFd,
}

impl Signals {
    /// Blocks what is passed on, so that nothing is lost in between.
    pub(crate) fn hold() -> Result<Self, Fault> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGCHLD);
        for number in PASSED_ON {
            set.add(number);
        }
        set.thread_block().to("block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self { all: SignalFd::with_flags(&set, flags).to("wait for signals")? })
    }

    /// Waits for the end of `init`; `stop` is what it gets instead of SIGTERM.
    pub(crate) fn follow(
        &self,
        init: Pid,
        stop: Option<Signal>,
        mut terminal: Option<Terminal>,
    ) -> Result<End, Fault> {
        loop {
            if let Some(end) = reap(init)? {
                if let Some(terminal) = &mut terminal {
                    terminal.drain();
                }
                return Ok(end);
            }
            crate::terminal::wait(&self.all, &mut terminal);
            while let Ok(Some(info)) = self.all.read_signal() {
                let number = i32::try_from(info.ssi_signo).ok();
                let number = number.and_then(|number| Signal::try_from(number).ok());
                match number {
                    None | Some(Signal::SIGCHLD) => {}
                    // The container's terminal tells its programs itself.
                    Some(Signal::SIGWINCH)
                        if terminal.as_ref().is_some_and(Terminal::follow_size) => {}
                    Some(Signal::SIGTERM) => pass_on(init, stop.unwrap_or(Signal::SIGTERM)),
                    Some(other) => pass_on(init, other),
                }
            }
        }
    }
}

fn pass_on(init: Pid, number: Signal) {
    // Not waited for yet, so the number is still its own.
    let _ = kill(init, number);
}

/// Takes every process that has ended; the end of `init` when it is among them.
fn reap(init: Pid) -> Result<Option<End>, Fault> {
    let mut end = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == init => {
                end = Some(End::Code(u8::try_from(code).unwrap_or(u8::MAX)));
            }
            Ok(WaitStatus::Signaled(pid, number, _)) if pid == init => {
                end = Some(End::Signal(number));
            }
            Ok(WaitStatus::StillAlive) => return Ok(end),
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => {}
            Err(nix::errno::Errno::ECHILD) if end.is_some() => return Ok(end),
            Err(error) => return Err(error).to("wait for the container"),
        }
    }
}

/// A signal by its name or number, as images write it.
pub(crate) fn parse_signal(text: &str) -> Result<Signal, Fault> {
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper.clone() } else { format!("SIG{upper}") };
    let numbered = || text.parse::<i32>().ok().and_then(|number| Signal::try_from(number).ok());
    let parsed = name.parse().ok().or_else(numbered);
    parsed.ok_or_else(|| Fault(format!("stop signal '{text}' is not a signal")))
}
