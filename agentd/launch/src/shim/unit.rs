//! Inside a unit of systemd: the stage that becomes the unit's command, the process that spreads its
//! output, and the last word when the unit is over.
//!
//! systemd has done everything that it has a property for. What is left: output belongs into the
//! journal *and* into the sandbox, with rotation, and nobody but a process of the unit itself may
//! read it, or it would stop with the agent. That process is no child of the command, which may
//! wait for all children that it has.

use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime};

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{getpid, setsid};
use tepui_cgroup::Leaf;
use tepui_launch::protocol::{BEGIN, UnitReply, decode_variables, read_frame};
use tepui_launch::record::{ExitRecord, StartMark};
use tepui_launch::{Cause, Ending, ExitStatus, Hardship, LogPolicy, SpentResources, procfs};

use crate::beside::Orders;
use crate::logs::Log;
use crate::pipes::Stream;
use crate::stage::leave_open;

/// Exit code of a stage that failed, as systemd's own for a program that cannot be executed.
const CANNOT_EXECUTE: u8 = 203;
/// The descriptors on which the log process reads the error output and the output.
const ERROR_OUTPUT: i32 = 3;
const OUTPUT: i32 = 4;
/// Says that the log process takes orders on its standard input.
const ORDERS: &str = "orders";

/// `unit MAX_BYTES KEEP PROGRAM NAME ARGUMENT...`: becomes the program. One that `answers` says
/// itself whether it has begun (`unit-answering`).
pub(crate) fn become_command(answers: bool) -> ExitCode {
    let Some(Channels { mut answer, begun, orders }) = channels() else {
        return ExitCode::from(CANNOT_EXECUTE);
    };
    let Err(reason) = prepare(&mut answer, begun, orders, answers);
    // When the agent is gone, the exit code says enough.
    let _ = answer.write_all(reason.as_bytes());
    eprintln!("{reason}");
    ExitCode::from(CANNOT_EXECUTE)
}

/// What the agent sends first. It comes in a message, because systemd keeps standard input open
/// itself for as long as the unit lasts.
struct Channels {
    /// The pipe that closes by itself when the command is executed.
    answer: File,
    /// The file that says that it will be.
    begun: Option<File>,
    /// Where a confined unit gets orders for what is to run beside the command.
    orders: Option<OwnedFd>,
}

fn channels() -> Option<Channels> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut parts = [io::IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(io::stdin(), &mut parts, &mut ancillary, flags).ok()?;
    ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => {
            let answer = descriptors.next().map(File::from)?;
            let begun = descriptors.next().map(File::from);
            Some(Channels { answer, begun, orders: descriptors.next() })
        }
        _ => None,
    })
}

fn prepare(
    answer: &mut File,
    begun: Option<File>,
    orders: Option<OwnedFd>,
    answers: bool,
) -> Result<std::convert::Infallible, String> {
    let mut words = env::args().skip(2);
    let (Some(max_bytes), Some(keep), Some(program), Some(name)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("the command line of the unit is incomplete".to_owned());
    };
    // Where systemd stays when it cannot enter the sandbox, for it is told to go on.
    if env::current_dir().is_ok_and(|here| here == Path::new("/")) {
        return Err(
            "failed to enter the sandbox: it is gone, or not its user's to enter".to_owned()
        );
    }
    let rest = read_frame(&mut io::stdin()).map_err(|e| format!("failed to hear the rest: {e}"))?;
    let variables = decode_variables(&rest).map_err(|e| e.to_string())?;
    let (out, err) = spread_output(&max_bytes, &keep, orders)
        .map_err(|e| format!("failed to start the log process: {e}"))?;
    let pid = getpid();
    let start_time = procfs::stat(pid).map(|stat| stat.start_time).unwrap_or_default();
    let reply = UnitReply { pid: pid.as_raw_nonzero().get(), start_time };
    // Nobody listens when the agent died meanwhile, and nobody will say the word.
    let _ = answer.write_all(reply.encode().as_bytes());
    wait_for_the_word()?;
    let null = File::open("/dev/null").map_err(|e| format!("no /dev/null: {e}"))?;
    rustix::stdio::dup2_stdin(null).map_err(|e| format!("no standard input: {e}"))?;
    rustix::stdio::dup2_stdout(out).map_err(|e| format!("no standard output: {e}"))?;
    rustix::stdio::dup2_stderr(err).map_err(|e| format!("no error output: {e}"))?;
    let mut command = Command::new(&program);
    command.arg0(name).args(words);
    for (name, value) in variables {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(format!("the environment of '{program}' contains a NUL byte"));
        }
        command.env(name, value);
    }
    if answers {
        leave_open(&mut command, answer.as_fd())
            .map_err(|e| format!("failed to hand the answer channel on: {e}"))?;
    }
    if let Some(mut begun) = begun {
        begun.write_all(b"begun\n").map_err(|e| format!("failed to say that it begins: {e}"))?;
    }
    let error = command.exec();
    Err(format!("failed to execute '{program}': {error}"))
}

