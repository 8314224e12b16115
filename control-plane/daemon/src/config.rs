//! The daemon's configuration: one TOML file, each key also a flag; a flag wins.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use serde::Deserialize;
use tepui_ensemble::{Address, TlsFiles};
use tepui_plugin_host::{BUILT_IN, PluginSettings, Shelf};
use tepui_process::{check_host, check_store_files, guard_address};
use tepui_types::{Span, Term};

use crate::told;

/// Where frameworks and operators speak the Mesos APIs.
pub const LISTEN: &str = "127.0.0.1:5050";
/// Where clients speak Marathon's REST.
pub const MARATHON_LISTEN: &str = "127.0.0.1:8080";
/// Where agents register.
pub const AGENT_LISTEN: &str = "127.0.0.1:5052";
/// Where durable state lives unless systemd or the operator says otherwise.
pub const STATE_DIR: &str = "/var/lib/tepui/control-plane";
/// How long the allocator gathers news before it plans, in milliseconds.
pub const ALLOCATION_DELAY_MS: u64 = 20;
/// How large a recording of the allocator becomes, in megabytes.
pub const ALLOCATOR_RECORD_LIMIT_MB: u64 = 256;
/// How long a leader is believed without a sign of life, in seconds.
pub const LEASE_SECONDS: u64 = 5;
/// No term is given by hand above this one, so that there are always later ones.
const HIGHEST_TERM: u64 = 1_000_000_000_000;
/// How long an agent may be silent before it is unreachable: Mesos's 5 pings of 15 s.
pub const AGENT_PATIENCE_SECONDS: u64 = 75;

/// How many agents may be declared unreachable in a minute (invariant I-37).
pub const AGENT_REMOVALS_PER_MINUTE: u32 = 600;
/// When more than this share of the agents is silent, none is declared unreachable.
pub const AGENT_REMOVAL_LIMIT_PERCENT: u8 = 50;

/// The keys of the TOML file, and the flags.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Address of the Mesos APIs [default: 127.0.0.1:5050]
    #[arg(long, env = "TEPUI_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Address of Marathon's REST API [default: 127.0.0.1:8080]
    #[arg(long, env = "TEPUI_MARATHON_LISTEN")]
    pub marathon_listen: Option<SocketAddr>,
    /// Address that agents connect to [default: 127.0.0.1:5052]
    #[arg(long, env = "TEPUI_AGENT_LISTEN")]
    pub agent_listen: Option<SocketAddr>,
    /// Folder of the durable state [default: $STATE_DIRECTORY or /var/lib/tepui/control-plane]
    #[arg(long)]
    pub state_dir: Option<PathBuf>,
    /// Name under which clients reach this host, or its IP address [default: the listening address]
    #[arg(long)]
    pub hostname: Option<String>,
    /// Names, besides its own, under which clients call this host where it listens on loopback; may be
    /// repeated
    #[arg(long, value_delimiter = ',')]
    pub host_names: Vec<String>,
    /// Name of the cluster, shown to people
    #[arg(long)]
    pub cluster: Option<String>,
    /// Rescind an offer that nobody answered after so many seconds [default: never]
    #[arg(long)]
    pub offer_timeout_seconds: Option<u64>,
    /// Declare an agent unreachable after so many seconds of silence [default: 75]
    #[arg(long)]
    pub agent_patience_seconds: Option<u64>,
    /// Declare at most so many agents unreachable in a minute [default: 600]
    #[arg(long)]
    pub agent_removals_per_minute: Option<u32>,
    /// Declare no agent unreachable while more than this share of them is silent, unless they are
    /// ten at most: the fault is then more likely here or in between [default: 50]
    #[arg(long)]
    pub agent_removal_limit_percent: Option<u8>,
    /// Gather news for so many milliseconds before a round of allocation [default: 20]
    #[arg(long)]
    pub allocation_delay_ms: Option<u64>,
    /// Record what the allocator is told and decides in this file, from each election on, for
    /// `tepui allocator replay`
    #[arg(long)]
    pub allocator_record: Option<PathBuf>,
    /// Stop recording when the file has so many megabytes [default: 256]
    #[arg(long)]
    pub allocator_record_limit_mb: Option<u64>,
    /// Let this allocator decide beside the one in charge, and only look at it: drf, priority, binpack
    /// or a plugin
    #[arg(long)]
    pub shadow_allocator: Option<String>,
    /// Who decides which framework is offered what: drf, which is built in, or a plugin [default: drf]
    #[arg(long)]
    pub allocator: Option<String>,
    /// Folder of plugins, which only root can change
    #[arg(long)]
    pub plugin_dir: Option<PathBuf>,
    /// Hash, time budget and settings of each plugin: tables [plugins.NAME] of the file
    #[arg(skip)]
    pub plugins: BTreeMap<String, PluginSettings>,
    /// Role of apps that name none [default: *]
    #[arg(long)]
    pub marathon_role: Option<String>,
    /// System user of apps that name none [default: the agent daemon's own]
    #[arg(long)]
    pub marathon_user: Option<String>,
    /// Where durable state is kept: embedded, etcd://HOST:PORT,…[/PREFIX], etcds://… or
    /// zk://[USER:PASSWORD@]HOST:PORT,…/PATH; file:///PATH reads it from a file [default: embedded]
    #[arg(long, env = "TEPUI_STORE", alias = "zk")]
    #[serde(alias = "zk")]
    pub store: Option<String>,
    /// Certificates (PEM) of who signs the store's servers, for etcds://
    #[arg(long)]
    pub store_ca_file: Option<PathBuf>,
    /// Certificate (PEM) that this process shows the store's servers
    #[arg(long, requires = "store_key_file")]
    pub store_cert_file: Option<PathBuf>,
    /// Key (PEM) of that certificate
    #[arg(long, requires = "store_cert_file")]
    pub store_key_file: Option<PathBuf>,
    /// Believe a leader for so many seconds without a sign of life, where several control planes
    /// share a store [default: 5]
    #[arg(long)]
    pub lease_seconds: Option<u64>,
    /// Lead in terms above this one only: after the store was emptied, replaced or set back, for agents
    /// that obey a later term (the log of the leader names theirs)
    #[arg(long)]
    pub term_above: Option<u64>,
    /// Listen on other than loopback addresses although nobody has to log in
    #[arg(long)]
    #[serde(default)]
    pub allow_unauthenticated: bool,
}

