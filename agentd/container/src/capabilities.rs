//! Capabilities by name.

use crate::wish::Capabilities;

/// Every capability of Linux 6.x, in the kernel's order.
pub(crate) const ALL: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What processes of a container have unless somebody says otherwise: Docker's set without MKNOD,
/// which would let root of a container reach the host's disks where no device rules stand, and
/// without NET_RAW, which would let it speak on a bridge in the name of its neighbours.
pub const USUAL: [&str; 12] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The name without `CAP_`, or `ALL`; `None` when no capability is called so.
pub(crate) fn plain_name(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let plain = upper.strip_prefix("CAP_").unwrap_or(&upper);
    (plain == "ALL" || ALL.contains(&plain)).then(|| plain.to_owned())
}

/// Names of the capabilities in a mask of the kernel's (`CapEff` of `/proc/…/status`).
#[must_use]
pub fn capability_names(mask: u64) -> Vec<String> {
    let bit = |at: usize| mask & (1 << at) != 0;
    ALL.iter().enumerate().filter(|(at, _)| bit(*at)).map(|(_, name)| (*name).to_owned()).collect()
}

/// The mask of these names; names that no capability has are left out.
#[must_use]
pub fn capability_mask(names: &[String]) -> u64 {
    let bit = |name: &str| ALL.iter().position(|one| *one == name).map_or(0, |at| 1 << at);
    names.iter().fold(0, |mask, name| mask | bit(name))
}

/// The mask of what processes of a container can ever have.
#[must_use]
pub fn bounding_mask(wish: &Capabilities, privileged: bool) -> u64 {
    capability_mask(&sets(wish, privileged, &capability_names(u64::MAX)).bounding)
}

/// The sets of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sets {
    pub(crate) bounding: Vec<String>,
    pub(crate) effective: Vec<String>,
    /// What programs of ordinary users keep; empty unless somebody named it.
    pub(crate) ambient: Vec<String>,
}

/// What a container's processes have. `known` are those that the host's kernel has.
pub(crate) fn sets(wish: &Capabilities, privileged: bool, known: &[String]) -> Sets {
    let is_known = |name: &&str| known.iter().any(|one| one == name);
    let all = || ALL.iter().copied().filter(|name| is_known(name));
    let owned =
        |names: Vec<&str>| -> Vec<String> { names.into_iter().map(str::to_owned).collect() };
    if privileged {
        let all = owned(all().collect());
        return Sets { bounding: all.clone(), effective: all, ambient: Vec::new() };
    }
    match wish {
        Capabilities::Usual { add, drop } => {
            let has = |list: &[String], name: &str| list.iter().any(|one| one == name);
            let stays = |name: &&str| {
                let begins = USUAL.contains(name) && !has(drop, "ALL");
                (begins || has(add, "ALL") || has(add, name)) && !has(drop, name)
            };
            let kept = owned(all().filter(stays).collect());
            Sets { bounding: kept.clone(), effective: kept, ambient: Vec::new() }
        }
        Capabilities::Exactly { effective, bounding } => Sets {
            bounding: bounding.clone(),
            effective: effective.clone(),
            ambient: effective.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<String> {
        ALL.iter().map(|name| (*name).to_owned()).collect()
    }

    fn usual(add: &[&str], drop: &[&str]) -> Vec<String> {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let wish = Capabilities::Usual { add: list(add), drop: list(drop) };
        sets(&wish, false, &known()).bounding
    }

    #[test]
    fn capabilities_are_added_to_and_taken_from_the_usual_ones() {
        assert_eq!(usual(&[], &[]).len(), USUAL.len());
        assert!(usual(&["NET_ADMIN"], &[]).contains(&"NET_ADMIN".to_owned()));
        assert_eq!(usual(&["NET_ADMIN"], &["ALL"]), ["NET_ADMIN"]);
        assert_eq!(usual(&["ALL"], &["SYS_ADMIN"]).len(), ALL.len() - 1);
        assert!(!usual(&[], &["CHOWN"]).contains(&"CHOWN".to_owned()));
    }

    #[test]
    fn the_usual_set_is_never_inherited_by_programs_of_ordinary_users() {
        let wish = Capabilities::Usual { add: vec!["SYS_TIME".into()], drop: Vec::new() };
        assert!(sets(&wish, false, &known()).ambient.is_empty());
        assert!(sets(&wish, true, &known()).ambient.is_empty());
    }

    #[test]
    fn masks_and_names_are_the_same_said_twice() {
        let names = capability_names(1 << 10 | 1 << 40);
        assert_eq!(names, ["NET_BIND_SERVICE", "CHECKPOINT_RESTORE"]);
        assert_eq!(capability_mask(&names), 1 << 10 | 1 << 40);
        assert_eq!(capability_mask(&["ALL".to_owned()]), 0);
    }

    #[test]
    fn names_are_read_with_and_without_their_prefix() {
        assert_eq!(plain_name("cap_net_admin").as_deref(), Some("NET_ADMIN"));
        assert_eq!(plain_name("all").as_deref(), Some("ALL"));
        assert_eq!(plain_name("NET_FLY"), None);
    }
}
