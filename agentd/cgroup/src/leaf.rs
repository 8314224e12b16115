//! One task's group.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::stat::{field, parse_cpu, parse_memory_events, parse_number, read, read_optional};
use crate::{CgroupError, CpuUsage, MemoryEvents, MemoryUsage};

/// How often the fallback of [`Leaf::kill`] walks a group whose members keep forking.
const KILL_ROUNDS: usize = 64;

/// A group that holds the processes of one run and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leaf {
    path: PathBuf,
}

impl Leaf {
    /// The group at this directory, which need not exist; used with paths that were recorded.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Directory of the group.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates the group if it is not there.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Create`] with the directory.
    pub fn ensure(&self) -> Result<(), CgroupError> {
        match fs::create_dir(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(CgroupError::Create { path: self.path.clone(), source: error })
            }
            _ => Ok(()),
        }
    }

    /// Whether the group exists.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.join("cgroup.procs").exists()
    }

    /// Moves a process (all its threads) into the group.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Write`] when the kernel refuses.
    pub fn place(&self, pid: Pid) -> Result<(), CgroupError> {
        self.write("cgroup.procs", &pid.as_raw_nonzero().to_string())
    }

    /// Moves the calling process into the group.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Write`] when the kernel refuses.
    pub fn place_self(&self) -> Result<(), CgroupError> {
        self.write("cgroup.procs", "0")
    }

    /// Processes in the group and the groups below it; empty when the group is gone.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Read`] for anything but absence.
    pub fn pids(&self) -> Result<Vec<Pid>, CgroupError> {
        let mut pids = Vec::new();
        self.visit(&mut |dir| {
            let path = dir.join("cgroup.procs");
            match fs::read_to_string(&path) {
                Ok(text) => {
                    pids.extend(
                        text.lines().filter_map(|l| l.parse().ok()).filter_map(Pid::from_raw),
                    );
                    Ok(())
                }
                Err(error) if is_gone(&error) => Ok(()),
                Err(source) => Err(CgroupError::Read { path, source }),
            }
        })?;
        Ok(pids)
    }

    /// Whether any process is left in the group or below it.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Read`] for anything but absence.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        let path = self.path.join("cgroup.events");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().any(|line| line == "populated 1")),
            Err(error) if is_gone(&error) => Ok(false),
            Err(source) => Err(CgroupError::Read { path, source }),
        }
    }

    /// Sends SIGKILL to every process in the group and below it, at once where the kernel has
    /// `cgroup.kill` (5.14), else by walking until none is left or only unkillable ones are.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Write`] or [`CgroupError::Read`]; a group that is gone is no error.
    pub fn kill(&self) -> Result<(), CgroupError> {
        match self.write_raw("cgroup.kill", "1") {
            Ok(()) => Ok(()),
            Err(error) if is_gone(&error) && !self.exists() => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.kill_by_walking(),
            Err(source) => Err(CgroupError::Write {
                path: self.path.join("cgroup.kill"),
                value: "1".to_owned(),
                source,
            }),
        }
    }

    /// Lets the processes go on that somebody has frozen with the group.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Write`]; a group that is gone, or a kernel without freezer, is no error.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        match self.write("cgroup.freeze", "0") {
            Err(CgroupError::Write { source, .. }) if is_gone(&source) => Ok(()),
            other => other,
        }
    }

    fn kill_by_walking(&self) -> Result<(), CgroupError> {
        for _ in 0..KILL_ROUNDS {
            let pids = self.pids()?;
            if pids.is_empty() {
                return Ok(());
            }
            for pid in pids {
                // Gone meanwhile is what we want; anything else shows in the next round.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        Ok(())
    }

    /// CPU time used so far.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Read`].
    pub fn cpu(&self) -> Result<CpuUsage, CgroupError> {
        read(&self.path.join("cpu.stat")).map(|text| parse_cpu(&text))
    }

    /// Memory in use, where the memory controller is enabled for this group.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Read`] or [`CgroupError::Content`].
    pub fn memory(&self) -> Result<Option<MemoryUsage>, CgroupError> {
        let path = self.path.join("memory.current");
        let Some(current) = read_optional(&path)? else { return Ok(None) };
        let current = parse_number(&path, &current)?;
        let path = self.path.join("memory.peak");
        let peak = match read_optional(&path)? {
            Some(text) => Some(parse_number(&path, &text)?),
            None => None,
        };
        Ok(Some(MemoryUsage { current, peak }))
    }

    /// Memory events so far, where the memory controller is enabled for this group.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Read`].
    pub fn memory_events(&self) -> Result<Option<MemoryEvents>, CgroupError> {
        let text = read_optional(&self.path.join("memory.events"))?;
        Ok(text.map(|text| parse_memory_events(&text)))
    }

    /// How often a process was not made because the group had as many as it may (`pids.events`),
    /// where the controller is enabled for this group.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Read`].
    pub fn forks_refused(&self) -> Result<Option<u64>, CgroupError> {
        let text = read_optional(&self.path.join("pids.events"))?;
        Ok(text.and_then(|text| field(&text, "max")))
    }

    /// The limit of its memory in bytes; `None` without the controller or without a limit.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Read`].
    pub fn memory_limit(&self) -> Result<Option<u64>, CgroupError> {
        let text = read_optional(&self.path.join("memory.max"))?;
        Ok(text.and_then(|text| text.trim().parse().ok()))
    }

    /// Removes the group and the empty groups a task may have made below it.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Remove`] while a process is left; absence is no error.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let mut dirs = Vec::new();
        self.visit(&mut |dir| {
            dirs.push(dir.to_owned());
            Ok(())
        })?;
        for path in dirs.into_iter().rev() {
            match fs::remove_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(CgroupError::Remove { path, source: error });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Calls `each` for the group and all groups below it, parents first.
    fn visit(
        &self,
        each: &mut dyn FnMut(&Path) -> Result<(), CgroupError>,
    ) -> Result<(), CgroupError> {
        let mut pending = vec![self.path.clone()];
        while let Some(dir) = pending.pop() {
            each(&dir)?;
            let Ok(entries) = fs::read_dir(&dir) else { continue };
            pending.extend(
                entries
                    .flatten()
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            );
        }
        Ok(())
    }

    pub(crate) fn write(&self, file: &str, value: &str) -> Result<(), CgroupError> {
        self.write_raw(file, value).map_err(|source| CgroupError::Write {
            path: self.path.join(file),
            value: value.to_owned(),
            source,
        })
    }

    fn write_raw(&self, file: &str, value: &str) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.path.join(file))?.write_all(value.as_bytes())
    }
}

/// A group that was removed shows as `ENOENT`, or as `ENODEV` on files opened before.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(Errno::NODEV.raw_os_error())
}