/// Waits until the agent has made this unit's control group ready for the command: one that began
/// earlier could be refused the ports that it was given.
fn wait_for_the_word() -> Result<(), String> {
    let mut word = [0];
    match io::stdin().read_exact(&mut word) {
        Ok(()) if word == [BEGIN] => Ok(()),
        _ => Err("the agent went away before it let the command begin".to_owned()),
    }
}

/// Starts the log process; the ends that the command writes to.
fn spread_output(
    max_bytes: &str,
    keep: &str,
    orders: Option<OwnedFd>,
) -> io::Result<(OwnedFd, OwnedFd)> {
    let ((out, out_end), (err, err_end)) = (Stream::ends()?, Stream::ends()?);
    let mut starter = Command::new("/proc/self/exe");
    starter.args(["log-start", max_bytes, keep]);
    match orders {
        Some(orders) => starter.arg(ORDERS).stdin(Stdio::from(orders)),
        None => starter.stdin(Stdio::null()),
    };
    starter
        .fd_mappings(vec![
            FdMapping { parent_fd: err, child_fd: ERROR_OUTPUT },
            FdMapping { parent_fd: out, child_fd: OUTPUT },
        ])
        .map_err(|error| io::Error::other(error.to_string()))?;
    let status = starter.spawn()?.wait()?;
    if status.success() { Ok((out_end, err_end)) } else { Err(io::Error::other("it refused")) }
}

/// `log-start MAX_BYTES KEEP`: starts the log process and goes, so that systemd adopts it.
pub(crate) fn start_log() -> ExitCode {
    let words: Vec<String> = env::args().skip(2).collect();
    let mut command = Command::new("/proc/self/exe");
    command.arg("log").args(words).stdin(Stdio::inherit());
    let (Some(err), Some(out)) = (inherited(ERROR_OUTPUT), inherited(OUTPUT)) else {
        return ExitCode::FAILURE;
    };
    let mapping = vec![
        FdMapping { parent_fd: err, child_fd: ERROR_OUTPUT },
        FdMapping { parent_fd: out, child_fd: OUTPUT },
    ];
    let started = command.fd_mappings(mapping).map(|command| command.spawn());
    if matches!(started, Ok(Ok(_))) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A pipe that was handed on, found by its number without claiming what is not ours.
fn inherited(number: i32) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{number}");
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, rustix::fs::Mode::empty()).ok()
}

/// `log MAX_BYTES KEEP [orders]`: reads both streams to their ends.
pub(crate) fn log() -> ExitCode {
    let numbers: Vec<u64> = env::args().skip(2).filter_map(|word| word.parse().ok()).collect();
    let &[max_bytes, keep] = numbers.as_slice() else { return ExitCode::FAILURE };
    let policy = LogPolicy { max_bytes, keep: u32::try_from(keep).unwrap_or(u32::MAX) };
    // It ends when nobody can write any more, and by SIGKILL: what stops the unit must not cost
    // the last lines.
    let _ = setsid();
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None);
    let (Some(err), Some(out)) = (inherited(ERROR_OUTPUT), inherited(OUTPUT)) else {
        return ExitCode::FAILURE;
    };
    let orders = env::args().any(|word| word == ORDERS).then(Orders::take).flatten();
    let mut streams = [
        Spread::new(out, "stdout", policy, io::stdout().as_fd().try_clone_to_owned().ok()),
        Spread::new(err, "stderr", policy, io::stderr().as_fd().try_clone_to_owned().ok()),
    ];
    while streams.iter().any(|stream| stream.stream.pipe().is_some()) {
        let pipes = streams.iter().filter_map(|stream| stream.stream.pipe());
        let mut waited: Vec<_> = pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
        waited.extend(orders.as_ref().map(Orders::waited));
        // An interruption is one more look around.
        let _ = poll(&mut waited, None);
        streams.iter_mut().for_each(Spread::take);
        if let Some(orders) = &orders {
            orders.obey();
        }
    }
    ExitCode::SUCCESS
}

/// A stream on its way to the sandbox and the journal.
#[derive(Debug)]
struct Spread {
    stream: Stream,
    log: Option<Log>,
    journal: Option<OwnedFd>,
}

impl Spread {
    fn new(pipe: OwnedFd, name: &'static str, policy: LogPolicy, journal: Option<OwnedFd>) -> Self {
        for end in [Some(&pipe), journal.as_ref()].into_iter().flatten() {
            if let Ok(flags) = fcntl_getfl(end) {
                // A journal that does not keep up loses lines; the task never waits for it.
                let _ = fcntl_setfl(end, flags | OFlags::NONBLOCK);
            }
        }
        let log = Log::open(Path::new("."), name, policy).ok();
        Self { stream: Stream::of(pipe), log, journal }
    }

