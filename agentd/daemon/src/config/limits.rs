//! The operator's word on limits.

use anyhow::{Context, bail, ensure};
use tepui_agent::LimitPolicy;
use tepui_agent::limits::{
    CAPABILITIES, CPU, DEVICES, DISK_DU, DISK_EXT4, DISK_XFS, PIDS, SECCOMP, SHIELD,
};
use tepui_agent::limits::{SeccompProfile, capability_bit};
use tepui_isolators::{DiskQuota, Wish};
use tepui_types::{Range, Ranges};
use tepui_wire::v1::capability_info::Capability;

use super::Settings;
use crate::kernel::PortEnforcement;

/// How tasks are limited. What needs an isolator that the operator left out is an error.
pub(super) fn policy(settings: &Settings, isolation: &Wish) -> anyhow::Result<LimitPolicy> {
    let percent = settings.memory_high_percent.unwrap_or(100);
    ensure!((1..=100).contains(&percent), "memory_high_percent = {percent} is not in 1 to 100");
    ensure!(settings.pids_limit != Some(0), "pids_limit = 0 would let no task start");
    let processes = settings.pids_limit.unwrap_or_else(|| usual_processes(pid_max()));
    let mask = |key: &str, text: &Option<String>| match text {
        Some(text) => capabilities(key, text).map(Some),
        None => Ok(None),
    };
    let effective = mask("effective_capabilities", &settings.effective_capabilities)?;
    let bounding = mask("bounding_capabilities", &settings.bounding_capabilities)?;
    if let (Some(effective), Some(bounding)) = (effective, bounding) {
        ensure!(
            effective & !bounding == 0,
            "effective_capabilities has some that are not among the bounding_capabilities"
        );
    }
    let seccomp = match settings.seccomp_profile.as_deref() {
        None => None,
        Some(name) => match SeccompProfile::by_name(name) {
            Ok(profile) => Some(profile),
            Err(right) => bail!("seccomp_profile = {name:?} is not {right}"),
        },
    };
    let seccomp_file = profile_file(settings)?;
    let host_volumes = host_volumes(settings)?;
    let no_new_privileges = settings.no_new_privileges || isolation.no_new_privileges();
    let has_capabilities = effective.is_some() || bounding.is_some() || no_new_privileges;
    let needs = [
        (settings.cgroups_enable_cfs, CPU, "cgroups_enable_cfs"),
        (settings.pids_limit.is_some(), PIDS, "pids_limit"),
        (has_capabilities, CAPABILITIES, "a set of capabilities"),
        (seccomp.is_some(), SECCOMP, "seccomp_profile"),
        (settings.shield_tasks, SHIELD, "shield_tasks"),
    ];
    for (needed, isolator, key) in needs {
        ensure!(
            !(needed && isolation.leaves_out(isolator)),
            "{key} needs '{isolator}', which isolation does not name"
        );
    }
    ensure!(
        !(isolation.named.contains("network/ports")
            && settings.port_enforcement == Some(PortEnforcement::Off)),
        "isolation names 'network/ports', and port_enforcement is off"
    );
    let measured = [DISK_DU, DISK_XFS, DISK_EXT4];
    let nobody = measured.iter().all(|one| isolation.leaves_out(one));
    ensure!(
        !(settings.enforce_container_disk_quota && nobody),
        "enforce_container_disk_quota needs one of {}, and isolation names none",
        measured.join(", ")
    );
    Ok(LimitPolicy {
        cpu_is_limit: settings.cgroups_enable_cfs,
        processes: Some(processes),
        memory_high_percent: percent,
        enforce_disk: settings.enforce_container_disk_quota,
        effective_capabilities: effective,
        bounding_capabilities: bounding,
        seccomp,
        seccomp_file,
        // Either leads around the shield.
        privileged_containers: settings.privileged_containers.unwrap_or(!settings.shield_tasks),
        host_volumes,
        no_new_privileges,
        // It is only in force when it is named, and then for all.
        no_devices: isolation.asks_for(DEVICES),
        // It is found out later.
        unruled_devices: None,
        shield: settings.shield_tasks,
    })
}

/// Processes and threads of a run that names no number, unless the operator does.
const USUAL_PROCESSES: u64 = 4096;
const PID_MAX: &str = "/proc/sys/kernel/pid_max";

