//! A session: a command that somebody talks to through the agent. Ends with the agent's channel.
//!
//! Whoever reads slowly makes the command wait, and nobody else: no more is taken from it, and no
//! more from the agent, than a buffer holds.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

use nix::pty::openpty;
use nix::unistd::User;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, Uid, fchmod, fchown, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid, kill_process};
use rustix::termios::{Winsize, tcsetwinsize};
use tepui_launch::session::{Answer, MAX_PACKET_BYTES, Packets, SessionFrame, Window, Word};
use tepui_launch::{Ending, ProcessTree, protocol};

use crate::outset::Outset;
use crate::pipes::Stream;
use crate::reaper::{Staged, reap};

/// Bytes that wait for a slow reader, in each direction, before no more are taken.
const ENOUGH: usize = 64 * 1024;
/// How often what is left of a session is killed again until it is gone.
const KILL_AGAIN: Duration = Duration::from_millis(20);
/// What ends the input of a program on a terminal in its usual mode (termios(3), VEOF).
const END_OF_INPUT: u8 = 4;

/// Runs the session to its end.
pub(crate) fn supervise() -> ExitCode {
    let Ok(mut outset) = Outset::begin() else { return ExitCode::FAILURE };
    match Talk::start(&mut outset) {
        Ok(talk) => talk.follow(&outset),
        Err(reason) => {
            use io::Write;
            // When the agent is gone, nobody is left to be told.
            let _ = outset.agent.write_all(&Answer::NotStarted(reason).encode());
            ExitCode::FAILURE
        }
    }
}

/// A session whose command has been executed.
#[derive(Debug)]
struct Talk {
    main: Pid,
    tree: ProcessTree,
    /// Output and error output; a terminal has the first only.
    streams: Vec<Stream>,
    input: Option<OwnedFd>,
    is_terminal: bool,
    /// For the command.
    waiting: Vec<u8>,
    input_ends: bool,
    /// For the agent.
    outgoing: Vec<u8>,
    packets: Packets,
}

/// The command's ends of its streams.
struct Ends {
    input: OwnedFd,
    output: OwnedFd,
    error: OwnedFd,
}

impl Talk {
    fn start(outset: &mut Outset) -> Result<Self, String> {
        let bytes = protocol::read_frame(&mut outset.agent)
            .map_err(|e| format!("failed to receive the session: {e}"))?;
        let mut frame = SessionFrame::decode(&bytes).map_err(|e| e.to_string())?;
        frame.place.oom_score_adj = outset.oom_score_adj.take();
        let (streams, input, ends) = match frame.terminal {
            Some(window) => terminal(window, frame.stage.user.as_deref())
                .map_err(|e| format!("failed to make a terminal: {e}"))?,
            None => pipes().map_err(|e| format!("failed to create pipes: {e}"))?,
        };
        let is_terminal = frame.terminal.is_some();
        let staged = Staged::spawn_in_session(
            ends.input,
            ends.output,
            ends.error,
            is_terminal,
            &frame.place,
        )
        .map_err(|e| format!("failed to start the stage process: {e}"))?;
        // Not the group: that is the run's, and a session that ends must not end the run.
        let tree = ProcessTree { root: getpid(), group: None };
        let main = staged.pid;
        staged.release(&frame.stage).inspect_err(|_| tree.kill())?;
        let pid = main.as_raw_nonzero().get().cast_unsigned();
        outset.agent.set_nonblocking(true).map_err(|e| e.to_string())?;
        Ok(Self {
            main,
            tree,
            streams,
            input: Some(input),
            is_terminal,
            waiting: Vec::new(),
            input_ends: false,
            outgoing: Answer::Started(pid).encode(),
            packets: Packets::default(),
        })
    }

    /// Passes on until the command has ended, all of it is gone and told, or nobody listens.
    fn follow(mut self, outset: &Outset) -> ExitCode {
        let mut ending: Option<Ending> = None;
        let (mut is_gone, mut told) = (false, false);
        loop {
            let heard = self.wait(outset, ending.is_some() && !is_gone);
            if heard.is_err() || self.hear(&outset.agent).is_err() {
                return self.give_up(outset);
            }
            self.pass_input();
            self.take_output();
            let reaped = reap(&outset.children, self.main);
            ending = ending.or(reaped.main);
            is_gone = reaped.none_left;
            if ending.is_some() && !is_gone {
                // The first process is the session: whatever it left behind goes with it.
                self.tree.kill();
            }
            if let Some(how) = ending.as_ref().filter(|_| is_gone && !told)
                && self.outgoing.len() < ENOUGH
            {
                told = self.take_last_output();
                if told {
                    self.outgoing.extend(Answer::Ended(*how).encode());
                }
            }
            if self.tell(&outset.agent).is_err() {
                return self.give_up(outset);
            }
            if told && self.outgoing.is_empty() {
                return ExitCode::SUCCESS;
            }
        }
    }

