//! The rules that count.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

/// Groups, times protocols, that can be counted: beyond what any host runs, and no more than the
/// kernel makes room for at once.
const MOST_COUNTERS: u32 = 1 << 16;

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

/// All as one transaction. Rules are made anew, counters stay. Others' chains come first: what they
/// drop does not count. `levels` are the depths in the hierarchy at which groups are looked for.
pub(super) fn make(table: &str, levels: &RangeInclusive<u32>) -> String {
    let mut script = format!("add table inet {table}\n");
    for set in Set::ALL {
        let _ = writeln!(
            script,
            "add set inet {table} {} {{ typeof socket cgroupv2 level 1 . meta l4proto; \
             size {MOST_COUNTERS}; counter; }}",
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
        for level in levels.clone() {
            let _ = writeln!(
                script,
                "add rule inet {table} {chain} socket cgroupv2 level {level} . meta l4proto @{}",
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
