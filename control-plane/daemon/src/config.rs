//! The daemon's configuration: one TOML file, each key also a flag; a flag wins.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;
use serde::Deserialize;
use tepui_process::guard_address;

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
/// How long an agent may be silent before it is unreachable: Mesos's 5 pings of 15 s.
pub const AGENT_PATIENCE_SECONDS: u64 = 75;

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
    /// Name under which clients reach this host [default: the listening address]
    #[arg(long)]
    pub hostname: Option<String>,
    /// Name of the cluster, shown to people
    #[arg(long)]
    pub cluster: Option<String>,
    /// Rescind an offer that nobody answered after so many seconds [default: never]
    #[arg(long)]
    pub offer_timeout_seconds: Option<u64>,
    /// Declare an agent unreachable after so many seconds of silence [default: 75]
    #[arg(long)]
    pub agent_patience_seconds: Option<u64>,
    /// Gather news for so many milliseconds before a round of allocation [default: 20]
    #[arg(long)]
    pub allocation_delay_ms: Option<u64>,
    /// Role of apps that name none [default: *]
    #[arg(long)]
    pub marathon_role: Option<String>,
    /// System user of apps that name none [default: the agent daemon's own]
    #[arg(long)]
    pub marathon_user: Option<String>,
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
    /// Name of the cluster.
    pub cluster: Option<String>,
    /// Seconds after which an unanswered offer is rescinded.
    pub offer_timeout_seconds: Option<u64>,
    /// Seconds of silence after which an agent is unreachable.
    pub agent_patience_seconds: u64,
    /// Milliseconds that the allocator gathers news.
    pub allocation_delay_ms: u64,
    /// Role of apps that name none.
    pub marathon_role: String,
    /// System user of apps that name none.
    pub marathon_user: Option<String>,
}

impl Config {
    /// Name under which clients reach Marathon's API.
    pub fn marathon_host(&self) -> String {
        if self.hostname == self.listen.ip().to_string() {
            return self.marathon_listen.ip().to_string();
        }
        self.hostname.clone()
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
            cluster: self.cluster.or(file.cluster),
            offer_timeout_seconds: self.offer_timeout_seconds.or(file.offer_timeout_seconds),
            agent_patience_seconds: self.agent_patience_seconds.or(file.agent_patience_seconds),
            allocation_delay_ms: self.allocation_delay_ms.or(file.allocation_delay_ms),
            marathon_role: self.marathon_role.or(file.marathon_role),
            marathon_user: self.marathon_user.or(file.marathon_user),
            allow_unauthenticated: self.allow_unauthenticated || file.allow_unauthenticated,
        }
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
        for (key, address) in [
            ("listen", listen),
            ("marathon_listen", marathon_listen),
            ("agent_listen", agent_listen),
        ] {
            guard_address(key, address, self.allow_unauthenticated)?;
        }
        let patience = self.agent_patience_seconds.unwrap_or(AGENT_PATIENCE_SECONDS);
        ensure!(patience >= 5, "agent_patience_seconds = {patience} is below 5");
        let delay = self.allocation_delay_ms.unwrap_or(ALLOCATION_DELAY_MS);
        ensure!(delay <= 10_000, "allocation_delay_ms = {delay} is above 10000");
        ensure!(
            self.offer_timeout_seconds != Some(0),
            "offer_timeout_seconds = 0 would take every offer back at once; leave it out for none"
        );
        let role = self.marathon_role.unwrap_or_else(|| "*".into());
        tepui_types::Role::parse(&role).context("marathon_role is not a role")?;
        Ok(Config {
            hostname: self.hostname.unwrap_or_else(|| listen.ip().to_string()),
            listen,
            marathon_listen,
            agent_listen,
            state_dir: self.state_dir.unwrap_or_else(default_state_dir),
            cluster: self.cluster,
            offer_timeout_seconds: self.offer_timeout_seconds,
            agent_patience_seconds: patience,
            allocation_delay_ms: delay,
            marathon_role: role,
            marathon_user: self.marathon_user,
        })
    }
}

fn default_state_dir() -> PathBuf {
    std::env::var_os("STATE_DIRECTORY").map_or_else(|| STATE_DIR.into(), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = toml::from_str::<Settings>("lisen = \"127.0.0.1:1\"").unwrap_err();
        assert!(error.to_string().contains("unknown field `lisen`"), "{error}");
    }

    #[test]
    fn an_open_address_is_refused_unless_the_operator_insists() {
        let open = |allow_unauthenticated| Settings {
            listen: Some("0.0.0.0:5050".parse().unwrap()),
            allow_unauthenticated,
            ..Settings::default()
        };
        let error = open(false).resolve().unwrap_err();
        assert!(error.to_string().contains("allow_unauthenticated"), "{error}");
        assert!(open(true).resolve().is_ok());
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let flag = Settings { cluster: Some("flag".into()), ..Settings::default() };
        let file: Settings = toml::from_str("cluster = \"file\"\nhostname = \"h\"").unwrap();
        let both = flag.over(file);
        assert_eq!(both.cluster.as_deref(), Some("flag"));
        assert_eq!(both.hostname.as_deref(), Some("h"));
    }
}
