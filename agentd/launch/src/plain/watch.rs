//! Learning that a run is over, without asking again and again.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tepui_types::ContainerId;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Inner;
use crate::launcher::{LostReason, RunEvent, RunOutcome};
use crate::record::{ProcessMark, StartMark, StartRecord};
use crate::{procfs, spec, tree, verdict};

/// Reports the end of a run when its shim is gone. One small task per run, no thread.
pub(super) fn follow(inner: Arc<Inner>, run_id: ContainerId, run_dir: PathBuf, shim: OwnedFd) {
    tokio::spawn(async move {
        wait_for(shim).await;
        let judged = tokio::task::spawn_blocking(move || judge(&run_dir)).await;
        let outcome = match judged {
            // It did start: that is why it was followed. So somebody took its records away.
            Ok(RunOutcome::Lost(LostReason::NeverStarted)) | Err(_) => {
                RunOutcome::Lost(LostReason::Damaged)
            }
            Ok(outcome) => outcome,
        };
        inner.runs.lock().remove(&run_id);
        // Without a receiver the agent is going down and will recover the run.
        let _ = inner.events.send(RunEvent { run_id, outcome });
    });
}

/// Waits until the process of a pidfd has ended, and reaps it when it is our child.
#[expect(
    deprecated,
    reason = "the replacement is unsafe for descriptors that close early; an `OwnedFd` that the \
              `AsyncFd` owns cannot"
)]
pub(super) async fn wait_for(pidfd: OwnedFd) {
    let Ok(pidfd) = AsyncFd::with_interest(pidfd, Interest::READABLE) else { return };
    if pidfd.readable().await.is_ok() {
        // Not our child after a restart of the agent: then init reaps it.
        let id = WaitId::PidFd(pidfd.get_ref().as_fd());
        let _ = waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// What the records say of a run whose shim is gone; kills what a killed shim left behind.
pub(super) fn judge(run_dir: &Path) -> RunOutcome {
    if let Some(end) = verdict::recorded_end(run_dir) {
        return end;
    }
    match StartMark::load(run_dir) {
        Ok(Some(StartMark::Started(record))) => RunOutcome::Lost(bury(&record)),
        Ok(Some(StartMark::Unit(record))) => RunOutcome::Lost(verdict::lost_unit(&record)),
        Ok(Some(StartMark::Abandoned) | None) => RunOutcome::Lost(LostReason::NeverStarted),
        Err(error) => RunOutcome::Lost(error.into()),
    }
}

/// Makes sure that nothing of a run without exit record is left.
fn bury(record: &StartRecord) -> LostReason {
    if procfs::boot_id().is_ok_and(|boot| boot != record.boot_id) {
        return LostReason::HostRestarted;
    }
    if let Some(group) = spec::leaf_at(record.group.as_ref()) {
        empty_group(&group);
    }
    if let Some(main) = Pid::from_raw(record.main.pid) {
        // The pid may long be another's; its session is ours only if nobody of a later one bears
        // that number, which the kernel rules out while a member of ours is left.
        if !is_taken_over(main, record.main) {
            kill_leftovers(main);
        }
    }
    LostReason::ShimDied
}

/// Rounds of killing before what is left counts as unkillable.
const ROUNDS: usize = 200;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

pub(super) fn empty_group(group: &tepui_cgroup::Leaf) {
    for _ in 0..ROUNDS {
        let _ = group.kill();
        if !group.is_populated().unwrap_or(false) {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    if let Err(error) = group.remove() {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "control group of a run stays behind"
        );
    }
}

fn kill_leftovers(main: Pid) {
    for _ in 0..ROUNDS {
        if tree::kill_session(main) == 0 {
            return;
        }
        std::thread::sleep(PAUSE);
    }
    tracing::error!(session = main.as_raw_nonzero(), "processes of a lost run cannot be killed");
}

/// Whether another process has the pid now.
fn is_taken_over(pid: Pid, mark: ProcessMark) -> bool {
    procfs::stat(pid).is_some_and(|stat| stat.start_time != mark.start_time)
}
