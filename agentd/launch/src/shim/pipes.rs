//! Reading the command's output without ever waiting for it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// Most bytes taken from a pipe at once, so that one stream cannot starve the other.
const CHUNK: usize = 8 * 1024;

/// Most chunks taken after the command has ended, from pipes that others may still fill.
const LAST_CHUNKS: usize = 64;

/// The reading end of a stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pipe: Option<OwnedFd>,
}

/// What a read found.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    Data(usize),
    Nothing,
    Closed,
}

impl Stream {
    /// A stream and the end that the command writes to.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let (read, write) = Self::ends()?;
        fcntl_setfl(&read, OFlags::NONBLOCK)?;
        Ok((Self::of(read), write))
    }

    /// Both ends of a new pipe: to read, to write.
    pub(crate) fn ends() -> io::Result<(OwnedFd, OwnedFd)> {
        Ok(pipe_with(PipeFlags::CLOEXEC)?)
    }

    /// The stream at the end of this pipe, which does not block.
    pub(crate) fn of(pipe: OwnedFd) -> Self {
        Self { pipe: Some(pipe) }
    }

    /// The descriptor to wait on, while anybody can still write.
    pub(crate) fn pipe(&self) -> Option<&OwnedFd> {
        self.pipe.as_ref()
    }

    /// Moves what is there to `to`, one chunk.
    pub(crate) fn take(&mut self, to: &mut impl FnMut(&[u8])) {
        let mut chunk = [0; CHUNK];
        if let Taken::Data(length) = self.read(&mut chunk) {
            to(&chunk[..length]);
        }
    }

    /// Moves what is there to `to` until the pipe is empty.
    pub(crate) fn drain(&mut self, to: &mut impl FnMut(&[u8])) {
        let mut chunk = [0; CHUNK];
        for _ in 0..LAST_CHUNKS {
            let Taken::Data(length) = self.read(&mut chunk) else { return };
            to(&chunk[..length]);
        }
    }

    fn read(&mut self, chunk: &mut [u8]) -> Taken {
        let Some(pipe) = &self.pipe else { return Taken::Closed };
        match rustix::io::read(pipe, chunk) {
            Ok(0) => {
                self.pipe = None;
                Taken::Closed
            }
            Ok(length) => Taken::Data(length),
            Err(Errno::AGAIN | Errno::INTR) => Taken::Nothing,
            Err(_) => {
                self.pipe = None;
                Taken::Closed
            }
        }
    }
}
