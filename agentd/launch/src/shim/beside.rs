//! Checks and sessions beside the command of a confined unit. The log process has the user, the rights
//! and the namespaces that the command began with, for systemd gave them to the stage of which both
//! are; so what it starts has them too, and nobody needs the right to take them on. Orders come
//! from the agent alone: the socket is in a folder of its own.

use std::env;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::{Command, ExitCode, Stdio};

use rustix::event::{PollFd, PollFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tepui_launch::protocol::{BESIDE_CHECK, BESIDE_SESSION};

/// Second word of a shim that was started so.
pub(crate) const INSIDE: &str = "inside";

/// Where orders come from.
#[derive(Debug)]
pub(crate) struct Orders(UnixListener);

impl Orders {
    /// The socket that is this process's standard input.
    pub(crate) fn take() -> Option<Self> {
        let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
        listener.set_nonblocking(true).ok()?;
        Some(Self(listener))
    }

    pub(crate) fn waited(&self) -> PollFd<'_> {
        PollFd::new(&self.0, PollFlags::IN)
    }

    /// Does what was ordered by now.
    pub(crate) fn obey(&self) {
        while let Ok((agent, _)) = self.0.accept() {
            // The agent says everything with its first message; whoever says nothing is not waited
            // for. A refusal is the end of the channel, which comes with it.
            let Some((verb, channel)) = order(agent.as_fd()) else { continue };
            let mut starter = Command::new("/proc/self/exe");
            starter.args(["beside-start", verb]).stdin(Stdio::from(channel));
            starter.stdout(Stdio::null()).stderr(Stdio::null());
            if let Ok(mut started) = starter.spawn() {
                let _ = started.wait();
            }
        }
    }
}

fn order(agent: std::os::fd::BorrowedFd<'_>) -> Option<(&'static str, OwnedFd)> {
    let wait = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
    let mut waited = [PollFd::from_borrowed_fd(agent, PollFlags::IN)];
    rustix::event::poll(&mut waited, Some(&wait)).ok().filter(|ready| *ready > 0)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    recvmsg(agent, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, flags).ok()?;
    let channel = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })?;
    let verb = match byte[0] {
        BESIDE_CHECK => "check",
        BESIDE_SESSION => "session",
        _ => return None,
    };
    Some((verb, channel))
}

/// `beside-start VERB`: starts the shim and goes, so that the log process need not wait for it.
pub(crate) fn start() -> ExitCode {
    let Some(verb) = env::args_os().nth(2) else { return ExitCode::FAILURE };
    let mut command = Command::new("/proc/self/exe");
    command.arg(verb).arg(INSIDE).env_clear().stdin(Stdio::inherit());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    if command.spawn().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
