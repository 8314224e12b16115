//! How a run ended, in the agent's words: its exit, and what else was found out about it.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, open, openat};
use tepui_agent::{Cause, Certificate, Exit};
use tepui_launch::{Ending, ExitStatus, Hardship, RunOutcome};

use crate::kernel::Remains;

/// How much of the end of the error output is read.
const TAIL: u64 = 4096;
/// Where it is: the file that is written to, and the one before when that was begun just now.
const ERROR_OUTPUT: [&str; 2] = ["stderr", "stderr.1"];

/// The exit of a run.
pub fn exit(outcome: &RunOutcome) -> Exit {
    match outcome {
        RunOutcome::Ended(status) => match status.ending {
            Ending::Exited(code) => Exit::Code(code),
            Ending::Signaled { signal, .. } => Exit::Signal(signal),
        },
        RunOutcome::NotStarted(reason) => Exit::Unknown(reason.as_str().into()),
        RunOutcome::Lost(reason) => Exit::Unknown(reason.to_string().into()),
    }
}

/// What else is known; reads the end of the error output when the run has failed.
pub fn certificate(
    outcome: &RunOutcome,
    sandbox: Option<&Path>,
    remains: &Remains,
) -> Option<Box<Certificate>> {
    let RunOutcome::Ended(status) = outcome else { return None };
    let failed = status.ending != Ending::Exited(0);
    let last_output = sandbox.filter(|_| failed).and_then(|path| last_output(path).ok());
    Some(Box::new(Certificate {
        last_output: last_output.unwrap_or_default().into(),
        sender: match status.ending {
            Ending::Signaled { signal, .. } => remains.deaths.sender(signal),
            Ending::Exited(_) => None,
        },
        oom_context: remains.deaths.out_of_memory().map(Into::into),
        ..of_status(status)
    }))
}

fn of_status(status: &ExitStatus) -> Certificate {
    let hardship = &status.hardship;
    Certificate {
        cause: match status.cause {
            tepui_launch::Cause::Itself => Cause::Itself,
            tepui_launch::Cause::OutOfMemory => Cause::OutOfMemory,
            tepui_launch::Cause::RunTime => Cause::RunTime,
            tepui_launch::Cause::Watchdog => Cause::Watchdog,
            tepui_launch::Cause::NotReady => Cause::NotReady,
        },
        memory_limit: hardship.memory_limit,
        memory_peak: hardship.memory_peak,
        largest_process: Some(status.spent.max_resident_bytes).filter(|bytes| *bytes > 0),
        oom_kills: hardship.oom_kills,
        throttled_thousandths: throttled(hardship),
        forks_refused: hardship.forks_refused,
        core_dumped: matches!(status.ending, Ending::Signaled { core_dumped: true, .. }),
        ..Certificate::default()
    }
}

fn throttled(hardship: &Hardship) -> Option<u16> {
    let share = hardship.throttled_periods.saturating_mul(1000).checked_div(hardship.periods)?;
    u16::try_from(share).ok()
}

/// The end of a sandbox's error output. The sandbox is its task's: nothing in it is followed, and
/// nothing but a plain file with one name is read, or the task could have others' files told.
fn last_output(sandbox: &Path) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = open(sandbox, flags, Mode::empty())?;
    let mut text = String::new();
    for name in ERROR_OUTPUT {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = openat(&folder, name, flags, Mode::empty()) else { continue };
        let stat = fstat(&file)?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() || stat.st_nlink != 1 {
            continue;
        }
        let length = u64::try_from(stat.st_size).unwrap_or_default();
        let missing = TAIL.saturating_sub(text.len() as u64);
        let mut bytes = vec![0; usize::try_from(missing.min(length)).unwrap_or_default()];
        let from = length - bytes.len() as u64;
        std::fs::File::from(file).read_exact_at(&mut bytes, from)?;
        text.insert_str(0, &String::from_utf8_lossy(&bytes));
        if text.len() as u64 >= TAIL {
            break;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_error_output_is_found_also_after_a_rotation() {
        let sandbox = tempfile::tempdir().unwrap();
        let path = sandbox.path();
        assert_eq!(last_output(path).unwrap(), "");
        std::fs::write(path.join("stderr"), "new\n").unwrap();
        std::fs::write(path.join("stderr.1"), "old\n".repeat(5000)).unwrap();
        let text = last_output(path).unwrap();
        assert!(text.ends_with("old\nnew\n") && text.len() == 4096, "{} bytes", text.len());
    }

    #[test]
    fn files_of_others_are_not_told() {
        let sandbox = tempfile::tempdir().unwrap();
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "secret").unwrap();
        let path = sandbox.path();
        std::os::unix::fs::symlink(secret.path(), path.join("stderr")).unwrap();
        std::fs::create_dir(path.join("stderr.1")).unwrap();
        assert_eq!(last_output(path).unwrap(), "");
        std::fs::remove_file(path.join("stderr")).unwrap();
        if std::fs::hard_link(secret.path(), path.join("stderr")).is_ok() {
            assert_eq!(last_output(path).unwrap(), "");
        }
    }
}
