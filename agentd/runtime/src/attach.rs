//! Who is attached to a container's terminal: clients of a socket in the container's folder, which
//! only root can reach. Whoever reads slowly is let go of; nobody makes the container wait.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::Mode;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
    bind, listen, recv, send, socket_with,
};
use tepui_container::{ATTACH_SOCKET, MAX_ATTACH_BYTES, ToTerminal};

use crate::fault::{Attempt, Fault};

/// Clients at a time.
const MAX_CLIENTS: usize = 32;

/// The socket and its clients.
#[derive(Debug)]
pub(crate) struct Attached {
    socket: OwnedFd,
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    connection: OwnedFd,
    is_shown: bool,
}

impl Attached {
    /// Opens the socket in the folder of the container.
    pub(crate) fn open(folder: &Path) -> Result<Self, Fault> {
        // A socket's path has 108 bytes at most, so it is made from where it is to be.
        std::env::set_current_dir(folder).on("enter", folder)?;
        let path = Path::new(ATTACH_SOCKET);
        let _ = std::fs::remove_file(path);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let socket = socket.to("make a socket for the terminal")?;
        let address = SocketAddrUnix::new(path).to("name a socket for the terminal")?;
        let usual = rustix::process::umask(Mode::from_bits_truncate(0o177));
        let bound = bind(&socket, &address);
        rustix::process::umask(usual);
        bound.on("open", path)?;
        listen(&socket, 8).on("open", path)?;
        Ok(Self { socket, clients: Vec::new() })
    }

    /// What is to be waited for. While `is_full` nobody is listened to.
    pub(crate) fn waited(&self, is_full: bool) -> Vec<PollFd<'_>> {
        let clients = self.clients.iter().map(|one| &one.connection).filter(|_| !is_full);
        let all = std::iter::once(&self.socket).chain(clients);
        all.map(|one| PollFd::new(one, PollFlags::IN)).collect()
    }

    /// Takes new clients, and what they all have said; at most about `room` bytes of keys. Who asked to
    /// be shown the terminal before somebody typed is heard in time to see what comes of it.
    pub(crate) fn hear(&mut self, room: usize, mut said: impl FnMut(ToTerminal)) {
        let mut taken = 0;
        loop {
            let before = taken;
            let came = self.accept();
            self.clients.retain_mut(|client| client.hear(room, &mut taken, &mut said));
            if !came && (taken == before || taken >= room) {
                return;
            }
        }
    }

    /// Whether somebody came.
    fn accept(&mut self) -> bool {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let mut came = false;
        while let Ok(connection) = accept_with(&self.socket, flags) {
            // One too many is let go of at once.
            if self.clients.len() < MAX_CLIENTS {
                self.clients.push(Client { connection, is_shown: false });
                came = true;
            }
        }
        came
    }

    /// Shows what the terminal has shown to all who want it.
    pub(crate) fn show(&mut self, bytes: &[u8]) {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        self.clients.retain(|client| {
            !client.is_shown
                || bytes
                    .chunks(MAX_ATTACH_BYTES)
                    .all(|piece| send(client.connection.as_fd(), piece, flags).is_ok())
        });
    }
}

impl Client {
    /// False when it is gone, or says what nobody understands.
    fn hear(&mut self, room: usize, taken: &mut usize, said: &mut impl FnMut(ToTerminal)) -> bool {
        let mut packet = [0; MAX_ATTACH_BYTES];
        while *taken < room {
            let length = match recv(&self.connection, packet.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((0, _)) => return false,
                Ok((length, _)) => length,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return true,
                Err(_) => return false,
            };
            *taken += length;
            match ToTerminal::decode(&packet[..length]) {
                Some(ToTerminal::Show) => self.is_shown = true,
                Some(word) => said(word),
                None => return false,
            }
        }
        true
    }
}
