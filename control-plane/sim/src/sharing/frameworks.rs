//! Frameworks with jobs on the simulated cluster: what they make of offers and updates.

use tepui_types::{Resource, ResourceName, Resources, Scalar, TaskState};
use tepui_wire::resources::{Format, decode, encode};
use tepui_wire::v1::{self, scheduler::call};

use super::jobs::Start;
use super::workload::Workload;
use crate::queue::{Action, Life};
use crate::scheduler::{Manner, shell};
use crate::world::World;

/// What a framework refuses the rest of an agent for after it took all that it can use there.
const REST: f64 = 600.0;
/// What a framework refuses an agent for while it has nothing to run.
const IDLE: f64 = 5.0;

fn needs(work: &Workload) -> Resources {
    let mut cpu = Resource::scalar(ResourceName::Cpus, Scalar::from_units(1));
    cpu.identity.revocable = work.revocable;
    let memory = Resource::scalar(ResourceName::Mem, Scalar::from_units(work.memory));
    [cpu, memory].into_iter().collect()
}

/// How many times `needs` fits.
fn room(mut left: Resources, needs: &Resources) -> usize {
    let mut count = 0;
    while left.checked_remove(needs) {
        count += 1;
    }
    count
}

fn offer_room(offer: &v1::Offer, needs: &Resources) -> usize {
    decode(&offer.resources).map_or(0, |decoded| room(decoded.resources, needs))
}

impl World {
    /// A framework with jobs looks at what is due, and says whether it wants offers.
    pub(crate) fn jobs_step(&mut self, scheduler: usize, life: Life) {
        let now = self.now.mono;
        let this = &mut self.schedulers[scheduler];
        if this.life != life || this.stream.is_none() {
            return;
        }
        let Some(jobs) = &mut this.jobs else { return };
        if let Some(next) = jobs.advance(now) {
            self.queue.put(next, Action::JobsStep { scheduler, life });
        }
        self.ask_for_offers(scheduler);
    }

    fn ask_for_offers(&mut self, scheduler: usize) {
        let this = &mut self.schedulers[scheduler];
        let wants = this.jobs.as_ref().is_some_and(|jobs| jobs.wanted() > 0);
        if wants == this.wants_offers {
            return;
        }
        this.wants_offers = wants;
        if wants {
            self.call(scheduler, call::Type::Revive, |call| {
                call.revive = Some(call::Revive { roles: Vec::new() });
            });
        } else {
            self.call(scheduler, call::Type::Suppress, |call| {
                call.suppress = Some(call::Suppress { roles: Vec::new() });
            });
        }
    }

    /// Offers for a framework with jobs.
    pub(crate) fn jobs_offered(&mut self, scheduler: usize, offer: v1::Offer) {
        let Some(jobs) = &self.schedulers[scheduler].jobs else { return };
        let (wanted, gang, needs) = (jobs.wanted(), jobs.work.gang, needs(&jobs.work));
        let fits = offer_room(&offer, &needs);
        if wanted == 0 || fits == 0 {
            self.decline(scheduler, offer.id, if wanted == 0 { IDLE } else { REST });
            return;
        }
        self.schedulers[scheduler].kept.push(offer);
        let kept = std::mem::take(&mut self.schedulers[scheduler].kept);
        let rooms: Vec<usize> = kept.iter().map(|offer| offer_room(offer, &needs)).collect();
        if gang && rooms.iter().sum::<usize>() < wanted {
            // A gang keeps what it has until all of it can start.
            self.schedulers[scheduler].kept = kept;
            return;
        }
        let now = self.now.mono;
        let total: usize = rooms.iter().sum();
        let Some(jobs) = &mut self.schedulers[scheduler].jobs else { return };
        let mut starts = jobs.take(now, total).into_iter();
        for (offer, room) in kept.into_iter().zip(rooms) {
            let here: Vec<Start> = starts.by_ref().take(room).collect();
            if here.is_empty() {
                self.decline(scheduler, offer.id, IDLE);
            } else {
                self.start_tasks(scheduler, &offer, here, &needs);
            }
        }
        self.ask_for_offers(scheduler);
    }

    fn start_tasks(
        &mut self,
        scheduler: usize,
        offer: &v1::Offer,
        starts: Vec<Start>,
        needs: &Resources,
    ) {
        let role = offer.allocation_info.as_ref().and_then(|info| info.role.clone());
        let role = role.and_then(|role| tepui_types::Role::parse(&role).ok());
        let tasks = starts
            .into_iter()
            .map(|start| v1::TaskInfo {
                name: start.name.clone(),
                task_id: v1::TaskId { value: start.name },
                agent_id: offer.agent_id.clone(),
                resources: encode(needs, Format::PreRefinement, role.as_ref()),
                command: Some(shell(&format!("sleep {}", start.length.as_millis()))),
                ..v1::TaskInfo::default()
            })
            .collect();
        self.accept(scheduler, offer, Manner::Command, tasks, REST);
    }

    /// An offer is void.
    pub(crate) fn jobs_rescinded(&mut self, scheduler: usize, offer: &str) {
        self.schedulers[scheduler].kept.retain(|kept| kept.id.value != offer);
    }

    /// A task of a framework with jobs has a new state.
    pub(crate) fn jobs_updated(&mut self, scheduler: usize, task: &str, state: TaskState) {
        let now = self.now.mono;
        let this = &mut self.schedulers[scheduler];
        let Some(jobs) = this.jobs.as_mut().filter(|_| state.is_terminal()) else { return };
        jobs.ended(now, task, state == TaskState::Finished);
        let life = this.life;
        this.tasks.remove(task);
        self.jobs_step(scheduler, life);
    }
}
