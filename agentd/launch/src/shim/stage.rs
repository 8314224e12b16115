//! The stage: a fresh process that takes on the run's identity step by step, then becomes the
//! command. Started by `exec` and not by a bare fork, so nothing of the shim is in its memory.
//!
//! Entering a control group makes the kernel wait for all its processors, so the stage does that
//! before it knows its command: a stage that waits for a run has it behind it.

use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use command_fds::{CommandFdExt, FdMapping};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::SigSet;
use nix::unistd::{User, getuid, initgroups, setgid, setuid};
use rustix::fs::Mode;
use rustix::process::{
    Resource, Rlimit as RawRlimit, Signal, getrlimit, ioctl_tiocsctty,
    set_parent_process_death_signal, setrlimit, setsid, umask,
};
use tepui_cgroup::{CgroupError, Leaf};
use tepui_launch::protocol::{self, StagePlace, StageSpec};
use tepui_launch::{ANSWER_CHANNEL, Program, Rlimit, RlimitKind};

use crate::reaper::INPUT;
use crate::rights;

/// Exit code of a stage that failed; never seen outside the shim, which reports the text.
const STAGE_FAILED: u8 = 125;

/// Soft limit of open files of a command that asks for none.
const USUAL_OPEN_FILES: u64 = 1024;

/// A step of the stage that failed; the texts reach the framework's user.
#[derive(Debug, thiserror::Error)]
enum StageError {
    #[error("failed to receive the launch specification: {0}")]
    Receive(io::Error),
    #[error("failed to read the launch specification: {0}")]
    Decode(String),
    #[error("failed to create a session: {0}")]
    Session(io::Error),
    #[error("failed to take the input of a session: {0}")]
    Input(io::Error),
    #[error("failed to enter the control group: {0}")]
    Group(String),
    #[error("failed to enter the network namespace '{0}': {1}")]
    Network(String, io::Error),
    #[error("failed to set resource limit {0:?}: {1}")]
    Rlimit(RlimitKind, io::Error),
    #[error("user '{0}' does not exist on this host")]
    NoSuchUser(String),
    #[error("failed to look up user '{0}': {1}")]
    LookUpUser(String, nix::Error),
    #[error("failed to switch to user '{0}': {1}")]
    SwitchUser(String, nix::Error),
    #[error("{0}")]
    Rights(String),
    #[error("failed to enter sandbox '{0}': {1}")]
    Sandbox(String, io::Error),
    #[error("failed to execute '{0}': {1}")]
    Execute(String, io::Error),
    #[error("failed to hand the answer channel on: {0}")]
    Channel(io::Error),
    #[error("the environment or command line of '{0}' contains a NUL byte")]
    Nul(String),
}

/// An error with its cause, in one line: the text travels, the error cannot.
fn with_cause(error: &CgroupError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Runs all steps; returns only when one failed, after telling the shim why.
pub(crate) fn become_command() -> ExitCode {
    let channel = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    let Ok(mut channel) = channel else { return ExitCode::from(STAGE_FAILED) };
    let Err(error) = take_on_identity(&mut channel);
    // When the shim is gone, nobody is left to be told.
    let _ = channel.write_all(error.to_string().as_bytes());
    ExitCode::from(STAGE_FAILED)
}

fn take_on_identity(channel: &mut UnixStream) -> Result<std::convert::Infallible, StageError> {
    // The shim blocks signals; the command must not begin so.
    SigSet::empty().thread_set_mask().map_err(|e| StageError::Session(e.into()))?;
    die_with_the_shim();
    let null = fs::File::open("/dev/null").map_err(StageError::Receive)?;
    rustix::stdio::dup2_stdin(null).map_err(|e| StageError::Receive(e.into()))?;
    setsid().map_err(|e| StageError::Session(e.into()))?;
    take_session_input()?;
    let bytes = protocol::read_frame(channel).map_err(StageError::Receive)?;
    let place = protocol::decode_place(&bytes).map_err(|e| StageError::Decode(e.to_string()))?;
    let (beside, inherits) = (place.beside, place.inherits);
    take_place(place)?;
    let bytes = protocol::read_frame(channel).map_err(StageError::Receive)?;
    let spec = protocol::decode_stage(&bytes).map_err(|e| StageError::Decode(e.to_string()))?;
    if let Some(network) = &spec.network {
        let joined =
            fs::File::open(network).and_then(|at| Ok(setns(at, CloneFlags::CLONE_NEWNET)?));
        joined.map_err(|e| StageError::Network(network.display().to_string(), e))?;
    }
    if !inherits {
        lower_open_files();
    }
    for limit in &spec.rlimits {
        limit_resource(*limit)?;
    }
    rights::give_up(&spec.rights, beside).map_err(StageError::Rights)?;
    if let Some(user) = &spec.user {
        switch_user(user, inherits)?;
        // The kernel forgets the request when credentials change.
        die_with_the_shim();
    }
    rights::take_on(&spec.rights).map_err(StageError::Rights)?;
    umask(Mode::from_bits_truncate(0o022));
    std::env::set_current_dir(&spec.sandbox)
        .map_err(|e| StageError::Sandbox(spec.sandbox.display().to_string(), e))?;
    Err(execute(&spec, channel))
}

/// The command gets the channel as its own, to say whether it has begun.
pub(crate) fn leave_open(command: &mut Command, channel: BorrowedFd<'_>) -> io::Result<()> {
    let parent_fd = channel.try_clone_to_owned()?;
    command
        .fd_mappings(vec![FdMapping { parent_fd, child_fd: ANSWER_CHANNEL }])
        .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(())
}

/// In a session the command has an input, which may be its terminal.
fn take_session_input() -> Result<(), StageError> {
    let kind = std::env::args_os().nth(2);
    let Some(kind) = kind.as_deref().and_then(|kind| kind.to_str()) else { return Ok(()) };
    crate::session::take_input(INPUT).map_err(StageError::Input)?;
    if kind == "terminal" {
        ioctl_tiocsctty(io::stdin()).map_err(|e| StageError::Input(e.into()))?;
    }
    Ok(())
}

fn take_place(place: StagePlace) -> Result<(), StageError> {
    if let Some(group) = place.group {
        Leaf::at(group).place_self().map_err(|e| StageError::Group(with_cause(&e)))?;
    }
    if let Some(score) = place.oom_score_adj {
        // Only ever raises the score back to the agent's own; a refusal costs nothing.
        let _ = fs::write("/proc/self/oom_score_adj", score);
    }
    Ok(())
}

/// A shim that is killed can no longer report the exit, so its command goes with it.
fn die_with_the_shim() {
    // Refused only for a signal that does not exist.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
}

/// The agent raised its own limit for itself. Commands start with the one that programs are written
/// for, as from systemd: some walk over all numbers up to it, or use `select`.
fn lower_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let usual = USUAL_OPEN_FILES.min(limit.maximum.unwrap_or(USUAL_OPEN_FILES));
    let lowered = RawRlimit { current: Some(usual), maximum: limit.maximum };
    // Lowering is never refused.
    let _ = setrlimit(Resource::Nofile, lowered);
}

