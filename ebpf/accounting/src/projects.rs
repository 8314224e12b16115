//! Project quotas of a file system: what a folder and everything below it holds, counted and bounded
//! by the kernel (quotactl(2), ioctl_fsgetxattr(2)). A project is a number that files carry; what is
//! made in a folder inherits the folder's.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use rustix::fs::{Mode, OFlags, fstatfs, open};
use rustix::ioctl::{Getter, Setter, ioctl, opcode};

/// The kernel's `PRJQUOTA`.
const KIND: i32 = 2;
/// The kernel's `Q_XGETQSTATV`: which kinds of quotas are counted and enforced.
const STATE: i32 = (b'X' as i32) << 8 | 8;
/// The kernel's `FS_QUOTA_PDQ_ACCT` and `FS_QUOTA_PDQ_ENFD`.
const COUNTED: u16 = 1 << 4;
const ENFORCED: u16 = 1 << 5;
/// Limits on bytes and on files are set (`QIF_BLIMITS`, `QIF_ILIMITS`).
const BOTH_LIMITS: u32 = 1 | 4;
/// Limits on bytes are given in these.
const BLOCK: u64 = 1024;
/// What is made in the folder gets its project (`FS_XFLAG_PROJINHERIT`).
const INHERIT: u32 = 0x200;

const GET: rustix::ioctl::Opcode = opcode::read::<Attributes>(b'X', 31);
const SET: rustix::ioctl::Opcode = opcode::write::<Attributes>(b'X', 32);

/// The kernel's `struct fsxattr`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    rest: [u8; 8],
}

/// The kernel's `struct fs_quota_statv`, of which only the head is looked at.
#[repr(C)]
#[derive(Clone, Copy)]
struct State {
    version: i8,
    pad: u8,
    flags: u16,
    in_core: u32,
    rest: [u64; 19],
}

/// File systems that have project quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// With the feature `project`, mounted with `prjquota`. Whoever has CAP_SYS_RESOURCE passes its
    /// limits; others get EDQUOT.
    Ext4,
    /// Mounted with `prjquota`. Nobody passes its limits: writing gets ENOSPC.
    Xfs,
}

impl FileSystem {
    /// Its name, as mount(8) has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// By the number that statfs(2) tells.
    fn by_magic(magic: u64) -> Option<Self> {
        match magic {
            0xEF53 => Some(Self::Ext4),
            0x5846_5342 => Some(Self::Xfs),
            _ => None,
        }
    }
}

/// Why a folder has no project quotas, as the end of a sentence.
#[derive(Debug, thiserror::Error)]
pub enum NoProjects {
    /// Another file system.
    #[error("{0} is not on {1}")]
    OtherFileSystem(String, &'static str),
    /// It could not be asked.
    #[error("{0} cannot be asked for its quotas: {1}")]
    Silent(String, io::Error),
    /// It counts no projects.
    #[error("the file system of {0} counts no projects: {1}")]
    NotCounted(String, &'static str),
    /// It counts, and bounds nobody.
    #[error("the file system of {0} enforces no limits of projects: mount it with 'prjquota'")]
    NotEnforced(String),
}

/// What a project holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Bytes on disk.
    pub bytes: u64,
    /// Files and folders.
    pub files: u64,
}

/// What a project may hold; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProjectLimit {
    /// Bytes on disk; the file system may count in units of 1 KiB.
    pub bytes: u64,
    /// Files and folders.
    pub files: u64,
}

/// The projects of the file system that a folder is on.
#[derive(Debug)]
pub struct Projects {
    folder: OwnedFd,
}

impl Projects {
    /// Finds out whether a folder's file system is this one and bounds its projects.
    ///
    /// # Errors
    ///
    /// [`NoProjects`], with what would be right where there is something.
    pub fn probe(folder: &Path, wanted: FileSystem) -> Result<Self, NoProjects> {
        let name = || folder.display().to_string();
        let silent = |error: io::Error| NoProjects::Silent(name(), error);
        let opened = open_folder(folder).map_err(silent)?;
        let stat = fstatfs(&opened).map_err(|error| silent(error.into()))?;
        // A magic number has 32 bits; the field's sign and width differ between machines.
        let magic = u64::try_from(stat.f_type).unwrap_or_default() & 0xFFFF_FFFF;
        if FileSystem::by_magic(magic) != Some(wanted) {
            return Err(NoProjects::OtherFileSystem(name(), wanted.name()));
        }
        let projects = Self { folder: opened };
        let remedy = match wanted {
            FileSystem::Ext4 => "'tune2fs -O project,quota' while unmounted, then mount 'prjquota'",
            FileSystem::Xfs => "mount it with 'prjquota'",
        };
        let flags = match projects.state() {
            Ok(flags) => flags,
            // Whatever it is called: nothing is counted, or the kernel is older than 5.14.
            Err(Errno::ENOSYS | Errno::ESRCH | Errno::EINVAL | Errno::EOPNOTSUPP) => 0,
            Err(error) => return Err(silent(error.into())),
        };
        if flags & COUNTED == 0 {
            return Err(NoProjects::NotCounted(name(), remedy));
        }
        if flags & ENFORCED == 0 {
            return Err(NoProjects::NotEnforced(name()));
        }
        Ok(projects)
    }

