//! Shims that wait for a run, so that most runs need not wait for a shim.
//!
//! Starting a pair of shim and stage costs some milliseconds, and moving a process into a control
//! group makes the kernel wait for all its processors, which is longer than all the rest of a
//! launch. Both are done before they are needed. A spare holds an empty group and two sleeping
//! processes; it ends with the agent. When more runs come than there are spares, the others pay
//! the full price.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rustix::process::Pid;
use tepui_cgroup::{GroupLimits, Leaf};
use tepui_types::ContainerId;

use super::spawn::{self, Shim};
use super::{Inner, PARALLEL_SPAWNS, watch};
use crate::launcher::LaunchError;
use crate::protocol::{self, StagePlace};

/// A shim that was told its place and not yet its run.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) shim: Shim,
    pub(super) group: Option<Leaf>,
}

/// The spares at hand.
#[derive(Debug, Default)]
pub(super) struct Spares {
    ready: Mutex<Vec<Spare>>,
    is_filling: AtomicBool,
    /// The agent stops: no more are made.
    is_closed: AtomicBool,
}

impl Spare {
    /// Limits what is to run in the group. The stage is in it already, and does not know its command.
    fn limit(&self, limits: &GroupLimits) -> Result<(), LaunchError> {
        let Some(group) = &self.group else { return Ok(()) };
        // What has no controller here is not limited: whoever needs it was refused before.
        group.limit(limits).map(drop).map_err(LaunchError::Group)
    }

    /// Clears up a pair that will not get a run. Must be called on the runtime.
    pub(super) fn discard(self) {
        tokio::spawn(self.end());
    }

    async fn end(self) {
        let Self { shim, group } = self;
        drop(shim.channel);
        watch::wait_for(shim.pidfd).await;
        // Usually the shim has removed it.
        let group = group.filter(|group| group.path().exists());
        let _ = tokio::task::spawn_blocking(move || group.map(|g| watch::empty_group(&g))).await;
    }
}

impl Inner {
    pub(super) fn spare_pids(&self) -> Vec<Pid> {
        self.spares.ready.lock().iter().map(|spare| spare.shim.pid).collect()
    }

    /// A pair with or without a control group that was made before; the newest first, which is
    /// the one most likely still in the processor's caches.
    fn take_spare(&self, with_group: bool) -> Option<Spare> {
        let mut ready = self.spares.ready.lock();
        let at = ready.iter().rposition(|spare| spare.group.is_some() == with_group)?;
        Some(ready.remove(at))
    }

    /// A new pair. Blocks for a few milliseconds.
    fn new_spare(&self, with_group: bool) -> Result<Spare, LaunchError> {
        let group = match &self.groups {
            Ok(subtree) if with_group => Some(subtree.fresh_leaf().map_err(LaunchError::Group)?),
            _ => None,
        };
        let path = group.as_ref().map(|leaf| leaf.path().to_owned());
        let place = protocol::encode_place(&StagePlace { group: path, ..StagePlace::default() });
        match spawn::spawn_shim(&self.config.shim, "run", &place) {
            Ok(shim) => Ok(Spare { shim, group }),
            Err(error) => {
                let _ = group.map(|group| group.remove());
                Err(error)
            }
        }
    }

    /// Gives a run to a pair that waits; `None` when there is none.
    ///
    /// # Errors
    ///
    /// When its group cannot be limited, or is not admitted: it was not given the run.
    pub(super) fn hand_to_spare(
        &self,
        with_group: bool,
        run: &ContainerId,
        frame: &[u8],
        limits: &GroupLimits,
    ) -> Result<Option<Spare>, LaunchError> {
        while let Some(mut spare) = self.take_spare(with_group && self.groups.is_ok()) {
            if let Err(refusal) = self.ready(run, &spare, limits) {
                spare.discard();
                return Err(refusal);
            }
            match protocol::write_frame(&mut spare.shim.channel, frame) {
                Ok(()) => return Ok(Some(spare)),
                // Somebody killed it while it waited.
                Err(_) => spare.discard(),
            }
        }
        Ok(None)
    }

    /// Limits a pair's group and has it admitted.
    fn ready(
        &self,
        run: &ContainerId,
        spare: &Spare,
        limits: &GroupLimits,
    ) -> Result<(), LaunchError> {
        spare.limit(limits)?;
        let Some(admission) = &self.config.admission else { return Ok(()) };
        let admitted = match &spare.group {
            Some(group) => admission.admit(run, group),
            None => admission.admit_without_group(run),
        };
        admitted.map_err(LaunchError::NotAdmitted)
    }

    /// Gives a run to a new pair.
    pub(super) fn hand_to_new(
        &self,
        with_group: bool,
        run: &ContainerId,
        frame: &[u8],
        limits: &GroupLimits,
    ) -> Result<Spare, LaunchError> {
        let mut spare = self.new_spare(with_group)?;
        if let Err(refusal) = self.ready(run, &spare, limits) {
            spare.discard();
            return Err(refusal);
        }
        // A shim that has ended says why, which is told when its answer is read.
        let _ = protocol::write_frame(&mut spare.shim.channel, frame);
        Ok(spare)
    }

    /// Ends all spares, and makes no more.
    pub(super) async fn end_spares(&self) {
        self.spares.is_closed.store(true, Ordering::Release);
        // Whoever makes one now has a permit until it is among the others.
        let permits = self.spawns.acquire_many(PARALLEL_SPAWNS).await;
        let spares = std::mem::take(&mut *self.spares.ready.lock());
        drop(permits);
        for spare in spares {
            spare.end().await;
        }
    }

    /// Makes up for the spares that were used, in the background and one after the other.
    pub(super) fn refill(self: &Arc<Self>) {
        if self.spares.is_filling.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = self.clone();
        tokio::spawn(async move {
            while inner.spares.ready.lock().len() < inner.config.spares {
                let permit = inner.spawns.acquire().await;
                if inner.spares.is_closed.load(Ordering::Acquire) {
                    break;
                }
                let maker = inner.clone();
                let made = tokio::task::spawn_blocking(move || maker.new_spare(true)).await;
                match made {
                    Ok(Ok(spare)) => inner.spares.ready.lock().push(spare),
                    Ok(Err(error)) => {
                        // The next run tries for itself and reports what it meets.
                        tracing::debug!(error = &error as &dyn std::error::Error, "no spare shim");
                        break;
                    }
                    Err(_) => break,
                }
                drop(permit);
            }
            inner.spares.is_filling.store(false, Ordering::Release);
        });
    }
}
