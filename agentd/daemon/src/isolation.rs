//! Which isolators this agent has, found out at the start and said once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tepui_agent::Isolation;
use tepui_agent::limits::{DISK_EXT4, DISK_XFS};
use tepui_cgroup::{Controller, Mount};
use tepui_isolators::{Host, Isolators, Plugged, Runs};
use tepui_launch::{HostLauncher, PlainConfig};
use tepui_plugin_host::Board;
use tracing::{info, warn};

use crate::config::{Config, LauncherKind};

/// Whether the host was booted with systemd, as sd_booted(3) finds out.
const BOOTED_WITH_SYSTEMD: &str = "/run/systemd/system";

/// Whether systemd rules this host.
pub fn is_booted_with_systemd() -> bool {
    Path::new(BOOTED_WITH_SYSTEMD).is_dir()
}

/// Finds a place for the control groups of processes where they can be limited.
pub async fn place_groups(launch: &mut PlainConfig, config: &Config) {
    launch.may_step_aside = !is_booted_with_systemd();
    let needs_place = config.launcher == LauncherKind::Process
        && is_booted_with_systemd()
        && nix::unistd::geteuid().is_root();
    if needs_place {
        launch.group_parent = group_of_systemd(&config.shim).await;
    }
}

async fn group_of_systemd(shim: &Path) -> Option<PathBuf> {
    match tepui_launch::group_for_processes(shim).await {
        Ok(group) => Some(group),
        Err(error) => {
            warn!(
                error = &error as &dyn std::error::Error,
                "systemd gives no control group for tasks, they are not limited"
            );
            None
        }
    }
}

/// Probes the host's isolators; those that are missing are said once.
///
/// # Errors
/// When the operator named one that cannot be.
pub fn probe(
    config: &Config,
    launcher: &HostLauncher,
    board: &Arc<Board>,
    device_rules: Result<(), String>,
) -> anyhow::Result<Isolators> {
    let is_root = nix::unistd::geteuid().is_root();
    let (runs, controllers) = match launcher.starts_units() {
        true => (Runs::Units, of_units()),
        false => (Runs::Processes, launcher.process_controllers().to_vec()),
    };
    let (work_dir, disk) = (config.work_dir.clone(), config.disk_quota.clone());
    let host = Host { runs, controllers, is_root, work_dir, disk, device_rules };
    let seed = tepui_process::seed().context("failed to read /dev/urandom")?;
    let plugged = Plugged::new(config.shelf.clone(), board.clone(), seed);
    let isolators = Isolators::probe(&host, &config.isolation, &plugged)
        .context("failed to put isolators in force")?;
    let names: Vec<&str> = isolators.names().map(AsRef::as_ref).collect();
    info!(isolation = names.join(","), "isolators in force");
    for (isolator, how) in isolators.always() {
        info!(isolator, how, "isolation names what is in force in any case");
    }
    for (isolator, why) in &isolators.isolation().missing {
        info!(%isolator, %why, "isolator missing, tasks that need it are refused");
    }
    for (isolator, resource) in
        [(tepui_agent::limits::CPU, "cpus"), (tepui_agent::limits::MEM, "mem")]
    {
        if let Some(why) = isolators.isolation().lacks(isolator) {
            warn!(resource, %why, "tasks are not held to what they were given");
        }
    }
    if config.limits.enforce_disk && bounds_disk(&isolators.isolation()).is_none() {
        warn!(
            "no project quotas on this file system: a task that exceeds its disk is ended when that \
             is measured, and may hold more until then"
        );
    }
    Ok(isolators)
}

/// Who refuses sandboxes more than they may hold.
fn bounds_disk(isolation: &Isolation) -> Option<&'static str> {
    [DISK_XFS, DISK_EXT4].into_iter().find(|name| isolation.lacks(name).is_none())
}

/// Whether whoever is measured to exceed its disk is ended. XFS refuses everybody; ext4 lets those
/// pass that have CAP_SYS_RESOURCE.
pub fn ends_over_disk(config: &Config, isolation: &Isolation) -> bool {
    let refused = config.disk_quota.slack == 0 && bounds_disk(isolation) == Some(DISK_XFS);
    config.limits.enforce_disk && !refused
}

/// Controllers that systemd can put in force for units: those of the hierarchy's root.
fn of_units() -> Vec<Controller> {
    let mount = Mount::probe();
    let names = mount.as_ref().map(Mount::controllers).unwrap_or_default();
    Controller::ALL.into_iter().filter(|one| names.iter().any(|name| name == one.name())).collect()
}
