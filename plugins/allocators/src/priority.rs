//! The allocator `priority`: strict priorities between roles, and what is held below is taken back.
//!
//! Whoever has the highest priority is offered everything that it has not refused; only what it
//! leaves goes further down. Among equals the smallest dominant share comes first. A role's priority
//! is what the settings give it, or the nearest role above it; roles without one have their weight
//! (1 unless an operator set it).
//!
//! When a framework wants something and there is nothing free for it, the allocator takes back what
//! it would take from frameworks of lower priority, one agent at a time, and waits for what comes of
//! it: offers that nobody answered yet, and, for a framework that takes revocable resources, tasks
//! that hold such. Nothing else that is in use is ever taken.

mod preempt;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Deserialize;
use tepui_plugin_sdk::{
    AgentId, Books, Candidate, Client, Kept, Mono, Policy, Reclaim, Role, Span,
};

/// What an operator may set.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Priorities by role, the highest first served.
    pub priorities: BTreeMap<String, i64>,
    /// Take back what frameworks of lower priority were offered or hold revocably.
    pub preempt: bool,
    /// Revocable processors to take back at a time, at most.
    pub revocable_cpus: u64,
    /// Revocable megabytes of memory to take back at a time, at most.
    pub revocable_mem: u64,
    /// How many seconds to wait for what was taken back before something else is.
    pub patience_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            priorities: BTreeMap::new(),
            preempt: true,
            revocable_cpus: 1,
            revocable_mem: 1024,
            patience_seconds: 10,
        }
    }
}

/// Something that was asked back for a client, and until when it is waited for.
#[derive(Clone, Debug)]
struct Claim {
    agent: AgentId,
    until: Mono,
}

/// Decides as the module's documentation says.
#[derive(Clone, Debug)]
pub struct Priority {
    settings: Settings,
    claims: BTreeMap<Client, Claim>,
}

impl Priority {
    /// A role's priority, in thousandths.
    #[must_use]
    pub fn of(&self, books: &Books, role: &Role) -> i64 {
        let mut path = role.as_str();
        loop {
            if let Some(priority) = self.settings.priorities.get(path) {
                return priority.saturating_mul(1000);
            }
            let Some((above, _)) = path.rsplit_once('/') else { break };
            path = above;
        }
        i64::try_from(books.weight(role).0).unwrap_or(i64::MAX)
    }

    fn patience(&self) -> Span {
        Span::from_secs(self.settings.patience_seconds)
    }
}

impl Policy for Priority {
    fn choose(&mut self, books: &Books, _: &AgentId, candidates: &[Candidate]) -> Option<usize> {
        let key = |at: &usize| {
            let client = &candidates[*at].client;
            (Reverse(self.of(books, &client.role)), books.dominant_share(client))
        };
        (0..candidates.len()).min_by(|a, b| {
            let (a, b) = (key(a), key(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        })
    }

    fn takes_back(&self) -> bool {
        self.settings.preempt
    }

    fn reclaim(&mut self, now: Mono, books: &Books) -> Vec<Reclaim> {
        if self.settings.preempt { self.take_back(now, books) } else { Vec::new() }
    }

    fn next_wakeup(&self) -> Option<Mono> {
        self.claims.values().map(|claim| claim.until).min()
    }
}

/// The allocator of these settings.
///
/// # Errors
/// What is wrong with the settings.
pub fn allocator(settings: Settings) -> Result<Kept<Priority>, String> {
    for role in settings.priorities.keys() {
        Role::parse(role).map_err(|error| format!("priorities: {role:?}: {error}"))?;
    }
    if settings.patience_seconds == 0 {
        return Err("patience_seconds is 0: everything would be taken back at once".to_owned());
    }
    Ok(Kept::new(Priority { settings, claims: BTreeMap::new() }))
}
