//! What the kernel says about a loaded program.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libbpf_rs::libbpf_sys::{bpf_obj_get_info_by_fd, bpf_prog_info};
use libbpf_rs::{Link, Program};

/// Maps that one program of ours uses at most; the catalogue's programs have less than ten.
const MOST_MAPS: usize = 32;

/// A loaded program as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProgramState {
    /// Digest of the instructions.
    pub(crate) tag: [u8; 8],
    /// Ids of the maps it uses.
    pub(crate) maps: Vec<u32>,
    /// Time spent in it while statistics were on.
    pub(crate) run_time_ns: u64,
    /// Runs while statistics were on.
    pub(crate) runs: u64,
}

impl ProgramState {
    /// Of the program behind this descriptor.
    pub(crate) fn of(program: BorrowedFd<'_>) -> io::Result<Self> {
        let mut maps = [0_u32; MOST_MAPS];
        // SAFETY: `bpf_prog_info` holds only integers and arrays of them: all zero is a value.
        #[allow(unsafe_code)]
        let mut info: bpf_prog_info = unsafe { mem::zeroed() };
        info.nr_map_ids = u32::try_from(MOST_MAPS).unwrap_or(0);
        info.map_ids = maps.as_mut_ptr() as u64;
        let mut length = u32::try_from(size_of::<bpf_prog_info>()).unwrap_or(0);
        // SAFETY: the descriptor is open for the time of the borrow; `info` is writable for
        // `length` bytes; `map_ids` points at `nr_map_ids` writable integers that outlive the
        // call; all other pointers in `info` are null with length zero.
        #[allow(unsafe_code)]
        let result = unsafe {
            bpf_obj_get_info_by_fd(program.as_raw_fd(), (&raw mut info).cast(), &raw mut length)
        };
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        let used = usize::try_from(info.nr_map_ids).unwrap_or(MOST_MAPS).min(MOST_MAPS);
        Ok(Self {
            tag: info.tag,
            maps: maps.iter().take(used).copied().collect(),
            run_time_ns: info.run_time_ns,
            runs: info.run_cnt,
        })
    }

    /// Of the program that runs at this link, whoever loaded it.
    pub(crate) fn at(link: &Link) -> io::Result<Self> {
        let info = link.info().map_err(io::Error::other)?;
        let program = Program::fd_from_id(info.prog_id).map_err(io::Error::other)?;
        Self::of(program.as_fd())
    }

    /// Whether both do the same with the same maps.
    pub(crate) fn is_twin_of(&self, other: &Self) -> bool {
        self.tag == other.tag && self.maps == other.maps
    }
}
