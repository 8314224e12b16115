//! Finding units again that an earlier agent process started.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Pid;
use tepui_systemd::{SystemdError, UnitName, UnitStatus};
use tepui_types::ContainerId;

use super::{Inner, Phase, UnitRun, watch};
use crate::launcher::{KnownRun, LostReason, Recovered, RunOutcome, RunState, Started};
use crate::procfs;
use crate::record::{ProcessMark, StartMark, never_began};

/// systemd's word for a unit whose start has not come to its end.
pub(super) const ACTIVATING: &str = "activating";
/// Pause before systemd is asked again.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn recover(inner: Arc<Inner>, runs: Vec<KnownRun>) -> Vec<Recovered> {
    let mut recovered = Vec::with_capacity(runs.len());
    for run in runs {
        let state = examine(&inner, &run).await;
        recovered.push(Recovered { run_id: run.run_id, state });
    }
    recovered
}

async fn examine(inner: &Inner, run: &KnownRun) -> RunState {
    let unit = match StartMark::load(&run.run_dir) {
        Ok(Some(StartMark::Unit(record))) => UnitName::parse(&record.unit),
        _ => None,
    };
    let Some(unit) = unit else { return RunState::Over(RunOutcome::Lost(LostReason::Damaged)) };
    match ask(inner, &unit).await {
        Some(status) if watch::goes_on(&status, &run.run_dir) => adopt(inner, run, unit, &status),
        _ => RunState::Over(watch::judge(&run.run_dir)),
    }
}

/// The unit's status, `None` when it is not loaded. While systemd does not answer nothing may be
/// decided: what it was asked for before is done by the time it does.
pub(super) async fn ask(inner: &Inner, unit: &UnitName) -> Option<UnitStatus> {
    loop {
        match inner.manager.status(unit).await {
            Ok(status) => return Some(status),
            Err(SystemdError::NoSuchUnit(_)) => return None,
            Err(error) => {
                tracing::warn!(%unit, error = &error as &dyn std::error::Error, "asking again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Waits for the end of a unit's start, which a unit that is to say that it is ready makes itself.
/// The job that an earlier agent process was told the end of is not ours, so systemd is asked.
pub(super) async fn await_ready(inner: &Arc<Inner>, run: &ContainerId) -> Result<(), RunOutcome> {
    let known = inner.runs.lock().get(run).cloned();
    let known = known.ok_or(RunOutcome::Lost(LostReason::Damaged))?;
    loop {
        match ask(inner, &known.unit).await.map(|status| status.active) {
            Some(active) if active == "active" || active == "reloading" => break,
            Some(active) if !watch::is_over(&active) => tokio::time::sleep(PAUSE).await,
            _ => {
                inner.runs.lock().remove(run);
                let judged = tokio::task::spawn_blocking(move || watch::judge(&known.run_dir));
                let judged = judged.await;
                return Err(judged.unwrap_or(RunOutcome::Lost(LostReason::Damaged)));
            }
        }
    }
    let was_over = inner.runs.lock().get_mut(run).is_some_and(|known| {
        std::mem::replace(&mut known.phase, Phase::Running) == Phase::OverWhileStarting
    });
    if was_over {
        watch::over(inner, run.clone());
    }
    Ok(())
}

fn adopt(inner: &Inner, run: &KnownRun, unit: UnitName, status: &UnitStatus) -> RunState {
    let is_starting = status.active == ACTIVATING && !never_began(&run.run_dir);
    let known = UnitRun {
        unit,
        run_dir: run.run_dir.clone(),
        group: inner.group_of(status),
        phase: if is_starting { Phase::Starting } else { Phase::Running },
    };
    inner.runs.lock().insert(run.run_id.clone(), known);
    let pid = status.main_pid.unwrap_or_default();
    let stat = Pid::from_raw(pid).and_then(procfs::stat);
    let main =
        ProcessMark { pid, start_time: stat.map(|stat| stat.start_time).unwrap_or_default() };
    let started = Started { main };
    if is_starting { RunState::Starting(started) } else { RunState::Running(started) }
}
