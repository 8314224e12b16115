//! The one tree of roles, with frameworks as its leaves, kept in order of fair share.
//!
//! Every node lists its active children in an ordered index, so that the client that is furthest
//! from its share is found by walking down, and a booking re-files only the nodes above one leaf.
//! A second index lists only the *hot* children: clients that came into play since the last round.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smallvec::SmallVec;
use tepui_types::Role;

use super::amounts::Amounts;
use super::clients::ClientIx;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeIx(u32);

/// Where a node stands among its siblings: by share, then by how often it was given something,
/// then by name (`spec/mesos-http.md` 8.5).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    share: u64,
    count: u64,
    name: Arc<str>,
    node: NodeIx,
}

#[derive(Debug)]
struct Node {
    parent: Option<NodeIx>,
    name: Arc<str>,
    weight: u64,
    allocated: Amounts,
    count: u64,
    client: Option<ClientIx>,
    kids: BTreeMap<Arc<str>, NodeIx>,
    active: BTreeSet<Place>,
    hot: BTreeSet<Place>,
    place: Option<Place>,
    is_hot: bool,
}

/// Which clients a walk visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    /// All that want offers.
    Active,
    /// Those that came into play since the last round.
    Hot,
}

#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Option<Node>>,
    vacant: Vec<NodeIx>,
    weights: BTreeMap<Role, u64>,
    totals: Amounts,
    /// The totals changed, so that all places are out of date until [`Tree::settle`].
    stale: bool,
}

const ROOT: NodeIx = NodeIx(0);
const DEFAULT_WEIGHT: u64 = 1000;

/// The node that holds a role's own frameworks beside its sub-roles: a sibling leaf of theirs.
const OWN: &str = ".";

impl Node {
    fn new(parent: Option<NodeIx>, name: Arc<str>, weight: u64) -> Self {
        Self {
            parent,
            name,
            weight,
            allocated: Amounts::default(),
            count: 0,
            client: None,
            kids: BTreeMap::new(),
            active: BTreeSet::new(),
            hot: BTreeSet::new(),
            place: None,
            is_hot: false,
        }
    }

    fn index(&self, among: Among) -> &BTreeSet<Place> {
        match among {
            Among::Active => &self.active,
            Among::Hot => &self.hot,
        }
    }
}

impl Tree {
    pub(super) fn new() -> Self {
        let root = Node::new(None, "".into(), DEFAULT_WEIGHT);
        Self {
            nodes: vec![Some(root)],
            vacant: Vec::new(),
            weights: BTreeMap::new(),
            totals: Amounts::default(),
            stale: false,
        }
    }

    fn node(&self, at: NodeIx) -> &Node {
        self.nodes[at.0 as usize].as_ref().expect("links lead to live nodes only")
    }

    fn node_mut(&mut self, at: NodeIx) -> &mut Node {
        self.nodes[at.0 as usize].as_mut().expect("links lead to live nodes only")
    }

