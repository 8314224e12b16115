//! Where a run is on this host, in the words of the host's own tools.

use std::path::Path;

use tepui_accounting::GroupId;
use tepui_agent_api::{RunPlace, Runtime};

/// Where the live run with this control group is.
pub fn place(group: Option<&Path>, is_container: bool) -> RunPlace {
    let unit = group.and_then(unit_of);
    let runtime = match &unit {
        _ if is_container => Runtime::Oci,
        Some(_) => Runtime::Systemd,
        None => Runtime::Process,
    };
    let cgroup_id = group.and_then(|folder| GroupId::of(folder).ok()).map(GroupId::raw);
    RunPlace { runtime, unit, cgroup_id }
}

/// The unit whose group this is: systemd gives a group its unit's name, we give one its run's.
fn unit_of(group: &Path) -> Option<String> {
    let name = group.file_name()?.to_str()?;
    name.ends_with(".service").then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(group: Option<&str>, is_container: bool) -> (Runtime, Option<String>) {
        let place = place(group.map(Path::new), is_container);
        (place.runtime, place.unit)
    }

    #[test]
    fn a_run_is_a_unit_where_its_group_is_one() {
        let unit = "tepui-task-t1.service";
        let group = format!("/sys/fs/cgroup/tepui.slice/{unit}");
        assert_eq!(put(Some(&group), false), (Runtime::Systemd, Some(unit.to_owned())));
        let within = "/sys/fs/cgroup/tepui.slice/tepui-processes.service/t1";
        assert_eq!(put(Some(within), false), (Runtime::Process, None));
        assert_eq!(put(None, false), (Runtime::Process, None));
    }

    #[test]
    fn a_container_is_one_in_a_unit_too() {
        let group = "/sys/fs/cgroup/tepui.slice/tepui-task-t1.service";
        assert_eq!(put(Some(group), true).0, Runtime::Oci);
        assert_eq!(put(Some("/sys/fs/cgroup/tepui/t1"), true).0, Runtime::Oci);
    }

    #[test]
    fn a_group_has_the_number_that_programs_call_it_by() {
        let folder = tempfile::tempdir().unwrap();
        let there = place(Some(folder.path()), false);
        assert_eq!(there.cgroup_id, Some(GroupId::of(folder.path()).unwrap().raw()));
        assert_eq!(place(Some(&folder.path().join("gone")), false).cgroup_id, None);
    }
}
