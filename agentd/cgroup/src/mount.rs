//! Where the version 2 hierarchy is, and where this process is in it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::CgroupError;
use crate::stat::read;

/// The cgroup2 file system of this host, as this process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    root: PathBuf,
    own: PathBuf,
    hybrid: bool,
    controllers: Vec<String>,
}

impl Mount {
    /// Finds the version 2 hierarchy from `/proc/self/mountinfo` and this process's own group
    /// from `/proc/self/cgroup`.
    ///
    /// # Errors
    ///
    /// [`CgroupError::NotMounted`] where there is none; [`CgroupError::Read`] when the kernel's
    /// tables or the hierarchy's root cannot be read.
    pub fn probe() -> Result<Self, CgroupError> {
        let mounts = read(Path::new("/proc/self/mountinfo"))?;
        let root = find_cgroup2(&mounts).ok_or(CgroupError::NotMounted)?;
        let groups = read(Path::new("/proc/self/cgroup"))?;
        let own = own_group(&groups).ok_or(CgroupError::NotMounted)?;
        let own = join_below(&root, own);
        let controllers = read(&root.join("cgroup.controllers"))?;
        Ok(Self {
            own,
            hybrid: has_version_1(&mounts),
            controllers: controllers.split_whitespace().map(str::to_owned).collect(),
            root,
        })
    }

    /// Directory of the hierarchy's root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Directory of the group this process was in when the host was probed.
    #[must_use]
    pub fn own_group(&self) -> &Path {
        &self.own
    }

    /// Whether version 1 hierarchies are mounted beside it, which then hold most controllers.
    #[must_use]
    pub fn is_hybrid(&self) -> bool {
        self.hybrid
    }

    /// Controllers the root of the version 2 hierarchy offers, for example `memory`.
    #[must_use]
    pub fn controllers(&self) -> &[String] {
        &self.controllers
    }
}

/// Joins a path as the kernel prints it, which begins with a slash, below `root`.
fn join_below(root: &Path, group: &str) -> PathBuf {
    let relative = group.trim_start_matches('/');
    if relative.is_empty() { root.to_owned() } else { root.join(relative) }
}

/// The part after `0::`, which is the line of the version 2 hierarchy.
fn own_group(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::"))
}

fn find_cgroup2(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, kind) = parse_mount(line)?;
        (kind == "cgroup2").then_some(mount)
    })
}

fn has_version_1(mountinfo: &str) -> bool {
    mountinfo.lines().any(|line| parse_mount(line).is_some_and(|(_, kind)| kind == "cgroup"))
}

/// Mount point and file system type of a line of `mountinfo`, see proc(5).
fn parse_mount(line: &str) -> Option<(PathBuf, &str)> {
    let (before, after) = line.split_once(" - ")?;
    let mount = before.split(' ').nth(4)?;
    let kind = after.split(' ').next()?;
    Some((unescape(mount), kind))
}

/// Undoes the kernel's `\ooo` escapes of blank, tab, newline and backslash.
fn unescape(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'\\')
            .then(|| bytes.get(at + 1..at + 4))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        out.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 4 } else { 1 };
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
24 1 0:22 / /sys rw,nosuid shared:7 - sysfs sysfs rw
30 24 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu rw,nosuid shared:11 - cgroup cgroup rw,cpu
";

    #[test]
    fn the_version_2_hierarchy_is_found_on_a_hybrid_host() {
        assert_eq!(find_cgroup2(HYBRID), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert!(has_version_1(HYBRID));
    }

    #[test]
    fn a_unified_host_is_not_hybrid() {
        let text = "30 24 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(find_cgroup2(text), Some(PathBuf::from("/sys/fs/cgroup")));
        assert!(!has_version_1(text));
    }

    #[test]
    fn a_host_without_version_2_has_no_mount() {
        let text = "32 30 0:28 / /sys/fs/cgroup/cpu rw shared:11 - cgroup cgroup rw,cpu\n";
        assert_eq!(find_cgroup2(text), None);
    }

    #[test]
    fn escaped_mount_points_are_read_back() {
        assert_eq!(unescape("/a\\040b\\134c"), PathBuf::from("/a b\\c"));
        assert_eq!(unescape("/broken\\9"), PathBuf::from("/broken\\9"));
    }

    #[test]
    fn the_own_group_is_the_line_without_controllers() {
        let text = "9:name=systemd:/\n8:pids:/user\n0::/user.slice/a.scope\n";
        assert_eq!(own_group(text), Some("/user.slice/a.scope"));
        assert_eq!(join_below(Path::new("/c"), "/"), PathBuf::from("/c"));
        assert_eq!(join_below(Path::new("/c"), "/x/y"), PathBuf::from("/c/x/y"));
    }
}
