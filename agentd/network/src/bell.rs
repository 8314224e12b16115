//! What the kernel tells everybody when rules or links change, over netlink.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType};
use tepui_netlink::{Message, attribute, messages, u32_at};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bytes of one datagram that are read; notifications are far smaller.
const DATAGRAM_BYTES: usize = 1 << 16;
/// Bytes of `struct nfgenmsg` and `struct ifinfomsg`.
const RULE_HEADER_BYTES: usize = 4;
const LINK_HEADER_BYTES: usize = 16;
/// `NFNLGRP_NFTABLES` (7) and `RTNLGRP_LINK` (1), as the masks that bind(2) takes.
const RULES_GROUP: u32 = 1 << (7 - 1);
const LINKS_GROUP: u32 = 1;
/// `NFNL_SUBSYS_NFTABLES`.
const NFTABLES: u16 = 10;
/// `NFT_MSG_NEW…` and `NFT_MSG_DEL…` of tables, chains, rules and sets. Elements of sets come and
/// go with every container and are told to nobody.
const OF_TABLES: [u16; 8] = [0, 2, 3, 5, 6, 8, 9, 11];
/// `NFTA_TABLE_NAME`, and the same in chains, rules and sets.
const TABLE_NAME: u16 = 1;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const IFLA_IFNAME: u16 = 3;
const IFF_UP: u32 = 1;
/// Where `struct ifinfomsg` has the flags.
const LINK_FLAGS_AT: usize = 8;

/// What is listened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Somebody changed a table of nftables.
    Rules,
    /// Somebody removed a link, or took it down.
    Links,
}

impl Topic {
    /// Protocol and group; `NETLINK_ROUTE` is what there is without a protocol.
    fn place(self) -> (Option<Protocol>, u32) {
        match self {
            Self::Rules => (Some(netlink::NETFILTER), RULES_GROUP),
            Self::Links => (None, LINKS_GROUP),
        }
    }

    /// Whether a datagram of the kernel is about the table, or the link, of this name.
    fn concerns(self, datagram: &[u8], name: &str) -> bool {
        messages(datagram).any(|Message { kind, body, .. }| match self {
            Self::Rules => {
                kind >> 8 == NFTABLES
                    && OF_TABLES.contains(&(kind & 0xff))
                    && is_named(body, RULE_HEADER_BYTES, TABLE_NAME, name)
            }
            Self::Links => {
                let is_lost = match kind {
                    RTM_DELLINK => true,
                    RTM_NEWLINK => u32_at(body, LINK_FLAGS_AT).is_some_and(|f| f & IFF_UP == 0),
                    _ => false,
                };
                is_lost && is_named(body, LINK_HEADER_BYTES, IFLA_IFNAME, name)
            }
        })
    }
}

/// Rings when something changes.
#[derive(Debug)]
pub(crate) struct Bell {
    topic: Topic,
    name: String,
    socket: AsyncFd<OwnedFd>,
}

impl Bell {
    /// Listens in the calling thread's network namespace for what happens to `name`.
    #[expect(
        deprecated,
        reason = "the replacement is unsafe for descriptors that close early; an `OwnedFd` that the \
                  `AsyncFd` owns cannot"
    )]
    pub(crate) fn hang(topic: Topic, name: &str) -> io::Result<Self> {
        let (protocol, groups) = topic.place();
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
        Ok(Self { topic, name: name.to_owned(), socket })
    }

    /// Returns when it has rung since the last time; may be dropped while it waits.
    pub(crate) async fn rung(&self) {
        let mut datagram = vec![0; DATAGRAM_BYTES];
        let mut has_rung = false;
        loop {
            match rustix::net::recv(&self.socket, &mut datagram, RecvFlags::TRUNC) {
                Ok((_, length)) => {
                    let read = datagram.get(..length);
                    // What did not fit may have been about anything.
                    has_rung |= read.is_none_or(|read| self.topic.concerns(read, &self.name));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !has_rung => {
                    // The runtime ends.
                    let Ok(mut ready) = self.socket.readable().await else { return };
                    ready.clear_ready();
                }
                // Something was not told, for want of room.
                Err(_) => return,
            }
        }
    }
}

/// Whether the attribute of this kind, after a header of so many bytes, is this word.
fn is_named(body: &[u8], header: usize, kind: u16, name: &str) -> bool {
    let word = attribute(body.get(header..).unwrap_or_default(), kind);
    word.is_some_and(|word| word.strip_suffix(&[0]) == Some(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes of `struct nlmsghdr`.
    const HEADER_BYTES: usize = 16;

    fn message(kind: u16, header: &[u8], attributes: &[(u16, &str)]) -> Vec<u8> {
        let mut body = header.to_vec();
        for (kind, word) in attributes {
            let length = u16::try_from(4 + word.len() + 1).unwrap();
            body.extend(length.to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(word.as_bytes());
            body.push(0);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut all = u32::try_from(HEADER_BYTES + body.len()).unwrap().to_ne_bytes().to_vec();
        all.extend(kind.to_ne_bytes());
        all.resize(HEADER_BYTES, 0);
        all.extend(body);
        all
    }

    fn of_rules(kind: u16, table: &str) -> Vec<u8> {
        message(NFTABLES << 8 | kind, &[0; RULE_HEADER_BYTES], &[(TABLE_NAME, table)])
    }

    fn of_links(kind: u16, flags: u32, name: &str) -> Vec<u8> {
        let mut header = vec![0; LINK_HEADER_BYTES];
        header[LINK_FLAGS_AT..LINK_FLAGS_AT + 4].copy_from_slice(&flags.to_ne_bytes());
        message(kind, &header, &[(4, "x"), (IFLA_IFNAME, name)])
    }

    #[test]
    fn a_table_that_goes_is_heard_among_others_and_mapped_ports_are_not() {
        let hears = |datagram: &[u8]| Topic::Rules.concerns(datagram, "tepui0");
        for kind in [2, 5, 8, 11] {
            assert!(hears(&of_rules(kind, "tepui0")), "{kind}");
            assert!(!hears(&of_rules(kind, "tepui01")) && !hears(&of_rules(kind, "filter")));
        }
        assert!(!hears(&of_rules(12, "tepui0")) && !hears(&of_rules(14, "tepui0")));
        assert!(hears(&[of_rules(2, "filter"), of_rules(2, "tepui0")].concat()));
        assert!(!hears(&[]));
    }

    #[test]
    fn a_bridge_that_goes_or_is_taken_down_is_heard() {
        let hears = |datagram: &[u8]| Topic::Links.concerns(datagram, "tepui0");
        assert!(hears(&of_links(RTM_DELLINK, IFF_UP, "tepui0")));
        assert!(hears(&of_links(RTM_NEWLINK, 0, "tepui0")));
        assert!(!hears(&of_links(RTM_NEWLINK, IFF_UP, "tepui0")));
        assert!(!hears(&of_links(RTM_DELLINK, 0, "tp1234")));
    }

    proptest! {
        #[test]
        fn nothing_that_the_kernel_could_say_is_too_much(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cut in 0_usize..200,
        ) {
            for topic in [Topic::Rules, Topic::Links] {
                topic.concerns(&bytes, "tepui0");
                let whole = [of_rules(2, "tepui0"), of_links(17, 1, "tepui0"), bytes.clone()].concat();
                topic.concerns(&whole[cut.min(whole.len())..], "tepui0");
                topic.concerns(&whole[..cut.min(whole.len())], "tepui0");
            }
        }
    }
}
