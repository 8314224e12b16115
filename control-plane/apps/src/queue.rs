//! What waits for offers, and what became of the offers it saw (`marathon-behaviour.md` sections 6
//! and 15).

use std::collections::BTreeMap;
use std::sync::Arc;

use tepui_marathon::{
    AppId, NumberRange, OfferView, OfferedAttribute, OfferedResource, ProcessedOffersSummary,
    RejectCount, RejectReason, UnusedOffer, Version,
};
use tepui_types::{Role, Scalar};
use tepui_wire::v1::{Attribute, Offer, Resource, value};

use crate::census::Census;
use crate::machine::Apps;
use crate::out::Out;

/// Agents whose last unused offer is kept per app.
const MAX_AGENTS: usize = 10_000;

/// One waiting app.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) role: Role,
    /// Instances that wait for an offer.
    pub(crate) count: u32,
    /// Start of this launch attempt.
    pub(crate) since: Version,
    /// The configuration that waits; another one is another attempt.
    config: Version,
    /// Of the instance that began to wait last.
    ticket: u64,
    processed: u64,
    unused: u64,
    last_unused_at: Option<Version>,
    last_used_at: Option<Version>,
    /// First reasons since the start of the attempt, counted.
    attempt: BTreeMap<RejectReason, u64>,
    /// The last offer of each agent, as far as it was not used.
    last: BTreeMap<String, LastOffer>,
}

/// The last offer of an agent that was not used.
#[derive(Debug)]
struct LastOffer {
    offer: Arc<OfferView>,
    reasons: Vec<RejectReason>,
    at: Version,
}

impl Waiting {
    fn new(role: Role, config: Version, since: Version) -> Self {
        Self {
            role,
            count: 0,
            since,
            config,
            ticket: 0,
            processed: 0,
            unused: 0,
            last_unused_at: None,
            last_used_at: None,
            attempt: BTreeMap::new(),
            last: BTreeMap::new(),
        }
    }

    pub(crate) fn used(&mut self, offer: &Offer, at: Version) {
        self.processed += 1;
        self.last_used_at = Some(at);
        self.last.remove(&offer.agent_id.value);
    }

    pub(crate) fn not_used(
        &mut self,
        offer: &Arc<OfferView>,
        reasons: Vec<RejectReason>,
        at: Version,
    ) {
        self.processed += 1;
        self.unused += 1;
        self.last_unused_at = Some(at);
        if let Some(first) = reasons.first() {
            *self.attempt.entry(*first).or_default() += 1;
        }
        if self.last.len() >= MAX_AGENTS && !self.last.contains_key(&offer.agent_id) {
            self.last.pop_first();
        }
        let last = LastOffer { offer: Arc::clone(offer), reasons, at };
        self.last.insert(offer.agent_id.clone(), last);
    }

    pub(crate) fn summary(&self) -> ProcessedOffersSummary {
        let mut last: BTreeMap<RejectReason, u64> = BTreeMap::new();
        for first in self.last_reasons() {
            *last.entry(first).or_default() += 1;
        }
        ProcessedOffersSummary {
            processed_offers_count: self.processed,
            unused_offers_count: self.unused,
            last_unused_offer_at: self.last_unused_at,
            last_used_offer_at: self.last_used_at,
            reject_summary_last_offers: funnel(&last, self.last.len() as u64),
            reject_summary_launch_attempt: funnel(&self.attempt, self.processed),
        }
    }

    /// The first reason of each agent's last offer.
    pub(crate) fn last_reasons(&self) -> impl Iterator<Item = RejectReason> {
        self.last.values().filter_map(|offer| offer.reasons.first().copied())
    }

    pub(crate) fn unused_offers(&self) -> Vec<UnusedOffer> {
        let unused = self.last.values().map(|last| UnusedOffer {
            offer: (*last.offer).clone(),
            reason: last.reasons.clone(),
            timestamp: last.at,
        });
        unused.collect()
    }
}

/// How many of `total` offers got to each check, and how many ended there.
fn funnel(declined: &BTreeMap<RejectReason, u64>, total: u64) -> Vec<RejectCount> {
    let mut left = total;
    let count = |reason: RejectReason| {
        let processed = left;
        let declined = declined.get(&reason).copied().unwrap_or(0);
        left = left.saturating_sub(declined);
        RejectCount { reason, declined, processed }
    };
    RejectReason::ALL.into_iter().map(count).collect()
}

impl Apps {
    /// Brings an app's queue entry up to date with its instances.
    pub(crate) fn refresh_queue(&mut self, id: &AppId, out: &Out<'_>) {
        let census = self.instances.census(id);
        let waiting = census.map_or(0, |all| all.count(|instance| instance.waiting));
        let census = self.instances.census(id);
        let unconfirmed = census.map_or(0, |all| all.count(|i| i.wants_to_run && i.launching));
        let ticket = census.map_or(0, Census::last_wait);
        if waiting + unconfirmed == 0 {
            self.queue.remove(id);
            return;
        }
        let some_instance = || self.instances.of_app(id).find(|instance| instance.wants_to_run());
        let definition = self.catalog.app(id).or_else(|| Some(&some_instance()?.app));
        let Some(definition) = definition else { return };
        let config = definition.version_info.last_config_change_at;
        let new = || Waiting::new(definition.role.clone(), config, out.stamp());
        let entry = self.queue.entry(id.clone()).or_insert_with(new);
        if entry.config != config {
            *entry = new();
        }
        entry.role = definition.role.clone();
        entry.count = waiting;
        // What is new was never offered anything, though as many may have waited before.
        if entry.ticket != ticket {
            entry.ticket = ticket;
            self.session.wish(id);
        }
    }
}

/// An offer as the queue shows it.
pub(crate) fn offer_view(offer: &Offer) -> OfferView {
    OfferView {
        id: offer.id.value.clone(),
        hostname: offer.hostname.clone(),
        agent_id: offer.agent_id.value.clone(),
        resources: offer.resources.iter().map(resource_view).collect(),
        attributes: offer.attributes.iter().map(attribute_view).collect(),
    }
}

fn resource_view(resource: &Resource) -> OfferedResource {
    let role = resource.reservations.last().map_or_else(|| resource.role(), |r| r.role());
    OfferedResource {
        name: resource.name.clone(),
        role: role.to_owned(),
        scalar: resource.scalar.as_ref().map(scalar),
        ranges: resource.ranges.as_ref().map(ranges),
        set: resource.set.as_ref().map(|set| set.item.clone()),
    }
}

fn attribute_view(attribute: &Attribute) -> OfferedAttribute {
    OfferedAttribute {
        name: attribute.name.clone(),
        text: attribute.text.as_ref().map(|text| text.value.clone()),
        scalar: attribute.scalar.as_ref().map(scalar),
        ranges: attribute.ranges.as_ref().map(ranges),
        set: attribute.set.as_ref().map(|set| set.item.clone()),
    }
}

fn scalar(scalar: &value::Scalar) -> Scalar {
    Scalar::parse(scalar.value).unwrap_or_default()
}

fn ranges(ranges: &value::Ranges) -> Vec<NumberRange> {
    ranges.range.iter().map(|range| NumberRange { begin: range.begin, end: range.end }).collect()
}
