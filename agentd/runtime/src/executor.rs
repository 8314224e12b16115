//! The last steps inside the container, and the only ones of ours there.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::sys::signal::SigSet;
use oci_spec::runtime::Spec;
use rustix::process::set_parent_process_death_signal;

use tepui_container::Tty;

use crate::filter::Program;
use crate::{signals, talk, terminal};

/// Executes the task, and tells the runtime when that cannot be done.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// The filter, unless libcontainer loads it by itself.
    pub(crate) filter: Option<Rc<Program>>,
    /// The size of its terminal.
    pub(crate) tty: Option<Tty>,
}

impl Executor for Task {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let Err(reason) = self.become_task(spec);
        // The runtime waits for this, or for the pipe's end.
        talk::say(&reason);
        Err(ExecutorError::Other(reason))
    }

    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let process = spec.process().as_ref();
        let argv = process.and_then(|process| process.args().as_ref());
        let Some(program) = argv.and_then(|argv| argv.first()) else {
            return Err(ExecutorValidationError::ArgValidationError(
                "the container has nothing to execute".to_owned(),
            ));
        };
        let paths = search_path(spec);
        find(program, &paths).map(drop).map_err(ExecutorValidationError::ArgValidationError)
    }
}

fn search_path(spec: &Spec) -> String {
    let environment = spec.process().as_ref().and_then(|process| process.env().as_ref());
    let paths =
        environment.and_then(|all| all.iter().rev().find_map(|one| one.strip_prefix("PATH=")));
    paths.unwrap_or_default().to_owned()
}

impl Task {
    fn become_task(&self, spec: &Spec) -> Result<std::convert::Infallible, String> {
        // A runtime that is killed can no longer tell how the task ended, so the task goes with it.
        let _ = set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        signals::restore_all();
        SigSet::empty().thread_set_mask().map_err(|e| format!("failed to unblock signals: {e}"))?;
        let argv = spec.process().as_ref().and_then(|process| process.args().clone());
        let argv = argv.unwrap_or_default();
        let Some(program) = argv.first() else { return Err("there is nothing to execute".into()) };
        let path = find(program, &search_path(spec))?;
        let nul = |_| "an argument contains a NUL byte".to_owned();
        let file = CString::new(path.as_os_str().as_bytes()).map_err(nul)?;
        let words = argv.iter().map(|word| CString::new(word.as_bytes()));
        let words: Vec<_> = words.collect::<Result<_, _>>().map_err(nul)?;
        if let Some(size) = self.tty {
            terminal::resize(size);
        }
        if let Some(filter) = &self.filter {
            filter.enforce().map_err(|fault| fault.to_string())?;
        }
        match nix::unistd::execv(&file, &words) {
            Ok(never) => Ok(never),
            Err(error) => Err(format!("failed to execute '{}': {error}", path.display())),
        }
    }
}

/// The program's file, or why it cannot be executed, as far as one can see.
fn find(program: &str, paths: &str) -> Result<PathBuf, String> {
    let look = |path: PathBuf| {
        let meta = std::fs::metadata(&path).ok()?;
        if meta.is_dir() {
            return Some(Err(format!("'{program}' is a folder, not a program")));
        }
        let may = meta.permissions().mode() & 0o111 != 0;
        Some(may.then_some(path).ok_or_else(|| format!("'{program}' may not be executed")))
    };
    if program.contains('/') {
        let absent = || Err(format!("'{program}' does not exist in the container"));
        return look(PathBuf::from(program)).unwrap_or_else(absent);
    }
    let mut found: Vec<_> =
        paths.split(':').filter_map(|folder| look(Path::new(folder).join(program))).collect();
    match found.iter().position(Result::is_ok).or_else(|| (!found.is_empty()).then_some(0)) {
        Some(at) => found.swap_remove(at),
        None => Err(format!("'{program}' is in no folder of the container's PATH ({paths})")),
    }
}
