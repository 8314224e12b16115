//! Questions to the kernel over netlink (netlink(7)), and reading what it says.
//!
//! What has typed messages in `rtnetlink` is asked there. This is for the rest: sockets and their
//! groups, counters of nftables, and what the kernel tells everybody. Reading never panics and
//! allocates nothing, whatever the bytes.

pub mod sockets;

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto,
    socket_with,
};

/// Bytes of `struct nlmsghdr`, and of `struct nlattr`.
const HEADER_BYTES: usize = 16;
const ATTRIBUTE_BYTES: usize = 4;
/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_CREATE`, `NLM_F_DUMP`, `NLM_F_DUMP_INTR`.
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const CREATE: u16 = 0x400;
const DUMP: u16 = 0x300;
const INTERRUPTED: u16 = 0x10;
/// `NLMSG_ERROR`, `NLMSG_DONE`.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END`.
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// All but `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const KIND: u16 = 0x3fff;
/// Room for one datagram; the kernel's are half of it at most.
const DATAGRAM_BYTES: usize = 1 << 16;
/// How often a list is asked for that changed while it was read.
const ATTEMPTS: u32 = 4;

/// Something that the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its kind.
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// What follows the header.
    pub body: &'a [u8],
}

/// The messages of a datagram; ends where it makes no sense.
pub fn messages(mut rest: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(rest, 0)?).ok()?;
        let message = rest.get(..length).filter(|message| message.len() >= HEADER_BYTES)?;
        let (kind, flags) = (u16_at(message, 4)?, u16_at(message, 6)?);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, flags, body: message.get(HEADER_BYTES..)? })
    })
}