    /// Waits for anything to happen; an error when the agent has hung up.
    fn wait(&self, outset: &Outset, closing: bool) -> io::Result<()> {
        let room = self.outgoing.len() < ENOUGH;
        let mut agent = PollFlags::RDHUP;
        agent.set(PollFlags::IN, self.waiting.len() < ENOUGH);
        agent.set(PollFlags::OUT, !self.outgoing.is_empty());
        let mut waited = vec![
            PollFd::new(&outset.agent, agent),
            PollFd::from_borrowed_fd(outset.children.as_fd(), PollFlags::IN),
        ];
        let open = self.streams.iter().filter_map(Stream::pipe).filter(|_| room);
        waited.extend(open.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        if let Some(input) = self.input.as_ref().filter(|_| !self.waiting.is_empty()) {
            waited.push(PollFd::new(input, PollFlags::OUT));
        }
        let patience = closing.then(|| Timespec::try_from(KILL_AGAIN).ok()).flatten();
        // An interruption is one more look around.
        let _ = poll(&mut waited, patience.as_ref());
        let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        if waited[0].revents().intersects(gone) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    /// Takes what the agent has said.
    fn hear(&mut self, agent: &impl AsFd) -> io::Result<()> {
        let mut chunk = [0; MAX_PACKET_BYTES];
        while self.waiting.len() < ENOUGH {
            match rustix::io::read(agent, &mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.packets.push(&chunk[..length]),
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(error) => return Err(error.into()),
            }
            while let Some(packet) = self.packets.take().map_err(io::Error::other)? {
                let word = Word::decode(packet).map_err(io::Error::other)?;
                match word {
                    Word::Input(data) if !self.input_ends => self.waiting.extend(data),
                    Word::Input(_) => {}
                    Word::InputEnds if self.is_terminal => self.waiting.push(END_OF_INPUT),
                    Word::InputEnds => self.input_ends = true,
                    Word::Resize(window) => self.resize(window),
                    Word::Signal(number) => {
                        if let Some(signal) = Signal::from_named_raw(number) {
                            // Not waited for yet, or gone, and then there is nobody to signal.
                            let _ = kill_process(self.main, signal);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn resize(&self, window: Window) {
        if let Some(terminal) = self.input.as_ref().filter(|_| self.is_terminal) {
            // Only a terminal that is gone refuses.
            let _ = tcsetwinsize(terminal, size(window));
        }
    }

    fn pass_input(&mut self) {
        let Some(input) = &self.input else {
            self.waiting.clear();
            return;
        };
        while !self.waiting.is_empty() {
            match rustix::io::write(input, &self.waiting) {
                Ok(length) => drop(self.waiting.drain(..length)),
                Err(Errno::AGAIN | Errno::INTR) => return,
                // Nobody reads it any more.
                Err(_) => {
                    self.waiting.clear();
                    self.input_ends = true;
                }
            }
        }
        if self.input_ends && !self.is_terminal {
            self.input = None;
        }
    }

    /// Takes a chunk of each stream, where there is room for it.
    fn take_output(&mut self) {
        let Self { streams, outgoing, .. } = self;
        for (number, stream) in streams.iter_mut().enumerate() {
            if outgoing.len() < ENOUGH {
                stream.take(&mut |data| outgoing.extend(answer(number, data)));
            }
        }
    }

    /// Nobody writes any more: takes what is left, as far as there is room; true when all is taken.
    fn take_last_output(&mut self) -> bool {
        let Self { streams, outgoing, .. } = self;
        for (number, stream) in streams.iter_mut().enumerate() {
            loop {
                let before = outgoing.len();
                stream.take(&mut |data| outgoing.extend(answer(number, data)));
                if outgoing.len() == before {
                    break;
                }
                if outgoing.len() >= ENOUGH {
                    return false;
                }
            }
        }
        true
    }

    /// Says to the agent what it takes.
    fn tell(&mut self, agent: &impl AsFd) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match rustix::io::write(agent, &self.outgoing) {
                Ok(length) => drop(self.outgoing.drain(..length)),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Nobody listens: everything of the session ends.
    fn give_up(self, outset: &Outset) -> ExitCode {
        loop {
            self.tree.kill();
            if reap(&outset.children, self.main).none_left {
                return ExitCode::FAILURE;
            }
            let mut waited = [PollFd::from_borrowed_fd(outset.children.as_fd(), PollFlags::IN)];
            let patience = Timespec::try_from(KILL_AGAIN).ok();
            // An interruption is one more look around.
            let _ = poll(&mut waited, patience.as_ref());
        }
    }
}

fn answer(stream: usize, data: &[u8]) -> Vec<u8> {
    let data = data.to_vec();
    if stream == 0 { Answer::Output(data) } else { Answer::ErrorOutput(data) }.encode()
}

fn size(window: Window) -> Winsize {
    Winsize { ws_row: window.rows, ws_col: window.columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// A new terminal, which belongs to the command's user.
fn terminal(window: Window, user: Option<&str>) -> io::Result<(Vec<Stream>, OwnedFd, Ends)> {
    let made = openpty(None, None)?;
    tcsetwinsize(&made.master, size(window))?;
    let owner = user.map(User::from_name).transpose()?.flatten();
    if let Some(owner) = owner.filter(|owner| owner.uid != nix::unistd::geteuid()) {
        fchown(&made.slave, Some(Uid::from_raw(owner.uid.as_raw())), None)?;
        fchmod(&made.slave, Mode::from_bits_truncate(0o620))?;
    }
    fcntl_setfl(&made.master, OFlags::NONBLOCK)?;
    for end in [&made.master, &made.slave] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
    }
    let output = made.master.try_clone()?;
    let ends =
        Ends { input: made.slave.try_clone()?, output: made.slave.try_clone()?, error: made.slave };
    Ok((vec![Stream::of(output)], made.master, ends))
}

fn pipes() -> io::Result<(Vec<Stream>, OwnedFd, Ends)> {
    let ((out, output), (err, error)) = (Stream::new()?, Stream::new()?);
    let (input, ours) = Stream::ends()?;
    fcntl_setfl(&ours, OFlags::NONBLOCK)?;
    Ok((vec![out, err], ours, Ends { input, output, error }))
}

/// What a stage in a session does with the descriptor of its input; see [`Staged::spawn_in_session`].
pub(crate) fn take_input(number: i32) -> io::Result<()> {
    let input = File::open(format!("/proc/self/fd/{number}"))?;
    rustix::stdio::dup2_stdin(input)?;
    nix::unistd::close(number)?;
    Ok(())
}
