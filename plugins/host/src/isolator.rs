//! An isolator in a library.

use std::sync::Arc;

use parking_lot::Mutex;
use tepui_plugin_abi::Kind;
use tepui_plugin_abi::allocator::{Message, read};
use tepui_plugin_abi::isolator as wire;
pub use tepui_plugin_abi::isolator::{Host, Setting, Wanted};

use crate::{Board, Failure, Refused, Runner, Shelf};

const PROBE: &str = "probe";
const PREPARE: &str = "prepare";
const CLEAN_UP: &str = "clean_up";

/// Who does a failed isolator's work.
const NOBODY: &str = "nothing";

/// An isolator in a library. After a failure it sets nothing any more; runs that it prepared stay as
/// they are.
#[derive(Debug)]
pub struct PluginIsolator {
    name: String,
    /// `None` after a failure.
    runner: Mutex<Option<Runner>>,
}

impl PluginIsolator {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// [`Refused`], in one line; the board knows it already.
    pub fn open(shelf: &Shelf, name: &str, seed: u64, board: &Arc<Board>) -> Result<Self, Refused> {
        let runner = Runner::start(shelf, name, Kind::Isolator, seed, board)?;
        Ok(Self { name: name.to_owned(), runner: Mutex::new(Some(runner)) })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn call(&self, hook: &'static str, method: u32, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let mut runner = self.runner.lock();
        match runner.as_ref()?.call(hook, method, bytes) {
            Ok(answer) => Some(answer),
            Err(failure) => {
                if let Some(runner) = runner.take() {
                    runner.condemn(&failure, NOBODY);
                }
                None
            }
        }
    }

    /// Finds out whether this host can do it.
    ///
    /// # Errors
    ///
    /// The reason why not, as the end of a sentence.
    pub fn probe(&self, host: &Host) -> Result<(), String> {
        let mut runner = self.runner.lock();
        let Some(asked) = runner.as_ref() else { return Err("it failed before".to_owned()) };
        match asked.call(PROBE, wire::PROBE, host.encode_to_vec()) {
            Ok(_) => Ok(()),
            Err(Failure::Refused { why, .. }) => Err(why),
            Err(failure) => {
                if let Some(runner) = runner.take() {
                    runner.condemn(&failure, NOBODY);
                }
                Err(failure.to_string())
            }
        }
    }

    /// What is set for a run; nothing once it failed.
    #[must_use]
    pub fn prepare(&self, wanted: &Wanted) -> Setting {
        let Some(answer) = self.call(PREPARE, wire::PREPARE, wanted.encode_to_vec()) else {
            return Setting::default();
        };
        let understood = read("its answer", &answer).map_err(|error| error.to_string());
        match understood.and_then(|setting| sensible(wanted, setting)) {
            Ok(setting) => setting,
            Err(why) => {
                if let Some(runner) = self.runner.lock().take() {
                    let failure = runner.nonsense(PREPARE, why);
                    runner.condemn(&failure, NOBODY);
                }
                Setting::default()
            }
        }
    }

    /// The run's sandbox is about to be removed.
    pub fn clean_up(&self, run: &str) {
        let wanted = Wanted { run: run.to_owned(), ..Wanted::default() };
        let _ = self.call(CLEAN_UP, wire::CLEAN_UP, wanted.encode_to_vec());
    }
}

/// A plugin may hold a run to less than it was given, never to more.
fn sensible(wanted: &Wanted, setting: Setting) -> Result<Setting, String> {
    let loosened = [
        ("memory", wanted.memory_bytes, setting.memory_bytes),
        ("processes", wanted.processes, setting.processes),
        ("the processor quota", wanted.cpu_quota_milli, setting.cpu_quota_milli),
    ];
    for (what, given, set) in loosened {
        if let (Some(given), Some(set)) = (given, set)
            && set > given
        {
            return Err(format!("{what} of {set} where a run was given {given}"));
        }
    }
    let is_list = |list: &String| {
        let allowed = |byte: u8| byte.is_ascii_digit() || byte == b',' || byte == b'-';
        !list.is_empty() && list.len() < 4096 && list.bytes().all(allowed)
    };
    if let Some(list) = setting.processors.as_ref().filter(|list| !is_list(list)) {
        return Err(format!("'{}' is no list of processors", list.escape_debug()));
    }
    if let Some(weight) = setting.io_weight.filter(|weight| !(1..=10_000).contains(weight)) {
        return Err(format!("io weight {weight} is not within 1 to 10000"));
    }
    Ok(setting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_never_held_to_more_than_it_was_given() {
        let wanted = Wanted { memory_bytes: Some(10), ..Wanted::default() };
        let set = |memory| Setting { memory_bytes: Some(memory), ..Setting::default() };
        assert!(sensible(&wanted, set(10)).is_ok());
        assert!(sensible(&wanted, set(11)).unwrap_err().contains("memory of 11"));
        let list = |list: &str| Setting { processors: Some(list.into()), ..Setting::default() };
        assert!(sensible(&wanted, list("0-3,5")).is_ok());
        assert!(sensible(&wanted, list("0\n1")).is_err());
        assert!(sensible(&wanted, list("")).is_err());
    }
}
