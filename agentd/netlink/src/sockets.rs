//! Sockets, as the kernel is asked for them and tells of them (sock_diag(7)).
//!
//! The one place that knows how `struct inet_diag_req_v2`, `struct inet_diag_msg` and what follows
//! them are laid out. The group of a socket is told since Linux 5.8.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::{Request, attribute, u32_at};

/// `IPPROTO_TCP`.
pub const TCP: u8 = 6;
/// `IPPROTO_UDP`.
pub const UDP: u8 = 17;
/// `AF_INET`, `AF_INET6`.
const INET: u8 = 2;
const INET6: u8 = 10;
/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// Bytes of `struct inet_diag_req_v2` and `struct inet_diag_msg`.
const REQUEST_BYTES: usize = 56;
const MESSAGE_BYTES: usize = 72;
/// Bytes of an address in either, whatever its family.
const ADDRESS_BYTES: usize = 16;
/// Where `struct inet_diag_msg` has the state, the own and the other port and address, and the cookie.
const STATE_AT: usize = 1;
const OWN_AT: (usize, usize) = (4, 8);
const OTHER_AT: (usize, usize) = (6, 24);
const COOKIE_AT: usize = 44;
/// `INET_DIAG_INFO`, `INET_DIAG_SKMEMINFO`, `INET_DIAG_CGROUP_ID`; only the first two come for the
/// asking, the last one comes in any case.
const INFO: u16 = 2;
const MEMORY: u16 = 7;
const GROUP: u16 = 21;
/// `INET_DIAG_NOCOOKIE`, twice: whichever socket it is.
const NO_COOKIE: [u8; 8] = [0xff; 8];
/// In every state.
const EVERY_STATE: u32 = u32::MAX;
/// `SK_MEMINFO_DROPS`.
const DROPS_AT: usize = size_of::<[u32; 8]>();
/// Where `struct tcp_info` has `tcpi_rtt` in microseconds, and `tcpi_total_retrans`.
const ROUND_TRIP_AT: usize = 68;
const RETRANSMITS_AT: usize = 100;
/// `TCP_ESTABLISHED`, and the states in which one side has closed already but not both.
const CONNECTED: [u8; 4] = [1, 4, 5, 8];
/// `TCP_LISTEN`.
const LISTEN: u8 = 10;

/// The questions for all sockets of a protocol in every state, with the figures of each: one for each
/// family of addresses.
pub fn every(protocol: u8) -> impl Iterator<Item = Request> {
    [INET, INET6].into_iter().map(move |family| {
        let figures = 1 << (INFO - 1) | 1 << (MEMORY - 1);
        let mut fixed = vec![family, protocol, figures, 0];
        fixed.extend(EVERY_STATE.to_ne_bytes());
        fixed.resize(REQUEST_BYTES, 0);
        Request::all(BY_FAMILY, &fixed)
    })
}

/// The question for the socket of TCP that is bound to `own` and connected to `other`. In want of it the
/// kernel tells of one that listens at `own`, which may be somebody else's: see [`Told::is_between`].
#[must_use]
pub fn connection(own: SocketAddr, other: SocketAddr) -> Request {
    let mut fixed = vec![if own.is_ipv4() { INET } else { INET6 }, TCP, 0, 0];
    fixed.extend(EVERY_STATE.to_ne_bytes());
    fixed.extend(own.port().to_be_bytes());
    fixed.extend(other.port().to_be_bytes());
    fixed.extend(bytes(own.ip()));
    fixed.extend(bytes(other.ip()));
    let interface = match own {
        SocketAddr::V6(six) => six.scope_id(),
        SocketAddr::V4(_) => 0,
    };
    fixed.extend(interface.to_ne_bytes());
    fixed.extend(NO_COOKIE);
    Request::one(BY_FAMILY, &fixed)
}

fn bytes(address: IpAddr) -> [u8; ADDRESS_BYTES] {
    match address {
        IpAddr::V4(four) => {
            let mut out = [0; ADDRESS_BYTES];
            out[..4].copy_from_slice(&four.octets());
            out
        }
        IpAddr::V6(six) => six.octets(),
    }
}

/// What the kernel tells of one socket.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    fixed: &'a [u8; MESSAGE_BYTES],
    attributes: &'a [u8],
}

/// Figures of a connection of TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Both sides know of it, and one still may send.
    pub is_open: bool,
    /// Segments sent again.
    pub retransmits: u64,
    /// Smoothed; none before the first.
    pub round_trip: Option<Duration>,
}

