//! How processes of tasks ended.

use std::mem::offset_of;

use super::comm;
use crate::group::GroupId;
use crate::layout::{array, endings, exit_event, u32_at, u64_at};

/// The kernel's out-of-memory killer chose the process.
const OOM: u32 = 1;
/// The members about the sender hold.
const SENDER: u32 = 2;
/// The kernel itself sent the signal.
const KERNEL: u32 = 4;

/// Who sent the signal that ended a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The kernel: a fault of the process itself, a limit, or the out-of-memory killer.
    Kernel,
    /// A process.
    Process {
        /// Its id.
        pid: u32,
        /// Its name.
        comm: String,
        /// Its task's group; none for a process that is no task's.
        group: Option<GroupId>,
    },
}

/// The end of a process that did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The task's group.
    pub group: GroupId,
    /// Nanoseconds since boot.
    pub boot_time_ns: u64,
    /// The process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// As wait(2) has it.
    pub wait_status: u32,
    /// The most memory it had resident, in pages.
    pub peak_pages: u64,
    /// The kernel's out-of-memory killer chose it.
    pub out_of_memory: bool,
    /// Who sent the signal that ended it, where one did and that was seen.
    pub sender: Option<Sender>,
}

impl Exit {
    /// The exit code, for a process that ended by itself.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        (self.wait_status & 0x7f == 0).then_some((self.wait_status >> 8) & 0xff)
    }

    /// The signal that ended it.
    #[must_use]
    pub fn signal(&self) -> Option<u32> {
        let signal = self.wait_status & 0x7f;
        (signal != 0).then_some(signal)
    }
}

/// How many processes of a task ended, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endings {
    /// All that ended.
    pub exits: u64,
    /// With a code other than zero.
    pub failures: u64,
    /// By a signal.
    pub signalled: u64,
    /// Chosen by the out-of-memory killer.
    pub oom_kills: u64,
    /// Ends that were counted but not reported one by one.
    pub quiet: u32,
}

/// Reads a report of the ring buffer.
#[must_use]
pub fn decode_exit(record: &[u8]) -> Option<Exit> {
    let flags = u32_at(record, offset_of!(exit_event, flags))?;
    let group = u64_at(record, offset_of!(exit_event, sender_leaf))?;
    let sender_comm = array(record, offset_of!(exit_event, sender_comm))?;
    let sender_pid = u32_at(record, offset_of!(exit_event, sender_pid))?;
    let out_of_memory = flags & OOM != 0;
    let sender = if flags & KERNEL != 0 || out_of_memory {
        Some(Sender::Kernel)
    } else {
        (flags & SENDER != 0).then(|| Sender::Process {
            pid: sender_pid,
            comm: comm(sender_comm),
            group: (group != 0).then_some(GroupId::from_raw(group)),
        })
    };
    Some(Exit {
        group: GroupId::from_raw(u64_at(record, offset_of!(exit_event, leaf))?),
        boot_time_ns: u64_at(record, offset_of!(exit_event, time_ns))?,
        pid: u32_at(record, offset_of!(exit_event, pid))?,
        comm: comm(array(record, offset_of!(exit_event, comm))?),
        wait_status: u32_at(record, offset_of!(exit_event, status))?,
        peak_pages: u64_at(record, offset_of!(exit_event, peak_pages))?,
        out_of_memory,
        sender,
    })
}

/// Reads a task's record of endings.
#[must_use]
pub fn decode_endings(record: &[u8]) -> Option<Endings> {
    Some(Endings {
        exits: u64_at(record, offset_of!(endings, exits))?,
        failures: u64_at(record, offset_of!(endings, failures))?,
        signalled: u64_at(record, offset_of!(endings, signalled))?,
        oom_kills: u64_at(record, offset_of!(endings, oom_kills))?,
        quiet: u32_at(record, offset_of!(endings, quiet))?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::layout::put;

    fn killed(flags: u32) -> Exit {
        let mut record = vec![0; size_of::<exit_event>()];
        put(&mut record, offset_of!(exit_event, status), &9_u32.to_ne_bytes());
        put(&mut record, offset_of!(exit_event, flags), &flags.to_ne_bytes());
        put(&mut record, offset_of!(exit_event, sender_pid), &7_u32.to_ne_bytes());
        put(&mut record, offset_of!(exit_event, sender_comm), b"kill\0");
        decode_exit(&record).unwrap()
    }

    #[test]
    fn a_signal_has_a_sender_or_the_kernel_or_nobody_seen() {
        let process = Sender::Process { pid: 7, comm: "kill".to_owned(), group: None };
        assert_eq!(killed(SENDER).sender, Some(process));
        assert_eq!(killed(SENDER | KERNEL).sender, Some(Sender::Kernel));
        assert_eq!(killed(SENDER | OOM).sender, Some(Sender::Kernel));
        assert_eq!(killed(0).sender, None);
        assert_eq!((killed(0).signal(), killed(0).code()), (Some(9), None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(exit) = decode_exit(&bytes) {
                prop_assert!(exit.comm.chars().all(|c| !c.is_control()));
                prop_assert!(exit.code().is_none() || exit.signal().is_none());
            }
            let _ = decode_endings(&bytes);
        }
    }
}
