use std::collections::BTreeMap;

use tepui_allocator::{Plan, Proposal, Refusal};
use tepui_types::{AgentId, FrameworkId, Resources, Span};
use tepui_wire::v1::{self, scheduler};

use crate::Cluster;
use crate::machine::Batch;
use crate::state::{Offer, OfferNumber};
use crate::timers::Timer;

/// What DECLINE and ACCEPT refuse when they do not say (`spec/mesos-http.md` 1.8).
const DEFAULT_REFUSAL: Span = Span::from_secs(5);
/// The longest refusal.
const MAX_REFUSAL: Span = Span::from_secs(365 * 24 * 3600);
/// When the allocator proposes what the books do not have, it waits so long before it tries the
/// same again: without that the two would go round in circles.
const MISFIT_REFUSAL: Span = Span::from_secs(5);

/// The refusal that a call's filters mean. One of no time still counts: the resources are offered
/// to everybody else before they come back (invariant I-39).
pub(crate) fn refusal(filters: Option<&v1::Filters>) -> Option<Refusal> {
    let seconds = filters.map_or(5.0, v1::Filters::refuse_seconds);
    let span = Span::from_secs_f64(seconds).unwrap_or(DEFAULT_REFUSAL).min(MAX_REFUSAL);
    Some(Refusal { span })
}

/// The same for an agent that the framework's own constraints exclude; new constraints and new
/// attributes end it early.
const CONSTRAINT_REFUSAL: Span = Span::from_secs(600);

/// How an offer ends other than by being accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The framework is told that it is void.
    Rescinded,
    /// The framework is not told: it ended the offer itself, or is away.
    Silent,
}

impl Cluster {
    /// Turns a plan's proposals into offers, as far as the cluster's own books agree.
    pub(crate) fn planned(&mut self, plan: Plan, batch: &mut Batch<'_>) {
        for reclaim in &plan.reclaims {
            self.reclaim(reclaim, batch);
        }
        let mut by_framework: BTreeMap<FrameworkId, Vec<v1::Offer>> = BTreeMap::new();
        for proposal in plan.proposals {
            match self.check_proposal(&proposal) {
                Ok(()) => {
                    let framework = proposal.framework.clone();
                    if let Some(offer) = self.make_offer(proposal, batch) {
                        by_framework.entry(framework).or_default().push(offer);
                    }
                }
                Err(refusal) => self.refuse_proposal(proposal, refusal, batch),
            }
        }
        for (framework, offers) in by_framework {
            let Some(framework) = self.frameworks.get_mut(&framework) else { continue };
            framework.counters.offers_sent += offers.len() as u64;
            batch.send(
                framework,
                scheduler::Event {
                    r#type: Some(scheduler::event::Type::Offers.into()),
                    offers: Some(scheduler::event::Offers { offers }),
                    ..scheduler::Event::default()
                },
            );
        }
    }

    /// Whether a proposal still holds; the error is the refusal to give back with it.
    fn check_proposal(&self, proposal: &Proposal) -> Result<(), Option<Refusal>> {
        let agent = self.agents.get(&proposal.agent).ok_or(None)?;
        let framework = self.frameworks.get(&proposal.framework).ok_or(None)?;
        let current = agent.epoch == proposal.epoch && agent.is_active();
        let wanted = framework.is_connected()
            && framework.roles.contains(&proposal.role)
            && !framework.suppressed.contains(&proposal.role);
        if !current || !wanted || proposal.resources.is_empty() {
            return Err(None);
        }
        if !framework.constraints.admit(&proposal.role, &agent.info) {
            return Err(Some(Refusal { span: CONSTRAINT_REFUSAL }));
        }
        let usable = proposal.resources.iter().all(|one| one.identity.is_usable_by(&proposal.role));
        if !usable || !agent.free.contains(&proposal.resources) {
            return Err(Some(Refusal { span: MISFIT_REFUSAL }));
        }
        Ok(())
    }

    fn refuse_proposal(
        &mut self,
        proposal: Proposal,
        refusal: Option<Refusal>,
        batch: &mut Batch<'_>,
    ) {
        self.counters.refused_proposals += 1;
        let Some(agent) = self.agents.get(&proposal.agent) else { return };
        // What was proposed before the agent was told anew is not booked any more.
        if proposal.epoch < agent.added_epoch {
            return;
        }
        let Proposal { framework, role, agent, resources, .. } = proposal;
        let nothing = Resources::new();
        self.tell_offer_ended(&agent, &framework, &role, resources.clone(), nothing, batch);
        self.tell_released(&agent, &framework, &role, resources, refusal, batch);
    }

