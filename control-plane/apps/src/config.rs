//! Settings of the apps with their defaults (`marathon-behaviour.md` section 17).

use tepui_marathon::Settings;
use tepui_types::Span;

/// What the operator configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How definitions are read.
    pub settings: Settings,
    /// Name of the framework.
    pub framework_name: String,
    /// User that tasks run as unless they say otherwise.
    pub user: String,
    /// Hostname that the framework shows.
    pub hostname: String,
    /// Address of the web interface that the framework shows.
    pub webui_url: Option<String>,
    /// How long tasks survive without a leader.
    pub failover_timeout: Span,
    /// Executor of apps that name none: `//cmd` or a path.
    pub executor: String,
    /// Prefix of `HOST` and `PORT*` variables.
    pub env_vars_prefix: Option<String>,
    /// First and last service port that is assigned.
    pub local_ports: (u16, u16),
    /// Launches per refresh interval.
    pub launch_tokens: u32,
    /// How often the launch tokens are filled up.
    pub launch_token_refresh: Span,
    /// Launches from one offer.
    pub max_instances_per_offer: u32,
    /// How long unused offers stay away.
    pub decline_offer_duration: Span,
    /// Shortest pause between two REVIVE calls.
    pub min_revive_interval: Span,
    /// Time that a launch may take until the task runs.
    pub task_launch_timeout: Span,
    /// First reconciliation after election.
    pub reconciliation_delay: Span,
    /// Pause between reconciliations.
    pub reconciliation_interval: Span,
    /// First comparison of wanted and actual instances after election.
    pub scale_delay: Span,
    /// Pause between such comparisons.
    pub scale_interval: Span,
    /// Kills in flight.
    pub kill_chunk_size: usize,
    /// A kill is repeated after this.
    pub kill_retry: Span,
    /// Deployments at once.
    pub max_running_deployments: usize,
    /// Versions kept of each object.
    pub max_versions: usize,
    /// Leader probes in flight.
    pub max_probes: usize,
    /// Look at offers of agents in maintenance.
    pub maintenance_mode: bool,
    /// How long before its maintenance an agent is avoided.
    pub draining: Span,
    /// Keep apps without GPUs away from agents that have some.
    pub gpu_restricted: bool,
    /// Kills of unknown tasks per reconciliation interval are limited to this many, or to a tenth of the
    /// known instances if that is more (invariant I-33).
    pub unknown_task_kills: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            framework_name: "marathon".to_owned(),
            user: "root".to_owned(),
            hostname: "localhost".to_owned(),
            webui_url: None,
            failover_timeout: Span::from_secs(604_800),
            executor: "//cmd".to_owned(),
            env_vars_prefix: None,
            local_ports: (10_000, 20_000),
            launch_tokens: 100,
            launch_token_refresh: Span::from_secs(30),
            max_instances_per_offer: 5,
            decline_offer_duration: Span::from_secs(120),
            min_revive_interval: Span::from_secs(5),
            task_launch_timeout: Span::from_secs(300),
            reconciliation_delay: Span::from_secs(15),
            reconciliation_interval: Span::from_secs(600),
            scale_delay: Span::from_secs(15),
            scale_interval: Span::from_secs(300),
            kill_chunk_size: 100,
            kill_retry: Span::from_secs(30),
            max_running_deployments: 100,
            max_versions: 50,
            max_probes: 256,
            maintenance_mode: true,
            draining: Span::ZERO,
            gpu_restricted: true,
            unknown_task_kills: 20,
        }
    }
}
