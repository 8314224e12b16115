//! What port enforcement refused.

use std::mem::offset_of;
use std::net::{IpAddr, Ipv6Addr};

use super::comm;
use crate::group::GroupId;
use crate::layout::{array, denial_event, denials, u8_at, u16_at, u32_at, u64_at};
use crate::mode::Mode;

/// The kernel's `AF_INET`.
const INET: u8 = 2;

/// What a task tried with a port that it was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// It asked for the port.
    Bind,
    /// It asked for any port, where that is refused.
    BindAny,
    /// It asked for a socket whose binds cannot be watched.
    Socket,
    /// It listened, and someone connected.
    Connection,
    /// A datagram came that it had not asked for.
    Datagram,
}

impl Operation {
    /// All of them, in the order of the kernel's counters.
    pub const ALL: [Self; 5] =
        [Self::Bind, Self::BindAny, Self::Socket, Self::Connection, Self::Datagram];

    fn from_raw(raw: u8) -> Option<Self> {
        Self::ALL.get(usize::from(raw).checked_sub(1)?).copied()
    }

    /// Whether the task itself tried. The rest is what others send it, over which it has no power.
    #[must_use]
    pub fn is_its_own(self) -> bool {
        match self {
            Self::Bind | Self::BindAny | Self::Socket => true,
            Self::Connection | Self::Datagram => false,
        }
    }

    /// The word used in messages and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::BindAny => "bind_any",
            Self::Socket => "socket",
            Self::Connection => "connection",
            Self::Datagram => "datagram",
        }
    }
}

/// The protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP, and MPTCP, whose ports are TCP's.
    Tcp,
    /// UDP and UDP-Lite.
    Udp,
    /// Another, by its number.
    Other(u8),
}

impl Transport {
    fn from_raw(raw: u8) -> Self {
        match raw {
            6 => Self::Tcp,
            17 | 136 => Self::Udp,
            other => Self::Other(other),
        }
    }
}

/// One thing that was refused, or would have been in [`Mode::Observe`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The task's group; for a group that nobody registered, the deepest one known.
    pub group: GroupId,
    /// Nanoseconds since boot.
    pub boot_time_ns: u64,
    /// The process that tried; none for packets that came in.
    pub pid: Option<u32>,
    /// That process's name.
    pub comm: String,
    /// The port.
    pub port: u16,
    /// The address beside it: what was asked for, or where it was reached; none where there is none.
    pub address: Option<IpAddr>,
    /// Its protocol.
    pub transport: Transport,
    /// What was tried.
    pub operation: Operation,
    /// The mode that decided.
    pub mode: Mode,
    /// Whether the group was registered.
    pub registered: bool,
}

/// What one task was refused so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denials {
    /// Counts in the order of [`Operation::ALL`].
    pub by_operation: [u64; Operation::ALL.len()],
    /// Binds to port 0 that were let pass.
    pub ephemeral_binds: u64,
    /// Denials that were counted but not reported one by one.
    pub quiet: u32,
    /// The last one that was reported.
    pub last: Option<Denial>,
}

impl Denials {
    /// All counts together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_operation.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The count of one operation.
    #[must_use]
    pub fn of(&self, operation: Operation) -> u64 {
        let at = Operation::ALL.iter().position(|known| *known == operation);
        at.and_then(|at| self.by_operation.get(at)).copied().unwrap_or(0)
    }
}

/// Reads a report of the ring buffer.
#[must_use]
pub fn decode_denial(record: &[u8]) -> Option<Denial> {
    let pid = u32_at(record, offset_of!(denial_event, pid))?;
    Some(Denial {
        group: GroupId::from_raw(u64_at(record, offset_of!(denial_event, leaf))?),
        boot_time_ns: u64_at(record, offset_of!(denial_event, time_ns))?,
        pid: (pid != 0).then_some(pid),
        comm: comm(array(record, offset_of!(denial_event, comm))?),
        port: u16_at(record, offset_of!(denial_event, port))?,
        address: match u8_at(record, offset_of!(denial_event, located))? {
            0 => None,
            _ => Some(address(
                array(record, offset_of!(denial_event, address))?,
                u8_at(record, offset_of!(denial_event, family))?,
            )),
        },
        transport: Transport::from_raw(u8_at(record, offset_of!(denial_event, protocol))?),
        operation: Operation::from_raw(u8_at(record, offset_of!(denial_event, op))?)?,
        mode: Mode::from_raw(u32::from(u8_at(record, offset_of!(denial_event, mode))?))?,
        registered: u8_at(record, offset_of!(denial_event, registered))? != 0,
    })
}

