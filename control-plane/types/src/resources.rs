use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::{Ranges, Role, Scalar};

/// The name of a kind of resource. The ones every agent has are spelled out; others are text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceName {
    /// Processors.
    Cpus,
    /// Whole accelerators.
    Gpus,
    /// Memory in megabytes (2^20 bytes).
    Mem,
    /// Sandbox space in megabytes (2^20 bytes).
    Disk,
    /// Host ports.
    Ports,
    /// Whatever else an operator declares.
    Other(Arc<str>),
}

impl ResourceName {
    /// The name that this text means.
    pub fn new(text: &str) -> Self {
        match text {
            "cpus" => Self::Cpus,
            "gpus" => Self::Gpus,
            "mem" => Self::Mem,
            "disk" => Self::Disk,
            "ports" => Self::Ports,
            other => Self::Other(other.into()),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Cpus => "cpus",
            Self::Gpus => "gpus",
            Self::Mem => "mem",
            Self::Disk => "disk",
            Self::Ports => "ports",
            Self::Other(text) => text,
        }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a reservation came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReservationKind {
    /// By the agent's configuration; for good.
    Static,
    /// By an operation; can be undone.
    Dynamic,
}

/// One level of a resource's reservation stack (`spec/mesos-http.md` 8.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reservation {
    /// How it came about.
    pub kind: ReservationKind,
    /// Who may use the resource: this role and the roles below it.
    pub role: Role,
    /// Who reserved it.
    pub principal: Option<Arc<str>>,
    /// Labels in the order given: name and optional value.
    pub labels: Vec<(Arc<str>, Option<Arc<str>>)>,
}

/// What makes two resources addable: everything but the amount (`spec/mesos-http.md` 8.6).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// The kind of resource.
    pub name: ResourceName,
    /// Reservations from the outermost role inwards; empty when anyone may use it.
    pub reservations: Arc<[Reservation]>,
    /// May be taken back at any time.
    pub revocable: bool,
}

impl Identity {
    /// An unreserved, ordinary resource.
    pub fn unreserved(name: ResourceName) -> Self {
        Self { name, reservations: Arc::default(), revocable: false }
    }

    /// The role that the resource is reserved to; `None` when anyone may use it.
    pub fn reserved_to(&self) -> Option<&Role> {
        self.reservations.last().map(|r| &r.role)
    }

    /// True when a framework in `role` may use it: unreserved, or reserved to the role or one
    /// above it.
    pub fn is_usable_by(&self, role: &Role) -> bool {
        self.reserved_to().is_none_or(|owner| role.is_within(owner))
    }
}

/// An amount: a scalar, a set of numbers, or a set of names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// Thousandths.
    Scalar(Scalar),
    /// Numbers, such as ports.
    Ranges(Ranges),
    /// Names.
    Set(BTreeSet<Arc<str>>),
}

impl Value {
    /// True for nothing.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Scalar(amount) => amount.is_zero(),
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(items) => items.is_empty(),
        }
    }

    fn add(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => *a = a.saturating_add(*b),
            (Self::Ranges(a), Self::Ranges(b)) => *a = a.union(b),
            (Self::Set(a), Self::Set(b)) => a.extend(b.iter().cloned()),
            _ => return false,
        }
        true
    }

    fn subtract(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => *a = a.saturating_sub(*b),
            (Self::Ranges(a), Self::Ranges(b)) => *a = a.difference(b),
            (Self::Set(a), Self::Set(b)) => a.retain(|item| !b.contains(item)),
            _ => {}
        }
    }

    fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => a >= b,
            (Self::Ranges(a), Self::Ranges(b)) => a.contains_all(b),
            (Self::Set(a), Self::Set(b)) => b.is_subset(a),
            _ => false,
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ranges(a), Self::Ranges(b)) => a.overlaps(b),
            (Self::Set(a), Self::Set(b)) => !a.is_disjoint(b),
            _ => false,
        }
    }
}

/// One entry of [`Resources`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// What it is and who may use it.
    pub identity: Identity,
    /// How much.
    pub value: Value,
}

impl Resource {
    /// An unreserved scalar.
    pub fn scalar(name: ResourceName, amount: Scalar) -> Self {
        Self { identity: Identity::unreserved(name), value: Value::Scalar(amount) }
    }

    /// Unreserved ranges.
    pub fn ranges(name: ResourceName, ranges: Ranges) -> Self {
        Self { identity: Identity::unreserved(name), value: Value::Ranges(ranges) }
    }
}

/// A bundle of resources: one entry per identity, sorted, none empty. The role that a bundle is
/// allocated to is kept beside it (in the offer, the task), never in it.
///
/// Copies share one list until one of them changes: bundles are passed on far more often than
/// they change, and thousands of agents have the same total.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Resources(Option<Arc<Entries>>);

