//! Which programs to use, decided from facts and wishes alone.

use std::collections::BTreeSet;
use std::fmt;

use crate::catalogue::{Feature, Hook, Kind, ObjectName, PROGRAMS, Spec};
use crate::facts::{Fact, Facts};

/// Why a program is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The configuration does not want its feature.
    NotWished,
    /// There is no version 2 hierarchy.
    NoCgroup2(String),
    /// There is nowhere to pin.
    NoBpffs(String),
    /// The kernel does not load such programs.
    NoKind(Kind, String),
    /// The kernel does not describe its types.
    NoBtf(String),
    /// The kernel has no such tracepoint.
    NoTracepoint(&'static str),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWished => f.write_str("not wished"),
            Self::NoCgroup2(why) => write!(f, "no version 2 control groups: {why}"),
            Self::NoBpffs(why) => write!(f, "no BPF file system: {why}"),
            Self::NoKind(kind, why) => write!(f, "no programs of type {}: {why}", kind.word()),
            Self::NoBtf(why) => write!(f, "no type information of the kernel: {why}"),
            Self::NoTracepoint(name) => write!(f, "no tracepoint {name}"),
        }
    }
}

/// A program that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its name.
    pub program: &'static str,
    /// What it would have been for.
    pub feature: Feature,
    /// Why not.
    pub reason: Reason,
}

/// What to load and attach, and what not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Programs to use.
    pub programs: Vec<&'static Spec>,
    /// Programs left out.
    pub left_out: Vec<LeftOut>,
}

impl Plan {
    /// Whether a feature is there with all its programs.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        !self.left_out.iter().any(|left| left.feature == feature)
            && self.programs.iter().any(|spec| spec.feature == feature)
    }

    /// Objects that have a program to load.
    pub(crate) fn objects(&self) -> BTreeSet<ObjectName> {
        self.programs.iter().map(|spec| spec.object).collect()
    }
}

/// Chooses programs. Port enforcement is whole or absent: half of it would look like all of it.
#[must_use]
pub fn plan(facts: &Facts, wishes: &BTreeSet<Feature>) -> Plan {
    let mut plan = Plan::default();
    for spec in PROGRAMS {
        match obstacle(facts, wishes, spec) {
            None => plan.programs.push(spec),
            Some(reason) => {
                plan.left_out.push(LeftOut { program: spec.name, feature: spec.feature, reason })
            }
        }
    }
    if !plan.has(Feature::Ports) {
        plan.programs.retain(|spec| spec.feature != Feature::Ports);
    }
    plan
}

fn obstacle(facts: &Facts, wishes: &BTreeSet<Feature>, spec: &Spec) -> Option<Reason> {
    if !wishes.contains(&spec.feature) {
        return Some(Reason::NotWished);
    }
    if let Fact::No(why) = &facts.cgroup2 {
        return Some(Reason::NoCgroup2(why.clone()));
    }
    if let Fact::No(why) = &facts.bpffs {
        return Some(Reason::NoBpffs(why.clone()));
    }
    match facts.kinds.get(&spec.kind) {
        Some(Fact::Yes) => {}
        Some(Fact::No(why)) => return Some(Reason::NoKind(spec.kind, why.clone())),
        None => return Some(Reason::NoKind(spec.kind, "not probed".to_owned())),
    }
    let Hook::Tracepoint(name) = spec.hook else { return None };
    if let Fact::No(why) = &facts.btf {
        return Some(Reason::NoBtf(why.clone()));
    }
    (!facts.tracepoints.contains(name)).then_some(Reason::NoTracepoint(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Facts {
        Facts {
            cgroup2: Fact::Yes,
            bpffs: Fact::Yes,
            btf: Fact::Yes,
            kinds: Kind::ALL.iter().map(|kind| (*kind, Fact::Yes)).collect(),
            tracepoints: PROGRAMS
                .iter()
                .filter_map(|spec| match spec.hook {
                    Hook::Tracepoint(name) => Some(name),
                    Hook::RootGroup => None,
                })
                .collect(),
        }
    }

    fn all() -> BTreeSet<Feature> {
        Feature::ALL.iter().copied().collect()
    }

    #[test]
    fn a_host_with_everything_gets_everything_it_wishes() {
        let plan = plan(&full(), &all());
        assert_eq!(plan.programs.len(), PROGRAMS.len());
        assert!(Feature::ALL.iter().all(|feature| plan.has(*feature)));
    }

    #[test]
    fn what_is_not_wished_is_left_out_and_says_so() {
        let plan = plan(&full(), &BTreeSet::new());
        assert!(plan.programs.is_empty());
        assert!(plan.left_out.iter().all(|left| left.reason == Reason::NotWished));
    }

    #[test]
    fn port_enforcement_is_whole_or_absent() {
        let mut facts = full();
        facts.kinds.insert(Kind::Packet, Fact::No("no".to_owned()));
        let plan = plan(&facts, &all());
        assert!(!plan.has(Feature::Ports));
        assert!(plan.programs.iter().all(|spec| spec.feature != Feature::Ports));
    }

    #[test]
    fn a_reason_reads_like_a_sentence() {
        let reason = Reason::NoKind(Kind::Packet, "operation not permitted".to_owned());
        assert_eq!(reason.to_string(), "no programs of type cgroup_skb: operation not permitted");
    }
}
