//! What the operator configured about the REST API (`marathon-behaviour.md` section 17).

use std::time::Duration;

use tepui_marathon::Settings;

/// Settings of the REST API. `Default` has Marathon's defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// `host:port` under which clients reach this process.
    pub address: String,
    /// Whether that address speaks TLS only.
    pub https: bool,
    /// How definitions are read; the same as the apps have.
    pub settings: Settings,
    /// Values of `Access-Control-Allow-Origin`; the last one wins. Empty turns CORS off.
    pub allow_origins: Vec<String>,
    /// User and password that every request must carry.
    pub credentials: Option<(String, String)>,
    /// Realm of the password prompt.
    pub realm: String,
    /// Requests at once, not counting open event streams; `None` for no limit.
    pub max_concurrent_requests: Option<usize>,
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Pause between heartbeats of an event stream.
    pub heartbeat: Duration,
    /// How long and how often a request waits for a leader to be known.
    pub leader_wait: (u32, Duration),
    /// Whether `/metrics/prometheus` is served.
    pub prometheus: bool,
    /// Compress answers for clients that accept it.
    pub compression: bool,
    /// Version of this release, for `/v2/info` and `/metrics`.
    pub version: String,
    /// Settings shown by `/v2/info`.
    pub info: InfoConfig,
}

/// Values of `/v2/info` that neither the apps nor the REST layer know.
#[derive(Clone, Debug)]
pub struct InfoConfig {
    /// Address of the cluster, without credentials.
    pub master: String,
    /// Address of the cluster's user interface.
    pub mesos_leader_ui_url: Option<String>,
    /// Features switched on.
    pub features: Vec<String>,
    /// Port of plain HTTP.
    pub http_port: Option<u16>,
    /// Port of HTTPS.
    pub https_port: Option<u16>,
    /// Connection string of the store, without credentials.
    pub store: Option<String>,
}

impl Default for InfoConfig {
    fn default() -> Self {
        Self {
            master: "localhost:5050".to_owned(),
            mesos_leader_ui_url: None,
            features: Vec::new(),
            http_port: Some(8080),
            https_port: None,
            store: None,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: "localhost:8080".to_owned(),
            https: false,
            settings: Settings::default(),
            allow_origins: Vec::new(),
            credentials: None,
            realm: "Mesosphere".to_owned(),
            max_concurrent_requests: None,
            max_body_bytes: 8 * 1024 * 1024,
            heartbeat: Duration::from_secs(10),
            leader_wait: (10, Duration::from_millis(250)),
            prometheus: true,
            compression: true,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            info: InfoConfig::default(),
        }
    }
}