/// Attributes by kind; ends where they make no sense.
pub fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & KIND;
        let value = rest.get(ATTRIBUTE_BYTES..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of a kind.
#[must_use]
pub fn attribute(attributes_of: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(attributes_of).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// An attribute, padded as others behind it need it.
#[must_use]
pub fn with_value(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = value.len().saturating_add(ATTRIBUTE_BYTES);
    let mut bytes = u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An attribute of attributes.
#[must_use]
pub fn with_parts(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    with_value(kind | NESTED, &parts.concat())
}

/// The two bytes at `at`, as this machine orders them.
#[must_use]
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// The four bytes at `at`, as this machine orders them.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// A question.
#[derive(Clone, Debug)]
pub struct Request {
    bytes: Vec<u8>,
    is_dump: bool,
}

impl Request {
    /// For one thing.
    #[must_use]
    pub fn one(kind: u16, fixed: &[u8]) -> Self {
        Self::new(kind, REQUEST, fixed)
    }

    /// For all that there are.
    #[must_use]
    pub fn all(kind: u16, fixed: &[u8]) -> Self {
        Self::new(kind, REQUEST | DUMP, fixed)
    }

    fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(fixed);
        Self { bytes, is_dump: flags & DUMP == DUMP }
    }

    /// That makes something, or leaves it as it is; part of a [`change`].
    #[must_use]
    pub fn create(kind: u16, fixed: &[u8]) -> Self {
        Self::new(kind, REQUEST | ACKNOWLEDGE | CREATE, fixed)
    }

    /// That removes something; part of a [`change`].
    #[must_use]
    pub fn remove(kind: u16, fixed: &[u8]) -> Self {
        Self::new(kind, REQUEST | ACKNOWLEDGE, fixed)
    }

    /// With an attribute.
    #[must_use]
    pub fn with(mut self, attribute: &[u8]) -> Self {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend(attribute);
        self
    }

    /// With an attribute that is a word.
    #[must_use]
    pub fn with_word(self, kind: u16, word: &str) -> Self {
        self.with(&with_value(kind, &[word.as_bytes(), &[0]].concat()))
    }

    fn finished(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        if let Some(place) = self.bytes.get_mut(..4) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
        self.bytes
    }
}

/// Asks the kernel in the calling thread's network namespace, and gives each of its answers' bodies to
/// `take`. Waits for nobody: the kernel answers at once. What the kernel says has changed while it was
/// listed is listed anew; not every list says so, and one that does not may lack or repeat what moved.
///
/// # Errors
/// The kernel's own, as `NotFound` for what does not exist.
pub fn ask<T: Default>(
    protocol: Protocol,
    request: Request,
    mut take: impl FnMut(&mut T, &[u8]),
) -> io::Result<T> {
    let socket = open(protocol)?;
    let is_dump = request.is_dump;
    let bytes = request.finished();
    let mut datagram = vec![0; DATAGRAM_BYTES];
    for _ in 0..ATTEMPTS {
        sendto(&socket, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut all = T::default();
        let mut is_whole = true;
        loop {
            let (length, _) = recv(&socket, datagram.as_mut_slice(), RecvFlags::DONTWAIT)?;
            let heard = hear(datagram.get(..length).unwrap_or_default(), &mut |body| {
                take(&mut all, body);
            })?;
            is_whole &= !heard.is_interrupted;
            if heard.is_over || !is_dump {
                break;
            }
        }
        if is_whole {
            return Ok(all);
        }
    }
    Err(io::Error::new(io::ErrorKind::Interrupted, "it changed each time while it was listed"))
}

/// Has a subsystem of netfilter make all of these changes, or none.
///
/// # Errors
/// The kernel's first one, as `NotFound` for what does not exist.
pub fn change(subsystem: u8, requests: Vec<Request>) -> io::Result<()> {
    let socket = open(netlink::NETFILTER)?;
    let frame = |kind| Request::new(kind, REQUEST, &[0, 0, 0, subsystem]).finished();
    let mut bytes = frame(BEGIN);
    bytes.extend(requests.into_iter().flat_map(Request::finished));
    bytes.extend(frame(END));
    sendto(&socket, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut datagram = vec![0; DATAGRAM_BYTES];
    let mut is_answered = false;
    loop {
        match recv(&socket, datagram.as_mut_slice(), RecvFlags::DONTWAIT) {
            Ok((length, _)) => {
                hear(datagram.get(..length).unwrap_or_default(), &mut |_| {})?;
                is_answered = true;
            }
            Err(Errno::AGAIN) if is_answered => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn open(protocol: Protocol) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(protocol))?)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heard {
    is_over: bool,
    is_interrupted: bool,
}

fn hear(datagram: &[u8], take: &mut impl FnMut(&[u8])) -> io::Result<Heard> {
    let mut heard = Heard::default();
    for message in messages(datagram) {
        heard.is_interrupted |= message.flags & INTERRUPTED != 0;
        match message.kind {
            ERROR | DONE => {
                let code = u32_at(message.body, 0).unwrap_or_default().cast_signed();
                if code != 0 {
                    return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                }
                heard.is_over = true;
            }
            _ => take(message.body),
        }
    }
    Ok(heard)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustix::net::netlink::SOCK_DIAG;

    use super::*;

    #[test]
    fn what_the_kernel_does_not_know_is_its_error() {
        let asked = ask(SOCK_DIAG, Request::one(19, &[0; 4]), |_: &mut (), _| {});
        assert_eq!(asked.unwrap_err().raw_os_error(), Some(22), "EINVAL");
    }

    #[test]
    fn attributes_are_found_by_kind_behind_others_and_nested() {
        let inner = with_value(1, b"xy");
        let bytes = [with_value(1, b"abc"), with_parts(2, &[inner]), with_value(3, b"")].concat();
        let found = attribute(&bytes, 2).and_then(|inner| attribute(inner, 1));
        assert_eq!(found, Some(b"xy".as_slice()));
        assert_eq!(attribute(&bytes, 3), Some(b"".as_slice()));
        assert_eq!(attribute(&bytes, 4), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut read = 0;
            let _ = hear(&bytes, &mut |body| read += attributes(body).count());
            prop_assert!(read <= bytes.len() / ATTRIBUTE_BYTES);
            prop_assert!(messages(&bytes).count() <= bytes.len() / HEADER_BYTES + 1);
        }
    }
}
