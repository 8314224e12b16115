//! What a group's packets were. Pure.

use super::rules::Set;
use super::sockets::{TCP, UDP};
use crate::decode::{Flow, Traffic};

/// TCP, UDP, and the rest.
const PROTOCOLS: usize = 3;

/// Counts of each set, by protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Packets {
    counts: [[Flow; PROTOCOLS]; Set::ALL.len()],
}

impl Packets {
    /// Adds what was counted.
    pub(super) fn add(&mut self, set: Set, protocol: u8, flow: Flow) {
        let [tcp, udp, other] = &mut self.counts[set as usize];
        let place = match protocol {
            TCP => tcp,
            UDP => udp,
            _ => other,
        };
        *place = sum(*place, flow);
    }

    /// What was counted in a set.
    pub(super) fn traffic(&self, set: Set) -> Traffic {
        let [tcp, udp, other] = self.counts[set as usize];
        Traffic { tcp, udp, other }
    }

    /// Both together.
    pub(super) fn and(mut self, other: &Self) -> Self {
        for (own, other) in
            self.counts.as_flattened_mut().iter_mut().zip(other.counts.as_flattened())
        {
            *own = sum(*own, *other);
        }
        self
    }
}

fn sum(one: Flow, other: Flow) -> Flow {
    Flow {
        bytes: one.bytes.saturating_add(other.bytes),
        packets: one.packets.saturating_add(other.packets),
    }
}
