//! Which addresses containers get: numbers that belong to one container at a time, given out in
//! turn, so that a number is not somebody else's the moment its container is gone.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// The bridge itself.
const GATEWAY: u32 = 1;

/// Numbers in use, and where to look for the next.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    used: BTreeSet<u32>,
    next: u32,
    last: u32,
}

impl Numbers {
    /// As many as the smaller of the subnets has.
    pub(crate) fn of(four: Ipv4Net, six: Ipv6Net) -> Self {
        let hosts = |bits: u32| u32::try_from((1_u64 << bits.min(31)) - 1).unwrap_or(u32::MAX);
        // The last address of an IPv4 subnet is everybody's.
        let last4 = hosts(32 - u32::from(four.prefix_len())).saturating_sub(1);
        let last6 = hosts(128 - u32::from(six.prefix_len()));
        Self { used: BTreeSet::new(), next: GATEWAY + 1, last: last4.min(last6) }
    }

    /// A number that nobody has.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let (begin, last) = (self.next, self.last);
        let in_turn = (begin..=last).chain(GATEWAY + 1..begin);
        let free = in_turn.into_iter().find(|number| !self.used.contains(number))?;
        self.used.insert(free);
        self.next = if free >= last { GATEWAY + 1 } else { free + 1 };
        Some(free)
    }

    /// A number that a record names.
    pub(crate) fn claim(&mut self, number: u32) {
        self.used.insert(number);
        self.next = self.next.max(number.saturating_add(1));
        if self.next > self.last {
            self.next = GATEWAY + 1;
        }
    }

    pub(crate) fn free(&mut self, number: u32) {
        self.used.remove(&number);
    }
}

pub(crate) fn four(net: Ipv4Net, number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.network()) | number)
}

pub(crate) fn six(net: Ipv6Net, number: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(net.network()) | u128::from(number))
}

pub(crate) fn gateway4(net: Ipv4Net) -> Ipv4Addr {
    four(net, GATEWAY)
}

pub(crate) fn gateway6(net: Ipv6Net) -> Ipv6Addr {
    six(net, GATEWAY)
}

#[cfg(test)]
mod tests {
    // Helpers of a test: what is not there fails it.
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn nets(four: &str) -> (Ipv4Net, Ipv6Net) {
        (four.parse().unwrap(), "fd00::/64".parse().unwrap())
    }

    #[test]
    fn numbers_are_given_out_in_turn_and_not_at_once_again() {
        let (four_net, six_net) = nets("10.0.0.0/29");
        let mut numbers = Numbers::of(four_net, six_net);
        assert_eq!((numbers.take(), numbers.take()), (Some(2), Some(3)));
        numbers.free(2);
        assert_eq!(numbers.take(), Some(4));
        assert_eq!(numbers.take(), Some(5));
        assert_eq!(numbers.take(), Some(6));
        assert_eq!(numbers.take(), Some(2));
        // 7 is the subnet's broadcast.
        assert_eq!(numbers.take(), None);
        assert_eq!(four(four_net, 6).to_string(), "10.0.0.6");
        assert_eq!(six(six_net, 6).to_string(), "fd00::6");
    }

    #[test]
    fn numbers_of_records_are_not_given_out() {
        let (four_net, six_net) = nets("10.0.0.0/29");
        let mut numbers = Numbers::of(four_net, six_net);
        numbers.claim(2);
        numbers.claim(6);
        assert_eq!((numbers.take(), numbers.take()), (Some(3), Some(4)));
    }
}
