//! The isolators of one agent.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tepui_agent::Limits;
use tepui_agent::limits::{DEVICES, Isolation};
use tepui_launch::{Ceiling, Confinement};

use crate::auto;
use crate::{Host, Isolator, Plugged};

/// Who is only in force when the operator names it: programs notice.
const BY_NAME_ONLY: [&str; 1] = [DEVICES];

/// The operator named what cannot be.
#[derive(Debug, thiserror::Error)]
pub enum NotHere {
    /// No such isolator is built in, and no plugin of that name can be used.
    #[error("isolation names '{name}', and this agent has {known}; {plugin}")]
    Unknown {
        /// The name.
        name: String,
        /// All that there are.
        known: String,
        /// Why no plugin is used instead.
        plugin: String,
    },
    /// The host cannot do it.
    #[error("isolation names '{name}', which this host cannot do: {why}")]
    Impossible {
        /// The name.
        name: String,
        /// Why.
        why: String,
    },
}

/// What the operator wants in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Everything built in that the host can do.
    pub auto: bool,
    /// These: built in, or plugins. They must be possible.
    pub named: BTreeSet<String>,
}

impl Default for Wish {
    fn default() -> Self {
        Self { auto: true, named: BTreeSet::new() }
    }
}

impl Wish {
    /// The operator left this one out.
    #[must_use]
    pub fn leaves_out(&self, name: &str) -> bool {
        !self.auto && !self.named.contains(name)
    }
}

/// The isolators that are in force, and why others are not.
#[derive(Debug)]
pub struct Isolators {
    in_force: Vec<Box<dyn Isolator>>,
    isolation: Isolation,
}

impl Isolators {
    /// Probes the host.
    ///
    /// # Errors
    ///
    /// [`NotHere`] when something was named that cannot be.
    pub fn probe(host: &Host, wish: &Wish, plugins: &Plugged) -> Result<Self, NotHere> {
        let mut all = auto::all();
        for name in &wish.named {
            if !all.iter().any(|one| one.name() == name) {
                match plugins.open(name) {
                    Ok(one) => all.push(Box::new(one)),
                    Err(why) => {
                        let known: Vec<_> = all.iter().map(|one| one.name()).collect();
                        return Err(NotHere::Unknown {
                            name: name.clone(),
                            known: known.join(", "),
                            plugin: why.to_string(),
                        });
                    }
                }
            }
        }
        Self::choose(all, host, wish)
    }

    fn choose(all: Vec<Box<dyn Isolator>>, host: &Host, wish: &Wish) -> Result<Self, NotHere> {
        let mut isolators = Self { in_force: Vec::new(), isolation: Isolation::default() };
        for one in all {
            let name = one.name();
            let named = wish.named.contains(name);
            let wanted = named || (wish.auto && !BY_NAME_ONLY.contains(&name));
            match one.probe(host) {
                Ok(()) if wanted => {
                    isolators.isolation.in_force.insert(name.into());
                    isolators.in_force.push(one);
                }
                // Why it is not in force is the operator's choice.
                Ok(()) => {}
                Err(why) if named => {
                    return Err(NotHere::Impossible { name: name.to_owned(), why });
                }
                Err(why) => {
                    isolators.isolation.missing.insert(name.into(), why.into());
                }
            }
        }
        Ok(isolators)
    }