/// The configuration in force.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of the Mesos APIs.
    pub listen: SocketAddr,
    /// Address of Marathon's REST API.
    pub marathon_listen: SocketAddr,
    /// Address that agents connect to.
    pub agent_listen: SocketAddr,
    /// Folder of the durable state.
    pub state_dir: PathBuf,
    /// Name under which clients reach this host.
    pub hostname: String,
    /// Further names of this host.
    pub host_names: Vec<String>,
    /// Name of the cluster.
    pub cluster: Option<String>,
    /// Seconds after which an unanswered offer is rescinded.
    pub offer_timeout_seconds: Option<u64>,
    /// Seconds of silence after which an agent is unreachable.
    pub agent_patience_seconds: u64,
    /// How many agents may be declared unreachable in a minute.
    pub agent_removals_per_minute: u32,
    /// The share of silent agents above which none is given up.
    pub agent_removal_limit_percent: u8,
    /// Milliseconds that the allocator gathers news.
    pub allocation_delay_ms: u64,
    /// Where the allocator is recorded.
    pub allocator_record: Option<PathBuf>,
    /// How large that file may become.
    pub allocator_record_limit_mb: u64,
    /// The candidate that decides beside the allocator in charge.
    pub shadow_allocator: Option<String>,
    /// Who decides which framework is offered what.
    pub allocator: String,
    /// Where plugins are.
    pub shelf: Shelf,
    /// Role of apps that name none.
    pub marathon_role: String,
    /// System user of apps that name none.
    pub marathon_user: Option<String>,
    /// The store that several control planes share; `None`: a store of its own on this host.
    pub store: Option<Address>,
    /// Certificates for that store: the setting that names each, and the file.
    pub certificates: Vec<(&'static str, PathBuf)>,
    /// The key of the one that this process shows.
    pub store_key: Option<PathBuf>,
    /// How long a leader is believed without a sign of life.
    pub lease: Span,
    /// Terms of this process are above this one.
    pub term_above: Term,
    /// What may be wrong with it, in sentences.
    pub warnings: Vec<String>,
}

impl Config {
    /// The plugins that this configuration puts in force, or lets follow.
    pub fn plugins(&self) -> Vec<&str> {
        let shadow = self.shadow_allocator.as_deref();
        let shadow = shadow.filter(|name| crate::shadow::is_plugin(name, &self.shelf));
        let allocator = Some(self.allocator.as_str()).filter(|name| *name != BUILT_IN);
        allocator.into_iter().chain(shadow).collect()
    }

    /// Checks that the files for TLS are there and hold what they are to.
    ///
    /// # Errors
    /// The setting whose file is of no use, and why.
    pub fn check_files(&self) -> anyhow::Result<()> {
        check_store_files(&self.certificates, self.store_key.as_deref())
    }

