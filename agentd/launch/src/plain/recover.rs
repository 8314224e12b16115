//! Finding runs again that an earlier agent process started.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tepui_types::ContainerId;

use super::{Inner, Processes, Run, watch};
use crate::launcher::{KnownRun, LostReason, Recovered, RunOutcome, RunState, Started};
use crate::record::{ExitRecord, ProcessMark, RecordError, StartMark, StartRecord};
use crate::{procfs, spec};

/// What was found in a run directory.
enum Found {
    Alive { record: StartRecord, shim: Pid, pidfd: OwnedFd },
    Over(RunOutcome),
}

pub(super) async fn recover(inner: Arc<Inner>, runs: Vec<KnownRun>) -> Vec<Recovered> {
    let mut recovered = Vec::with_capacity(runs.len());
    for run in runs {
        let run_dir = run.run_dir.clone();
        let found = tokio::task::spawn_blocking(move || examine(&run_dir)).await;
        let state = match found {
            Ok(Found::Alive { record, shim, pidfd }) => adopt(&inner, &run, &record, shim, pidfd),
            Ok(Found::Over(outcome)) => RunState::Over(outcome),
            Err(_) => RunState::Over(RunOutcome::Lost(LostReason::Damaged)),
        };
        recovered.push(Recovered { run_id: run.run_id, state });
    }
    inner.refill();
    recovered
}

fn adopt(
    inner: &Arc<Inner>,
    run: &KnownRun,
    record: &StartRecord,
    shim: Pid,
    pidfd: OwnedFd,
) -> RunState {
    let processes =
        Processes { shim, main: record.main, group: spec::leaf_at(record.group.as_ref()) };
    let started = Started { main: record.main };
    let known = Run { run_dir: run.run_dir.clone(), processes: Some(processes) };
    let id: ContainerId = run.run_id.clone();
    let before = inner.runs.lock().insert(id.clone(), known);
    // A run that is followed already keeps its one follower, and so its one event.
    if before.is_none_or(|run| run.processes.is_none()) {
        watch::follow(inner.clone(), id, run.run_dir.clone(), pidfd);
    }
    RunState::Running(started)
}

/// Looks at the records and the process table. Whoever has not started by now never will.
fn examine(run_dir: &Path) -> Found {
    if let Ok(Some(_)) = ExitRecord::load(run_dir) {
        return examine_ended(run_dir);
    }
    match StartMark::load(run_dir) {
        Ok(Some(StartMark::Started(record))) => examine_started(run_dir, record),
        Ok(Some(StartMark::Unit(_))) => Found::Over(watch::judge(run_dir)),
        Ok(Some(StartMark::Abandoned)) => Found::Over(RunOutcome::Lost(LostReason::NeverStarted)),
        Ok(None) => match StartMark::abandon(run_dir) {
            // The shim was faster after all.
            Err(RecordError::Taken { .. }) => match StartMark::load(run_dir) {
                Ok(Some(StartMark::Started(record))) => examine_started(run_dir, record),
                _ => Found::Over(watch::judge(run_dir)),
            },
            _ => Found::Over(RunOutcome::Lost(LostReason::NeverStarted)),
        },
        Err(error) => Found::Over(RunOutcome::Lost(error.into())),
    }
}

/// A shim that has written the exit record may still be clearing up; its run is over only when it
/// is gone.
fn examine_ended(run_dir: &Path) -> Found {
    match StartMark::load(run_dir) {
        Ok(Some(StartMark::Started(record))) => examine_started(run_dir, record),
        _ => Found::Over(watch::judge(run_dir)),
    }
}

fn examine_started(run_dir: &Path, record: StartRecord) -> Found {
    let same_boot = procfs::boot_id().is_ok_and(|boot| boot == record.boot_id);
    match same_boot.then(|| open_same(record.shim)).flatten() {
        Some((shim, pidfd)) => Found::Alive { record, shim, pidfd },
        None => Found::Over(watch::judge(run_dir)),
    }
}

/// Opens the very process that was recorded: first the handle, then the comparison, so that a pid
/// that changes hands in between is noticed.
fn open_same(mark: ProcessMark) -> Option<(Pid, OwnedFd)> {
    let pid = Pid::from_raw(mark.pid)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let stat = procfs::stat(pid)?;
    (stat.start_time == mark.start_time && stat.state != b'Z').then_some((pid, pidfd))
}
