//! Frameworks, and clients: a framework in one of its roles.

use std::collections::{BTreeMap, HashMap};

use tepui_types::{FrameworkId, Role};

use super::tree::NodeIx;
use crate::{FrameworkFacts, Minimum};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClientIx(pub(super) u32);

/// Counts what makes older refusals void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(pub(super) u64);

#[derive(Debug)]
pub(super) struct Client {
    pub(super) framework: FrameworkId,
    pub(super) role: Role,
    pub(super) leaf: NodeIx,
    /// Refusals from before it are not this client's at all.
    pub(super) born: Stamp,
    /// Refusals from before it have been withdrawn.
    pub(super) revived: Stamp,
    pub(super) active: bool,
    pub(super) revocable: bool,
    pub(super) gpus: bool,
    pub(super) minimum: Option<Minimum>,
    /// The framework still subscribes to the role.
    pub(super) subscribed: bool,
    /// Agents on which something is booked.
    pub(super) bookings: usize,
}

#[derive(Debug, Default)]
pub(super) struct Framework {
    /// `None` while it is not registered but has bookings.
    pub(super) facts: Option<FrameworkFacts>,
    pub(super) clients: BTreeMap<Role, ClientIx>,
}

/// All clients by number. The hash map is never iterated, so that its order decides nothing.
#[derive(Debug, Default)]
pub(super) struct Clients {
    slots: Vec<Option<Client>>,
    vacant: Vec<ClientIx>,
    pub(super) frameworks: HashMap<FrameworkId, Framework>,
    last_stamp: u64,
}

impl Clients {
    pub(super) fn at(&self, client: ClientIx) -> &Client {
        self.slots[client.0 as usize].as_ref().expect("numbers in use name live clients")
    }

    pub(super) fn at_mut(&mut self, client: ClientIx) -> &mut Client {
        self.slots[client.0 as usize].as_mut().expect("numbers in use name live clients")
    }

    /// The client with this number if it is still the one that a refusal of `stamp` came from.
    pub(super) fn alive(&self, client: ClientIx, stamp: Stamp) -> Option<&Client> {
        self.slots.get(client.0 as usize)?.as_ref().filter(|known| known.born <= stamp)
    }

    /// The client with this number, if there is one.
    pub(super) fn existing(&self, client: ClientIx) -> Option<&Client> {
        self.slots.get(client.0 as usize)?.as_ref()
    }

    pub(super) fn stamp(&mut self) -> Stamp {
        self.last_stamp += 1;
        Stamp(self.last_stamp)
    }

    pub(super) fn now_stamp(&self) -> Stamp {
        Stamp(self.last_stamp)
    }

    pub(super) fn find(&self, framework: &FrameworkId, role: &Role) -> Option<ClientIx> {
        self.frameworks.get(framework)?.clients.get(role).copied()
    }

    /// The number that the next client will have.
    pub(super) fn next(&self) -> ClientIx {
        self.vacant.last().copied().unwrap_or_else(|| {
            ClientIx(u32::try_from(self.slots.len()).expect("fewer than 2^32 clients"))
        })
    }

    pub(super) fn insert(&mut self, client: Client) -> ClientIx {
        let at = self.next();
        let framework = self.frameworks.entry(client.framework.clone()).or_default();
        framework.clients.insert(client.role.clone(), at);
        if self.vacant.pop().is_some() {
            self.slots[at.0 as usize] = Some(client);
        } else {
            self.slots.push(Some(client));
        }
        at
    }

    /// Forgets a client; the framework goes with its last one once it is not registered.
    pub(super) fn remove(&mut self, at: ClientIx) -> Option<Client> {
        let client = self.slots.get_mut(at.0 as usize)?.take()?;
        self.vacant.push(at);
        if let Some(framework) = self.frameworks.get_mut(&client.framework) {
            framework.clients.remove(&client.role);
            if framework.clients.is_empty() && framework.facts.is_none() {
                self.frameworks.remove(&client.framework);
            }
        }
        Some(client)
    }
}
