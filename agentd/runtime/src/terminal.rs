//! The terminal of a container: what it shows goes to our output, our input goes to it.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::termios::{
    OptionalActions, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};
use tepui_container::{ToTerminal, Tty};

use crate::attach::Attached;
use crate::fault::{Attempt, Fault};

/// Bytes that are moved at once.
const CHUNK: usize = 16 * 1024;
/// Bytes that wait for a program that does not read, before nobody is listened to.
const ENOUGH: usize = 64 * 1024;

/// Gives the terminal that this process stands at its size, before anybody can look.
pub(crate) fn resize(size: Tty) {
    if size.rows > 0 && size.columns > 0 {
        set_size(std::io::stdin(), size);
    }
}

fn set_size(terminal: impl AsFd, size: Tty) {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // A program that asks for it is told that nobody knows, as on many a terminal.
    let _ = tcsetwinsize(terminal, size);
}

/// Where our input is a terminal itself, the container's is the one that edits lines, echoes, and
/// makes signals of keys: ours only passes bytes on.
pub(crate) fn step_aside() -> Result<(), Fault> {
    let stdin = std::io::stdin();
    if !isatty(&stdin) {
        return Ok(());
    }
    let mut mode = tcgetattr(&stdin).to("read the terminal's mode")?;
    mode.make_raw();
    tcsetattr(&stdin, OptionalActions::Now, &mode).to("set the terminal's mode")
}

/// Where libcontainer sends the terminal that it makes.
#[derive(Debug)]
pub(crate) struct Console {
    socket: UnixListener,
    path: PathBuf,
}

impl Console {
    pub(crate) fn open(folder: &Path, name: &str) -> Result<Self, Fault> {
        // A socket's path has 108 bytes at most, so it is made from where it is to be.
        std::env::set_current_dir(folder).on("enter", folder)?;
        let path = PathBuf::from(name);
        let _ = std::fs::remove_file(&path);
        let socket = UnixListener::bind(&path).on("open", &path)?;
        Ok(Self { socket, path: folder.join(name) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the terminal; libcontainer has sent it by now.
    pub(crate) fn take(self) -> Result<Terminal, Fault> {
        let (stream, _) = self.socket.accept().to("take the terminal")?;
        let _ = std::fs::remove_file(&self.path);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut name = [0; 64];
        let mut parts = [IoSliceMut::new(&mut name)];
        recvmsg(&stream, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
            .to("take the terminal")?;
        let found = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let master = found.ok_or_else(|| Fault::new("the container sent no terminal"))?;
        let flags = rustix::fs::fcntl_getfl(&master).to("read the terminal's flags")?;
        rustix::fs::fcntl_setfl(&master, flags | rustix::fs::OFlags::NONBLOCK)
            .to("set the terminal's flags")?;
        Ok(Terminal { master, input_ended: false, attached: None, keys: Vec::new() })
    }
}

/// The side of a terminal that people sit at.
#[derive(Debug)]
pub(crate) struct Terminal {
    master: OwnedFd,
    input_ended: bool,
    attached: Option<Attached>,
    /// Typed, and not yet taken.
    keys: Vec<u8>,
}

impl Terminal {
    /// With a socket at which others can sit down too.
    pub(crate) fn with(self, attached: Option<Attached>) -> Self {
        Self { attached, ..self }
    }

    /// Takes on the size of the terminal that our input is; false where it is none.
    pub(crate) fn follow_size(&self) -> bool {
        let size = tcgetwinsize(std::io::stdin());
        size.is_ok_and(|size| tcsetwinsize(&self.master, size).is_ok())
    }

    /// Moves what the container has shown and not yet been seen.
    pub(crate) fn drain(&mut self) {
        let mut chunk = [0; CHUNK];
        while let Ok(length @ 1..) = rustix::io::read(&self.master, &mut chunk) {
            if let Some(attached) = &mut self.attached {
                attached.show(&chunk[..length]);
            }
            if write_all(std::io::stdout().as_fd(), &chunk[..length]).is_none() {
                return;
            }
        }
    }

    /// Does what those say who are attached.
    fn obey(&mut self) {
        let Self { attached: Some(attached), master, keys, .. } = self else { return };
        attached.hear(ENOUGH.saturating_sub(keys.len()), |word| match word {
            ToTerminal::Keys(more) => keys.extend(more),
            ToTerminal::Resize(size) => set_size(&*master, size),
            ToTerminal::Show => {}
        });
    }

    /// Whether more keys are taken from our input now.
    fn listens(&self) -> bool {
        !self.input_ended && self.keys.len() < ENOUGH
    }

    fn feed(&mut self) {
        let mut chunk = [0; CHUNK];
        match rustix::io::read(std::io::stdin(), &mut chunk) {
            Ok(length @ 1..) => self.keys.extend(&chunk[..length]),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            _ => self.input_ended = true,
        }
    }

    /// Passes on what the program takes now: one that is to be waited for may itself wait for what it
    /// shows to be seen.
    fn pass_keys(&mut self) {
        while !self.keys.is_empty() {
            match rustix::io::write(&self.master, &self.keys) {
                Ok(length) => drop(self.keys.drain(..length)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                // Nobody is there any more who could read.
                Err(_) => self.keys.clear(),
            }
        }
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Option<()> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None);
            }
            Err(_) => return None,
        }
    }
    Some(())
}

/// Waits for a signal, and moves what the terminal has meanwhile.
pub(crate) fn wait(signals: impl AsFd, terminal: &mut Option<Terminal>) {
    let (shown, typed) = {
        let mut waited = vec![PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        let stdin = std::io::stdin();
        if let Some(terminal) = terminal.as_ref() {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, !terminal.keys.is_empty());
            waited.push(PollFd::new(&terminal.master, flags));
            if terminal.listens() {
                waited.push(PollFd::new(&stdin, PollFlags::IN));
            }
            if let Some(attached) = &terminal.attached {
                waited.extend(attached.waited(terminal.keys.len() >= ENOUGH));
            }
        }
        // An interruption is one more look around.
        let _ = poll(&mut waited, None);
        let is_ready = |at: usize| waited.get(at).is_some_and(|one| !one.revents().is_empty());
        let listens = terminal.as_ref().is_some_and(Terminal::listens);
        (is_ready(1), listens && is_ready(2))
    };
    if let Some(open) = terminal {
        if typed {
            open.feed();
        }
        if shown {
            open.drain();
        }
        open.obey();
        open.pass_keys();
    }
}
