//! Whose a TCP connection is: the control group of the socket at its other end, asked of the kernel
//! by netlink (sock_diag(7), since Linux 5.8).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use rustix::net::netlink::SOCK_DIAG;
use tepui_netlink::ask;
use tepui_netlink::sockets::{Told, connection};

use crate::Mount;

/// Number of the root of all groups, which no other group ever has; not to be seen in a control group
/// namespace.
const ROOT: u64 = 1;
/// Groups that are looked through for one id.
const MAX_GROUPS: usize = 200_000;

/// Where the client of a connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On another host, or in another network namespace.
    Elsewhere,
    /// In this network namespace; the directory of the group that its socket was made in.
    Group(PathBuf),
    /// In this network namespace, and the kernel does not say more, for this reason.
    Unclear(String),
}

/// Tells where clients are. Made once: it has proved that the kernel tells.
#[derive(Clone, Debug)]
pub struct Clients {
    mount: Mount,
}

impl Clients {
    /// Asks for a connection of this process with itself, whose answer is known.
    ///
    /// # Errors
    /// What the kernel cannot do, for people.
    pub fn probe() -> Result<Self, String> {
        let mount = Mount::probe().map_err(|error| error.to_string())?;
        let failed = |error: io::Error| format!("failed to connect to this process: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let server = listener.local_addr().map_err(failed)?;
        let client = TcpStream::connect(server).map_err(failed)?;
        let client = client.local_addr().map_err(failed).map(|address| (client, address))?;
        let clients = Self { mount };
        match clients.origin(client.1, server) {
            Origin::Group(_) => Ok(clients),
            Origin::Unclear(reason) => Err(reason),
            Origin::Elsewhere => Err("the kernel takes this process for another host".to_owned()),
        }
    }

    /// The version 2 hierarchy that groups are found in.
    #[must_use]
    pub fn mount(&self) -> &Mount {
        &self.mount
    }

    /// Where the client is that is connected from `client` to `server`. Blocks for a moment.
    #[must_use]
    pub fn origin(&self, client: SocketAddr, server: SocketAddr) -> Origin {
        let (client, server) = (plain(client), plain(server));
        let id = match group_of(client, server) {
            Ok(Some(id)) => id,
            Ok(None) | Err(_) if !is_here(client, server) => return Origin::Elsewhere,
            Ok(None) => return Origin::Unclear("its socket is closed already".to_owned()),
            Err(error) => return Origin::Unclear(format!("failed to ask for its socket: {error}")),
        };
        match find(self.mount.root(), id) {
            Some(path) => Origin::Group(path),
            None => Origin::Unclear(format!("its control group ({id}) is gone or out of sight")),
        }
    }
}

/// An IPv4 address that was mapped into IPv6, as itself.
fn plain(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(six) => match six.ip().to_ipv4_mapped() {
            Some(four) => SocketAddr::from((four, six.port())),
            None => address,
        },
        SocketAddr::V4(_) => address,
    }
}

/// Whether the client of a connection is on this host: what is sent to its address would leave from
/// it.
#[must_use]
pub fn is_here(client: SocketAddr, server: SocketAddr) -> bool {
    let (client, server) = (plain(client).ip(), plain(server).ip());
    if client.is_loopback() || client == server {
        return true;
    }
    let any: IpAddr = match client {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Nothing is sent: connecting only chooses the way.
    let chosen = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((client, 9))?;
        socket.local_addr()
    });
    chosen.is_ok_and(|chosen| chosen.ip() == client)
}

/// Id of the group of the socket that is bound to `own` and connected to `other`; `None` where
/// there is no such socket, or the kernel does not tell.
fn group_of(own: SocketAddr, other: SocketAddr) -> io::Result<Option<u64>> {
    let answer = ask(SOCK_DIAG, connection(own, other), |group: &mut Option<u64>, body| {
        let told = Told::read(body).filter(|told| told.is_between(own, other));
        *group = told.and_then(|told| told.group());
    });
    match answer {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        answer => answer,
    }
}

/// The directory of a group, which is at a file's number in its own hierarchy. One that was removed
/// has none, though sockets made in it may live.
fn find(root: &Path, id: u64) -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    if id == ROOT || root.metadata().is_ok_and(|meta| meta.ino() == id) {
        return Some(root.to_owned());
    }
    let mut waiting = vec![root.to_owned()];
    let mut seen = 0;
    while let Some(folder) = waiting.pop() {
        // What is removed meanwhile holds nothing.
        let Ok(entries) = folder.read_dir() else { continue };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.ino() == id {
                return Some(entry.path());
            }
            seen += 1;
            if seen > MAX_GROUPS {
                return None;
            }
            waiting.push(entry.path());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// A connection through this address: listener's side, client's side.
    fn connected(address: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let to = if address.starts_with("[::]") { "127.0.0.1" } else { "" };
        let client = match to {
            "" => TcpStream::connect(listener.local_addr().unwrap()).unwrap(),
            to => TcpStream::connect((to, port)).unwrap(),
        };
        (listener.accept().unwrap().0, client)
    }

    /// Where the client at the other end of `server` is.
    fn asked(clients: &Clients, server: &TcpStream) -> Origin {
        clients.origin(server.peer_addr().unwrap(), server.local_addr().unwrap())
    }

    #[test]
    fn the_kernel_tells_the_group_of_a_client_over_every_protocol() {
        let clients = Clients::probe().expect("a kernel since 5.8 with control groups version 2");
        let own = Origin::Group(clients.mount().own_group().to_owned());
        for address in ["127.0.0.1:0", "127.0.0.9:0", "[::1]:0", "[::]:0"] {
            let (server, _client) = connected(address);
            assert_eq!(asked(&clients, &server), own, "{address}");
        }
    }

    #[test]
    fn a_client_that_has_gone_is_unclear_though_somebody_listens_at_its_port() {
        let clients = Clients::probe().unwrap();
        let (mut server, client) = connected("127.0.0.1:0");
        let (peer, local) = (server.peer_addr().unwrap(), server.local_addr().unwrap());
        // Unread bytes at its end make the close a reset: nothing of it stays.
        server.write_all(b"unread").unwrap();
        client.peek(&mut [0; 1]).unwrap();
        drop(client);
        assert!(server.read(&mut [0; 1]).is_err());
        let _listens = TcpListener::bind(peer).unwrap();
        let Origin::Unclear(reason) = clients.origin(peer, local) else { panic!("it is known") };
        assert!(reason.contains("closed"), "{reason}");
    }

    #[test]
    fn who_is_at_no_address_of_this_host_is_elsewhere() {
        let clients = Clients::probe().unwrap();
        let (client, server) = ("192.0.2.7:40000", "192.0.2.8:5051");
        let origin = clients.origin(client.parse().unwrap(), server.parse().unwrap());
        assert_eq!(origin, Origin::Elsewhere);
        let itself = clients.origin(server.parse().unwrap(), "192.0.2.8:1".parse().unwrap());
        assert!(matches!(itself, Origin::Unclear(_)), "{itself:?}");
    }

    #[test]
    fn a_group_is_found_by_its_number_however_deep_it_is() {
        use std::os::unix::fs::MetadataExt;
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b/c");
        std::fs::create_dir_all(&deep).unwrap();
        let id = deep.metadata().unwrap().ino();
        assert_eq!(find(root.path(), id), Some(deep.clone()));
        std::fs::remove_dir(&deep).unwrap();
        assert_eq!(find(root.path(), id), None);
        let top = root.path().metadata().unwrap().ino();
        assert_eq!(find(root.path(), top), Some(root.path().to_owned()));
    }
}
