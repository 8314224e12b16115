//! Every program, where it hooks in, and what it is for.

use std::fmt;

/// Something a host may be wished to do with BPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// A task binds its own ports only.
    Ports,
    /// Time on processors.
    Cpu,
    /// Switches, waits for a processor, and who preempted.
    RunQueue,
    /// Page faults.
    Faults,
    /// How processes ended, and who sent the signal that ended them.
    Exits,
    /// Bytes and packets.
    Network,
    /// Packets that were thrown away.
    Drops,
    /// Connections, round trips, retransmits.
    Tcp,
    /// Bytes and latency of block devices.
    Block,
}

impl Feature {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Ports,
        Self::Cpu,
        Self::RunQueue,
        Self::Faults,
        Self::Exits,
        Self::Network,
        Self::Drops,
        Self::Tcp,
        Self::Block,
    ];

    /// The word used in configuration, logs and attributes.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ports => "ports",
            Self::Cpu => "cpu",
            Self::RunQueue => "run_queue",
            Self::Faults => "faults",
            Self::Exits => "exits",
            Self::Network => "network",
            Self::Drops => "drops",
            Self::Tcp => "tcp",
            Self::Block => "block",
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A compiled object: programs and maps that load together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectName {
    /// Finds the agent's depth in the hierarchy.
    Level,
    /// Which devices a group may open; loaded for each group, apart from all others.
    Devices,
    /// Port enforcement.
    Ports,
    /// Processors and ends of processes.
    Sched,
    /// The network.
    Net,
    /// Block devices.
    Block,
}

impl ObjectName {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Level => "level",
            Self::Devices => "devices",
            Self::Ports => "ports",
            Self::Sched => "sched",
            Self::Net => "net",
            Self::Block => "block",
        }
    }
}

/// The kernel's type of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Looks at the address of a bind or send.
    SocketAddress,
    /// Looks at a socket.
    Socket,
    /// Looks at a packet.
    Packet,
    /// Runs at a tracepoint of the kernel.
    RawTracepoint,
}

impl Kind {
    /// All of them.
    pub const ALL: &'static [Self] =
        &[Self::SocketAddress, Self::Socket, Self::Packet, Self::RawTracepoint];

    /// The kernel's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::SocketAddress => "cgroup_sock_addr",
            Self::Socket => "cgroup_sock",
            Self::Packet => "cgroup_skb",
            Self::RawTracepoint => "raw_tracepoint",
        }
    }
}

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// At the root group of all tasks.
    RootGroup,
    /// At this tracepoint, for the whole host.
    Tracepoint(&'static str),
}

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its name in the object, and that of its pin.
    pub name: &'static str,
    /// The object it is in.
    pub object: ObjectName,
    /// What it is for.
    pub feature: Feature,
    /// What the kernel must know to load it.
    pub kind: Kind,
    /// Where it is attached.
    pub hook: Hook,
}

const fn ports(name: &'static str, kind: Kind) -> Spec {
    Spec { name, object: ObjectName::Ports, feature: Feature::Ports, kind, hook: Hook::RootGroup }
}

const fn traced(
    name: &'static str,
    object: ObjectName,
    feature: Feature,
    tracepoint: &'static str,
) -> Spec {
    Spec { name, object, feature, kind: Kind::RawTracepoint, hook: Hook::Tracepoint(tracepoint) }
}

const fn packets(name: &'static str) -> Spec {
    Spec {
        name,
        object: ObjectName::Net,
        feature: Feature::Network,
        kind: Kind::Packet,
        hook: Hook::RootGroup,
    }
}

/// All programs, in the order in which they are attached: what makes a port unreachable comes
/// before what refuses it, so that a half-done start refuses no client.
pub const PROGRAMS: &[Spec] = &[
    ports("tepui_sendmsg4", Kind::SocketAddress),
    ports("tepui_sendmsg6", Kind::SocketAddress),
    ports("tepui_ingress", Kind::Packet),
    ports("tepui_bind4", Kind::SocketAddress),
    ports("tepui_bind6", Kind::SocketAddress),
    ports("tepui_post_bind4", Kind::Socket),
    ports("tepui_post_bind6", Kind::Socket),
    ports("tepui_sock_create", Kind::Socket),
    traced("tepui_runtime", ObjectName::Sched, Feature::Cpu, "sched_stat_runtime"),
    traced("tepui_switch", ObjectName::Sched, Feature::RunQueue, "sched_switch"),
    traced("tepui_fault", ObjectName::Sched, Feature::Faults, "page_fault_user"),
    traced("tepui_signal", ObjectName::Sched, Feature::Exits, "signal_generate"),
    traced("tepui_victim", ObjectName::Sched, Feature::Exits, "mark_victim"),
    traced("tepui_exit", ObjectName::Sched, Feature::Exits, "sched_process_exit"),
    packets("tepui_received"),
    packets("tepui_sent"),
    traced("tepui_full", ObjectName::Net, Feature::Drops, "udp_fail_queue_rcv_skb"),
    traced("tepui_dropped", ObjectName::Net, Feature::Drops, "kfree_skb"),
    traced("tepui_retransmit", ObjectName::Net, Feature::Tcp, "tcp_retransmit_skb"),
    traced("tepui_state", ObjectName::Net, Feature::Tcp, "inet_sock_set_state"),
    traced("tepui_block_wait", ObjectName::Block, Feature::Block, "block_rq_insert"),
    traced("tepui_block_start", ObjectName::Block, Feature::Block, "block_rq_issue"),
    traced("tepui_block_end", ObjectName::Block, Feature::Block, "block_rq_complete"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_short_enough_for_the_kernel_to_show() {
        let mut names: Vec<_> = PROGRAMS.iter().map(|spec| spec.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PROGRAMS.len());
    }

    #[test]
    fn every_feature_has_a_program() {
        for feature in Feature::ALL {
            assert!(PROGRAMS.iter().any(|spec| spec.feature == *feature), "{feature}");
        }
    }
}
