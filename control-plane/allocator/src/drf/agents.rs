//! One agent's books.

use tepui_types::{AgentId, Resources};

use super::clients::ClientIx;
use super::filters::Filters;
use crate::AgentFacts;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AgentIx(pub(super) u32);

#[derive(Debug)]
pub(super) struct Agent {
    pub(super) id: AgentId,
    pub(super) facts: AgentFacts,
    /// What is offered or in use: a few bundles per client.
    booked: Vec<(ClientIx, Resources)>,
    free: Resources,
    /// More is booked than there is, or something that is not there: free resources are then
    /// counted afresh after each release.
    overbooked: bool,
    /// Nothing here is reserved or revocable, so that everyone may use all that is free.
    pub(super) plain: bool,
    pub(super) filters: Filters,
    /// Decides, with the round's seed, the agent's turn in a round.
    pub(super) lot: u64,
}

fn is_plain(total: &Resources) -> bool {
    total.iter().all(|r| !r.identity.revocable && r.identity.reserved_to().is_none())
}

impl Agent {
    pub(super) fn new(id: AgentId, facts: AgentFacts, lot: u64) -> Self {
        let free = facts.total.clone();
        Self {
            id,
            plain: is_plain(&facts.total),
            facts,
            booked: Vec::new(),
            free,
            overbooked: false,
            filters: Filters::default(),
            lot,
        }
    }

    pub(super) fn free(&self) -> &Resources {
        &self.free
    }

    pub(super) fn booked(&self) -> &[(ClientIx, Resources)] {
        &self.booked
    }

    pub(super) fn set_facts(&mut self, facts: AgentFacts) {
        if facts.total != self.facts.total {
            self.plain = is_plain(&facts.total);
            let before = std::mem::replace(&mut self.facts, facts);
            if !self.overbooked && self.facts.total.contains(&before.total) {
                self.free.add_all(&self.facts.total.minus(&before.total));
            } else {
                self.recount();
            }
        } else {
            self.facts = facts;
        }
    }

    fn recount(&mut self) {
        let mut rest = self.facts.total.clone();
        self.overbooked = false;
        for (_, resources) in &self.booked {
            if !rest.contains(resources) {
                self.overbooked = true;
            }
            rest.remove(resources);
        }
        self.free = rest;
    }

    /// Books something that is in use already. True when it is the client's first booking here.
    pub(super) fn book_used(&mut self, client: ClientIx, resources: &Resources) -> bool {
        if !self.free.checked_remove(resources) {
            self.overbooked = true;
            self.free.remove(resources);
        }
        self.enter(client, resources.clone())
    }

    /// Books free resources. True when it is the client's first booking here.
    pub(super) fn book(&mut self, client: ClientIx, resources: Resources) -> bool {
        if self.plain {
            self.free = Resources::new();
        } else {
            self.free.remove(&resources);
        }
        self.enter(client, resources)
    }

    fn enter(&mut self, client: ClientIx, resources: Resources) -> bool {
        let mine = self.booked.iter().filter(|(who, _)| *who == client).count();
        if mine >= MAX_BUNDLES {
            self.merge(client);
        }
        self.booked.push((client, resources));
        mine == 0
    }

    /// Makes one bundle of all that the client has booked.
    fn merge(&mut self, client: ClientIx) {
        let mut all = Resources::new();
        self.booked.retain(|(who, resources)| {
            if *who == client {
                all.add_all(resources);
            }
            *who != client
        });
        self.booked.push((client, all));
    }

    /// Takes back what of `resources` the client has booked: what came back, and whether nothing
    /// of the client's is left here. `None` when it has nothing booked here.
    pub(super) fn release(
        &mut self,
        client: ClientIx,
        resources: &Resources,
    ) -> Option<(Resources, bool)> {
        if !self.booked.iter().any(|(who, _)| *who == client) {
            return None;
        }
        let holds =
            |(who, booked): &(ClientIx, Resources)| *who == client && booked.contains(resources);
        let (at, back) = if let Some(at) = self.booked.iter().position(holds) {
            self.booked[at].1.remove(resources);
            (at, resources.clone())
        } else {
            self.merge(client);
            let at = self.booked.len() - 1;
            let mine = &mut self.booked[at].1;
            let before = mine.clone();
            mine.remove(resources);
            (at, before.minus(mine))
        };
        if self.booked[at].1.is_empty() {
            self.booked.swap_remove(at);
        }
        if self.overbooked {
            self.recount();
        } else {
            self.free.add_all(&back);
        }
        let last = !self.booked.iter().any(|(who, _)| *who == client);
        Some((back, last))
    }
}

/// Bundles that are booked apart for one client on one agent: a declined offer then comes back as
/// the bundle that it was.
const MAX_BUNDLES: usize = 4;