    fn child(&mut self, parent: NodeIx, name: &str, weight: u64) -> NodeIx {
        if let Some(kid) = self.node(parent).kids.get(name) {
            return *kid;
        }
        let name: Arc<str> = name.into();
        let node = Node::new(Some(parent), Arc::clone(&name), weight);
        let at = match self.vacant.pop() {
            Some(at) => {
                self.nodes[at.0 as usize] = Some(node);
                at
            }
            None => {
                self.nodes.push(Some(node));
                NodeIx(u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 roles"))
            }
        };
        self.node_mut(parent).kids.insert(name, at);
        at
    }

    /// Makes the leaf of a framework in a role, with all roles above it.
    pub(super) fn add_leaf(&mut self, role: &Role, framework: &str, client: ClientIx) -> NodeIx {
        let mut at = ROOT;
        let mut end = 0;
        for component in role.components() {
            end += component.len() + usize::from(end > 0);
            let weight = role.as_str().get(..end).and_then(|path| self.weights.get(path));
            let weight = weight.copied().unwrap_or(DEFAULT_WEIGHT);
            at = self.child(at, component, weight);
        }
        at = self.child(at, OWN, DEFAULT_WEIGHT);
        at = self.child(at, framework, DEFAULT_WEIGHT);
        self.node_mut(at).client = Some(client);
        at
    }

    /// Takes a leaf away that nothing is booked under, and the roles above it that it kept alive.
    pub(super) fn remove_leaf(&mut self, leaf: NodeIx) {
        self.set_active(leaf, false);
        let mut at = leaf;
        while let Some(parent) = self.node(at).parent {
            if !self.node(at).kids.is_empty() {
                break;
            }
            let name = Arc::clone(&self.node(at).name);
            self.node_mut(parent).kids.remove(&name);
            self.nodes[at.0 as usize] = None;
            self.vacant.push(at);
            at = parent;
        }
    }

    fn share(&self, node: &Node) -> u64 {
        if node.allocated.is_zero() {
            return 0;
        }
        node.allocated.dominant_share(&self.totals, node.weight)
    }

    fn fresh_place(&self, at: NodeIx) -> Place {
        let node = self.node(at);
        let share = self.share(node);
        Place { share, count: node.count, name: Arc::clone(&node.name), node: at }
    }

    /// Lists a client among those that want offers, or takes it off the list.
    pub(super) fn set_active(&mut self, leaf: NodeIx, active: bool) {
        if !active {
            self.set_hot(leaf, false);
        }
        let mut at = leaf;
        while let Some(parent) = self.node(at).parent {
            let listed = self.node(at).place.is_some();
            let wanted = active || !self.node(at).active.is_empty();
            if listed == wanted {
                break;
            }
            if wanted {
                let only = self.node(parent).active.first().map(|place| place.node);
                if let Some(only) = only
                    && self.node(parent).active.len() == 1
                {
                    self.move_to_fresh_place(only, parent);
                }
                let place = self.fresh_place(at);
                self.node_mut(at).place = Some(place.clone());
                self.node_mut(parent).active.insert(place);
            } else if let Some(place) = self.node_mut(at).place.take() {
                self.node_mut(parent).active.remove(&place);
            }
            at = parent;
        }
    }

    /// Marks an active client as one that came into play since the last round, or unmarks it.
    pub(super) fn set_hot(&mut self, leaf: NodeIx, hot: bool) {
        let mut at = leaf;
        while let Some(parent) = self.node(at).parent {
            let wanted = hot || !self.node(at).hot.is_empty();
            let Some(place) = self.node(at).place.clone() else { break };
            if self.node(at).is_hot == wanted {
                break;
            }
            self.node_mut(at).is_hot = wanted;
            if wanted {
                self.node_mut(parent).hot.insert(place);
            } else {
                self.node_mut(parent).hot.remove(&place);
            }
            at = parent;
        }
    }

    /// Unmarks all clients that came into play.
    pub(super) fn cool(&mut self) {
        self.cool_below(ROOT);
    }

    fn cool_below(&mut self, at: NodeIx) {
        for place in std::mem::take(&mut self.node_mut(at).hot) {
            self.node_mut(place.node).is_hot = false;
            self.cool_below(place.node);
        }
    }

    /// Brings a node's place up to date; an only child's is left alone until it has a sibling.
    fn refile(&mut self, at: NodeIx) {
        if let Some(parent) = self.node(at).parent
            && self.node(parent).active.len() > 1
        {
            self.move_to_fresh_place(at, parent);
        }
    }

    fn move_to_fresh_place(&mut self, at: NodeIx, parent: NodeIx) {
        let node = self.node(at);
        let (share, count) = (self.share(node), node.count);
        let Some(old) = &node.place else { return };
        if (old.share, old.count) == (share, count) {
            return;
        }
        let place = Place { share, count, name: Arc::clone(&old.name), node: at };
        let node = self.node_mut(at);
        let is_hot = node.is_hot;
        let Some(old) = node.place.replace(place.clone()) else { return };
        let parent = self.node_mut(parent);
        if is_hot {
            parent.hot.remove(&old);
            parent.hot.insert(place.clone());
        }
        parent.active.remove(&old);
        parent.active.insert(place);
    }

    /// Books amounts on a client and all roles above it.
    pub(super) fn book(&mut self, leaf: NodeIx, amounts: &Amounts) {
        let mut at = Some(leaf);
        while let Some(here) = at {
            let node = self.node_mut(here);
            node.allocated.add(amounts);
            node.count += 1;
            at = node.parent;
            if !self.stale {
                self.refile(here);
            }
        }
    }

    /// Takes booked amounts back.
    pub(super) fn unbook(&mut self, leaf: NodeIx, amounts: &Amounts) {
        let mut at = Some(leaf);
        while let Some(here) = at {
            let node = self.node_mut(here);
            node.allocated.subtract(amounts);
            at = node.parent;
            if !self.stale {
                self.refile(here);
            }
        }
    }

    pub(super) fn set_weight(&mut self, role: &Role, weight: u64) {
        self.weights.insert(role.clone(), weight);
        let mut at = ROOT;
        for component in role.components() {
            let Some(kid) = self.node(at).kids.get(component) else { return };
            at = *kid;
        }
        self.node_mut(at).weight = weight;
        self.refile(at);
    }

    /// The weights that were given.
    pub(super) fn weights(&self) -> impl Iterator<Item = (&Role, u64)> {
        self.weights.iter().map(|(role, weight)| (role, *weight))
    }

    pub(super) fn add_total(&mut self, amounts: &Amounts) {
        self.totals.add(amounts);
        self.stale = true;
    }

    pub(super) fn subtract_total(&mut self, amounts: &Amounts) {
        self.totals.subtract(amounts);
        self.stale = true;
    }

    /// Brings all places up to date after the totals changed: linear in the clients, once a round.
    pub(super) fn settle(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        for at in 0..self.nodes.len() {
            if self.nodes[at].is_some() {
                self.refile(NodeIx(u32::try_from(at).unwrap_or(u32::MAX)));
            }
        }
    }

    /// True when no client is listed.
    pub(super) fn is_idle(&self, among: Among) -> bool {
        self.node(ROOT).index(among).is_empty()
    }

    /// The first client in order of fair share that passes `takes`.
    pub(super) fn first(
        &self,
        among: Among,
        takes: &mut impl FnMut(ClientIx) -> bool,
    ) -> Option<ClientIx> {
        self.first_below(ROOT, among, takes)
    }

    fn first_below(
        &self,
        at: NodeIx,
        among: Among,
        takes: &mut impl FnMut(ClientIx) -> bool,
    ) -> Option<ClientIx> {
        let node = self.node(at);
        if let Some(client) = node.client {
            return takes(client).then_some(client);
        }
        node.index(among).iter().find_map(|place| self.first_below(place.node, among, takes))
    }

    fn path(&self, leaf: NodeIx) -> SmallVec<[NodeIx; 6]> {
        let mut path = SmallVec::new();
        let mut at = Some(leaf);
        while let Some(here) = at {
            path.push(here);
            at = self.node(here).parent;
        }
        path.reverse();
        path
    }

    /// Which of two active clients comes first in order of fair share.
    pub(super) fn compare(&self, a: NodeIx, b: NodeIx) -> Ordering {
        let (a, b) = (self.path(a), self.path(b));
        for (x, y) in a.iter().zip(&b) {
            if x != y {
                return self.node(*x).place.cmp(&self.node(*y).place);
            }
        }
        Ordering::Equal
    }
}