    fn make_offer(&mut self, proposal: Proposal, batch: &mut Batch<'_>) -> Option<v1::Offer> {
        let number = OfferNumber(self.next.offer);
        let id = self.offer_id(number);
        let agent = self.agents.get_mut(&proposal.agent)?;
        let framework = self.frameworks.get_mut(&proposal.framework)?;
        if !agent.book_offer(&proposal.resources) {
            return None;
        }
        self.next.offer += 1;
        agent.offers.insert(number);
        framework.offers.insert(number);
        let Proposal { framework: framework_id, role, agent: agent_id, resources, .. } = proposal;
        let offer = Offer {
            id,
            number,
            framework: framework_id,
            role,
            agent: agent_id,
            resources,
            made: batch.mono(),
        };
        let wire = offer.to_wire(agent, framework);
        self.offers.insert(number, offer);
        if let Some(timeout) = self.config.offer_timeout {
            self.set_timer(batch.mono() + timeout, Timer::Offer(number));
        }
        Some(wire)
    }

    pub(crate) fn offer_timer(&mut self, number: OfferNumber, batch: &mut Batch<'_>) {
        // Whoever did not answer comes after everybody else (invariant I-39).
        let refusal = Some(Refusal { span: Span::ZERO });
        self.end_offer(number, refusal, Ending::Rescinded, batch);
    }

    /// Takes an offer out of every list; its resources stay in the agent's books as offered.
    pub(crate) fn take_offer(&mut self, number: OfferNumber) -> Option<Offer> {
        let offer = self.offers.remove(&number)?;
        if let Some(agent) = self.agents.get_mut(&offer.agent) {
            agent.offers.remove(&number);
        }
        if let Some(framework) = self.frameworks.get_mut(&offer.framework) {
            framework.offers.remove(&number);
        }
        Some(offer)
    }

    /// Ends an offer without a launch: its resources are free again.
    pub(crate) fn end_offer(
        &mut self,
        number: OfferNumber,
        refusal: Option<Refusal>,
        ending: Ending,
        batch: &mut Batch<'_>,
    ) {
        let Some(offer) = self.take_offer(number) else { return };
        if let Some(agent) = self.agents.get_mut(&offer.agent) {
            agent.unbook_offer(&offer.resources);
            if agent.overbooked {
                self.rebook(&offer.agent);
            } else {
                agent.book_free(&offer.resources);
            }
        }
        if ending == Ending::Rescinded
            && let Some(framework) = self.frameworks.get_mut(&offer.framework)
        {
            framework.counters.offers_rescinded += 1;
            batch.send(
                framework,
                scheduler::Event {
                    r#type: Some(scheduler::event::Type::Rescind.into()),
                    rescind: Some(scheduler::event::Rescind {
                        offer_id: v1::OfferId { value: offer.id.to_string() },
                    }),
                    ..scheduler::Event::default()
                },
            );
        }
        let Offer { agent, framework, role, resources, .. } = offer;
        let nothing = Resources::new();
        self.tell_offer_ended(&agent, &framework, &role, resources.clone(), nothing, batch);
        self.tell_released(&agent, &framework, &role, resources, refusal, batch);
    }

    /// Ends every offer of an agent.
    pub(crate) fn rescind_agent_offers(&mut self, agent: &AgentId, batch: &mut Batch<'_>) {
        let Some(agent) = self.agents.get(agent) else { return };
        for number in agent.offers.clone() {
            self.end_offer(number, None, Ending::Rescinded, batch);
        }
    }

    /// Ends every offer of a framework without a word: it left, or another process took over.
    pub(crate) fn discard_framework_offers(
        &mut self,
        framework: &FrameworkId,
        batch: &mut Batch<'_>,
    ) {
        let Some(framework) = self.frameworks.get(framework) else { return };
        for number in framework.offers.clone() {
            self.end_offer(number, None, Ending::Silent, batch);
        }
    }

    /// DECLINE: unknown and foreign offers are ignored.
    pub(crate) fn decline(
        &mut self,
        framework: &FrameworkId,
        call: &scheduler::call::Decline,
        batch: &mut Batch<'_>,
    ) {
        self.counters.messages.decline_offers += 1;
        let refusal = refusal(call.filters.as_ref());
        for id in &call.offer_ids {
            let Some(number) = self.own_offer(framework, &id.value) else {
                self.counters.messages.dropped += 1;
                continue;
            };
            if let Some(framework) = self.frameworks.get_mut(framework) {
                framework.counters.offers_declined += 1;
            }
            self.end_offer(number, refusal, Ending::Silent, batch);
        }
    }

    /// The offer with this id, when the framework holds it.
    pub(crate) fn own_offer(&self, framework: &FrameworkId, id: &str) -> Option<OfferNumber> {
        let number = self.offer_number(id)?;
        let offer = self.offers.get(&number)?;
        (offer.framework == *framework).then_some(number)
    }
}
