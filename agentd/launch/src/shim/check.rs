//! A check: a short command whose end the agent waits for. Dies with the agent.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, getpid};
use tepui_launch::protocol::{self, CheckFrame, CheckReply, MAX_CHECK_OUTPUT};
use tepui_launch::{CheckOutcome, Ending, ProcessTree};

use crate::outset::Outset;
use crate::pipes::Stream;
use crate::reaper::{Staged, reap};

/// How often what is left of a check is killed again until it is gone.
const KILL_AGAIN: Duration = Duration::from_millis(20);

/// Runs the check and answers once, after its last process is gone.
pub(crate) fn supervise() -> ExitCode {
    let Ok(mut outset) = Outset::begin() else { return ExitCode::FAILURE };
    let reply = match Check::start(&mut outset) {
        Ok(check) => check.follow(&outset),
        Err(reason) => CheckReply { outcome: CheckOutcome::NotStarted(reason), output: Vec::new() },
    };
    match outset.agent.write_all(&reply.encode()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// A check whose command has been executed.
#[derive(Debug)]
struct Check {
    main: Pid,
    tree: ProcessTree,
    streams: [Stream; 2],
    deadline: Option<Instant>,
    output: Vec<u8>,
}

impl Check {
    fn start(outset: &mut Outset) -> Result<Self, String> {
        let bytes = protocol::read_frame(&mut outset.agent)
            .map_err(|e| format!("failed to receive the check: {e}"))?;
        let mut frame = CheckFrame::decode(&bytes).map_err(|e| e.to_string())?;
        frame.place.oom_score_adj = outset.oom_score_adj.take();
        let deadline = Instant::now().checked_add(frame.timeout);
        let pipe = || Stream::new().map_err(|e| format!("failed to create an output pipe: {e}"));
        let ((out, stdout), (err, stderr)) = (pipe()?, pipe()?);
        let staged = Staged::spawn(stdout, stderr, &frame.place)
            .map_err(|e| format!("failed to start the stage process: {e}"))?;
        // Not the group: that is the run's, and a check that fails must not kill the run.
        let tree = ProcessTree { root: getpid(), group: None };
        let main = staged.pid;
        staged.release_within(&frame.stage, frame.timeout).inspect_err(|_| tree.kill())?;
        Ok(Self { main, tree, streams: [out, err], deadline, output: Vec::new() })
    }

    fn follow(mut self, outset: &Outset) -> CheckReply {
        let mut ending: Option<Ending> = None;
        let mut timed_out = false;
        loop {
            let closing = ending.is_some() || timed_out;
            let hung_up = self.wait(outset, closing);
            for stream in &mut self.streams {
                stream.take(&mut |data| keep(&mut self.output, data));
            }
            let reaped = reap(&outset.children, self.main);
            if let Some(how) = reaped.main {
                ending = ending.or(Some(how));
                for stream in &mut self.streams {
                    stream.drain(&mut |data| keep(&mut self.output, data));
                }
            }
            let late = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
            timed_out |= ending.is_none() && (late || hung_up);
            if ending.is_some() || timed_out {
                self.tree.kill();
            }
            if reaped.none_left {
                break;
            }
        }
        let outcome = match ending {
            Some(ending) if !timed_out => CheckOutcome::Ended(ending),
            _ => CheckOutcome::TimedOut,
        };
        CheckReply { outcome, output: self.output }
    }

    /// Waits for anything to happen; true when the agent has hung up.
    fn wait(&self, outset: &Outset, closing: bool) -> bool {
        let mut waited = vec![PollFd::from_borrowed_fd(outset.children.as_fd(), PollFlags::IN)];
        if !closing {
            waited.push(PollFd::new(&outset.agent, PollFlags::RDHUP));
        }
        for stream in &self.streams {
            if let Some(pipe) = stream.pipe() {
                waited.push(PollFd::new(pipe, PollFlags::IN));
            }
        }
        let patience = if closing {
            Some(KILL_AGAIN)
        } else {
            self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
        };
        let patience = patience.and_then(|time| Timespec::try_from(time).ok());
        // An interruption is one more look around.
        let _ = poll(&mut waited, patience.as_ref());
        !closing && is_hung_up(&outset.agent)
    }
}

fn is_hung_up(agent: &UnixStream) -> bool {
    let mut waited = [PollFd::new(agent, PollFlags::RDHUP)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut waited, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

fn keep(output: &mut Vec<u8>, data: &[u8]) {
    let room = MAX_CHECK_OUTPUT.saturating_sub(output.len());
    output.extend_from_slice(&data[..room.min(data.len())]);
}
