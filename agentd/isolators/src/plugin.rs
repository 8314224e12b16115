//! Isolators in libraries: plain data goes to them and comes back.

use std::path::Path;
use std::sync::Arc;

use tepui_agent::Limits;
use tepui_launch::Confinement;
use tepui_plugin_host::isolator::{self as plain, PluginIsolator};
use tepui_plugin_host::{Board, Refused, Shelf};

use crate::{Host, Isolator, Runs};

/// Where plugins come from.
#[derive(Debug)]
pub struct Plugged {
    shelf: Shelf,
    board: Option<Arc<Board>>,
    seed: u64,
}

impl Plugged {
    /// From a shelf; what becomes of them is told to the board.
    #[must_use]
    pub fn new(shelf: Shelf, board: Arc<Board>, seed: u64) -> Self {
        Self { shelf, board: Some(board), seed }
    }

    /// From nowhere.
    #[must_use]
    pub fn none() -> Self {
        Self { shelf: Shelf::default(), board: None, seed: 0 }
    }

    pub(crate) fn open(&self, name: &str) -> Result<Plugin, Refused> {
        let Some(board) = &self.board else {
            return Err(Refused::Missing { name: name.to_owned(), why: "there are none".into() });
        };
        PluginIsolator::open(&self.shelf, name, self.seed, board).map(Plugin)
    }
}

/// An isolator in a library.
#[derive(Debug)]
pub(crate) struct Plugin(PluginIsolator);

/// What a plugin is told of a host.
fn plain_host(host: &Host) -> plain::Host {
    plain::Host {
        units: host.runs == Runs::Units,
        controllers: host.controllers.iter().map(|one| one.name().to_owned()).collect(),
        root: host.is_root,
    }
}

/// What a plugin is told of a run.
fn plain_limits(run: &str, wanted: &Limits) -> plain::Wanted {
    plain::Wanted {
        run: run.to_owned(),
        cpu_milli: wanted.cpu_milli,
        cpu_quota_milli: wanted.cpu_quota_milli,
        processors: wanted.processors.clone(),
        memory_bytes: wanted.memory_limit,
        processes: wanted.processes,
        io_weight: wanted.io_weight,
    }
}

/// What a plugin sets, where it sets something.
fn set(setting: plain::Setting, into: &mut Confinement) {
    let ceiling = &mut into.ceiling;
    let plain::Setting { cpu_milli, cpu_quota_milli, processors, .. } = setting;
    ceiling.cpu_milli = cpu_milli.or(ceiling.cpu_milli);
    ceiling.cpu_quota_milli = cpu_quota_milli.or(ceiling.cpu_quota_milli);
    ceiling.processors = processors.or_else(|| ceiling.processors.take());
    ceiling.memory_bytes = setting.memory_bytes.or(ceiling.memory_bytes);
    ceiling.processes = setting.processes.or(ceiling.processes);
    ceiling.io_weight = setting.io_weight.or(ceiling.io_weight);
}

impl Isolator for Plugin {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn probe(&self, host: &Host) -> Result<(), String> {
        self.0.probe(&plain_host(host))
    }

    fn prepare(&self, wanted: &Limits, into: &mut Confinement) {
        self.prepare_run("", wanted, into);
    }

    fn prepare_run(&self, run: &str, wanted: &Limits, into: &mut Confinement) {
        set(self.0.prepare(&plain_limits(run, wanted)), into);
    }

    fn clean_up(&self, sandbox: &Path) {
        // A sandbox has the name of its run.
        if let Some(run) = sandbox.file_name().and_then(|name| name.to_str()) {
            self.0.clean_up(run);
        }
    }
}

#[cfg(test)]
mod tests {
    use tepui_cgroup::Controller;
    use tepui_plugin_sdk::{Host as PlainHost, Isolate, Setting, Wanted, conformance};
    use tepui_types::Ranges;

    use super::*;
    use crate::{DiskQuota, auto};

    /// An isolator that is built in, as a plugin would be one.
    struct BuiltIn(Box<dyn Isolator>);

    impl Isolate for BuiltIn {
        fn probe(&mut self, host: &PlainHost) -> Result<(), String> {
            let has = |one: &Controller| host.controllers.iter().any(|name| name == one.name());
            self.0.probe(&Host {
                runs: if host.units { Runs::Units } else { Runs::Processes },
                controllers: Controller::ALL.into_iter().filter(has).collect(),
                is_root: host.root,
                work_dir: "/proc".into(),
                disk: DiskQuota { projects: Ranges::new(), enforced: false, slack: 0 },
                device_rules: Ok(()),
            })
        }

        fn prepare(&mut self, wanted: &Wanted) -> Setting {
            let limits = Limits {
                cpu_milli: wanted.cpu_milli,
                cpu_quota_milli: wanted.cpu_quota_milli,
                processors: wanted.processors.clone(),
                memory_limit: wanted.memory_bytes,
                processes: wanted.processes,
                io_weight: wanted.io_weight,
                ..Limits::default()
            };
            let mut confinement = Confinement::default();
            self.0.prepare_run(&wanted.run, &limits, &mut confinement);
            Setting {
                cpu_milli: confinement.ceiling.cpu_milli,
                cpu_quota_milli: confinement.ceiling.cpu_quota_milli,
                processors: confinement.ceiling.processors,
                memory_bytes: confinement.ceiling.memory_bytes,
                processes: confinement.ceiling.processes,
                io_weight: confinement.ceiling.io_weight,
            }
        }

        fn clean_up(&mut self, run: &str) {
            self.0.clean_up(Path::new(run));
        }
    }

    #[test]
    fn the_isolators_that_are_built_in_keep_what_every_plugin_promises() {
        for at in 0..auto::all().len() {
            conformance::isolator(|| BuiltIn(auto::all().swap_remove(at)));
        }
    }

    #[test]
    fn a_plugin_sets_what_it_says_and_leaves_the_rest() {
        let mut into = Confinement::default();
        into.ceiling.memory_bytes = Some(5);
        into.ceiling.processors = Some("0".into());
        let setting = plain::Setting { cpu_milli: Some(7), ..plain::Setting::default() };
        set(setting, &mut into);
        let ceiling = &into.ceiling;
        assert_eq!((ceiling.memory_bytes, ceiling.cpu_milli), (Some(5), Some(7)));
        assert_eq!(ceiling.processors.as_deref(), Some("0"));
    }
}
