//! Supervision of one run, from its start to the last of its processes.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::process::{Pid, Signal, getpid, kill_process, umask};
use tepui_launch::protocol::{CONTROL, ORDER_BYTES, Order, RunFrame, RunReply};
use tepui_launch::record::{ExitRecord, ProcessMark, RecordError, StartRecord};
use tepui_launch::{Cause, Ending, ExitStatus, Hardship, ProcessTree, SignalScope, procfs};

use crate::logs::Log;
use crate::outset::Outset;
use crate::pipes::Stream;
use crate::ready::{self, Ready, Waited};
use crate::reaper::{reap, spent};
use crate::unit::cause_by_count;

/// How often what is left of a run is killed again until it is gone.
const KILL_AGAIN: Duration = Duration::from_millis(50);

/// How long a new attempt to write the exit record waits for space on the disk.
const SAVE_AGAIN: Duration = Duration::from_secs(1);

/// After so many attempts the shim gives up and the run counts as lost.
const SAVE_ATTEMPTS: usize = 60;

const STAGE_KILLED: &str = "the process that was to become the command was killed";

/// Waits for a run and supervises it to its end. Exit code 0 means that its exit record is on disk,
/// or that there was no run.
pub(crate) fn supervise() -> ExitCode {
    umask(Mode::from_bits_truncate(0o022));
    let Ok(mut outset) = Outset::begin() else { return ExitCode::FAILURE };
    let ready = Ready::prepare(&mut outset);
    let frame = match ready::wait(&mut outset) {
        Waited::Run(frame) => frame,
        Waited::Dismissed => {
            let _ = ready.map(Ready::dismiss);
            return ExitCode::SUCCESS;
        }
        Waited::StageEnded => {
            let reason = ready.map_or_else(|reason| reason, Ready::dismiss);
            let reason = if reason.is_empty() { STAGE_KILLED.to_owned() } else { reason };
            answer(&mut outset.agent, &RunReply::Failed(reason));
            return ExitCode::FAILURE;
        }
    };
    match start(ready, &frame) {
        Ok(running) => {
            answer(&mut outset.agent, &running.started());
            let Outset { agent, children, .. } = outset;
            drop(agent);
            running.follow(&children)
        }
        Err(reason) => {
            answer(&mut outset.agent, &RunReply::Failed(reason));
            ExitCode::FAILURE
        }
    }
}

/// An agent that is gone by now finds the records instead.
fn answer(agent: &mut UnixStream, reply: &RunReply) {
    let _ = agent.write_all(reply.encode().as_bytes());
}

/// A run whose command has been executed.
#[derive(Debug)]
struct Running {
    main: ProcessMark,
    main_pid: Pid,
    tree: ProcessTree,
    control: OwnedFd,
    streams: [(Stream, Log); 2],
    deadline: Option<Instant>,
    /// It was killed because its time was over.
    is_overdue: bool,
}

/// Everything up to the executed command; the text of a failure goes to the agent, and into the
/// exit record for an agent that is no longer there.
fn start(ready: Result<Ready, String>, frame: &[u8]) -> Result<Running, String> {
    let frame = RunFrame::decode(frame).map_err(|e| e.to_string())?;
    std::env::set_current_dir(&frame.run_dir)
        .map_err(|e| format!("failed to enter run directory '{}': {e}", frame.run_dir.display()))?;
    let started = ready.and_then(|ready| {
        let tree = ready.tree.clone();
        start_in_run_dir(ready, &frame).inspect_err(|_| tree.kill())
    });
    started.inspect_err(|reason| {
        let record = ExitRecord::NotStarted(reason.clone());
        // The agent was told, or finds no exit record and says that the run was lost.
        let _ = record.save(here());
    })
}

fn here() -> &'static std::path::Path {
    std::path::Path::new(".")
}

fn start_in_run_dir(ready: Ready, frame: &RunFrame) -> Result<Running, String> {
    let sandbox = &frame.stage.sandbox;
    let open_log = |name| {
        Log::open(sandbox, name, frame.log_policy)
            .map_err(|e| format!("failed to open '{name}' in sandbox '{}': {e}", sandbox.display()))
    };
    let logs = [open_log("stdout")?, open_log("stderr")?];
    let control = open_control().map_err(|e| format!("failed to create the control pipe: {e}"))?;
    let main_pid = ready.staged.pid;
    let record = start_record(frame, main_pid, ready.group())
        .map_err(|e| format!("failed to read this host's process table: {e}"))?;
    let main = record.main;
    record.create(here()).map_err(|e| describe(&e))?;
    let Ready { staged, streams: [out, err], tree } = ready;
    staged.release(&frame.stage)?;
    let [log_out, log_err] = logs;
    let streams = [(out, log_out), (err, log_err)];
    let deadline = frame.run_time.and_then(|time| Instant::now().checked_add(time));
    Ok(Running { main, main_pid, tree, control, streams, deadline, is_overdue: false })
}

