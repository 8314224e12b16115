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
    /// What is offered or in use, by client.
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
            self.facts = facts;
            self.recount();
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
        match self.booked.iter_mut().find(|(who, _)| *who == client) {
            Some((_, mine)) => {
                mine.add_all(&resources);
                false
            }
            None => {
                self.booked.push((client, resources));
                true
            }
        }
    }

    /// Takes back what of `resources` the client has booked: what came back, and whether nothing
    /// of the client's is left here. `None` when it has nothing booked here.
    pub(super) fn release(
        &mut self,
        client: ClientIx,
        resources: &Resources,
    ) -> Option<(Resources, bool)> {
        let at = self.booked.iter().position(|(who, _)| *who == client)?;
        let mine = &mut self.booked[at].1;
        let (back, last) = if mine == resources {
            (self.booked.swap_remove(at).1, true)
        } else if mine.checked_remove(resources) {
            (resources.clone(), mine.is_empty())
        } else {
            let before = mine.clone();
            mine.remove(resources);
            (before.minus(mine), mine.is_empty())
        };
        if last && self.booked.get(at).is_some_and(|(who, _)| *who == client) {
            self.booked.swap_remove(at);
        }
        if self.overbooked {
            self.recount();
        } else {
            self.free.add_all(&back);
        }
        Some((back, last))
    }
}