    fn take(&mut self) {
        let (log, journal) = (&mut self.log, &self.journal);
        self.stream.take(&mut |data| {
            if let Some(log) = log {
                log.write(data);
            }
            if let Some(journal) = journal {
                let _ = rustix::io::write(journal, data);
            }
        });
    }
}

/// `unit-end RUN_DIR READY_SECONDS RUN_SECONDS`, run by systemd when the unit is over: writes down how it ended.
pub(crate) fn record_end() -> ExitCode {
    let Some(run_dir) = env::args_os().nth(2).map(PathBuf::from) else {
        return ExitCode::FAILURE;
    };
    if matches!(ExitRecord::load(&run_dir), Ok(Some(_))) {
        // Somebody restarted the unit: how the command ended is written down, and what followed was none.
        return ExitCode::SUCCESS;
    }
    let Some(ending) = told_ending() else { return ExitCode::FAILURE };
    let group = tepui_cgroup::Mount::probe().map(|mount| Leaf::at(mount.own_group().to_owned()));
    let hardship = group.as_ref().map(Hardship::of_group).unwrap_or_default();
    let record = ExitRecord::Ended(ExitStatus {
        ending,
        ended_at: SystemTime::now(),
        spent: group.as_ref().map(spent_by_group).unwrap_or_default(),
        lost_output_bytes: 0,
        cause: told_cause(ending, &hardship, &run_dir),
        hardship,
    });
    match record.save(&run_dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Why systemd, or the kernel, ended the unit.
fn told_cause(ending: Ending, hardship: &Hardship, run_dir: &Path) -> Cause {
    match env::var("SERVICE_RESULT").as_deref() {
        Ok("oom-kill") => Cause::OutOfMemory,
        Ok("timeout") => timed_out(run_dir),
        Ok("watchdog") => Cause::Watchdog,
        Ok("protocol") => Cause::NotReady,
        // systemd may see the end of the process before it hears of what killed it.
        _ => cause_by_count(ending, hardship),
    }
}

/// Which of its times a unit has exceeded; one that has neither was stopped with its host.
fn timed_out(run_dir: &Path) -> Cause {
    let mut words = env::args().skip(3).map(|word| word.parse().ok().filter(|span| *span > 0));
    let (ready, run): (Option<u64>, Option<u64>) = (words.next().flatten(), words.next().flatten());
    let lasted = match StartMark::load(run_dir) {
        Ok(Some(StartMark::Unit(record))) => record.asked_at.elapsed().unwrap_or_default(),
        _ => Duration::ZERO,
    };
    match (ready, run) {
        (_, Some(limit)) if lasted >= Duration::from_secs(limit) => Cause::RunTime,
        (Some(_), _) => Cause::NotReady,
        (None, Some(_)) => Cause::RunTime,
        (None, None) => Cause::Itself,
    }
}

/// A run that was killed, and of which the kernel killed processes for want of memory.
pub(crate) fn cause_by_count(ending: Ending, hardship: &Hardship) -> Cause {
    const KILLED: i32 = Signal::SIGKILL as i32;
    match ending {
        Ending::Signaled { signal: KILLED, .. } if hardship.oom_kills > 0 => Cause::OutOfMemory,
        _ => Cause::Itself,
    }
}

/// How the main process ended, from what systemd tells commands of the end (systemd.exec(5)).
fn told_ending() -> Option<Ending> {
    let status = env::var("EXIT_STATUS").ok()?;
    let signal = || {
        let name = format!("SIG{}", status.trim_start_matches("SIG"));
        let named = name.parse::<Signal>().ok().map(|signal| signal as i32);
        named.or_else(|| status.parse().ok())
    };
    match env::var("EXIT_CODE").ok()?.as_str() {
        "exited" => status.parse().ok().map(Ending::Exited),
        "killed" => Some(Ending::Signaled { signal: signal()?, core_dumped: false }),
        "dumped" => Some(Ending::Signaled { signal: signal()?, core_dumped: true }),
        _ => None,
    }
}

/// What the unit's control group has used, this process included.
fn spent_by_group(leaf: &Leaf) -> SpentResources {
    let cpu = leaf.cpu().ok();
    let memory = leaf.memory().ok().flatten();
    SpentResources {
        user_cpu: cpu.map(|cpu| cpu.user).unwrap_or_default(),
        system_cpu: cpu.map(|cpu| cpu.system).unwrap_or_default(),
        max_resident_bytes: memory.and_then(|memory| memory.peak).unwrap_or_default(),
    }
}
