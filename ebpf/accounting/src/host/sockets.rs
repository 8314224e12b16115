//! Sockets, as the kernel tells of them. Pure.

use tepui_netlink::Request;
pub(super) use tepui_netlink::sockets::{Connection, TCP, UDP};
use tepui_netlink::sockets::{Told, every};

use crate::group::GroupId;

/// A socket of TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    /// No other socket of this boot ever has it.
    pub(crate) cookie: u64,
    /// Datagrams that found no room. Of TCP the kernel counts repetitions among them: 0.
    pub(crate) drops: u64,
    /// Of a connection.
    pub(crate) connection: Option<Connection>,
}

/// The questions for all sockets in every state, each with its protocol.
pub(super) fn requests() -> impl Iterator<Item = (u8, Request)> {
    [TCP, UDP].into_iter().flat_map(|protocol| every(protocol).map(move |one| (protocol, one)))
}

/// Group and figures of the socket of one answer.
pub(super) fn read(protocol: u8, body: &[u8]) -> Option<(GroupId, Socket)> {
    let told = Told::read(body)?;
    let drops = told.drops().filter(|_| protocol == UDP);
    let socket = Socket {
        cookie: told.cookie(),
        drops: drops.unwrap_or_default().into(),
        connection: told.connection(),
    };
    Some((GroupId::from_raw(told.group()?), socket))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use rustix::net::netlink::SOCK_DIAG;
    use rustix::net::sockopt::socket_cookie;
    use tepui_netlink::ask;

    use super::*;

    fn seen(of: impl AsFd) -> Option<Socket> {
        let cookie = socket_cookie(of).unwrap();
        requests()
            .flat_map(|(protocol, request)| {
                let take = |all: &mut Vec<_>, body: &[u8]| all.extend(read(protocol, body));
                ask(SOCK_DIAG, request, take).unwrap()
            })
            .map(|(_, socket)| socket)
            .find(|socket| socket.cookie == cookie)
    }

    #[test]
    fn the_kernel_tells_of_a_connection_and_of_who_listens() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(b"hello").unwrap();
            server.read_exact(&mut [0; 5]).unwrap();
            assert_eq!(seen(&listener).unwrap().connection, None, "{address}");
            let connection = seen(&client).unwrap().connection.unwrap();
            assert!(connection.is_open && connection.round_trip.is_some(), "{connection:?}");
            assert!(seen(&server).unwrap().connection.unwrap().is_open);
            drop(server);
            // Its half is closed; the other may still send.
            assert!(seen(&client).unwrap().connection.unwrap().is_open);
        }
    }

    #[test]
    fn the_kernel_tells_how_much_found_no_room() {
        let full = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&full, 4096).unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..100 {
            sender.send_to(&[0; 1000], full.local_addr().unwrap()).unwrap();
        }
        let seen = seen(&full).unwrap();
        assert!((50..100).contains(&seen.drops) && seen.connection.is_none(), "{seen:?}");
    }
}
