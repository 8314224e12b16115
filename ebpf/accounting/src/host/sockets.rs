//! Sockets, as the kernel tells of them (sock_diag(7)). Pure.

use std::time::Duration;

use tepui_netlink::{Request, attribute, u32_at};

use crate::group::GroupId;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
/// `AF_INET`, `AF_INET6`.
const FAMILIES: [u8; 2] = [2, 10];
/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// Bytes of `struct inet_diag_req_v2` and `struct inet_diag_msg`.
const REQUEST_BYTES: usize = 56;
const MESSAGE_BYTES: usize = 72;
/// Where `struct inet_diag_msg` has the cookie, which no other socket ever has.
const COOKIE_AT: usize = 44;
/// `INET_DIAG_INFO`, `INET_DIAG_SKMEMINFO`, `INET_DIAG_CGROUP_ID`; the first two are asked for.
const INFO: u16 = 2;
const MEMORY: u16 = 7;
const GROUP: u16 = 21;
const ASKED_FOR: u8 = 1 << (INFO - 1) | 1 << (MEMORY - 1);
/// `SK_MEMINFO_DROPS`.
const DROPS_AT: usize = size_of::<[u32; 8]>();
/// Where `struct tcp_info` has `tcpi_rtt` in microseconds, and `tcpi_total_retrans`.
const ROUND_TRIP_AT: usize = 68;
const RETRANSMITS_AT: usize = 100;
/// `TCP_ESTABLISHED`, and the states in which one side has closed already but not both.
const CONNECTED: [u8; 4] = [1, 4, 5, 8];
/// `TCP_LISTEN`.
const LISTEN: u8 = 10;

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

/// A TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    /// Both sides know of it, and one still may send.
    pub(crate) is_open: bool,
    /// Segments sent again.
    pub(crate) retransmits: u64,
    /// Smoothed; none before the first.
    pub(crate) round_trip: Option<Duration>,
}

/// The questions for all sockets in every state, each with its protocol.
pub(super) fn requests() -> impl Iterator<Item = (u8, Request)> {
    [TCP, UDP].into_iter().flat_map(|protocol| {
        FAMILIES.into_iter().map(move |family| {
            let mut fixed = vec![family, protocol, ASKED_FOR, 0];
            fixed.extend(u32::MAX.to_ne_bytes());
            fixed.resize(REQUEST_BYTES, 0);
            (protocol, Request::all(BY_FAMILY, &fixed))
        })
    })
}

/// Group and figures of the socket of one answer.
pub(super) fn read(protocol: u8, body: &[u8]) -> Option<(GroupId, Socket)> {
    let (fixed, attributes) = body.split_at_checked(MESSAGE_BYTES)?;
    let group = u64::from_ne_bytes(attribute(attributes, GROUP)?.try_into().ok()?);
    let cookie = fixed.get(COOKIE_AT..)?.first_chunk()?;
    let memory = attribute(attributes, MEMORY).filter(|_| protocol == UDP);
    let drops = memory.and_then(|memory| u32_at(memory, DROPS_AT));
    let state = *fixed.get(1)?;
    let info = attribute(attributes, INFO).filter(|info| !info.is_empty() && state != LISTEN);
    let connection = info.map(|info| Connection {
        is_open: CONNECTED.contains(&state),
        retransmits: u32_at(info, RETRANSMITS_AT).unwrap_or_default().into(),
        round_trip: u32_at(info, ROUND_TRIP_AT)
            .filter(|micros| *micros > 0)
            .map(|micros| Duration::from_micros(micros.into())),
    });
    let socket = Socket {
        cookie: u64::from_ne_bytes(*cookie),
        drops: drops.unwrap_or_default().into(),
        connection,
    };
    Some((GroupId::from_raw(group), socket))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use proptest::prelude::*;
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

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (read(TCP, &bytes), read(UDP, &bytes));
        }
    }
}
