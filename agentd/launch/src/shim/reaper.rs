//! Starting the stage, and waiting for it and for every orphan below the shim.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signalfd::SignalFd;
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use tepui_launch::protocol::{self, StagePlace, StageSpec};
use tepui_launch::{Ending, SpentResources};

/// Longest refusal of a stage that is passed on, in bytes.
const MAX_REFUSAL_BYTES: u64 = 4096;

/// The descriptor on which a stage in a session has its input.
pub(crate) const INPUT: i32 = 3;

/// A stage that waits for its specification.
#[derive(Debug)]
pub(crate) struct Staged {
    /// The process that will be the command's first.
    pub(crate) pid: Pid,
    channel: UnixStream,
}

impl Staged {
    /// Starts the stage with these output streams, and sends it to its place.
    pub(crate) fn spawn(stdout: OwnedFd, stderr: OwnedFd, place: &StagePlace) -> io::Result<Self> {
        let (mut channel, theirs) = UnixStream::pair()?;
        let child = Command::new("/proc/self/exe")
            .arg("stage")
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::from(stderr))
            .spawn()?;
        protocol::write_frame(&mut channel, &protocol::encode_place(place))?;
        Ok(Self { pid: Pid::from_child(&child), channel })
    }

    /// The same for a session: with an input, on a terminal perhaps.
    pub(crate) fn spawn_in_session(
        input: OwnedFd,
        stdout: OwnedFd,
        stderr: OwnedFd,
        is_terminal: bool,
        place: &StagePlace,
    ) -> io::Result<Self> {
        let (mut channel, theirs) = UnixStream::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["stage", if is_terminal { "terminal" } else { "input" }])
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::from(stderr));
        command
            .fd_mappings(vec![FdMapping { parent_fd: input, child_fd: INPUT }])
            .map_err(|error| io::Error::other(error.to_string()))?;
        let child = command.spawn()?;
        // The mapping holds the input open, which must end with the stage.
        drop(command);
        protocol::write_frame(&mut channel, &protocol::encode_place(place))?;
        Ok(Self { pid: Pid::from_child(&child), channel })
    }

    /// Lets the stage go on, and waits until it has become the command. `Err` holds its own words
    /// on why it could not.
    pub(crate) fn release(mut self, spec: &StageSpec) -> Result<(), String> {
        let passed = protocol::write_frame(&mut self.channel, &protocol::encode_stage(spec));
        let mut refusal = String::new();
        // The channel closes without a word when the command is executed. A stage that has ended
        // before it was released may have said why.
        match self.channel.take(MAX_REFUSAL_BYTES).read_to_string(&mut refusal) {
            Ok(0) => passed.map_err(|e| format!("failed to pass the specification on: {e}")),
            Ok(_) => Err(refusal),
            Err(error) => Err(format!("failed to hear from the stage: {error}")),
        }
    }

    /// The same, with patience for a stage in a group that somebody has frozen: whoever released it
    /// sees that it has not become the command in time.
    pub(crate) fn release_within(self, spec: &StageSpec, patience: Duration) -> Result<(), String> {
        // No time at all would be no limit.
        let limit = self.channel.set_read_timeout(Some(patience.max(Duration::from_millis(1))));
        limit.map_err(|e| format!("failed to limit the stage's time: {e}"))?;
        let begun = Instant::now();
        let heard = self.release(spec);
        if begun.elapsed() >= patience { Ok(()) } else { heard }
    }

    /// What a stage that is ending has to say.
    pub(crate) fn refusal(self) -> String {
        let mut refusal = String::new();
        // Silence is an answer too.
        let _ = self.channel.take(MAX_REFUSAL_BYTES).read_to_string(&mut refusal);
        refusal
    }
}

/// What waiting found.
#[derive(Debug, Default)]
pub(crate) struct Reaped {
    /// How the main process ended, when it was among the reaped.
    pub(crate) main: Option<Ending>,
    /// Whether no child is left at all.
    pub(crate) none_left: bool,
}

/// Takes notice of all children that ended so far, without waiting.
pub(crate) fn reap(children: &SignalFd, main: Pid) -> Reaped {
    // One pending signal may stand for many exits, so its contents say nothing.
    while let Ok(Some(_)) = children.read_signal() {}
    let mut reaped = Reaped::default();
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == main => reaped.main = ending(status),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return reaped,
            Err(_) => {
                reaped.none_left = true;
                return reaped;
            }
        }
    }
}

fn ending(status: WaitStatus) -> Option<Ending> {
    if let Some(code) = status.exit_status() {
        return Some(Ending::Exited(code));
    }
    let signal = status.terminating_signal()?;
    /// `WCOREDUMP` of wait(2).
    const CORE_DUMPED: i32 = 0x80;
    Some(Ending::Signaled { signal, core_dumped: status.as_raw() & CORE_DUMPED != 0 })
}

/// What all children waited for have used.
pub(crate) fn spent() -> SpentResources {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return SpentResources::default() };
    let duration = |seconds: i64, micros: i64| {
        Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
            + Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    };
    let (user, system) = (usage.user_time(), usage.system_time());
    SpentResources {
        user_cpu: duration(user.tv_sec(), user.tv_usec()),
        system_cpu: duration(system.tv_sec(), system.tv_usec()),
        max_resident_bytes: u64::try_from(usage.max_rss()).unwrap_or_default() * 1024,
    }
}
