use std::sync::Arc;

use tepui_types::Span;
use tepui_wire::v1;

use crate::limits::{Isolation, LimitPolicy};

/// What the operator decided; the defaults are Mesos's (`spec/mesos-http.md` 9).
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Hostname, port, resources and attributes; an id in it is ignored.
    pub info: v1::AgentInfo,
    /// The address that tasks are said to have.
    pub ip: String,
    /// `ip:port` of the executor API.
    pub endpoint: String,
    /// The agent's version, as registered.
    pub version: String,
    /// Variables that every task and executor starts from (`PATH`, `LANG`, …). Nothing else of
    /// the daemon's environment reaches them.
    pub environment: Vec<(String, String)>,
    /// Whether tasks run as the user that they or their framework name; else as the daemon's own.
    pub switch_user: bool,
    /// The first upper bound of the random pause before a new link; doubles.
    pub registration_backoff: Span,
    /// Where that doubling ends.
    pub registration_backoff_max: Span,
    /// How long the answer to a registration may take before the link is made anew.
    pub registration_timeout: Span,
    /// How long an executor may take to subscribe after its start.
    pub executor_registration_timeout: Span,
    /// How long executors have to subscribe again after the agent was restarted.
    pub executor_reregistration_timeout: Span,
    /// How long an executor has from SHUTDOWN to its end, unless it has its own.
    pub executor_shutdown_grace: Span,
    /// How long executors are told to look for a restarting agent.
    pub recovery_timeout: Span,
    /// How long the sandbox of an ended run stays.
    pub gc_delay: Span,
    /// The share of the disk that sandboxes should leave free, in thousandths.
    pub gc_headroom_thousandths: u16,
    /// How runs are limited.
    pub limits: LimitPolicy,
    /// Who holds them to it.
    pub isolation: Isolation,
    /// Which changes of `info` the agent's id survives.
    pub reconfiguration: Reconfiguration,
    /// Which containers the host can run.
    pub containers: Containers,
}

/// What a host can do for containers; a reason stands for what it cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Containers {
    /// Containers at all.
    pub any: Result<(), Arc<str>>,
    /// A bridge with port mappings.
    pub bridge: Result<(), Arc<str>>,
    /// Names of CNI networks.
    pub networks: Vec<String>,
}

impl Default for Containers {
    fn default() -> Self {
        Self { any: Ok(()), bridge: Ok(()), networks: Vec::new() }
    }
}

/// Which changes of its description an agent's id survives (`spec/mesos-http.md` 7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reconfiguration {
    /// None.
    #[default]
    Equal,
    /// Resources may grow, attributes and a domain may be added; hostname and port stay.
    Additive,
}

impl Config {
    /// The defaults for an agent of this description, reached at this address.
    pub fn new(info: v1::AgentInfo, ip: &str) -> Self {
        let endpoint = format!("{ip}:{}", info.port());
        Self {
            info,
            ip: ip.to_owned(),
            endpoint,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            environment: Vec::new(),
            switch_user: true,
            registration_backoff: Span::from_secs(1),
            registration_backoff_max: Span::from_secs(60),
            registration_timeout: Span::from_secs(15),
            executor_registration_timeout: Span::from_secs(60),
            executor_reregistration_timeout: Span::from_secs(2),
            executor_shutdown_grace: Span::from_secs(5),
            recovery_timeout: Span::from_secs(15 * 60),
            gc_delay: Span::from_secs(7 * 24 * 3600),
            gc_headroom_thousandths: 100,
            limits: LimitPolicy::default(),
            isolation: Isolation::default(),
            reconfiguration: Reconfiguration::default(),
            containers: Containers::default(),
        }
    }
}
