//! Where the members of the records are: taken from the compiled objects, never written by hand.
//!
//! Reads and writes go by offset through checked slices, so hostile or short bytes give `None`.

macro_rules! skeleton {
    ($module:ident, $file:literal) => {
        #[allow(
            clippy::all,
            clippy::pedantic,
            clippy::cast_possible_truncation,
            clippy::undocumented_unsafe_blocks,
            clippy::unwrap_used,
            clippy::use_self,
            dead_code,
            missing_debug_implementations,
            unreachable_pub,
            unsafe_code,
            unused_imports
        )]
        mod $module {
            include!(concat!(env!("OUT_DIR"), $file));
        }
    };
}

skeleton!(ports_skeleton, "/ports.skel.rs");
skeleton!(sched_skeleton, "/sched.skel.rs");
skeleton!(net_skeleton, "/net.skel.rs");
skeleton!(block_skeleton, "/block.skel.rs");

pub(crate) use block_skeleton::types::block_use;
pub(crate) use net_skeleton::types::{net_use, tcp_use};
pub(crate) use ports_skeleton::types::{denial_event, denials, port_range, settings, task_ports};
pub(crate) use sched_skeleton::types::{cpu_use, endings, exit_event, running};

/// The bytes at `at`, when the record is that long.
pub(crate) fn array<const N: usize>(record: &[u8], at: usize) -> Option<[u8; N]> {
    record.get(at..at.checked_add(N)?)?.try_into().ok()
}

pub(crate) fn u64_at(record: &[u8], at: usize) -> Option<u64> {
    array(record, at).map(u64::from_ne_bytes)
}

pub(crate) fn u32_at(record: &[u8], at: usize) -> Option<u32> {
    array(record, at).map(u32::from_ne_bytes)
}

pub(crate) fn u16_at(record: &[u8], at: usize) -> Option<u16> {
    array(record, at).map(u16::from_ne_bytes)
}

pub(crate) fn u8_at(record: &[u8], at: usize) -> Option<u8> {
    record.get(at).copied()
}

/// Writes `bytes` at `at`; a record too short for them is left alone.
pub(crate) fn put(record: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = at.checked_add(bytes.len()).and_then(|end| record.get_mut(at..end)) {
        place.copy_from_slice(bytes);
    }
}