fn describe(error: &RecordError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Opened for reading and writing, so that it never reports the end when an agent hangs up.
fn open_control() -> io::Result<OwnedFd> {
    mknodat(CWD, CONTROL, FileType::Fifo, Mode::from_bits_truncate(0o600), 0)?;
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(open(CONTROL, flags, Mode::empty())?)
}

fn start_record(frame: &RunFrame, main: Pid, group: Option<PathBuf>) -> io::Result<StartRecord> {
    let mark = |pid: Pid| {
        let stat = procfs::stat(pid).ok_or(io::ErrorKind::NotFound)?;
        Ok::<_, io::Error>(ProcessMark {
            pid: pid.as_raw_nonzero().get(),
            start_time: stat.start_time,
        })
    };
    Ok(StartRecord {
        run_id: frame.run_id.clone(),
        boot_id: procfs::boot_id()?,
        shim: mark(getpid())?,
        main: mark(main)?,
        group,
        started_at: SystemTime::now(),
    })
}

impl Running {
    fn started(&self) -> RunReply {
        RunReply::Started { pid: self.main.pid, start_time: self.main.start_time }
    }

    /// Serves the run until its last process is gone and its end is written down.
    fn follow(mut self, children: &SignalFd) -> ExitCode {
        let mut end: Option<End> = None;
        loop {
            self.wait(children.as_fd(), end.as_ref().map(|_| KILL_AGAIN));
            self.end_in_time();
            for (stream, log) in &mut self.streams {
                stream.take(&mut |data| log.write(data));
            }
            self.obey();
            let reaped = reap(children, self.main_pid);
            if let Some(ending) = reaped.main {
                end = Some(self.end(ending));
            }
            let written = end.as_mut().is_some_and(End::insist);
            if reaped.none_left && (written || end.is_none()) {
                break;
            }
            // The first process is the run: whatever it left behind goes with it.
            if end.is_some() {
                self.tree.kill();
            }
        }
        self.clean_up();
        match end {
            Some(End { state: Writing::Written, .. }) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }

    fn wait(&self, children: impl AsFd, patience: Option<Duration>) {
        let children = children.as_fd();
        let mut waited = vec![
            PollFd::from_borrowed_fd(children, PollFlags::IN),
            PollFd::new(&self.control, PollFlags::IN),
        ];
        for (stream, _) in &self.streams {
            if let Some(pipe) = stream.pipe() {
                waited.push(PollFd::new(pipe, PollFlags::IN));
            }
        }
        let left = self.deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let patience = [patience, left].into_iter().flatten().min();
        let patience = patience.and_then(|time| Timespec::try_from(time).ok());
        // An interruption is one more look around.
        let _ = poll(&mut waited, patience.as_ref());
    }

    /// Kills a run whose time is over. Usually its agent was faster, and asked it to end.
    fn end_in_time(&mut self) {
        if self.deadline.is_some_and(|at| at <= Instant::now()) {
            (self.deadline, self.is_overdue) = (None, true);
            self.tree.kill();
        }
    }

    fn obey(&self) {
        let mut bytes = [0; ORDER_BYTES];
        while let Ok(ORDER_BYTES) = rustix::io::read(&self.control, &mut bytes) {
            match Order::decode(bytes) {
                Some(Order::Signal(number, scope)) => self.signal(number, scope),
                Some(Order::KillTree) => self.tree.kill(),
                None => {}
            }
        }
    }

    fn signal(&self, number: i32, scope: SignalScope) {
        let Some(signal) = Signal::from_named_raw(number) else { return };
        match scope {
            SignalScope::Tree => self.tree.signal(signal),
            SignalScope::Main => {
                // Not waited for yet, so the pid is still that of our process.
                let _ = kill_process(self.main_pid, signal);
            }
        }
    }

    /// Takes what was printed last, and sums the run up.
    fn end(&mut self, ending: Ending) -> End {
        let ended_at = SystemTime::now();
        for (stream, log) in &mut self.streams {
            stream.drain(&mut |data| log.write(data));
        }
        let hardship = self.tree.group.as_ref().map(Hardship::of_group).unwrap_or_default();
        let cause = match cause_by_count(ending, &hardship) {
            Cause::Itself if self.is_overdue => Cause::RunTime,
            cause => cause,
        };
        let record = ExitRecord::Ended(ExitStatus {
            ending,
            ended_at,
            spent: spent(),
            lost_output_bytes: self.streams.iter().map(|(_, log)| log.lost()).sum(),
            cause,
            hardship,
        });
        End { record, state: Writing::Tried(0, None) }
    }

    /// Takes the last output and removes what only a running run needs.
    fn clean_up(&mut self) {
        for (stream, log) in &mut self.streams {
            stream.drain(&mut |data| log.write(data));
        }
        // Leftovers are found and removed with the run directory.
        let _ = fs::remove_file(CONTROL);
        ready::clear(self.tree.group.as_ref());
    }
}

/// The end of a run on its way to the disk: what the shim is for.
#[derive(Debug)]
struct End {
    record: ExitRecord,
    state: Writing,
}

#[derive(Debug)]
enum Writing {
    /// So many attempts failed, the last one at this time.
    Tried(usize, Option<Instant>),
    Written,
    GivenUp,
}

impl End {
    /// Tries to write the record when it is time to; true when there is nothing more to try.
    fn insist(&mut self) -> bool {
        let Writing::Tried(attempts, last) = self.state else { return true };
        if last.is_some_and(|last| last.elapsed() < SAVE_AGAIN) {
            return false;
        }
        self.state = if self.record.save(here()).is_ok() {
            Writing::Written
        } else if attempts >= SAVE_ATTEMPTS || is_run_dir_gone() {
            Writing::GivenUp
        } else {
            Writing::Tried(attempts + 1, Some(Instant::now()))
        };
        !matches!(self.state, Writing::Tried(..))
    }
}

/// A directory without a name takes no new files, ever.
fn is_run_dir_gone() -> bool {
    rustix::fs::stat(".").is_ok_and(|meta| meta.st_nlink == 0)
}