/// Sorted by identity; a bundle of nothing has no list at all.
type Entries = SmallVec<[Resource; 4]>;

impl Resources {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// True for nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn entries(&self) -> &[Resource] {
        self.0.as_deref().map_or(&[], SmallVec::as_slice)
    }

    fn entries_mut(&mut self) -> &mut Entries {
        Arc::make_mut(self.0.get_or_insert_with(Arc::default))
    }

    /// The entries, sorted by identity.
    pub fn iter(&self) -> std::slice::Iter<'_, Resource> {
        self.entries().iter()
    }

    /// True when both are one shared list.
    fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            (None, None) => true,
            _ => false,
        }
    }

    fn position(&self, identity: &Identity) -> Result<usize, usize> {
        self.entries().binary_search_by(|entry| entry.identity.cmp(identity))
    }

    /// Puts one entry in. An entry of the same identity but another type of value is refused:
    /// `false`, and nothing changes. Ranges and sets are united, so the caller sees to it that
    /// they were apart (see [`Resources::overlaps`]).
    pub fn add(&mut self, resource: &Resource) -> bool {
        if resource.value.is_empty() {
            return true;
        }
        match self.position(&resource.identity) {
            Ok(at) => self.entries_mut()[at].value.add(&resource.value),
            Err(at) => {
                self.entries_mut().insert(at, resource.clone());
                true
            }
        }
    }

    /// Puts all of `other` in, as [`Resources::add`] does each.
    pub fn add_all(&mut self, other: &Self) {
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        for resource in other {
            self.add(resource);
        }
    }

    /// The sum.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.add_all(other);
        sum
    }

    /// True when all of `other` is inside.
    pub fn contains(&self, other: &Self) -> bool {
        self.is_same(other)
            || other.iter().all(|entry| {
                self.position(&entry.identity)
                    .is_ok_and(|at| self.entries()[at].value.contains(&entry.value))
            })
    }

    /// Takes `other` out when all of it is inside; else changes nothing and says `false`.
    #[must_use]
    pub fn checked_remove(&mut self, other: &Self) -> bool {
        let inside = self.contains(other);
        if inside {
            self.remove(other);
        }
        inside
    }

    /// Takes out whatever of `other` is inside.
    pub fn remove(&mut self, other: &Self) {
        if self.is_same(other) {
            self.0 = None;
            return;
        }
        for entry in other {
            if let Ok(at) = self.position(&entry.identity) {
                let entries = self.entries_mut();
                entries[at].value.subtract(&entry.value);
                if entries[at].value.is_empty() {
                    entries.remove(at);
                }
                if entries.is_empty() {
                    self.0 = None;
                    return;
                }
            }
        }
    }

    /// What is here and not in `other`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        if self.is_same(other) {
            return Self::new();
        }
        let mut rest = Entries::new();
        for entry in self {
            let Ok(at) = other.position(&entry.identity) else {
                rest.push(entry.clone());
                continue;
            };
            let mut value = entry.value.clone();
            value.subtract(&other.entries()[at].value);
            if !value.is_empty() {
                rest.push(Resource { identity: entry.identity.clone(), value });
            }
        }
        Self((!rest.is_empty()).then(|| Arc::new(rest)))
    }

    /// True when a number or a name is in both under the same identity: they cannot both be
    /// allocated.
    pub fn overlaps(&self, other: &Self) -> bool {
        other.iter().any(|entry| {
            self.position(&entry.identity)
                .is_ok_and(|at| self.entries()[at].value.overlaps(&entry.value))
        })
    }

    /// The entries that pass `keep`.
    #[must_use]
    pub fn filter(&self, mut keep: impl FnMut(&Resource) -> bool) -> Self {
        let kept: Entries = self.iter().filter(|r| keep(r)).cloned().collect();
        if kept.len() == self.entries().len() {
            return self.clone();
        }
        Self((!kept.is_empty()).then(|| Arc::new(kept)))
    }

    /// What a framework in `role` may use: unreserved, or reserved to the role or one above it.
    #[must_use]
    pub fn usable_by(&self, role: &Role) -> Self {
        self.filter(|r| r.identity.is_usable_by(role))
    }

    /// The sum of a scalar over all reservations; revocable ones included.
    pub fn scalar(&self, name: &ResourceName) -> Scalar {
        self.iter().filter(|r| r.identity.name == *name).fold(Scalar::ZERO, |sum, r| {
            match &r.value {
                Value::Scalar(amount) => sum.saturating_add(*amount),
                _ => sum,
            }
        })
    }

    /// Processors.
    pub fn cpus(&self) -> Scalar {
        self.scalar(&ResourceName::Cpus)
    }

    /// Memory in megabytes.
    pub fn mem(&self) -> Scalar {
        self.scalar(&ResourceName::Mem)
    }

    /// Sandbox space in megabytes.
    pub fn disk(&self) -> Scalar {
        self.scalar(&ResourceName::Disk)
    }

    /// Accelerators.
    pub fn gpus(&self) -> Scalar {
        self.scalar(&ResourceName::Gpus)
    }

    /// All ports over all reservations.
    pub fn ports(&self) -> Ranges {
        self.iter().filter(|r| r.identity.name == ResourceName::Ports).fold(
            Ranges::new(),
            |all, r| match &r.value {
                Value::Ranges(ranges) => all.union(ranges),
                _ => all,
            },
        )
    }

    /// Every scalar entry: its identity and amount.
    pub fn scalars(&self) -> impl Iterator<Item = (&Identity, Scalar)> {
        self.iter().filter_map(|r| match &r.value {
            Value::Scalar(amount) => Some((&r.identity, *amount)),
            _ => None,
        })
    }
}

