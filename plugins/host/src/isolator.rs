//! An isolator in a library.

use std::sync::Arc;

use parking_lot::Mutex;
use tepui_plugin_abi::Kind;
use tepui_plugin_abi::allocator::{Message, read};
use tepui_plugin_abi::isolator as wire;
pub use tepui_plugin_abi::isolator::{Host, Setting, Wanted};
use tepui_types::{Range, Ranges};

use crate::{Board, Failure, Refused, Runner, Shelf};

const PROBE: &str = "probe";
const PREPARE: &str = "prepare";
const CLEAN_UP: &str = "clean_up";

/// As many processors as a kernel can have …
const MOST_PROCESSORS: u64 = 8192;
/// … and longer than any list of them that somebody means.
const MOST_LIST: usize = 4096;

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

/// A plugin may hold a run to less than it was given, never to more, and never to nothing: with that
/// no run would start.
fn sensible(wanted: &Wanted, setting: Setting) -> Result<Setting, String> {
    for (what, given, set) in [
        ("memory", wanted.memory_bytes, setting.memory_bytes),
        ("processes", wanted.processes, setting.processes),
        ("the processor share", wanted.cpu_milli, setting.cpu_milli),
        ("the processor quota", wanted.cpu_quota_milli, setting.cpu_quota_milli),
        ("the share of disks", wanted.io_weight, setting.io_weight),
    ] {
        match (given, set) {
            (given, Some(0)) if given != Some(0) => {
                return Err(format!("{what} of 0, with which no run starts"));
            }
            (Some(given), Some(set)) if set > given => {
                return Err(format!("{what} of {set} where a run was given {given}"));
            }
            _ => {}
        }
    }
    if let Some(list) = &setting.processors {
        let set = processors(list)
            .ok_or_else(|| format!("'{}' is no list of processors", list.escape_debug()))?;
        let given = wanted.processors.as_deref().and_then(processors);
        if given.is_some_and(|given| !given.contains_all(&set)) {
            let given = wanted.processors.as_deref().unwrap_or_default();
            return Err(format!("processors {list} where a run was given {given}"));
        }
    }
    if let Some(weight) = setting.io_weight.filter(|weight| *weight > 10_000) {
        return Err(format!("io weight {weight} is not within 1 to 10000"));
    }
    Ok(setting)
}

/// The processors that a list names, as `0-3,5`; `None` for what is no list.
fn processors(list: &str) -> Option<Ranges> {
    if list.len() >= MOST_LIST {
        return None;
    }
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|number| digits && *number < MOST_PROCESSORS)
    };
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Range::new(number(first)?, number(last)?).ok()
    };
    let ranges: Option<Vec<Range>> = list.split(',').map(range).collect();
    ranges.map(Ranges::from_ranges)
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
        for none in ["", ",", "1,", "3-1", "0-", "99999", "-1", "+1"] {
            assert!(sensible(&wanted, list(none)).is_err(), "{none}");
        }
        let given = Wanted { processors: Some("0-3".into()), ..Wanted::default() };
        assert!(sensible(&given, list("1,3")).is_ok());
        let why = sensible(&given, list("0-4")).unwrap_err();
        assert_eq!(why, "processors 0-4 where a run was given 0-3");
        let share = Setting { cpu_milli: Some(200), ..Setting::default() };
        let given = Wanted { cpu_milli: Some(100), ..Wanted::default() };
        assert!(sensible(&given, share.clone()).unwrap_err().contains("share of 200"));
        assert!(sensible(&wanted, share).is_ok(), "it was given as much as it likes");
    }

    #[test]
    fn what_no_run_starts_with_is_nonsense() {
        for nothing in [
            Setting { memory_bytes: Some(0), ..Setting::default() },
            Setting { processes: Some(0), ..Setting::default() },
            Setting { cpu_milli: Some(0), ..Setting::default() },
            Setting { cpu_quota_milli: Some(0), ..Setting::default() },
            Setting { io_weight: Some(0), ..Setting::default() },
        ] {
            let why = sensible(&Wanted::default(), nothing.clone()).unwrap_err();
            assert!(why.ends_with("of 0, with which no run starts"), "{nothing:?}: {why}");
        }
    }
}
