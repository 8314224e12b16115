//! What the records alone say of a run, whoever started it.

use std::fs;
use std::io;
use std::path::Path;

use crate::launcher::{KnownRun, LostReason, RunOutcome};
use crate::procfs;
use crate::record::{ExitRecord, StartMark, UnitRecord, never_began};

/// The recorded end of a run; `None` when nobody could write one down.
///
/// A unit whose agent died before it let the command begin ends by itself, and says how; of the
/// command that says nothing.
pub(crate) fn recorded_end(run_dir: &Path) -> Option<RunOutcome> {
    if never_began(run_dir) {
        return Some(RunOutcome::Lost(LostReason::NeverStarted));
    }
    match ExitRecord::load(run_dir) {
        Ok(Some(ExitRecord::Ended(status))) => Some(RunOutcome::Ended(status)),
        Ok(Some(ExitRecord::NotStarted(reason))) => Some(RunOutcome::NotStarted(reason)),
        Ok(None) => None,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "exit record unusable, run counts as lost"
            );
            None
        }
    }
}

/// Why a unit that is gone, and left no record of its end, is lost.
pub(crate) fn lost_unit(record: &UnitRecord) -> LostReason {
    if is_of_this_boot(record) { LostReason::UnitGone } else { LostReason::HostRestarted }
}

fn is_of_this_boot(record: &UnitRecord) -> bool {
    procfs::boot_id().is_ok_and(|boot| boot == record.boot_id)
}

/// Whether the run may still go on as a unit: only systemd can tell.
pub(crate) fn may_be_unit(run: &KnownRun) -> bool {
    let mark = StartMark::load(&run.run_dir);
    matches!(mark, Ok(Some(StartMark::Unit(record))) if is_of_this_boot(&record))
        && matches!(ExitRecord::load(&run.run_dir), Ok(None))
}

/// Removes the records of a run.
pub(crate) fn forget(run_dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(run_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use tepui_types::ContainerId;

    use super::*;
    use crate::record::{Cause, Ending, ExitStatus, Hardship, SpentResources};

    fn unit(boot_id: String) -> UnitRecord {
        UnitRecord {
            run_id: "run-1".to_owned(),
            boot_id,
            unit: "tepui-task-a.service".to_owned(),
            asked_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        }
    }

    #[test]
    fn a_unit_may_go_on_until_its_end_is_written_or_the_host_restarts() {
        let run = |dir: &tempfile::TempDir| KnownRun {
            run_id: ContainerId::parse("run-1").unwrap(),
            run_dir: dir.path().to_owned(),
        };
        let now = tempfile::tempdir().unwrap();
        assert!(!may_be_unit(&run(&now)));
        unit(procfs::boot_id().unwrap()).create(now.path()).unwrap();
        assert!(may_be_unit(&run(&now)));
        assert_eq!(recorded_end(now.path()), None);
        let status = ExitStatus {
            ending: Ending::Exited(7),
            ended_at: SystemTime::UNIX_EPOCH,
            spent: SpentResources::default(),
            lost_output_bytes: 0,
            cause: Cause::default(),
            hardship: Hardship::default(),
        };
        ExitRecord::Ended(status).save(now.path()).unwrap();
        assert!(!may_be_unit(&run(&now)));
        assert_eq!(recorded_end(now.path()), Some(RunOutcome::Ended(status)));
        crate::record::create_begun(now.path()).unwrap();
        let never = Some(RunOutcome::Lost(LostReason::NeverStarted));
        assert_eq!(recorded_end(now.path()), never, "its stage was not let on");
        let before = tempfile::tempdir().unwrap();
        let record = unit("another boot".to_owned());
        record.create(before.path()).unwrap();
        assert!(!may_be_unit(&run(&before)));
        assert_eq!(lost_unit(&record), LostReason::HostRestarted);
    }
}
