//! The kernel's texts. Pure; lines that make no sense are passed over.

use std::time::Duration;

use crate::decode::{BlockUse, Drops, Flow, NetUse, TcpUse, Traffic};
use crate::sample::{Memory, Pressure, Switches};

/// The number behind a key in lines of `key value`.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(|c: char| c.is_ascii_whitespace())?;
        (name.trim_end_matches(':') == key).then(|| value.trim().parse().ok()).flatten()
    })
}

/// `memory.stat`, and the use of swap beside it.
pub(super) fn memory(text: &str, swap: Option<u64>) -> Option<Memory> {
    let bytes = |key| keyed(text, key);
    Some(Memory {
        anonymous: bytes("anon")?,
        file: bytes("file")?,
        inactive_file: bytes("inactive_file").unwrap_or(0),
        mapped: bytes("file_mapped").unwrap_or(0),
        // Before 5.18 the sum is not told.
        kernel: bytes("kernel").or_else(|| bytes("slab")).unwrap_or(0),
        socket: bytes("sock").unwrap_or(0),
        unevictable: bytes("unevictable").unwrap_or(0),
        swap,
    })
}

/// `io.stat`: one line per device, summed.
pub(super) fn block(text: &str) -> BlockUse {
    let mut used = BlockUse::default();
    for (key, value) in text.split_ascii_whitespace().filter_map(|word| word.split_once('=')) {
        let Ok(value) = value.parse::<u64>() else { continue };
        let counter = match key {
            "rbytes" => &mut used.read.bytes,
            "rios" => &mut used.read.requests,
            "wbytes" => &mut used.written.bytes,
            "wios" => &mut used.written.requests,
            "dbytes" => &mut used.other.bytes,
            "dios" => &mut used.other.requests,
            _ => continue,
        };
        *counter = counter.saturating_add(value);
    }
    used
}

/// `*.pressure`: the totals, in microseconds.
pub(super) fn pressure(text: &str) -> Option<Pressure> {
    let total = |kind: &str| {
        let line = text.lines().find(|line| line.split(' ').next() == Some(kind))?;
        let micros = line.split(' ').find_map(|word| word.strip_prefix("total="))?;
        micros.parse().ok().map(Duration::from_micros)
    };
    Some(Pressure { some: total("some")?, full: total("full").unwrap_or_default() })
}

/// Switches of one thread (`/proc/<pid>/task/<tid>/status`).
pub(super) fn switches(text: &str) -> Option<Switches> {
    Some(Switches {
        voluntary: keyed(text, "voluntary_ctxt_switches")?,
        involuntary: keyed(text, "nonvoluntary_ctxt_switches")?,
    })
}

