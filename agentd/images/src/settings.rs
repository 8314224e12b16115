//! Where images come from, and what they may cost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::credentials::DockerConfig;
use crate::reference::DOCKER_HUB;

/// Settings of a store. [`Default`] asks Docker Hub over TLS, anonymously.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The registry of names that carry none (Mesos's `--docker_registry`).
    pub default_registry: String,
    /// Registries, as `host` or `host:port`, that speak plain HTTP. Registries on loopback do so
    /// without being named.
    pub insecure_registries: BTreeSet<String>,
    /// For each registry the hosts that are asked before it.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Credentials for requests that bring none (Mesos's `--docker_config`).
    pub docker_config: DockerConfig,
    /// Folders that layouts (`oci:`) and archives (`oci-archive:`, `docker-archive:`) are read from;
    /// without any there are none.
    pub local_images: Vec<PathBuf>,
    /// What an image may cost.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_registry: DOCKER_HUB.to_owned(),
            insecure_registries: BTreeSet::new(),
            mirrors: BTreeMap::new(),
            docker_config: DockerConfig::default(),
            local_images: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// Limits of every image. The defaults hold what is in use anywhere, and no bomb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a manifest or index.
    pub manifest_bytes: u64,
    /// Bytes of a configuration.
    pub config_bytes: u64,
    /// Layers of one image; overlayfs takes 500, a page of mount options far fewer.
    pub layers: usize,
    /// Bytes of one layer as it is transferred.
    pub layer_bytes: u64,
    /// Bytes that one layer may unpack to.
    pub unpacked_bytes: u64,
    /// How many times its own size a layer may unpack to, above [`Self::ratio_floor_bytes`].
    pub ratio: u64,
    /// Up to so many unpacked bytes the ratio does not matter: small files compress well.
    pub ratio_floor_bytes: u64,
    /// Entries of one layer.
    pub entries: u64,
    /// Layers that are downloaded at a time, for each image.
    pub downloads: usize,
    /// Layers that are unpacked at a time, for all images.
    pub unpackers: usize,
    /// Attempts in a row that bring nothing before a request is given up.
    pub attempts: u32,
    /// Pause before the second attempt; doubles with each.
    pub backoff: Duration,
    /// Time to a connection.
    pub connect: Duration,
    /// Time without a single byte after which an attempt is given up.
    pub stall: Duration,
    /// Time for one image, unpacking included.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 << 20,
            config_bytes: 8 << 20,
            layers: 127,
            layer_bytes: 16 << 30,
            unpacked_bytes: 64 << 30,
            ratio: 200,
            ratio_floor_bytes: 256 << 20,
            entries: 1_000_000,
            downloads: 4,
            unpackers: 2,
            attempts: 5,
            backoff: Duration::from_millis(250),
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(60),
            total: Duration::from_secs(3600),
        }
    }
}
