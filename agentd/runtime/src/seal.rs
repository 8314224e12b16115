//! Becomes a process that a container cannot harm the host through.
//!
//! Whoever runs in the container may see this program as `/proc/…/exe` for a moment and open it
//! for writing later (CVE-2019-5736). So it is executed from a mount that cannot be written, in a
//! namespace that the container has no say in. The namespace also keeps every mount made for the
//! container out of the host's sight: with the process they are gone.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::answer::CHANNEL;
use crate::fault::{Attempt, Fault};

const SELF: &str = "/proc/self/exe";
const NOTHING: Option<&str> = None;

/// Executes this program again, sealed; returns only when that fails.
pub(crate) fn enter(words: &[OsString]) -> Result<Infallible, Fault> {
    close_inherited()?;
    unshare(CloneFlags::CLONE_NEWNS).to("make a mount namespace")?;
    // The host's unmounts still come through, so nothing is kept busy here.
    let from_host = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(NOTHING, "/", NOTHING, from_host, NOTHING).to("part the mount namespace")?;
    let own = std::fs::read_link(SELF).to("find this program")?;
    if !is_read_only() {
        mount(Some(&own), &own, NOTHING, MsFlags::MS_BIND, NOTHING).on("seal", &own)?;
        let sealed =
            MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID;
        mount(NOTHING, &own, NOTHING, sealed, NOTHING).on("seal", &own)?;
    }
    let mut argv = vec![text(own.as_os_str())?];
    for (at, word) in words.iter().enumerate() {
        let mut word = word.clone();
        if at == 0 {
            word.push("-sealed");
        }
        argv.push(text(&word)?);
    }
    let nothing: [CString; 0] = [];
    nix::unistd::execve(&argv[0], &argv, &nothing).on("execute", &own)
}

/// Refuses to go on in a process that was not sealed.
pub(crate) fn demand() -> Result<(), Fault> {
    if !is_read_only() {
        return Err(Fault::new("this program's file can be written: refusing to make a container"));
    }
    if std::env::vars_os().next().is_some() {
        return Err(Fault::new("the environment is not empty: refusing to make a container"));
    }
    Ok(())
}

fn is_read_only() -> bool {
    statvfs(SELF).is_ok_and(|found| found.flags().contains(FsFlags::ST_RDONLY))
}

fn text(word: &std::ffi::OsStr) -> Result<CString, Fault> {
    CString::new(word.as_bytes()).to("pass on an argument")
}

/// Nothing that was left open by whoever started us goes further.
fn close_inherited() -> Result<(), Fault> {
    let open: Vec<RawFd> = std::fs::read_dir(Path::new("/proc/self/fd"))
        .to("list descriptors")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > CHANNEL)
        .collect();
    for fd in open {
        // The one that listed them is closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}
