//! Numbers of each app at a moment, for metrics.

use std::collections::BTreeMap;

use tepui_marathon::{AppId, RejectReason};
use tepui_types::{Now, Span};

use crate::Condition;
use crate::counters::AppCounters;
use crate::machine::Apps;
use crate::out::stamp;
use crate::queue::Waiting;

/// Why instances of an app wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitReason {
    /// Earlier ones failed: the next launch is put off.
    Delayed,
    /// It was offered nothing yet.
    NoOffers,
    /// Most agents' last offers lacked this first.
    Rejected(RejectReason),
}

impl WaitReason {
    /// A word for labels; those of offers are the words of `/v2/queue`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Delayed => "Delayed",
            Self::NoOffers => "NoOffers",
            Self::Rejected(reason) => reason.name(),
        }
    }
}

/// Instances of an app by where they are; none is counted twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InstanceCounts {
    /// Wait for an offer.
    pub waiting: u32,
    /// Were handed over and do not run yet.
    pub staged: u32,
    /// Run.
    pub running: u32,
    /// Are being killed.
    pub killing: u32,
    /// Are on agents that do not answer.
    pub unreachable: u32,
}

/// One app at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppFigures {
    /// Which.
    pub id: AppId,
    /// How many instances it is to have.
    pub wanted: u32,
    /// How many it has.
    pub instances: InstanceCounts,
    /// Of those that run, how many pass their health checks, and how many fail one.
    pub healthy: (u32, u32),
    /// Why instances wait, if any do.
    pub waits: Option<WaitReason>,
    /// Since how long a deployment changes it.
    pub deploying: Option<Span>,
    /// What became of its tasks.
    pub counters: AppCounters,
}

impl Apps {
    /// Every app at this moment.
    #[must_use]
    pub fn figures(&self, now: Now) -> Vec<AppFigures> {
        let mut all = Vec::new();
        self.catalog.root().visit(&mut |group| {
            all.extend(group.apps.values().map(|app| (app.id.clone(), app.instances)));
        });
        all.into_iter().map(|(id, wanted)| self.figures_of(id, wanted, now)).collect()
    }

    fn figures_of(&self, id: AppId, wanted: u32, now: Now) -> AppFigures {
        let mut instances = InstanceCounts::default();
        let mut healthy = (0, 0);
        for instance in self.instances.of_app(&id) {
            let count = match instance.condition() {
                Condition::Scheduled if instance.wants_to_run() => &mut instances.waiting,
                Condition::Provisioned | Condition::Staging | Condition::Starting => {
                    &mut instances.staged
                }
                Condition::Running => {
                    healthy.0 += u32::from(instance.verdict() == Some(true));
                    healthy.1 += u32::from(instance.verdict() == Some(false));
                    &mut instances.running
                }
                Condition::Killing => &mut instances.killing,
                Condition::Unreachable | Condition::UnreachableInactive => {
                    &mut instances.unreachable
                }
                _ => continue,
            };
            *count += 1;
        }
        instances.waiting = instances.waiting.saturating_add(self.backlog_of(&id));
        let waits = self.queue.get(&id).filter(|_| instances.waiting > 0).map(|waiting| match self
            .delays
            .blocks(&id, now.mono)
        {
            true => WaitReason::Delayed,
            false => waiting.main_reason().map_or(WaitReason::NoOffers, WaitReason::Rejected),
        });
        AppFigures {
            wanted,
            instances,
            healthy,
            waits,
            deploying: self.deploying_since(&id, now),
            counters: self.counters.apps.get(&id).cloned().unwrap_or_default(),
            id,
        }
    }

    fn backlog_of(&self, id: &AppId) -> u32 {
        self.backlog.get(id).copied().unwrap_or(0)
    }

    fn deploying_since(&self, id: &AppId, now: Now) -> Option<Span> {
        let deployment = self.deployments.get(self.locks.get(id)?)?;
        let begun = deployment.record.version.as_millis();
        let age = stamp(now).as_millis().saturating_sub(begun);
        Some(Span::from_millis(u64::try_from(age).unwrap_or(0)))
    }
}

impl Waiting {
    /// What most agents' last offers lacked first; of several, what is checked first.
    fn main_reason(&self) -> Option<RejectReason> {
        let mut counts: BTreeMap<RejectReason, u64> = BTreeMap::new();
        for reason in self.last_reasons() {
            *counts.entry(reason).or_default() += 1;
        }
        counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(reason, _)| reason)
    }
}
