//! How every shim begins: detached, with nothing inherited, its channel to the agent in hand.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal as NixSignal;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::{getpid, set_child_subreaper, setsid};

/// Score that makes the kernel's out-of-memory killer prefer nearly anything to the shim: without
/// it nobody would know how the command ended.
const SHIM_OOM_SCORE: &str = "-900";

/// What the shim has after [`Outset::begin`].
#[derive(Debug)]
pub(crate) struct Outset {
    /// Channel to the agent.
    pub(crate) agent: UnixStream,
    /// Readable whenever a child ended.
    pub(crate) children: SignalFd,
    /// What the stage must restore before it executes the command.
    pub(crate) oom_score_adj: Option<String>,
}

impl Outset {
    /// Leaves the agent's session, closes what was inherited, has no signal ignored, becomes the reaper of all orphans
    /// below, and takes child exits as readable events.
    pub(crate) fn begin() -> io::Result<Self> {
        close_inherited()?;
        tepui_launch::take_ignored_signals()?;
        // Fails only for a group leader, and then there is nothing to leave.
        let _ = setsid();
        set_child_subreaper(Some(getpid()))?;
        let agent = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        rustix::stdio::dup2_stdin(fs::File::open("/dev/null")?)?;
        // Only SIGKILL ends a shim: a stray signal must not cost the record of the exit.
        let mut blocked = SigSet::all();
        for fatal in [NixSignal::SIGSEGV, NixSignal::SIGBUS, NixSignal::SIGILL, NixSignal::SIGFPE] {
            blocked.remove(fatal);
        }
        if std::env::args().nth(2).as_deref() == Some(crate::beside::INSIDE) {
            // The end of its unit is its own.
            blocked.remove(NixSignal::SIGTERM);
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&blocked), None)?;
        let mut ended = SigSet::empty();
        ended.add(NixSignal::SIGCHLD);
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let children = SignalFd::with_flags(&ended, flags)?;
        Ok(Self { agent, children, oom_score_adj: protect_from_oom() })
    }
}

/// Closes every descriptor above standard error: whatever the agent's own starter left open is
/// nothing a task may hold.
fn close_inherited() -> io::Result<()> {
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // The directory that was just read is closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

/// Lowers the score where allowed, and returns the one that commands get: the former one, unless
/// that protects the agent, which is nothing that commands inherit.
fn protect_from_oom() -> Option<String> {
    let path = "/proc/self/oom_score_adj";
    let before = fs::read_to_string(path).ok()?.trim().to_owned();
    fs::write(path, SHIM_OOM_SCORE).ok()?;
    Some(if before.starts_with('-') { "0".to_owned() } else { before })
}