    fn state(&self) -> Result<u16, Errno> {
        let mut state = State { version: 1, pad: 0, flags: 0, in_core: 0, rest: [0; 19] };
        self.command(STATE, 0, &mut state)?;
        Ok(state.flags)
    }

    /// What a project holds; nothing for one that nobody ever used.
    ///
    /// # Errors
    ///
    /// What the file system answers.
    pub fn held(&self, project: u32) -> io::Result<Held> {
        let mut block = empty_block();
        match self.command(libc::Q_GETQUOTA, project, &mut block) {
            Ok(()) => Ok(Held { bytes: block.dqb_curspace, files: block.dqb_curinodes }),
            Err(Errno::ENOENT) => Ok(Held::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets what a project may hold.
    ///
    /// # Errors
    ///
    /// What the file system answers.
    pub fn limit(&self, project: u32, limit: ProjectLimit) -> io::Result<()> {
        let mut block = empty_block();
        // 0 would be no limit.
        block.dqb_bhardlimit = match limit.bytes {
            0 => 0,
            bytes => (bytes / BLOCK).max(1),
        };
        block.dqb_ihardlimit = limit.files;
        block.dqb_valid = BOTH_LIMITS;
        Ok(self.command(libc::Q_SETQUOTA, project, &mut block)?)
    }

    fn command<T: Plain>(&self, command: i32, project: u32, data: &mut T) -> Result<(), Errno> {
        let data: *mut T = data;
        // SAFETY: the descriptor is open while `self` lives; the commands here (Q_GETQUOTA,
        // Q_SETQUOTA, Q_XGETQSTATV) read or write exactly the structure that `Plain` is
        // implemented for, which `data` points to and nobody else uses meanwhile, and any bytes
        // that the kernel writes are valid in its fields of integers.
        #[allow(unsafe_code)]
        let answer = unsafe {
            libc::syscall(
                libc::SYS_quotactl_fd,
                self.folder.as_raw_fd(),
                libc::QCMD(command, KIND),
                project,
                data.cast::<c_void>(),
            )
        };
        Errno::result(answer).map(drop)
    }
}

/// Structures of integers alone that quotactl(2) reads and writes.
trait Plain {}
impl Plain for State {}
impl Plain for libc::dqblk {}

fn empty_block() -> libc::dqblk {
    libc::dqblk {
        dqb_bhardlimit: 0,
        dqb_bsoftlimit: 0,
        dqb_curspace: 0,
        dqb_ihardlimit: 0,
        dqb_isoftlimit: 0,
        dqb_curinodes: 0,
        dqb_btime: 0,
        dqb_itime: 0,
        dqb_valid: 0,
    }
}

/// The project of a folder; 0 is none.
///
/// # Errors
///
/// When it cannot be opened, or its file system has no projects.
pub fn project_of(folder: &Path) -> io::Result<u32> {
    Ok(attributes(&open_folder(folder)?)?.project)
}

/// Gives a folder a project, which all that is made in it from now on inherits.
///
/// # Errors
///
/// When it cannot be opened, or its file system refuses.
pub fn put_in_project(folder: &Path, project: u32) -> io::Result<()> {
    let opened = open_folder(folder)?;
    let mut wanted = attributes(&opened)?;
    wanted.project = project;
    wanted.flags |= INHERIT;
    // SAFETY: FS_IOC_FSSETXATTR reads a `struct fsxattr`, which `Attributes` is laid out as.
    #[allow(unsafe_code)]
    let set = unsafe { Setter::<SET, Attributes>::new(wanted) };
    // SAFETY: the same call; the kernel only reads the value, and keeps no pointer to it.
    #[allow(unsafe_code)]
    unsafe { ioctl(&opened, set) }?;
    Ok(())
}

fn attributes(folder: impl AsFd) -> io::Result<Attributes> {
    // SAFETY: FS_IOC_FSGETXATTR writes a `struct fsxattr`, which `Attributes` is laid out as; any
    // bytes are valid in its integers.
    #[allow(unsafe_code)]
    let get = unsafe { Getter::<GET, Attributes>::new() };
    // SAFETY: the same call, into room of that size.
    #[allow(unsafe_code)]
    Ok(unsafe { ioctl(folder, get) }?)
}

fn open_folder(folder: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(open(folder, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes_and_calls_its_numbers() {
        assert_eq!(size_of::<Attributes>(), 28);
        assert_eq!(size_of::<State>(), 160);
        assert_eq!(size_of::<libc::dqblk>(), 72);
        assert_eq!((GET, SET), (0x801c_581f, 0x401c_5820));
        assert_eq!(STATE, 0x5808);
    }

    #[test]
    fn a_folder_without_project_quotas_says_why() {
        let why = Projects::probe(Path::new("/proc"), FileSystem::Ext4).unwrap_err().to_string();
        assert_eq!(why, "/proc is not on ext4");
        assert!(Projects::probe(Path::new("/no/such"), FileSystem::Xfs).is_err());
        assert!(project_of(Path::new("/proc")).is_err());
    }
}