impl<'a> Told<'a> {
    /// The body of an answer; `None` where it is none.
    #[must_use]
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let (fixed, attributes) = body.split_first_chunk()?;
        Some(Self { fixed, attributes })
    }

    /// Whether it is the one that is bound to `own` and connected to `other`.
    #[must_use]
    pub fn is_between(&self, own: SocketAddr, other: SocketAddr) -> bool {
        self.end(OWN_AT) == (own.ip(), own.port())
            && self.end(OTHER_AT) == (other.ip(), other.port())
    }

    fn end(&self, (port, address): (usize, usize)) -> (IpAddr, u16) {
        let port = u16::from_be_bytes([self.fixed[port], self.fixed[port + 1]]);
        let address = &self.fixed[address..address + ADDRESS_BYTES];
        let ip = match (self.fixed[0], <[u8; ADDRESS_BYTES]>::try_from(address)) {
            (INET6, Ok(all)) => Ipv6Addr::from(all).to_canonical(),
            _ => Ipv4Addr::new(address[0], address[1], address[2], address[3]).into(),
        };
        (ip, port)
    }

    /// Its number, which no other socket of this boot ever has.
    #[must_use]
    pub fn cookie(&self) -> u64 {
        self.fixed[COOKIE_AT..].first_chunk().map_or(0, |cookie| u64::from_ne_bytes(*cookie))
    }

    /// The number of the control group that it was made in, where the kernel tells.
    #[must_use]
    pub fn group(&self) -> Option<u64> {
        Some(u64::from_ne_bytes(attribute(self.attributes, GROUP)?.try_into().ok()?))
    }

    /// What was dropped at it, where it was asked for. Of TCP the kernel counts repetitions among these.
    #[must_use]
    pub fn drops(&self) -> Option<u32> {
        u32_at(attribute(self.attributes, MEMORY)?, DROPS_AT)
    }

    /// Its figures, where they were asked for and it is a connection.
    #[must_use]
    pub fn connection(&self) -> Option<Connection> {
        let state = self.fixed[STATE_AT];
        let info = attribute(self.attributes, INFO)?;
        if info.is_empty() || state == LISTEN {
            return None;
        }
        Some(Connection {
            is_open: CONNECTED.contains(&state),
            retransmits: u32_at(info, RETRANSMITS_AT).unwrap_or_default().into(),
            round_trip: u32_at(info, ROUND_TRIP_AT)
                .filter(|micros| *micros > 0)
                .map(|micros| Duration::from_micros(micros.into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use proptest::prelude::*;
    use rustix::net::netlink::SOCK_DIAG;
    use rustix::net::sockopt::socket_cookie;

    use super::*;
    use crate::ask;

    fn cookies(protocol: u8) -> Vec<u64> {
        let take =
            |all: &mut Vec<_>, body: &[u8]| all.extend(Told::read(body).map(|it| it.cookie()));
        every(protocol).flat_map(|request| ask(SOCK_DIAG, request, take).unwrap()).collect()
    }

    #[test]
    fn every_socket_is_told_by_the_number_that_it_has() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            assert!(cookies(TCP).contains(&socket_cookie(&listener).unwrap()), "{address}");
            let datagrams = UdpSocket::bind(address).unwrap();
            assert!(cookies(UDP).contains(&socket_cookie(&datagrams).unwrap()), "{address}");
        }
    }

    #[test]
    fn a_connection_is_told_from_who_listens_at_its_end() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (server, _) = listener.accept().unwrap();
            let (own, other) = (server.local_addr().unwrap(), server.peer_addr().unwrap());
            let told = |own, other| {
                ask(SOCK_DIAG, connection(own, other), |found: &mut Option<_>, body| {
                    let told = Told::read(body).unwrap();
                    *found = Some((told.cookie(), told.is_between(own, other)));
                })
                .unwrap()
                .unwrap()
            };
            assert_eq!(told(own, other), (socket_cookie(&server).unwrap(), true));
            assert_eq!(told(other, own), (socket_cookie(&client).unwrap(), true));
            let nobody = SocketAddr::new(other.ip(), 1);
            assert_eq!(told(own, nobody), (socket_cookie(&listener).unwrap(), false));
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
            if let Some(told) = Told::read(&body) {
                let _ = (told.is_between(address, address), told.cookie(), told.group());
                let _ = (told.drops(), told.connection());
            }
        }
    }
}