/// Time one thread waited for a processor (`/proc/<pid>/task/<tid>/schedstat`).
pub(super) fn wait(text: &str) -> Option<Duration> {
    text.split_ascii_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// Minor and major faults of one process (`/proc/<pid>/stat`, see proc(5)).
pub(super) fn faults(text: &str) -> Option<(u64, u64)> {
    // The name in parentheses may hold anything, parentheses too.
    let rest = text.get(text.rfind(')')?.checked_add(2)?..)?;
    let mut fields = rest.split_ascii_whitespace().skip(7);
    let minor = fields.next()?.parse().ok()?;
    Some((minor, fields.nth(1)?.parse().ok()?))
}

/// When a process started, in clock ticks since boot (`/proc/<pid>/stat`, see proc(5)).
pub(super) fn started(text: &str) -> Option<u64> {
    let rest = text.get(text.rfind(')')?.checked_add(2)?..)?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A network namespace's interfaces but loopback, summed (`/proc/<pid>/net/dev`).
pub(super) fn interfaces(text: &str) -> NetUse {
    let mut used = NetUse::default();
    for line in text.lines() {
        let Some((name, counters)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let fields: Vec<u64> =
            counters.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
        let flow = |bytes: usize, packets: usize| {
            Some(Flow { bytes: *fields.get(bytes)?, packets: *fields.get(packets)? })
        };
        let (Some(received), Some(sent)) = (flow(0, 1), flow(8, 9)) else { continue };
        add(&mut used.received, received);
        add(&mut used.sent, sent);
    }
    used
}

fn add(traffic: &mut Traffic, flow: Flow) {
    traffic.other.bytes = traffic.other.bytes.saturating_add(flow.bytes);
    traffic.other.packets = traffic.other.packets.saturating_add(flow.packets);
}

/// Drops of a network namespace's interfaces but loopback (`/proc/<pid>/net/dev`).
pub(super) fn drops(text: &str) -> Drops {
    let (mut received, mut sent) = (0_u64, 0_u64);
    for line in text.lines() {
        let Some((name, counters)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let field = |at| counters.split_ascii_whitespace().nth(at)?.parse::<u64>().ok();
        received = received.saturating_add(field(3).unwrap_or(0));
        sent = sent.saturating_add(field(11).unwrap_or(0));
    }
    Drops { received, sent: Some(sent) }
}

/// A network namespace's TCP counters (`/proc/<pid>/net/snmp`): a line of names, one of values.
pub(super) fn tcp(text: &str) -> Option<TcpUse> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let value = |wanted: &str| {
        let at = names.split_ascii_whitespace().position(|name| name == wanted)?;
        values.split_ascii_whitespace().nth(at)?.parse().ok()
    };
    let (connected, accepted): (u64, u64) = (value("ActiveOpens")?, value("PassiveOpens")?);
    let open: u64 = value("CurrEstab")?;
    Some(TcpUse {
        connected,
        accepted,
        ended: connected.saturating_add(accepted).saturating_sub(open),
        retransmits: value("RetransSegs")?,
        ..TcpUse::default()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn devices_are_summed() {
        let used = block("8:0 rbytes=4096 wbytes=1 rios=2 wios=1 dbytes=0 dios=0\n8:16 rbytes=1\n");
        assert_eq!((used.read.bytes, used.read.requests, used.written.bytes), (4097, 2, 1));
    }

    #[test]
    fn pressure_is_the_total() {
        let text = "some avg10=0.00 avg60=0.00 total=1500\nfull avg10=0.00 total=7\n";
        let expected =
            Pressure { some: Duration::from_micros(1500), full: Duration::from_micros(7) };
        assert_eq!(pressure(text), Some(expected));
    }

    #[test]
    fn faults_are_found_behind_any_name() {
        let text = "12 (a ) b) S 1 2 3 4 5 6 700 8 90 10 11";
        assert_eq!(faults(text), Some((700, 90)));
        let rest: Vec<_> = (4..=52).map(|field| field.to_string()).collect();
        assert_eq!(started(&format!("12 (a ) b) S {}", rest.join(" "))), Some(22));
        assert_eq!(started(text), None);
    }

    #[test]
    fn loopback_is_not_the_network() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n  \
                    eth0: 100 2 0 3 0 0 0 0 50 1 0 4 0 0 0 0\n";
        let used = interfaces(text);
        assert_eq!(used.received.total(), Flow { bytes: 100, packets: 2 });
        assert_eq!(used.sent.total(), Flow { bytes: 50, packets: 1 });
        assert_eq!(drops(text), Drops { received: 3, sent: Some(4) });
    }

    #[test]
    fn tcp_counters_are_found_by_name() {
        let text = "Tcp: ActiveOpens PassiveOpens CurrEstab RetransSegs\nTcp: 5 4 2 1\n";
        let used = tcp(text).unwrap();
        assert_eq!((used.connected, used.accepted, used.ended, used.retransmits), (5, 4, 7, 1));
    }

    #[test]
    fn switches_and_waits_of_a_thread_are_read() {
        let text = "Name:\tx\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\n";
        assert_eq!(switches(text), Some(Switches { voluntary: 3, involuntary: 4 }));
        assert_eq!(wait("10 20 30\n"), Some(Duration::from_nanos(20)));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_passed_over(text in "(Tcp:|some|eth0:|[ =0-9a-z():\n]){0,60}") {
            let _ = (block(&text), pressure(&text), faults(&text), started(&text), interfaces(&text));
            let _ = (drops(&text), tcp(&text), switches(&text), wait(&text), keyed(&text, "pgfault"));
        }
    }
}
