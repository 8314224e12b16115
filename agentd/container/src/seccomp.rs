//! Which system calls a container may make.

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompBuilder, LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

const ALWAYS: &str = include_str!("syscalls.txt");
/// `CLONE_NEW…` of every namespace.
const NEW_NAMESPACES: u64 = 0x7e02_0000;
/// Kinds of sockets that programs have a use for: `AF_UNIX`, `AF_INET`, `AF_INET6`, `AF_NETLINK` and
/// `AF_PACKET`. Most others are modules that a call alone would load, or lead to the hypervisor.
const FAMILIES: [u64; 5] = [1, 2, 10, 16, 17];
const ENOSYS: u32 = 38;
const EPERM: u32 = 1;
/// Execution domains that change nothing but names and addresses.
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x0002_0000, 0x0002_0008, 0xffff_ffff];
/// Calls of `ioctl` that nobody makes who is held to a project quota: by them the owner of a file gives
/// it another project (FS_IOC_FSSETXATTR), or has new ones get none (FS_IOC_SETFLAGS). Kind and number
/// of the request; direction and size differ between machines and say nothing more.
const PROJECT_CALLS: [u64; 2] = [0x5820, 0x6602];
/// Kind and number are in so many bits.
const CALL_BITS: u32 = 16;
/// What a capability adds.
const BY_CAPABILITY: [(&str, &[&str]); 14] = [
    ("DAC_READ_SEARCH", &["open_by_handle_at"]),
    (
        "SYS_ADMIN",
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "pivot_root",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    ("SYS_BOOT", &["reboot"]),
    ("SYS_CHROOT", &["chroot"]),
    ("SYS_MODULE", &["delete_module", "init_module", "finit_module"]),
    ("SYS_PACCT", &["acct"]),
    ("SYS_PTRACE", &["kcmp", "pidfd_getfd", "process_madvise"]),
    ("SYS_RAWIO", &["iopl", "ioperm"]),
    ("SYS_TIME", &["settimeofday", "stime", "clock_settime", "clock_settime64"]),
    ("SYS_TTY_CONFIG", &["vhangup"]),
    ("SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    ("SYSLOG", &["syslog"]),
    ("BPF", &["bpf"]),
    ("PERFMON", &["perf_event_open"]),
];

/// What services without rights have no use for: systemd's sets `@privileged` and `@resources`, as
/// far as the usual filter allows them.
const RIGHTS: [&str; 41] = [
    "capset",
    "chown",
    "chown32",
    "chroot",
    "fchown",
    "fchown32",
    "fchownat",
    "ioprio_set",
    "lchown",
    "lchown32",
    "mbind",
    "migrate_pages",
    "move_pages",
    "nice",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "setfsgid",
    "setfsgid32",
    "setfsuid",
    "setfsuid32",
    "setgid",
    "setgid32",
    "setgroups",
    "setgroups32",
    "setpriority",
    "setregid",
    "setregid32",
    "setresgid",
    "setresgid32",
    "setresuid",
    "setresuid32",
    "setreuid",
    "setreuid32",
    "setrlimit",
    "setuid",
    "setuid32",
    "vhangup",
];

/// The usual filter without any right.
pub(crate) fn strict(machine: &str) -> Result<LinuxSeccomp, OciSpecError> {
    let mut filter = usual(&[], machine)?;
    let mut rules = filter.syscalls().clone().unwrap_or_default();
    for rule in &mut rules {
        let kept = rule.names().iter().filter(|name| !RIGHTS.contains(&name.as_str()));
        let kept: Vec<_> = kept.cloned().collect();
        rule.set_names(kept);
    }
    rules.retain(|rule| !rule.names().is_empty());
    filter.set_syscalls(Some(rules));
    Ok(filter)
}

/// The usual filter for processes that can have these capabilities, on this architecture.
pub(crate) fn usual(bounding: &[String], machine: &str) -> Result<LinuxSeccomp, OciSpecError> {
    let has = |name: &str| bounding.iter().any(|one| one == name);
    let mut rules = vec![allow(always())?];
    if matches!(machine, "x86_64" | "x86") {
        rules.push(allow(vec!["modify_ldt".to_owned()])?);
    }
    for (mask, value) in all_but(&PROJECT_CALLS, CALL_BITS) {
        let under_mask = LinuxSeccompOperator::ScmpCmpMaskedEq;
        rules.push(allow_when("ioctl", 1, mask, Some(value), under_mask)?);
    }
    for family in FAMILIES {
        rules.push(allow_when("socket", 0, family, None, LinuxSeccompOperator::ScmpCmpEq)?);
    }
    for domain in PERSONALITIES {
        rules.push(allow_when("personality", 0, domain, None, LinuxSeccompOperator::ScmpCmpEq)?);
    }
    if !has("SYS_ADMIN") {
        let no_namespaces = LinuxSeccompOperator::ScmpCmpMaskedEq;
        rules.push(allow_when("clone", 0, NEW_NAMESPACES, Some(0), no_namespaces)?);
        // Its flags are out of the filter's sight: callers fall back to clone.
        let refused = LinuxSyscallBuilder::default()
            .names(vec!["clone3".to_owned()])
            .action(LinuxSeccompAction::ScmpActErrno)
            .errno_ret(ENOSYS)
            .build()?;
        rules.push(refused);
    }
    for (capability, names) in BY_CAPABILITY {
        if has(capability) {
            rules.push(allow(names.iter().map(|name| (*name).to_owned()).collect())?);
        }
    }
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(EPERM)
        .architectures(architectures(machine))
        .syscalls(rules)
        .build()
}

/// Masks and values that together fit every number of so many bits but these: rules of a filter can
/// allow what is equal, and not what is different from two. Bits beyond are not looked at, as the
/// kernel does not.
fn all_but(refused: &[u64], bits: u32) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    // Beginnings that some of the refused ones have, from the highest bit on.
    let mut shared = vec![0];
    for bit in (0..bits).rev() {
        let top = |value: u64| value >> bit;
        let mut next = Vec::new();
        for beginning in shared.iter().flat_map(|one: &u64| [one << 1, one << 1 | 1]) {
            if refused.iter().any(|value| top(*value) == beginning) {
                next.push(beginning);
            } else {
                let mask = ((1 << bits) - 1) & !((1 << bit) - 1);
                all.push((mask, beginning << bit));
            }
        }
        shared = next;
    }
    all
}

fn always() -> Vec<String> {
    let lines = ALWAYS.lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

fn architectures(machine: &str) -> Vec<Arch> {
    match machine {
        "x86_64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        _ => vec![Arch::ScmpArchNative],
    }
}

fn allow(names: Vec<String>) -> Result<LinuxSyscall, OciSpecError> {
    LinuxSyscallBuilder::default().names(names).action(LinuxSeccompAction::ScmpActAllow).build()
}

fn allow_when(
    name: &str,
    index: usize,
    value: u64,
    value_two: Option<u64>,
    how: LinuxSeccompOperator,
) -> Result<LinuxSyscall, OciSpecError> {
    let mut argument = LinuxSeccompArgBuilder::default().index(index).value(value).op(how);
    if let Some(second) = value_two {
        argument = argument.value_two(second);
    }
    let argument: LinuxSeccompArg = argument.build()?;
    LinuxSyscallBuilder::default()
        .names(vec![name.to_owned()])
        .action(LinuxSeccompAction::ScmpActAllow)
        .args(vec![argument])
        .build()
}

/// A text that is no profile.
#[derive(Debug, thiserror::Error)]
#[error("failed to read a seccomp profile of the OCI runtime specification")]
pub struct NotAProfile(#[from] serde_json::Error);

/// Whether a text is a profile that containers can have.
///
/// # Errors
/// [`NotAProfile`], with what is wrong.
pub fn check_profile(text: &str) -> Result<(), NotAProfile> {
    Ok(parse(text).map(drop)?)
}

/// A profile of the host's own, in the runtime specification's form.
pub(crate) fn parse(text: &str) -> Result<LinuxSeccomp, serde_json::Error> {
    serde_json::from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_numbers_but_those_that_are_refused_fit_exactly_one_rule() {
        let rules = all_but(&PROJECT_CALLS, CALL_BITS);
        assert!(rules.len() < 32, "{}", rules.len());
        for number in 0..1_u64 << CALL_BITS {
            let fitting = rules.iter().filter(|(mask, value)| number & mask == *value).count();
            assert_eq!(fitting, usize::from(!PROJECT_CALLS.contains(&number)), "{number:x}");
        }
        // Whatever is above is cut off by the kernel too.
        let fits = |number: u64| rules.iter().any(|(mask, value)| number & mask == *value);
        assert!(!fits(0x401c_5820) && !fits(0x1_401c_5820) && !fits(0x4008_6602));
        assert!(fits(0x5401) && fits(0x801c_581f) && fits(0x8008_6601));
    }
}