    /// What the agent decides by.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        self.isolation.clone()
    }

    /// Names of those in force, in order.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.isolation.in_force.iter()
    }

    /// What a launcher sets for a run.
    #[must_use]
    pub fn confine(&self, run: &str, wanted: &Limits) -> Confinement {
        let mut confinement = Confinement::default();
        confinement.pace.run_time = wanted.run_time.map(Duration::from);
        confinement.pace.stop_grace = wanted.stop_grace.map(Duration::from);
        for isolator in &self.in_force {
            isolator.prepare_run(run, wanted, &mut confinement);
        }
        confinement
    }

    /// What a launcher sets anew for a run whose limits changed.
    #[must_use]
    pub fn ceiling(&self, run: &str, wanted: &Limits) -> Ceiling {
        self.confine(run, wanted).ceiling
    }

    /// Holds a sandbox to so many bytes, where somebody can.
    ///
    /// # Errors
    ///
    /// What the file system answers, or that there is no room for another one.
    pub fn hold_disk(&self, sandbox: &Path, limit: Option<u64>) -> io::Result<()> {
        self.in_force.iter().try_for_each(|isolator| isolator.hold_disk(sandbox, limit))
    }

    /// What is written below another, empty folder counts as written into the sandbox.
    ///
    /// # Errors
    ///
    /// What the file system answers.
    pub fn count_disk(&self, sandbox: &Path, also: &Path) -> io::Result<()> {
        self.in_force.iter().try_for_each(|isolator| isolator.count_disk(sandbox, also))
    }

    /// Bytes that a sandbox holds; `None` when nobody counts them.
    ///
    /// # Errors
    ///
    /// What the file system answers.
    pub fn disk_usage(&self, sandbox: &Path) -> io::Result<Option<u64>> {
        for isolator in &self.in_force {
            if let Some(bytes) = isolator.disk_usage(sandbox)? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// Takes back what was done for a sandbox that is about to be removed.
    pub fn clean_up(&self, sandbox: &Path) {
        self.in_force.iter().for_each(|isolator| isolator.clean_up(sandbox));
    }
}

#[cfg(test)]
mod tests {
    use tepui_agent::limits::{CPU, DISK_EXT4, MEM, NOTIFY, PID, SECCOMP};
    use tepui_cgroup::Controller;
    use tepui_types::{Ranges, Span};

    use super::*;
    use crate::{DiskQuota, Runs};

    fn host(runs: Runs, controllers: &[Controller]) -> Host {
        let disk = DiskQuota { projects: Ranges::new(), enforced: false, slack: 0 };
        let work_dir = "/proc".into();
        Host { runs, controllers: controllers.to_vec(), is_root: true, work_dir, disk }
    }

    fn probe(host: &Host, wish: &Wish) -> Result<Isolators, NotHere> {
        Isolators::probe(host, wish, &Plugged::none())
    }

    fn limits() -> Limits {
        Limits {
            cpu_milli: Some(500),
            memory_limit: Some(40 << 20),
            watchdog: Some(Span::from_secs(7)),
            run_time: Some(Span::from_secs(9)),
            ..Limits::default()
        }
    }

    #[test]
    fn what_a_host_lacks_is_named_with_its_reason_and_never_set() {
        let bare = probe(&host(Runs::Processes, &[]), &Wish::default()).unwrap();
        let isolation = bare.isolation();
        assert!(isolation.lacks(MEM).unwrap().contains("'memory'"));
        assert!(isolation.lacks(NOTIFY).unwrap().contains("units"));
        assert!(isolation.lacks(PID).is_some());
        assert!(isolation.lacks(DISK_EXT4).unwrap().contains("/proc is not on ext4"));
        assert_eq!(isolation.lacks("posix/mem"), None);
        let confinement = bare.confine("r", &limits());
        assert_eq!(confinement.ceiling, Ceiling::default());
        assert_eq!(confinement.pace.watchdog, None);
        assert_eq!(confinement.pace.run_time, Some(Duration::from_secs(9)));
    }

    #[test]
    fn what_a_host_can_do_is_in_force() {
        let all = probe(&host(Runs::Units, &Controller::ALL), &Wish::default()).unwrap();
        let confinement = all.confine("r", &limits());
        assert_eq!(confinement.ceiling.memory_bytes, Some(40 << 20));
        assert_eq!(confinement.ceiling.cpu_milli, Some(500));
        assert_eq!(confinement.pace.watchdog, Some(Duration::from_secs(7)));
        assert!(all.isolation().lacks(DEVICES).is_some(), "only when it is named");
    }

    #[test]
    fn an_operator_who_names_isolators_gets_these_or_an_error() {
        let named = |names: &[&str]| Wish {
            auto: false,
            named: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let units = host(Runs::Units, &[Controller::Cpu]);
        let some = probe(&units, &named(&[CPU, DEVICES])).unwrap();
        assert_eq!(some.isolation().lacks(CPU), None);
        assert!(some.isolation().lacks(SECCOMP).unwrap().contains("--isolation"));
        let error = probe(&units, &named(&[MEM])).unwrap_err();
        assert!(error.to_string().contains("cgroups/mem"), "{error}");
        let error = probe(&units, &named(&["no/such"])).unwrap_err();
        assert!(error.to_string().contains("posix/cpu"), "{error}");
        assert!(error.to_string().contains("plugin no/such: there are none"), "{error}");
        let both = Wish { auto: true, named: [DEVICES.to_owned()].into() };
        let both = probe(&units, &both).unwrap();
        assert_eq!((both.isolation().lacks(CPU), both.isolation().lacks(DEVICES)), (None, None));
    }
}
