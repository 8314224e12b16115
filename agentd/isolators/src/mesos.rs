//! The names that Mesos 1.x knows in `--isolation`, and what each means here.

/// What a name of Mesos's means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// An isolator of ours of the same name.
    Here,
    /// In force whether it is named or not; where, or how it is switched.
    Always(&'static str),
    /// Not had; what there is instead.
    Absent(&'static str),
}

use Meaning::{Absent, Always, Here};

const NO_WINDOWS: &str = "this agent runs on Linux";
const NO_MARKS: &str = "control groups of version 2 mark no packets; rules of nftables match a control group by \
     `socket cgroupv2` (slices are below tepui.slice)";

/// Every name that Mesos 1.11 has built in, in the order of its documentation.
const NAMES: &[(&str, Meaning)] = &[
    ("appc/runtime", Absent("images are Docker's or OCI's")),
    ("cgroups/blkio", Here),
    ("cgroups/cpu", Here),
    ("cgroups/cpuset", Here),
    ("cgroups/devices", Here),
    (
        "cgroups/hugetlb",
        Absent("nobody limits huge pages; tasks get none that the host has not set aside"),
    ),
    ("cgroups/mem", Here),
    ("cgroups/net_cls", Absent(NO_MARKS)),
    ("cgroups/net_prio", Absent(NO_MARKS)),
    ("cgroups/perf_event", Absent("figures come from eBPF, see --accounting")),
    ("cgroups/pids", Here),
    ("disk/du", Here),
    ("disk/xfs", Here),
    ("docker/runtime", Always("containers have what their images say")),
    (
        "docker/volume",
        Absent(
            "no volume drivers are called; mount the volume on the host and give it by host_path",
        ),
    ),
    (
        "environment_secret",
        Always("variables of type SECRET are given by value; references are refused"),
    ),
    ("filesystem/linux", Always("containers have mounts of their own")),
    ("filesystem/posix", Always("tasks without an image see the host's files")),
    (
        "filesystem/shared",
        Absent("tasks with a container have volumes of type SANDBOX_PATH, also for /tmp"),
    ),
    ("filesystem/windows", Absent(NO_WINDOWS)),
    (
        "gpu/nvidia",
        Absent(
            "no GPU is offered or held apart; a container gets a device by the parameter 'device'",
        ),
    ),
    ("linux/capabilities", Here),
    (
        "linux/devices",
        Absent(
            "a container gets a device by the parameter 'device', and cgroups/devices keeps others away",
        ),
    ),
    ("linux/nnp", Always("named, it is no_new_privileges = true")),
    ("linux/seccomp", Here),
    ("namespaces/ipc", Here),
    ("namespaces/pid", Here),
    ("network/cni", Always("networks are those of --network-cni-config-dir")),
    (
        "network/port_mapping",
        Absent(
            "BRIDGE networks have port mappings, and --port-enforcement holds tasks of the host's network to their ports",
        ),
    ),
    ("network/ports", Always("see --port-enforcement")),
    ("posix/cpu", Here),
    ("posix/mem", Here),
    ("posix/rlimits", Here),
    (
        "volume/csi",
        Absent("no CSI plugins are called; mount the volume on the host and give it by host_path"),
    ),
    ("volume/host_path", Always("host_volumes says which folders may be mounted")),
    ("volume/image", Always("a container's volume may be an image")),
    ("volume/sandbox_path", Always("a container's volume may be a folder of a sandbox")),
    ("volume/secret", Always("volumes of type SECRET are given by value; references are refused")),
    ("windows/cpu", Absent(NO_WINDOWS)),
    ("windows/mem", Absent(NO_WINDOWS)),
];

/// What a name means; `None` for one that Mesos does not know.
pub(crate) fn meaning(name: &str) -> Option<Meaning> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, meaning)| *meaning)
}

/// Sets `no_new_privileges` where it is named, which the isolator of capabilities does.
pub(crate) const NO_NEW_PRIVILEGES: &str = "linux/nnp";
/// Every controller of control groups that the host has.
pub(crate) const ALL_GROUPS: &str = "cgroups/all";

/// Names that stand for others.
pub(crate) fn stands_for(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "process" => &["posix/cpu", "posix/mem"],
        "cgroups" => &["cgroups/cpu", "cgroups/mem"],
        "posix/disk" => &["disk/du"],
        NO_NEW_PRIVILEGES => &["linux/nnp", "linux/capabilities"],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auto;

    #[test]
    fn every_name_of_mesos_is_had_or_has_a_word_on_what_there_is_instead() {
        assert_eq!(NAMES.len(), 40);
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
        let ours: Vec<String> = auto::all().iter().map(|one| one.name().to_owned()).collect();
        for (name, meaning) in NAMES {
            let is_ours = ours.iter().any(|one| one == name);
            assert_eq!(is_ours, *meaning == Here, "{name}");
        }
        // What Mesos does not have is said to be ours.
        let others: Vec<_> = ours.iter().filter(|one| meaning(one).is_none()).collect();
        assert_eq!(others, ["disk/ext4", "systemd/notify", "systemd/shield"]);
    }
}
