//! From the kernel's bytes to what happened. Pure; bytes that make no sense give `None`.

mod denials;
mod exits;
mod usage;

pub use denials::{Denial, Denials, Operation, Transport, decode_denial, decode_denials};
pub use exits::{Endings, Exit, Sender, decode_endings, decode_exit};
pub(crate) use usage::with_counts_at_hand;
pub use usage::{
    BlockFlow, BlockUse, CpuUse, Drops, Flow, Histogram, NetUse, Preempted, TcpUse, Traffic,
    decode_block, decode_cpu, decode_drops, decode_net, decode_tcp,
};

/// A process's name: up to the first zero, and only what a log line may hold.
fn comm(bytes: [u8; 16]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
