//! The isolators of one agent.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tepui_agent::Limits;
use tepui_agent::limits::{DEVICES, Isolation};
use tepui_launch::{Ceiling, Confinement};
use tepui_plugin_host::Shelf;

use crate::auto;
use crate::cgroups;
use crate::mesos::{self, Meaning};
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
    /// Mesos has it and this agent has not.
    #[error("isolation names '{name}', which this agent does not have: {instead}; leave it out")]
    Absent {
        /// The name.
        name: String,
        /// What there is instead.
        instead: &'static str,
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

impl NotHere {
    fn unknown(name: &str, all: &[Box<dyn Isolator>], why: impl ToString) -> Self {
        let known: Vec<_> = all.iter().map(|one| one.name()).collect();
        Self::Unknown { name: name.to_owned(), known: known.join(", "), plugin: why.to_string() }
    }
}

/// What the operator wants in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Everything built in that the host can do.
    pub auto: bool,
    /// These: built in, or plugins. They must be possible.
    pub named: BTreeSet<String>,
    /// These too, where the host can do them.
    pub if_possible: BTreeSet<String>,
}

impl Default for Wish {
    fn default() -> Self {
        Self { auto: true, named: BTreeSet::new(), if_possible: BTreeSet::new() }
    }
}

impl Wish {
    /// Reads `--isolation`: names with commas. `auto` among them is everything that is built in and
    /// possible, Mesos's `cgroups/all` every controller that the host has, and its former names stand
    /// for today's.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut wish = Self { auto: false, ..Self::default() };
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match (name, mesos::stands_for(name)) {
                ("auto", _) => wish.auto = true,
                (mesos::ALL_GROUPS, _) => {
                    wish.if_possible.extend(cgroups::NAMES.map(str::to_owned))
                }
                (_, Some(others)) => wish.named.extend(others.iter().map(|&one| one.to_owned())),
                (_, None) => {
                    wish.named.insert(name.to_owned());
                }
            }
        }
        wish
    }

    /// The operator left this one out.
    #[must_use]
    pub fn leaves_out(&self, name: &str) -> bool {
        !self.auto && !self.asks_for(name)
    }

    /// The operator named this one, or all of its kind.
    #[must_use]
    pub fn asks_for(&self, name: &str) -> bool {
        self.named.contains(name) || self.if_possible.contains(name)
    }

    /// What can be known without a host: that every name is built in, or could be a plugin's.
    ///
    /// # Errors
    ///
    /// [`NotHere`], as [`Isolators::probe`] would say it.
    pub fn check(&self, shelf: &Shelf) -> Result<(), NotHere> {
        let all = auto::all();
        for name in &self.named {
            let Err(why) = shelf.check_name(name) else { continue };
            match mesos::meaning(name) {
                Some(Meaning::Absent(instead)) => {
                    return Err(NotHere::Absent { name: name.clone(), instead });
                }
                None if all.iter().all(|one| one.name() != name) => {
                    return Err(NotHere::unknown(name, &all, why));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Those that were named and are plugins: neither built in nor in force in any case.
    pub fn plugins(&self) -> impl Iterator<Item = &str> {
        let built_in = auto::all();
        let is_plugin = move |name: &&str| {
            let is_known = matches!(mesos::meaning(name), Some(Meaning::Always(_) | Meaning::Here));
            !is_known && built_in.iter().all(|one| one.name() != *name)
        };
        self.named.iter().map(String::as_str).filter(is_plugin)
    }

    /// Mesos's `linux/nnp` was named.
    #[must_use]
    pub fn no_new_privileges(&self) -> bool {
        self.named.contains(mesos::NO_NEW_PRIVILEGES)
    }
}

/// The isolators that are in force, and why others are not.
#[derive(Debug)]
pub struct Isolators {
    in_force: Vec<Box<dyn Isolator>>,
    isolation: Isolation,
    always: Vec<(String, &'static str)>,
}

impl Isolators {
    /// Probes the host.
    ///
    /// # Errors
    ///
    /// [`NotHere`] when something was named that cannot be.
    pub fn probe(host: &Host, wish: &Wish, plugins: &Plugged) -> Result<Self, NotHere> {
        let mut all = auto::all();
        let mut always = Vec::new();
        for name in &wish.named {
            if all.iter().any(|one| one.name() == name) {
                continue;
            }
            let meaning = mesos::meaning(name);
            if let Some(Meaning::Always(how)) = meaning {
                always.push((name.clone(), how));
                continue;
            }
            match (plugins.open(name), meaning) {
                (Ok(one), _) => all.push(Box::new(one)),
                (Err(_), Some(Meaning::Absent(instead))) => {
                    return Err(NotHere::Absent { name: name.clone(), instead });
                }
                (Err(why), _) => return Err(NotHere::unknown(name, &all, why)),
            }
        }
        Ok(Self { always, ..Self::choose(all, host, wish)? })
    }

    fn choose(all: Vec<Box<dyn Isolator>>, host: &Host, wish: &Wish) -> Result<Self, NotHere> {
        let isolation = Isolation::default();
        let mut isolators = Self { in_force: Vec::new(), isolation, always: Vec::new() };
        for one in all {
            let name = one.name();
            let named = wish.named.contains(name);
            let by_itself = wish.auto && !BY_NAME_ONLY.contains(&name);
            let wanted = wish.asks_for(name) || by_itself;
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

    /// What the operator named though it is in force in any case, and how.
    #[must_use]
    pub fn always(&self) -> &[(String, &'static str)] {
        &self.always
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

    /// Bytes that a sandbox holds together with what is below `also`, which need not be there; `None`
    /// when nobody counts them.
    ///
    /// # Errors
    ///
    /// What the file system answers.
    pub fn disk_usage(&self, sandbox: &Path, also: &Path) -> io::Result<Option<u64>> {
        for isolator in &self.in_force {
            if let Some(bytes) = isolator.disk_usage(sandbox, also)? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// Nobody will ask for the disk usage of a sandbox any more: its run is over.
    pub fn let_go(&self, sandbox: &Path) {
        self.in_force.iter().for_each(|isolator| isolator.let_go(sandbox));
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
        let (controllers, device_rules) = (controllers.to_vec(), Ok(()));
        Host { runs, controllers, is_root: true, work_dir, disk, device_rules }
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
    fn a_name_that_nothing_can_have_is_refused_without_a_host() {
        let check = |text: &str, shelf: &Shelf| Wish::read(text).check(shelf);
        let none = Shelf::default();
        for right in ["auto", "cgroups/all", "cgroups/cpu,cgroups/mem,linux/nnp", "auto,disk/du"] {
            assert!(check(right, &none).is_ok(), "{right}");
        }
        let why = check("auto,numma", &none).unwrap_err().to_string();
        assert!(why.starts_with("isolation names 'numma', and this agent has "), "{why}");
        assert!(why.contains("plugin_dir says in which folder plugins are"), "{why}");
        let shelf = Shelf::new(Some("/plugins".into()), Default::default()).unwrap();
        assert!(check("auto,numma", &shelf).is_ok(), "it may be there on the host");
        assert!(matches!(check("cgroups/net_cls", &shelf), Err(NotHere::Absent { .. })));
    }

    #[test]
    fn what_was_named_and_is_not_built_in_is_a_plugin() {
        let plugins =
            |text: &str| -> Vec<String> { Wish::read(text).plugins().map(str::to_owned).collect() };
        let named = "auto,numa,cgroups/cpu,disk/du,docker/runtime,linux/nnp,mine";
        assert_eq!(plugins(named), ["mine", "numa"]);
        assert!(plugins("cgroups/all").is_empty());
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
        let named = |names: &[&str]| Wish::read(&names.join(","));
        let units = host(Runs::Units, &[Controller::Cpu]);
        let some = probe(&units, &named(&[CPU, DEVICES])).unwrap();
        assert_eq!(some.isolation().lacks(CPU), None);
        assert!(some.isolation().lacks(SECCOMP).unwrap().contains("--isolation"));
        let error = probe(&units, &named(&[MEM])).unwrap_err();
        assert!(error.to_string().contains("cgroups/mem"), "{error}");
        let error = probe(&units, &named(&["no/such"])).unwrap_err();
        assert!(error.to_string().contains("posix/cpu"), "{error}");
        assert!(error.to_string().contains("plugin no/such: there are none"), "{error}");
        let both = probe(&units, &named(&["auto", DEVICES])).unwrap();
        assert_eq!((both.isolation().lacks(CPU), both.isolation().lacks(DEVICES)), (None, None));
    }

    /// The configurations of Mesos's agents that its documentation, DC/OS and packages have.
    #[test]
    fn configurations_of_mesos_are_taken_as_they_are() {
        let units = host(Runs::Units, &Controller::ALL);
        let probe = |text: &str| probe(&units, &Wish::read(text));
        let dcos = "cgroups/cpu,cgroups/mem,cgroups/blkio,disk/du,network/cni,filesystem/linux,\
                    docker/runtime,volume/sandbox_path,volume/secret,posix/rlimits,\
                    linux/capabilities,environment_secret,volume/host_path,volume/image,\
                    network/ports,namespaces/ipc,linux/nnp";
        let found = probe(dcos).unwrap();
        let said: Vec<_> = found.always().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            said,
            [
                "docker/runtime",
                "environment_secret",
                "filesystem/linux",
                "linux/nnp",
                "network/cni",
                "network/ports",
                "volume/host_path",
                "volume/image",
                "volume/sandbox_path",
                "volume/secret"
            ]
        );
        assert!(found.names().all(|name| !said.contains(&&**name)));
        let names =
            |text: &str| probe(text).unwrap().names().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names("posix/cpu, posix/mem,filesystem/posix"), ["posix/cpu", "posix/mem"]);
        assert_eq!(names("process,posix/disk"), ["disk/du", "posix/cpu", "posix/mem"]);
        assert_eq!(names("cgroups"), ["cgroups/cpu", "cgroups/mem"]);
        assert!(Wish::read(dcos).no_new_privileges() && !Wish::read("cgroups").no_new_privileges());
    }

    #[test]
    fn all_control_groups_are_those_that_the_host_has() {
        let some = host(Runs::Units, &[Controller::Cpu, Controller::Pids]);
        let found = probe(&some, &Wish::read("cgroups/all")).unwrap();
        let names: Vec<_> = found.names().map(AsRef::as_ref).collect();
        assert_eq!(names, ["cgroups/cpu", "cgroups/devices", "cgroups/pids"]);
        assert!(!Wish::read("cgroups/all").leaves_out(MEM));
    }

    #[test]
    fn what_mesos_has_and_this_agent_has_not_is_refused_with_what_there_is_instead() {
        let units = host(Runs::Units, &Controller::ALL);
        for (name, instead) in [
            ("gpu/nvidia", "parameter 'device'"),
            ("docker/volume", "host_path"),
            ("network/port_mapping", "BRIDGE"),
            ("cgroups/net_cls", "nftables"),
            ("windows/cpu", "Linux"),
        ] {
            let error = probe(&units, &Wish::read(name)).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(instead), "{error}");
        }
        let error = probe(&units, &Wish::read("namespaces/pid")).unwrap_err().to_string();
        assert!(error.contains("container.linux_info"), "{error}");
    }
}
