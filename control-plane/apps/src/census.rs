//! How many instances of an app are in which state, kept up to date change by change.

use std::collections::{BTreeMap, BTreeSet};

use tepui_marathon::{InstanceId, Version};

use crate::instance::Instance;

/// What decisions about whole apps want to know of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::struct_excessive_bools, reason = "a key of totals; each is one question")]
pub(crate) struct Traits {
    /// Of the definition it runs.
    pub(crate) version: Version,
    pub(crate) wants_to_run: bool,
    pub(crate) counts: bool,
    pub(crate) waiting: bool,
    pub(crate) launching: bool,
    pub(crate) healthy: bool,
    pub(crate) may_be_healthy: bool,
    pub(crate) serving: bool,
}

impl Traits {
    pub(crate) fn of(instance: &Instance) -> Self {
        Self {
            version: instance.version(),
            wants_to_run: instance.wants_to_run(),
            counts: instance.counts(),
            waiting: instance.is_waiting(),
            launching: instance.condition().is_launching(),
            healthy: instance.is_healthy(),
            may_be_healthy: instance.may_be_healthy(),
            serving: instance.is_serving(),
        }
    }
}

/// The totals of one app.
#[derive(Debug, Default)]
pub(crate) struct Census {
    groups: BTreeMap<Traits, u32>,
    waiting: BTreeSet<InstanceId>,
    /// Ticket of the instance that began to wait last.
    last_wait: u64,
}

impl Census {
    /// An instance is now counted as `after`, no longer as `before`. One that begins to wait takes
    /// the next ticket.
    pub(crate) fn change(
        &mut self,
        id: &InstanceId,
        before: Option<Traits>,
        after: Option<Traits>,
        tickets: &mut u64,
    ) {
        if let Some(before) = before
            && let Some(count) = self.groups.get_mut(&before)
        {
            *count -= 1;
            if *count == 0 {
                self.groups.remove(&before);
            }
        }
        if let Some(after) = after {
            *self.groups.entry(after).or_default() += 1;
        }
        let (was, is) = (before.is_some_and(|t| t.waiting), after.is_some_and(|t| t.waiting));
        if is && !was {
            self.waiting.insert(id.clone());
            *tickets += 1;
            self.last_wait = *tickets;
        } else if was && !is {
            self.waiting.remove(id);
        }
    }

    /// How many instances are such.
    pub(crate) fn count(&self, such: impl Fn(&Traits) -> bool) -> u32 {
        self.groups.iter().filter(|(traits, _)| such(traits)).map(|(_, count)| count).sum()
    }

    /// All kinds of instances there are, with their numbers.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&Traits, u32)> {
        self.groups.iter().map(|(traits, count)| (traits, *count))
    }

    /// Those that wait for an offer.
    pub(crate) fn waiting(&self) -> &BTreeSet<InstanceId> {
        &self.waiting
    }

    /// Changes whenever another instance of the app begins to wait for an offer.
    pub(crate) fn last_wait(&self) -> u64 {
        self.last_wait
    }
}
