//! Scalar amounts by kind of resource, and the dominant share made of them.

use smallvec::SmallVec;
use tepui_types::{ResourceName, Resources};

/// The kinds of scalar resources ever seen, each with a small number.
#[derive(Debug, Default)]
pub(super) struct Kinds(Vec<ResourceName>);

/// Thousandths of each kind, indexed by the kind's number; missing at the end means none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Amounts(SmallVec<[u64; 4]>);

impl Kinds {
    fn number(&mut self, name: &ResourceName) -> usize {
        if let Some(at) = self.0.iter().position(|known| known == name) {
            return at;
        }
        self.0.push(name.clone());
        self.0.len() - 1
    }

    /// The scalar amounts of a bundle, over all reservations, revocable ones included
    /// (`spec/mesos-http.md` 8.5, "DRF sorter").
    pub(super) fn amounts(&mut self, resources: &Resources) -> Amounts {
        let mut amounts = Amounts::default();
        for (identity, amount) in resources.scalars() {
            let at = self.number(&identity.name);
            if amounts.0.len() <= at {
                amounts.0.resize(at + 1, 0);
            }
            amounts.0[at] = amounts.0[at].saturating_add(amount.as_milli());
        }
        amounts
    }
}

impl Amounts {
    pub(super) fn add(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.saturating_sub(*theirs);
        }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|amount| *amount == 0)
    }

    /// The largest part of the cluster's `totals` that this is of any kind, divided by the weight
    /// (in thousandths). As bits: non-negative floating numbers order like their bits. Shares are
    /// only compared, never added up, so that the books stay in integers.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn dominant_share(&self, totals: &Self, weight: u64) -> u64 {
        let mut share = 0.0_f64;
        for (mine, total) in self.0.iter().zip(&totals.0) {
            if *mine > 0 && *total > 0 {
                share = share.max(*mine as f64 / *total as f64);
            }
        }
        (share * 1000.0 / weight.max(1) as f64).to_bits()
    }
}
