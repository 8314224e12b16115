//! Control groups for tasks that are no units, on a host whose control groups systemd rules.
//!
//! A group below the agent's own cannot be limited: the kernel lets no group with processes pass
//! controllers on, and systemd wants to start the agent's successor there. So systemd is asked for a
//! group that it leaves to us. A service that does nothing holds it; who stops it ends all its
//! tasks.

use std::path::{Path, PathBuf};

use rustix::process::Pid;
use tepui_cgroup::{Leaf, Mount};
use tepui_systemd::{
    Ceiling, Command, Manager, Pace, Rights, SliceName, Stdin, SystemdError, UnitName, UnitSpec,
};

use super::UnitError;
use crate::reserve::processes_of_all_tasks;

/// Group of the process that does nothing, below the service's own.
const HOLDER: &str = "holder";

/// A group that systemd has left to us, empty but for groups below it. The same one as long as the
/// service lasts, whichever agent asks.
///
/// # Errors
///
/// [`UnitError`] when systemd does not answer, refuses, or the group cannot be used.
pub async fn group_for_processes(shim: &Path) -> Result<PathBuf, UnitError> {
    // What ends is heard of by those who follow runs.
    let (manager, _news) = Manager::connect().await?;
    let mount = Mount::probe()?;
    let unit = UnitName::of_processes();
    let status = match manager.status(&unit).await {
        Ok(status) if status.active == "active" => status,
        Ok(_) => {
            manager.reset_failed(&unit).await?;
            manager.start(&describe(shim, unit)).await?
        }
        Err(SystemdError::NoSuchUnit(_)) => manager.start(&describe(shim, unit)).await?,
        Err(error) => return Err(error.into()),
    };
    // What systemd gives a service that says nothing, 15 % of the host's, is little for all tasks.
    let tasks_max = processes_of_all_tasks().or(Some(u64::MAX));
    let most = Ceiling { tasks_max, ..Ceiling::default() };
    manager.limit(&UnitName::of_processes(), &most).await?;
    let group = mount.root().join(status.control_group.trim_start_matches('/'));
    let aside = Leaf::at(group.join(HOLDER));
    aside.ensure()?;
    if let Some(holder) = status.main_pid.and_then(Pid::from_raw) {
        aside.place(holder)?;
    }
    Ok(group)
}

fn describe(shim: &Path, unit: UnitName) -> UnitSpec {
    let argv = vec![shim.to_string_lossy().into_owned(), "hold".to_owned()];
    UnitSpec {
        name: unit,
        slice: SliceName::of_tasks(),
        description: "Tepui tasks that are processes; stopping this ends them all".to_owned(),
        start: Command { path: shim.to_owned(), argv },
        stop_post: None,
        stdin: Stdin::Null,
        user: None,
        working_directory: PathBuf::from("/"),
        environment: Vec::new(),
        credentials: Vec::new(),
        rlimits: Vec::new(),
        ceiling: Ceiling::default(),
        delegate: true,
        network: None,
        rights: Rights::default(),
        pace: Pace { stop: super::describe::STOP_TIMEOUT, ..Pace::default() },
        log_fields: Vec::new(),
        syslog_identifier: "tepui-processes".to_owned(),
    }
}