/// Never more than half of what the host can have: the other half is for whoever ends the run.
fn usual_processes(most: Option<u64>) -> u64 {
    most.map_or(USUAL_PROCESSES, |most| USUAL_PROCESSES.min(most / 2)).max(1)
}

fn pid_max() -> Option<u64> {
    std::fs::read_to_string(PID_MAX).ok()?.trim().parse().ok()
}

/// The profile of containers that name none, once it was read.
fn profile_file(settings: &Settings) -> anyhow::Result<Option<String>> {
    let Some(name) = &settings.seccomp_profile_name else { return Ok(None) };
    ensure!(
        settings.seccomp_profile.is_none(),
        "seccomp_profile and seccomp_profile_name both say which filter containers have"
    );
    let plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    ensure!(plain, "seccomp_profile_name = {name:?} is not the name of a file");
    let Some(folder) = &settings.seccomp_config_dir else {
        bail!("seccomp_profile_name needs seccomp_config_dir, the folder of that file");
    };
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("failed to read seccomp profile {}", path.display()))?;
    tepui_container::check_profile(&text)
        .with_context(|| format!("{} is no seccomp profile", path.display()))?;
    Ok(Some(name.clone()))
}

fn host_volumes(settings: &Settings) -> anyhow::Result<Option<Vec<String>>> {
    let Some(folders) = &settings.host_volumes else {
        return Ok(settings.shield_tasks.then(Vec::new));
    };
    let named: Vec<_> = folders.iter().filter(|folder| !folder.is_empty()).cloned().collect();
    for folder in &named {
        let straight = folder.starts_with('/') && !folder.split('/').any(|part| part == "..");
        ensure!(straight, "host_volumes names {folder:?}, which is not an absolute path");
    }
    Ok(Some(named))
}

/// Project ids unless the operator names others; Mesos has the same.
const PROJECTS: &str = "[5000-10000]";
/// Mesos lets a run that is to be ended write so much more, so that it is seen to exceed its limit.
const SLACK_BYTES: u64 = 10 << 20;
/// Most ids that a range may have: each is looked at when many are in use.
const MAX_PROJECTS: u64 = 1 << 20;

/// How sandboxes are bounded by project quotas.
pub(super) fn disk_quota(settings: &Settings) -> anyhow::Result<DiskQuota> {
    let text = settings.xfs_project_range.as_deref().unwrap_or(PROJECTS);
    let right = || format!("xfs_project_range = {text:?} is no range of ids such as {PROJECTS}");
    let projects = ranges(text).with_context(right)?;
    let last = projects.iter().last().map_or(0, |range| range.end());
    ensure!(!projects.is_empty() && !projects.contains(0), right());
    ensure!(u32::try_from(last).is_ok() && projects.count() <= MAX_PROJECTS, right());
    ensure!(
        settings.enforce_container_disk_quota || !settings.xfs_kill_containers,
        "xfs_kill_containers needs enforce_container_disk_quota"
    );
    let slack = if settings.xfs_kill_containers { SLACK_BYTES } else { 0 };
    Ok(DiskQuota { projects, enforced: settings.enforce_container_disk_quota, slack })
}

/// Reads ranges such as `[5000-6000,8000-9000]`.
fn ranges(text: &str) -> Option<Ranges> {
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let range = |part: &str| {
        let (first, last) = part.split_once('-')?;
        Range::new(first.trim().parse().ok()?, last.trim().parse().ok()?).ok()
    };
    inner.split(',').map(range).collect::<Option<Vec<_>>>().map(Ranges::from_ranges)
}