impl FromIterator<Resource> for Resources {
    fn from_iter<T: IntoIterator<Item = Resource>>(entries: T) -> Self {
        let mut all = Self::new();
        for entry in entries {
            all.add(&entry);
        }
        all
    }
}

impl<'a> IntoIterator for &'a Resources {
    type Item = &'a Resource;
    type IntoIter = std::slice::Iter<'a, Resource>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Resources {
    /// `cpus:4;mem:1024;ports:[31000-32000]`, reservations as `cpus(role):4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Resource { identity, value }) in self.iter().enumerate() {
            let semicolon = if i == 0 { "" } else { ";" };
            write!(f, "{semicolon}{}", identity.name)?;
            if let Some(role) = identity.reserved_to() {
                write!(f, "({role})")?;
            }
            if identity.revocable {
                f.write_str("{REV}")?;
            }
            match value {
                Value::Scalar(amount) => write!(f, ":{amount}")?,
                Value::Ranges(ranges) => write!(f, ":{ranges}")?,
                Value::Set(items) => {
                    let items: Vec<&str> = items.iter().map(|item| &**item).collect();
                    write!(f, ":{{{}}}", items.join(","))?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bundle(cpus: u64, mem: u64, ports: &BTreeSet<u64>) -> Resources {
        [
            Resource::scalar(ResourceName::Cpus, Scalar::from_milli(cpus)),
            Resource::scalar(ResourceName::Mem, Scalar::from_milli(mem)),
            Resource::ranges(ResourceName::Ports, ports.iter().copied().collect()),
        ]
        .into_iter()
        .collect()
    }

    proptest! {
        #[test]
        fn what_is_put_in_can_be_taken_out(
            a in (0_u64..50, 0_u64..50, prop::collection::btree_set(0_u64..20, 0..9)),
            b in (0_u64..50, 0_u64..50, prop::collection::btree_set(20_u64..40, 0..9)),
        ) {
            let (x, y) = (bundle(a.0, a.1, &a.2), bundle(b.0, b.1, &b.2));
            let mut sum = x.plus(&y);
            prop_assert!(sum.contains(&x) && sum.contains(&y));
            prop_assert!(sum.checked_remove(&y));
            prop_assert_eq!(&sum, &x);
            prop_assert_eq!(sum.contains(&y), b.0 <= a.0 && b.1 <= a.1 && b.2.is_empty());
        }
    }

    #[test]
    fn an_entry_reserved_to_a_role_is_usable_below_it_only() {
        let role = |text| Role::parse(text).unwrap();
        let identity = Identity {
            name: ResourceName::Cpus,
            reservations: [Reservation {
                kind: ReservationKind::Static,
                role: role("eng"),
                principal: None,
                labels: vec![],
            }]
            .into(),
            revocable: false,
        };
        let all: Resources = [
            Resource { identity, value: Value::Scalar(Scalar::from_units(2)) },
            Resource::scalar(ResourceName::Cpus, Scalar::from_units(1)),
        ]
        .into_iter()
        .collect();
        assert_eq!(all.usable_by(&role("eng/web")).cpus(), Scalar::from_units(3));
        assert_eq!(all.usable_by(&role("ops")).cpus(), Scalar::from_units(1));
        assert_eq!(all.to_string(), "cpus:1;cpus(eng):2");
    }

    #[test]
    fn two_types_of_value_under_one_identity_are_refused() {
        let mut all: Resources =
            [Resource::scalar(ResourceName::Cpus, Scalar::from_units(1))].into_iter().collect();
        assert!(!all.add(&Resource::ranges(ResourceName::Cpus, Ranges::single(1))));
        assert_eq!(all.to_string(), "cpus:1");
    }
}
