//! Health, general and readiness checks (`marathon-app.tsv`, AppHealthCheck to ReadinessCheck).

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// One liveness check of an app.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HealthCheck {
    /// What is probed, and from where.
    pub protocol: HealthProtocol,
    /// Request path; only HTTP kinds have one.
    pub path: Option<String>,
    /// Index into the app's ports.
    pub port_index: Option<u32>,
    /// Explicit port; wins over `port_index`.
    pub port: Option<u16>,
    /// Shell command of [`HealthProtocol::Command`]; exit status 0 is healthy.
    pub command: Option<String>,
    /// Failures are ignored for this long, or until the first success.
    pub grace_period_seconds: u32,
    /// Pause between probes.
    pub interval_seconds: u32,
    /// Time after which an unanswered probe has failed.
    pub timeout_seconds: u32,
    /// Failures in a row that kill the instance; 0 never kills.
    pub max_consecutive_failures: u32,
    /// Wait before the first probe; agent-executed checks only.
    pub delay_seconds: u32,
    /// Answers 100 to 199 neither pass nor fail.
    pub ignore_http_1xx: bool,
    /// Address family of the probe.
    pub ip_protocol: IpProtocol,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            protocol: HealthProtocol::Http,
            path: Some("/".to_owned()),
            port_index: None,
            port: None,
            command: None,
            grace_period_seconds: 300,
            interval_seconds: 60,
            timeout_seconds: 20,
            max_consecutive_failures: 3,
            delay_seconds: 15,
            ignore_http_1xx: false,
            ip_protocol: IpProtocol::V4,
        }
    }
}

/// `healthChecks[].protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum HealthProtocol {
    /// HTTP, probed by the leader.
    #[serde(rename = "HTTP")]
    Http,
    /// HTTPS, probed by the leader.
    #[serde(rename = "HTTPS")]
    Https,
    /// TCP connect, probed by the leader.
    #[serde(rename = "TCP")]
    Tcp,
    /// A command at the agent.
    #[serde(rename = "COMMAND")]
    Command,
    /// TCP connect from the agent.
    #[serde(rename = "MESOS_TCP")]
    MesosTcp,
    /// HTTP from the agent.
    #[serde(rename = "MESOS_HTTP")]
    MesosHttp,
    /// HTTPS from the agent.
    #[serde(rename = "MESOS_HTTPS")]
    MesosHttps,
}

impl HealthProtocol {
    /// Every kind with its name in the API.
    pub(crate) const NAMES: [(&'static str, Self); 7] = [
        ("HTTP", Self::Http),
        ("HTTPS", Self::Https),
        ("TCP", Self::Tcp),
        ("COMMAND", Self::Command),
        ("MESOS_TCP", Self::MesosTcp),
        ("MESOS_HTTP", Self::MesosHttp),
        ("MESOS_HTTPS", Self::MesosHttps),
    ];

    /// Whether the agent executes the check rather than the leader.
    #[must_use]
    pub fn runs_at_agent(self) -> bool {
        matches!(self, Self::Command | Self::MesosTcp | Self::MesosHttp | Self::MesosHttps)
    }

    /// Whether the check sends an HTTP request.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https | Self::MesosHttp | Self::MesosHttps)
    }
}

/// Address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum IpProtocol {
    /// IPv4.
    #[default]
    #[serde(rename = "IPv4")]
    V4,
    /// IPv6.
    #[serde(rename = "IPv6")]
    V6,
}

#[derive(Serialize)]
struct CommandText<'a> {
    value: &'a str,
}

impl Serialize for HealthCheck {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(value) = &self.command {
            map.serialize_entry("command", &CommandText { value })?;
        }
        map.serialize_entry("gracePeriodSeconds", &self.grace_period_seconds)?;
        if matches!(self.protocol, HealthProtocol::Http | HealthProtocol::Https) {
            map.serialize_entry("ignoreHttp1xx", &self.ignore_http_1xx)?;
        }
        map.serialize_entry("intervalSeconds", &self.interval_seconds)?;
        map.serialize_entry("ipProtocol", &self.ip_protocol)?;
        map.serialize_entry("maxConsecutiveFailures", &self.max_consecutive_failures)?;
        if let Some(path) = &self.path {
            map.serialize_entry("path", path)?;
        }
        if let Some(port) = self.port {
            map.serialize_entry("port", &port)?;
        }
        if let Some(index) = self.port_index {
            map.serialize_entry("portIndex", &index)?;
        }
        map.serialize_entry("protocol", &self.protocol)?;
        map.serialize_entry("timeoutSeconds", &self.timeout_seconds)?;
        map.serialize_entry("delaySeconds", &self.delay_seconds)?;
        map.end()
    }
}

/// A general check run at the agent; its result is only reported.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Check {
    /// What is done.
    pub probe: CheckProbe,
    /// Pause between probes.
    pub interval_seconds: u32,
    /// Time after which an unanswered probe has failed.
    pub timeout_seconds: u32,
    /// Wait before the first probe.
    pub delay_seconds: u32,
}

/// What a general check does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CheckProbe {
    /// An HTTP request.
    Http {
        /// Index into the app's ports.
        port_index: Option<u32>,
        /// Explicit port.
        port: Option<u16>,
        /// Request path.
        path: Option<String>,
        /// `HTTP` or `HTTPS`.
        https: bool,
    },
    /// A TCP connection.
    Tcp {
        /// Index into the app's ports.
        port_index: Option<u32>,
        /// Explicit port.
        port: Option<u16>,
    },
    /// A shell command.
    Shell(String),
    /// A command without shell.
    Argv(Vec<String>),
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.probe {
            CheckProbe::Http { port_index, port, path, https } => {
                let scheme = if *https { "HTTPS" } else { "HTTP" };
                let target = Target {
                    port_index: *port_index,
                    port: *port,
                    path: path.as_deref(),
                    scheme: Some(scheme),
                };
                map.serialize_entry("http", &target)?;
            }
            CheckProbe::Tcp { port_index, port } => {
                let target =
                    Target { port_index: *port_index, port: *port, path: None, scheme: None };
                map.serialize_entry("tcp", &target)?;
            }
            CheckProbe::Shell(shell) => {
                map.serialize_entry("exec", &serde_json::json!({"command": {"shell": shell}}))?;
            }
            CheckProbe::Argv(argv) => {
                map.serialize_entry("exec", &serde_json::json!({"command": {"argv": argv}}))?;
            }
        }
        map.serialize_entry("intervalSeconds", &self.interval_seconds)?;
        map.serialize_entry("timeoutSeconds", &self.timeout_seconds)?;
        map.serialize_entry("delaySeconds", &self.delay_seconds)?;
        map.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Target<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    port_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme: Option<&'static str>,
}

/// A check that delays the progress of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessCheck {
    /// Its name in results.
    pub name: String,
    /// `HTTP` or `HTTPS`.
    pub protocol: ReadinessProtocol,
    /// Request path.
    pub path: String,
    /// Name of one of the app's ports.
    pub port_name: String,
    /// Pause between probes.
    pub interval_seconds: u32,
    /// Time after which an unanswered probe has failed.
    pub timeout_seconds: u32,
    /// Statuses that mean "ready".
    pub http_status_codes_for_ready: Vec<u16>,
    /// Expose the last response in results.
    pub preserve_last_response: bool,
}

/// `readinessChecks[].protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ReadinessProtocol {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}