    /// Checks that what is said of plugins is said of some.
    ///
    /// # Errors
    /// The name that none has, and what would be right.
    pub fn check_tables(&self) -> Result<(), String> {
        self.shelf.check_tables(&self.plugins())
    }
}

impl Settings {
    /// These settings where they are given, else those of `file`.
    #[must_use]
    pub fn over(self, file: Self) -> Self {
        Self {
            listen: self.listen.or(file.listen),
            marathon_listen: self.marathon_listen.or(file.marathon_listen),
            agent_listen: self.agent_listen.or(file.agent_listen),
            state_dir: self.state_dir.or(file.state_dir),
            hostname: self.hostname.or(file.hostname),
            host_names: if self.host_names.is_empty() { file.host_names } else { self.host_names },
            cluster: self.cluster.or(file.cluster),
            offer_timeout_seconds: self.offer_timeout_seconds.or(file.offer_timeout_seconds),
            agent_patience_seconds: self.agent_patience_seconds.or(file.agent_patience_seconds),
            agent_removals_per_minute: self
                .agent_removals_per_minute
                .or(file.agent_removals_per_minute),
            agent_removal_limit_percent: self
                .agent_removal_limit_percent
                .or(file.agent_removal_limit_percent),
            allocation_delay_ms: self.allocation_delay_ms.or(file.allocation_delay_ms),
            allocator_record: self.allocator_record.or(file.allocator_record),
            allocator_record_limit_mb: self
                .allocator_record_limit_mb
                .or(file.allocator_record_limit_mb),
            shadow_allocator: self.shadow_allocator.or(file.shadow_allocator),
            allocator: self.allocator.or(file.allocator),
            plugin_dir: self.plugin_dir.or(file.plugin_dir),
            plugins: if self.plugins.is_empty() { file.plugins } else { self.plugins },
            marathon_role: self.marathon_role.or(file.marathon_role),
            marathon_user: self.marathon_user.or(file.marathon_user),
            store: self.store.or(file.store),
            store_ca_file: self.store_ca_file.or(file.store_ca_file),
            store_cert_file: self.store_cert_file.or(file.store_cert_file),
            store_key_file: self.store_key_file.or(file.store_key_file),
            lease_seconds: self.lease_seconds.or(file.lease_seconds),
            term_above: self.term_above.or(file.term_above),
            allow_unauthenticated: self.allow_unauthenticated || file.allow_unauthenticated,
        }
    }

    /// These settings without what only stands in files of their own host, for whoever builds
    /// another one's system.
    ///
    /// # Errors
    /// When such a file is not named by an absolute path: it would be another one there.
    pub fn elsewhere(mut self) -> anyhow::Result<Self> {
        let Some(file) = self.store.as_deref().and_then(|store| store.strip_prefix("file://"))
        else {
            return Ok(self);
        };
        ensure!(file.starts_with('/'), "store = \"file://{file}\" is not an absolute path");
        // Whatever stands there is shared, on that host or with others, and may speak TLS or not.
        let anything = if self.store_ca_file.is_some() || self.store_cert_file.is_some() {
            "etcds://localhost:2379"
        } else {
            "etcd://localhost:2379"
        };
        self.store = Some(anything.to_owned());
        Ok(self)
    }

