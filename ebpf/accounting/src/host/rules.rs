//! The rules that count.

use std::fmt::Write as _;

/// Depths at which groups of tasks may be, counted from the root of the kernel's whole hierarchy, of
/// which a container sees only a part: the deepest unit is at seven, in a container some deeper.
const LEVELS: std::ops::RangeInclusive<u32> = 2..=10;
/// Groups, times protocols, of which a count is kept.
const MOST_COUNTS: u32 = 1 << 18;
/// A count that nothing was added to for so long is forgotten, so that groups that ended do not stay;
/// what was seen of one before is remembered by who asks.
const FORGET_AFTER: &str = "6h";

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    Received,
    Sent,
    Connected,
    Accepted,
}

impl Set {
    pub(super) const ALL: [Self; 4] = [Self::Received, Self::Sent, Self::Connected, Self::Accepted];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Sent => "sent",
            Self::Connected => "connected",
            Self::Accepted => "accepted",
        }
    }
}

/// All as one transaction. Rules are made anew, counts stay. Others' chains come first: what they
/// drop does not count.
pub(super) fn make(table: &str) -> String {
    let mut script = format!("add table inet {table}\n");
    for set in Set::ALL {
        let _ = writeln!(
            script,
            "add set inet {table} {} {{ typeof socket cgroupv2 level 1 . meta l4proto; \
             size {MOST_COUNTS}; flags dynamic,timeout; timeout {FORGET_AFTER}; counter; }}",
            set.name(),
        );
    }
    // Whoever asks to connect sends the first segment without an answer to any, and gets one with.
    for (chain, what) in [
        ("asked", ""),
        ("answered", ""),
        ("in", "{ type filter hook input priority 400; policy accept; }"),
        ("out", "{ type filter hook output priority 400; policy accept; }"),
    ] {
        let _ = writeln!(script, "add chain inet {table} {chain} {what}");
    }
    for (chain, set) in [
        ("asked", Set::Accepted),
        ("answered", Set::Connected),
        ("in", Set::Received),
        ("out", Set::Sent),
    ] {
        let _ = writeln!(script, "flush chain inet {table} {chain}");
        for level in LEVELS {
            let _ = writeln!(
                script,
                "add rule inet {table} {chain} update @{} \
                 {{ socket cgroupv2 level {level} . meta l4proto }}",
                set.name(),
            );
        }
    }
    let _ = writeln!(
        script,
        "add rule inet {table} in tcp flags & (syn | ack) == syn jump asked\n\
         add rule inet {table} in tcp flags & (syn | ack) == syn | ack jump answered",
    );
    script
}

pub(super) fn unmake(table: &str) -> String {
    format!("add table inet {table}\ndelete table inet {table}\n")
}
