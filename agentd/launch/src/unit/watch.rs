//! Learning that units are over.

use std::path::Path;
use std::sync::{Arc, Weak};

use tepui_systemd::{News, SystemdError, UnitName, UnitStatus, Watch};
use tepui_types::ContainerId;

use super::{Inner, Phase};
use crate::launcher::{LostReason, RunEvent, RunOutcome};
use crate::record::{StartMark, is_same_invocation};
use crate::verdict;

/// Passes ends on until the launcher is gone.
pub(super) async fn listen(inner: Weak<Inner>, mut news: Watch) {
    while let Some(one) = news.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        match one {
            News::Removed(unit) => removed(&inner, unit),
            News::Missed => look_again(&inner).await,
        }
    }
}

/// A unit was unloaded. systemd says so too when it only loads all units anew, so it is asked.
fn removed(inner: &Arc<Inner>, unit: UnitName) {
    let known = {
        let runs = inner.runs.lock();
        let found = runs.iter().find(|(_, run)| run.unit == unit);
        found.map(|(id, run)| (id.clone(), run.run_dir.clone()))
    };
    let Some((run, run_dir)) = known else { return };
    let inner = inner.clone();
    tokio::spawn(async move {
        match inner.manager.status(&unit).await {
            Ok(status) if goes_on(&status, &run_dir) => {}
            Ok(_) | Err(SystemdError::NoSuchUnit(_)) => {
                if let Some(known) = inner.runs.lock().get_mut(&run)
                    && known.phase != Phase::Running
                {
                    known.phase = Phase::OverWhileStarting;
                    return;
                }
                over(&inner, run);
            }
            // The bus is away: all units are looked at when it is back.
            Err(_) => {}
        }
    });
}

/// A run's unit is gone: tells how it ended.
pub(super) fn over(inner: &Arc<Inner>, run_id: ContainerId) {
    let Some(run) = inner.runs.lock().remove(&run_id) else { return };
    let events = inner.events.clone();
    tokio::spawn(async move {
        let judged = tokio::task::spawn_blocking(move || judge(&run.run_dir)).await;
        let outcome = judged.unwrap_or(RunOutcome::Lost(LostReason::Damaged));
        // Without a receiver the agent is going down and will recover the run.
        let _ = events.send(RunEvent { run_id, outcome });
    });
}

/// Asks for every unit after a time in which nothing was heard.
async fn look_again(inner: &Arc<Inner>) {
    let known: Vec<_> = {
        let runs = inner.runs.lock();
        let running = runs.iter().filter(|(_, run)| run.phase == Phase::Running);
        running.map(|(id, run)| (id.clone(), run.unit.clone(), run.run_dir.clone())).collect()
    };
    for (run, unit, run_dir) in known {
        match inner.manager.status(&unit).await {
            Err(SystemdError::NoSuchUnit(_)) => over(inner, run),
            Ok(status) if goes_on(&status, &run_dir) => {}
            Ok(_) => over(inner, run),
            // The bus is away again, which will be news.
            Err(_) => return,
        }
    }
}

pub(super) fn is_over(active: &str) -> bool {
    matches!(active, "inactive" | "failed")
}

/// Whether a unit still is the run that these records are of. Who restarts it ends that run: what
/// begins then is another one, and ends at once, for nobody lets its command begin.
pub(super) fn goes_on(status: &UnitStatus, run_dir: &Path) -> bool {
    !is_over(&status.active) && is_same_invocation(run_dir, &status.invocation)
}

/// What the records say of a run whose unit is gone.
pub(super) fn judge(run_dir: &Path) -> RunOutcome {
    if let Some(end) = verdict::recorded_end(run_dir) {
        return end;
    }
    match StartMark::load(run_dir) {
        Ok(Some(StartMark::Unit(record))) => RunOutcome::Lost(verdict::lost_unit(&record)),
        _ => RunOutcome::Lost(LostReason::Damaged),
    }
}