    /// Fills in the defaults and checks what belongs together.
    ///
    /// # Errors
    /// When a value makes no sense; the error says what would.
    pub fn resolve(self) -> anyhow::Result<Config> {
        let address = |given: Option<SocketAddr>, default: &str| match given {
            Some(address) => Ok(address),
            None => default.parse().context("a default address is valid"),
        };
        let listen = address(self.listen, LISTEN)?;
        let marathon_listen = address(self.marathon_listen, MARATHON_LISTEN)?;
        let agent_listen = address(self.agent_listen, AGENT_LISTEN)?;
        let addresses = [
            ("listen", listen),
            ("marathon_listen", marathon_listen),
            ("agent_listen", agent_listen),
        ];
        for (key, address) in addresses {
            guard_address(key, address, self.allow_unauthenticated)?;
        }
        for (position, (key, one)) in addresses.iter().enumerate() {
            if let Some((other_key, other)) =
                addresses.iter().take(position).find(|(_, other)| clash(*one, *other))
            {
                bail!("{key} = {one} and {other_key} = {other} cannot both be listened at");
            }
        }
        let patience = self.agent_patience_seconds.unwrap_or(AGENT_PATIENCE_SECONDS);
        ensure!(patience >= 5, "agent_patience_seconds = {patience} is below 5");
        let removals = self.agent_removals_per_minute.unwrap_or(AGENT_REMOVALS_PER_MINUTE);
        ensure!(removals > 0, "agent_removals_per_minute = 0 would keep lost agents for ever");
        let limit = self.agent_removal_limit_percent.unwrap_or(AGENT_REMOVAL_LIMIT_PERCENT);
        ensure!(limit <= 100, "agent_removal_limit_percent = {limit} is above 100");
        let delay = self.allocation_delay_ms.unwrap_or(ALLOCATION_DELAY_MS);
        ensure!(delay <= 10_000, "allocation_delay_ms = {delay} is above 10000");
        ensure!(
            self.offer_timeout_seconds != Some(0),
            "offer_timeout_seconds = 0 would take every offer back at once; leave it out for none"
        );
        let lease = self.lease_seconds.unwrap_or(LEASE_SECONDS);
        ensure!(
            (2..=600).contains(&lease),
            "lease_seconds = {lease} is not within 2 to 600: shorter ones end with every hiccup"
        );
        let term_above = self.term_above.unwrap_or_default();
        ensure!(
            term_above <= HIGHEST_TERM,
            "term_above = {term_above} is above {HIGHEST_TERM}: no cluster had so many leaders"
        );
        let store = self.shared_store()?;
        let certificates = self.store_files().certificates();
        let warnings = match &store {
            Some(store) => told::check(self.hostname.as_deref(), &addresses, store)?,
            None => Vec::new(),
        };
        let record_limit = self.allocator_record_limit_mb.unwrap_or(ALLOCATOR_RECORD_LIMIT_MB);
        ensure!(
            (1..=1 << 20).contains(&record_limit),
            "allocator_record_limit_mb = {record_limit} is not within 1 to 1048576"
        );
        let allocator = self.allocator.unwrap_or_else(|| BUILT_IN.into());
        let shelf = Shelf::new(self.plugin_dir, self.plugins).map_err(anyhow::Error::msg)?;
        if allocator != BUILT_IN {
            let named = shelf.check_name(&allocator);
            named.map_err(|why| anyhow!("allocator = {allocator:?}: {why}"))?;
        }
        if let Some(name) = &self.shadow_allocator {
            let named = crate::shadow::check_name(name, &shelf);
            named.map_err(|why| anyhow!("shadow_allocator = {name:?}: {why}"))?;
            ensure!(
                *name != allocator || !shelf.has(name),
                "shadow_allocator = {name:?} is the allocator itself"
            );
        }
        let role = self.marathon_role.unwrap_or_else(|| "*".into());
        tepui_types::Role::parse(&role).context("marathon_role is not a role")?;
        Ok(Config {
            hostname: hostname(self.hostname, listen)?,
            listen,
            marathon_listen,
            agent_listen,
            state_dir: self.state_dir.unwrap_or_else(default_state_dir),
            host_names: self.host_names,
            cluster: self.cluster,
            offer_timeout_seconds: self.offer_timeout_seconds,
            agent_patience_seconds: patience,
            agent_removals_per_minute: removals,
            agent_removal_limit_percent: limit,
            allocation_delay_ms: delay,
            allocator_record: self.allocator_record,
            allocator_record_limit_mb: record_limit,
            shadow_allocator: self.shadow_allocator,
            allocator,
            shelf,
            marathon_role: role,
            marathon_user: self.marathon_user,
            store,
            certificates,
            store_key: self.store_key_file,
            lease: Span::from_secs(lease),
            term_above: Term(term_above),
            warnings,
        })
    }

    /// The address of the shared store, if there is one.
    fn shared_store(&self) -> anyhow::Result<Option<Address>> {
        let text = match self.store.as_deref() {
            None | Some("embedded") => return Ok(None),
            Some(text) => text,
        };
        Ok(Some(Address::read(text, &self.store_files())?))
    }

    fn store_files(&self) -> TlsFiles {
        TlsFiles {
            ca: self.store_ca_file.clone(),
            certificate: self.store_cert_file.clone(),
            key: self.store_key_file.clone(),
        }
    }
}

/// What others are told: the name given, or the address.
fn hostname(given: Option<String>, listen: SocketAddr) -> anyhow::Result<String> {
    let Some(given) = given else { return Ok(listen.ip().to_string()) };
    check_host("hostname", &given)?;
    Ok(given)
}

/// Where records are unless a setting says so: what systemd makes for the unit.
pub fn default_state_dir() -> PathBuf {
    std::env::var_os("STATE_DIRECTORY").map_or_else(|| STATE_DIR.into(), PathBuf::from)
}

/// Whether one host cannot listen at both; port 0 is a different one each time.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (everywhere || one.ip() == other.ip())
}

#[cfg(test)]
mod tests;
