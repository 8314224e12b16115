//! Taking note of inputs about frameworks and the cluster as a whole.

use std::collections::BTreeSet;

use tepui_types::{FrameworkId, Mono, Role};

use super::Drf;
use super::clients::{Client, ClientIx};
use super::tree::Among;
use crate::{FrameworkFacts, Input};

impl Drf {
    pub(super) fn take_note(&mut self, now: Mono, input: Input) {
        match input {
            Input::AgentAdded { agent, facts, used } => self.add_agent(agent, facts, used),
            Input::AgentChanged { agent, facts, forget_filters } => {
                self.change_agent(&agent, facts, forget_filters);
            }
            Input::AgentRemoved(agent) => self.remove_agent(&agent),
            Input::FrameworkUpdated { framework, facts } => {
                self.update_framework(&framework, *facts);
            }
            Input::FrameworkRemoved(framework) => self.remove_framework(&framework),
            Input::Revived { framework, roles } => self.revive(&framework, &roles),
            Input::Suppressed { framework, roles } => self.suppress(&framework, &roles),
            Input::Released { framework, role, agent, resources, refusal } => {
                self.release(now, (&framework, &role), &agent, resources, refusal);
            }
            // The built-in allocator takes nothing back, so it need not know what is in use.
            Input::OfferEnded { .. } => {}
            Input::Offered { framework, role, agent, resources } => {
                self.book_elsewhere(&framework, &role, &agent, &resources);
            }
            Input::Weights(weights) => {
                for (role, weight) in weights {
                    self.tree.set_weight(&role, weight.0);
                }
            }
            Input::Minimum(minimum) => self.set_minimum(minimum),
        }
    }

    fn set_minimum(&mut self, minimum: crate::Minimum) {
        if self.minimum == minimum {
            return;
        }
        self.minimum = minimum;
        let mut all = Vec::new();
        self.tree.first(Among::Active, &mut |client| {
            all.push(client);
            false
        });
        for client in all {
            self.heat(client);
        }
    }

    /// The client of a framework in a role, made when it is new.
    pub(super) fn client(&mut self, framework: &FrameworkId, role: &Role) -> ClientIx {
        if let Some(client) = self.clients.find(framework, role) {
            return client;
        }
        let leaf = self.tree.add_leaf(role, framework.as_str(), self.clients.next());
        let stamp = self.clients.stamp();
        self.clients.insert(Client {
            framework: framework.clone(),
            role: role.clone(),
            leaf,
            born: stamp,
            revived: stamp,
            active: false,
            revocable: false,
            gpus: false,
            minimum: None,
            subscribed: false,
            bookings: 0,
        })
    }

    /// Has the next round look at what the client may take anywhere.
    fn heat(&mut self, client: ClientIx) {
        let known = self.clients.at(client);
        if known.active {
            self.tree.set_hot(known.leaf, true);
        }
    }

    fn set_active(&mut self, client: ClientIx, active: bool) {
        let known = self.clients.at_mut(client);
        if known.active == active {
            return;
        }
        known.active = active;
        let leaf = known.leaf;
        self.tree.set_active(leaf, active);
        if active {
            self.heat(client);
        }
    }

    /// Makes the client's earlier refusals void.
    fn withdraw_refusals(&mut self, client: ClientIx) {
        let stamp = self.clients.stamp();
        self.clients.at_mut(client).revived = stamp;
    }

    /// Forgets a client that wants nothing and has nothing.
    pub(super) fn forget_idle(&mut self, client: ClientIx) {
        let known = self.clients.at(client);
        if known.subscribed || known.bookings > 0 {
            return;
        }
        self.set_active(client, false);
        if let Some(gone) = self.clients.remove(client) {
            self.tree.remove_leaf(gone.leaf);
        }
    }

    fn update_framework(&mut self, framework: &FrameworkId, facts: FrameworkFacts) {
        for role in &facts.roles {
            self.client(framework, role);
        }
        let known = self.clients.frameworks.entry(framework.clone()).or_default();
        let before = known.facts.replace(facts.clone()).unwrap_or_default();
        let clients: Vec<(Role, ClientIx)> =
            known.clients.iter().map(|(role, client)| (role.clone(), *client)).collect();
        for (role, at) in clients {
            let subscribed = facts.roles.contains(&role);
            let suppressed = facts.suppressed.contains(&role);
            let unsuppressed = before.suppressed.contains(&role) && !suppressed;
            if !subscribed || !facts.active || unsuppressed {
                self.withdraw_refusals(at);
            }
            let minimum = facts.minimum.get(&role);
            let client = self.clients.at_mut(at);
            let changed = client.revocable != facts.revocable
                || client.gpus != facts.gpus
                || client.minimum.as_ref() != minimum;
            client.revocable = facts.revocable;
            client.gpus = facts.gpus;
            client.minimum = minimum.cloned();
            client.subscribed = subscribed;
            self.set_active(at, subscribed && facts.active && !suppressed);
            if changed || unsuppressed {
                self.heat(at);
            }
            self.forget_idle(at);
        }
    }

    fn remove_framework(&mut self, framework: &FrameworkId) {
        let Some(known) = self.clients.frameworks.get_mut(framework) else { return };
        if known.facts.take().is_none() {
            return;
        }
        let clients: Vec<ClientIx> = known.clients.values().copied().collect();
        if clients.is_empty() {
            self.clients.frameworks.remove(framework);
        }
        for client in clients {
            self.withdraw_refusals(client);
            self.clients.at_mut(client).subscribed = false;
            self.set_active(client, false);
            self.forget_idle(client);
        }
    }

    /// The subscribed clients of the named roles, or of all when none is named.
    fn named(&self, framework: &FrameworkId, roles: &BTreeSet<Role>) -> Vec<(Role, ClientIx)> {
        let Some(known) = self.clients.frameworks.get(framework) else { return Vec::new() };
        let Some(facts) = &known.facts else { return Vec::new() };
        let named = |role: &Role| roles.is_empty() || roles.contains(role);
        let clients = known.clients.iter().filter(|(r, _)| named(r) && facts.roles.contains(*r));
        clients.map(|(role, client)| (role.clone(), *client)).collect()
    }

    fn revive(&mut self, framework: &FrameworkId, roles: &BTreeSet<Role>) {
        for (role, client) in self.named(framework, roles) {
            self.withdraw_refusals(client);
            let facts = self.clients.frameworks.get_mut(framework);
            let Some(facts) = facts.and_then(|known| known.facts.as_mut()) else { return };
            facts.suppressed.remove(&role);
            let active = facts.active;
            self.set_active(client, active);
            self.heat(client);
        }
    }

    fn suppress(&mut self, framework: &FrameworkId, roles: &BTreeSet<Role>) {
        for (role, client) in self.named(framework, roles) {
            let facts = self.clients.frameworks.get_mut(framework);
            let Some(facts) = facts.and_then(|known| known.facts.as_mut()) else { return };
            facts.suppressed.insert(role);
            self.set_active(client, false);
        }
    }
}