fn limit_resource(limit: Rlimit) -> Result<(), StageError> {
    let resource = match limit.kind {
        RlimitKind::As => Resource::As,
        RlimitKind::Core => Resource::Core,
        RlimitKind::Cpu => Resource::Cpu,
        RlimitKind::Data => Resource::Data,
        RlimitKind::Fsize => Resource::Fsize,
        RlimitKind::Locks => Resource::Locks,
        RlimitKind::Memlock => Resource::Memlock,
        RlimitKind::Msgqueue => Resource::Msgqueue,
        RlimitKind::Nice => Resource::Nice,
        RlimitKind::Nofile => Resource::Nofile,
        RlimitKind::Nproc => Resource::Nproc,
        RlimitKind::Rss => Resource::Rss,
        RlimitKind::Rtprio => Resource::Rtprio,
        RlimitKind::Rttime => Resource::Rttime,
        RlimitKind::Sigpending => Resource::Sigpending,
        RlimitKind::Stack => Resource::Stack,
    };
    setrlimit(resource, RawRlimit { current: limit.soft, maximum: limit.hard })
        .map_err(|e| StageError::Rlimit(limit.kind, e.into()))
}

/// Takes on the user's groups, group and id. Without root it is only allowed to name the user the
/// agent runs as already.
fn switch_user(name: &str, inherits: bool) -> Result<(), StageError> {
    let failed = |error| StageError::SwitchUser(name.to_owned(), error);
    let user = User::from_name(name)
        .map_err(|e| StageError::LookUpUser(name.to_owned(), e))?
        .ok_or_else(|| StageError::NoSuchUser(name.to_owned()))?;
    if getuid() == user.uid && (inherits || !user.uid.is_root()) {
        return Ok(());
    }
    let login = CString::new(name).map_err(|_| StageError::Nul(name.to_owned()))?;
    initgroups(&login, user.gid).map_err(failed)?;
    setgid(user.gid).map_err(failed)?;
    setuid(user.uid).map_err(failed)
}

fn execute(spec: &StageSpec, channel: &UnixStream) -> StageError {
    let (mut command, name) = match &spec.program {
        Program::Shell(line) => {
            let mut command = Command::new("/bin/sh");
            command.arg0("sh").arg("-c").arg(line);
            (command, "/bin/sh")
        }
        Program::Exec { path, argv } => {
            let mut command = Command::new(path);
            if let Some((name, arguments)) = argv.split_first() {
                command.arg0(name).args(arguments);
            }
            (command, path.as_str())
        }
    };
    command.env_clear();
    for (key, value) in &spec.env {
        if key.is_empty() || key.contains(['=', '\0']) || value.contains('\0') {
            return StageError::Nul(name.to_owned());
        }
        command.env(key, value);
    }
    if spec.answers
        && let Err(error) = leave_open(&mut command, channel.as_fd())
    {
        return StageError::Channel(error);
    }
    StageError::Execute(name.to_owned(), command.exec())
}