/// Reads names as in `CapabilityInfo`, with or without `CAP_` before them.
fn capabilities(key: &str, text: &str) -> anyhow::Result<u64> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut mask = 0;
    for name in names {
        let bare = name.strip_prefix("CAP_").unwrap_or(name);
        match Capability::from_str_name(bare).and_then(capability_bit) {
            Some(bit) => mask |= bit,
            None => bail!("{key} names {name:?}, which is no capability such as NET_BIND_SERVICE"),
        }
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_by_their_names() {
        assert_eq!(capabilities("x", "CHOWN, CAP_NET_BIND_SERVICE").unwrap(), 1 | 1 << 10);
        assert_eq!(capabilities("x", "").unwrap(), 0);
        assert!(capabilities("x", "ROOT").unwrap_err().to_string().contains("ROOT"));
    }

    #[test]
    fn a_shielded_agent_has_no_ways_around_the_shield_unless_the_operator_names_them() {
        let plain = policy(&Settings::default(), &Wish::default()).unwrap();
        assert!(plain.privileged_containers && plain.host_volumes.is_none());
        let shielded = Settings { shield_tasks: true, ..Settings::default() };
        let decided = policy(&shielded, &Wish::default()).unwrap();
        assert!(!decided.privileged_containers && decided.host_volumes == Some(Vec::new()));
        let named = Settings {
            privileged_containers: Some(true),
            host_volumes: Some(vec!["/srv".into()]),
            ..shielded.clone()
        };
        let decided = policy(&named, &Wish::default()).unwrap();
        assert!(decided.privileged_containers && decided.host_volumes.unwrap() == ["/srv"]);
        let wrong = Settings { host_volumes: Some(vec!["srv".into()]), ..shielded };
        assert!(policy(&wrong, &Wish::default()).unwrap_err().to_string().contains("srv"));
    }

    #[test]
    fn no_run_may_fill_the_host_with_processes_because_nobody_said_how_many_it_may_have() {
        assert_eq!(usual_processes(Some(4_194_304)), 4096);
        assert_eq!(usual_processes(Some(3000)), 1500);
        assert_eq!((usual_processes(None), usual_processes(Some(0))), (4096, 1));
        let of = |settings: &Settings| policy(settings, &Wish::default()).unwrap().processes;
        assert!(of(&Settings::default()).is_some_and(|most| (1..=4096).contains(&most)));
        assert_eq!(of(&Settings { pids_limit: Some(9), ..Settings::default() }), Some(9));
        // Where nobody holds runs to it, only who asked for it is told.
        assert!(policy(&Settings::default(), &Wish::read("posix/mem")).is_ok());
        let asked = Settings { pids_limit: Some(9), ..Settings::default() };
        assert!(policy(&asked, &Wish::read("posix/mem")).is_err());
    }

    #[test]
    fn a_profile_that_is_none_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| {
            let settings = Settings {
                seccomp_profile_name: Some(name.into()),
                seccomp_config_dir: Some(folder.path().to_owned()),
                ..Settings::default()
            };
            policy(&settings, &Wish::default()).map_err(|error| format!("{error:#}"))
        };
        assert!(of("web.json").unwrap_err().contains("web.json"));
        std::fs::write(folder.path().join("web.json"), "{").unwrap();
        assert!(of("web.json").unwrap_err().contains("no seccomp profile"));
        let allow = r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#;
        std::fs::write(folder.path().join("web.json"), allow).unwrap();
        assert_eq!(of("web.json").unwrap().seccomp_file.as_deref(), Some("web.json"));
        assert!(of("../web.json").is_err());
    }

    #[test]
    fn project_ids_are_a_range_without_zero() {
        let quota = |range: &str| {
            let range = Some(range.to_owned());
            disk_quota(&Settings { xfs_project_range: range, ..Settings::default() })
        };
        assert_eq!(quota("[7-9]").unwrap().projects.count(), 3);
        assert_eq!(disk_quota(&Settings::default()).unwrap().projects.count(), 5001);
        for bad in ["[0-9]", "5000", "[]", "[1-4294967296]", "x", "[1-2];cpus:1"] {
            let error = format!("{:#}", quota(bad).unwrap_err());
            assert!(error.contains("xfs_project_range"), "{bad}: {error}");
        }
    }

    #[test]
    fn limits_that_nobody_would_hold_are_refused() {
        let settings = Settings { cgroups_enable_cfs: true, ..Settings::default() };
        let named = Wish::read("cgroups/mem");
        let error = policy(&settings, &named).unwrap_err().to_string();
        assert!(error.contains("cgroups/cpu"), "{error}");
        assert!(policy(&settings, &Wish::default()).unwrap().cpu_is_limit);
        assert_eq!(Wish::read("auto"), Wish::default());
        let nnp = policy(&Settings::default(), &Wish::read("linux/nnp")).unwrap();
        assert!(nnp.no_new_privileges);
        let off = Settings { port_enforcement: Some(PortEnforcement::Off), ..Settings::default() };
        let error = policy(&off, &Wish::read("network/ports")).unwrap_err().to_string();
        assert!(error.contains("port_enforcement"), "{error}");
        let beside = Wish::read("auto, numa");
        assert!(beside.auto && beside.named.contains("numa") && !beside.leaves_out("cgroups/cpu"));
    }
}