/// An address as its socket has it: one of IPv6 may be bound to a v4-mapped one.
fn address(bytes: [u8; 16], family: u8) -> IpAddr {
    let address = Ipv6Addr::from(bytes);
    match (family, address.to_ipv4_mapped()) {
        (INET, Some(four)) => four.into(),
        _ => address.into(),
    }
}

/// Reads a task's record of denials.
#[must_use]
pub fn decode_denials(record: &[u8]) -> Option<Denials> {
    let mut by_operation = [0; Operation::ALL.len()];
    for (index, count) in by_operation.iter_mut().enumerate() {
        *count = u64_at(record, offset_of!(denials, by_op) + (index + 1) * size_of::<u64>())?;
    }
    Some(Denials {
        by_operation,
        ephemeral_binds: u64_at(record, offset_of!(denials, ephemeral))?,
        quiet: u32_at(record, offset_of!(denials, quiet))?,
        last: record.get(offset_of!(denials, last)..).and_then(decode_denial),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::layout::put;

    fn event() -> Vec<u8> {
        let mut record = vec![0; size_of::<denial_event>()];
        put(&mut record, offset_of!(denial_event, leaf), &77_u64.to_ne_bytes());
        put(&mut record, offset_of!(denial_event, pid), &4_u32.to_ne_bytes());
        put(&mut record, offset_of!(denial_event, port), &8080_u16.to_ne_bytes());
        put(&mut record, offset_of!(denial_event, protocol), &[6]);
        put(&mut record, offset_of!(denial_event, op), &[1]);
        put(&mut record, offset_of!(denial_event, mode), &[2]);
        put(&mut record, offset_of!(denial_event, comm), b"nc\n\0rest");
        record
    }

    #[test]
    fn a_report_names_who_and_what() {
        let denial = decode_denial(&event()).unwrap();
        assert_eq!(denial.group, GroupId::from_raw(77));
        assert_eq!((denial.port, denial.transport), (8080, Transport::Tcp));
        assert_eq!((denial.operation, denial.mode), (Operation::Bind, Mode::Deny));
        assert_eq!((denial.pid, denial.comm.as_str()), (Some(4), "nc?"));
    }

    #[test]
    fn an_address_is_told_as_its_socket_has_it() {
        let mut record = event();
        assert_eq!(decode_denial(&record).unwrap().address, None);
        let mapped = "::ffff:10.0.0.1".parse::<Ipv6Addr>().unwrap();
        put(&mut record, offset_of!(denial_event, located), &[1]);
        put(&mut record, offset_of!(denial_event, address), &mapped.octets());
        put(&mut record, offset_of!(denial_event, family), &[INET]);
        assert_eq!(decode_denial(&record).unwrap().address, Some([10, 0, 0, 1].into()));
        put(&mut record, offset_of!(denial_event, family), &[10]);
        assert_eq!(decode_denial(&record).unwrap().address, Some(mapped.into()));
    }

    #[test]
    fn a_short_report_is_none() {
        let record = event();
        for length in 0..offset_of!(denial_event, comm) + 16 {
            assert_eq!(decode_denial(&record[..length]), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Some(denial) = decode_denial(&bytes) {
                prop_assert!(denial.comm.chars().all(|c| !c.is_control()));
            }
            if let Some(denials) = decode_denials(&bytes) {
                prop_assert!(denials.total() >= denials.of(Operation::Bind));
            }
        }
    }
}
