//! Networks as the agent uses them.

mod keep;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tepui_container::{Network, NetworkLabels};
use tepui_types::ContainerId;
use tracing::{debug, warn};

use crate::address::Numbers;
use crate::bridge::{self, Addresses};
use crate::cni;
use crate::error::NetworkError;
use crate::namespace;
use crate::record::{How, Record};
use crate::settings::Settings;
use crate::tables::{Mapping, Tables};

pub use keep::Repairs;

/// Networks of containers on one host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Networks {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
    numbers: Mutex<Numbers>,
    known: Mutex<HashMap<ContainerId, Record>>,
    tables: Tables,
    /// The bridge is made when the first container needs it, by one at a time.
    bridge: tokio::sync::Mutex<bool>,
    ends: bridge::Ends,
    repairs: keep::Counts,
}

/// What a host can do; a reason stands for what it cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// The bridge with port mappings.
    pub bridge: Result<(), Arc<str>>,
    /// Names of CNI networks.
    pub networks: Vec<String>,
}

/// A container's network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Where its namespace is.
    pub namespace: PathBuf,
    /// Its addresses, the first preferred.
    pub addresses: Vec<IpAddr>,
}

impl Networks {
    /// Takes over the networks that records tell of.
    ///
    /// # Errors
    /// When the folder of records cannot be made or read.
    pub fn open(settings: Settings) -> Result<Self, NetworkError> {
        let folder = &settings.records;
        fs::create_dir_all(folder).map_err(NetworkError::file("create", folder))?;
        let (records, damaged) = Record::load_all(folder)?;
        for path in damaged {
            warn!(path = %path.display(), "record of a network cannot be read, left where it is");
        }
        let mut numbers = Numbers::of(settings.subnet4, settings.subnet6);
        let mut known = HashMap::new();
        for record in records {
            if let How::Bridge { number } = record.how {
                numbers.claim(number);
            }
            if let Ok(run) = ContainerId::parse(&record.run) {
                known.insert(run, record);
            }
        }
        let shared = Shared {
            tables: Tables::new(settings.clone()),
            settings,
            numbers: Mutex::new(numbers),
            known: Mutex::new(known),
            bridge: tokio::sync::Mutex::new(false),
            ends: bridge::Ends::default(),
            repairs: keep::Counts::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What this host can do.
    pub async fn probe(&self) -> Abilities {
        let settings = &self.shared.settings;
        let bridge = bridge::probe(settings).await.map_err(|error| error.to_string().into());
        let networks = match self.configured() {
            Ok(networks) => networks.into_iter().map(|network| network.name).collect(),
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "no CNI networks");
                Vec::new()
            }
        };
        Abilities { bridge, networks }
    }

    fn configured(&self) -> Result<Vec<cni::Network>, NetworkError> {
        self.shared.settings.cni_config.as_deref().map_or(Ok(Vec::new()), cni::load)
    }

    /// Removes what belongs to none of these runs, and makes the rules of the others right.
    pub async fn reconcile(&self, live: &[ContainerId]) {
        let live: BTreeSet<_> = live.iter().collect();
        let known: Vec<_> = self.shared.known.lock().keys().cloned().collect();
        let (keep, gone): (Vec<_>, Vec<_>) = known.into_iter().partition(|run| live.contains(run));
        for run in gone {
            debug!(%run, "network of a former container is removed");
            self.detach(&run).await;
        }
        if let Err(error) = self.resume(&keep).await {
            warn!(error = &error as &dyn std::error::Error, "ports not mapped again");
        }
    }

    /// What somebody has taken away while no agent was there comes back.
    async fn resume(&self, runs: &[ContainerId]) -> Result<(), NetworkError> {
        let (mut needs_table, mut needs_bridge) = (false, false);
        for run in runs {
            let Some(record) = self.shared.known.lock().get(run).cloned() else { continue };
            needs_bridge |= matches!(record.how, How::Bridge { .. });
            if let Some(mapping) = Self::mapping(&record) {
                self.shared.tables.adopt(run.clone(), mapping);
                needs_table = true;
            }
        }
        if needs_bridge {
            self.ensure_bridge().await?;
            bridge::repair(&self.shared.settings, &self.bridged()).await?;
        } else if needs_table {
            self.shared.tables.ensure().await?;
        }
        Ok(())
    }

    /// Runs with a cable to the bridge.
    fn bridged(&self) -> Vec<ContainerId> {
        let known = self.shared.known.lock();
        let bridged = known.iter().filter(|(_, one)| matches!(one.how, How::Bridge { .. }));
        bridged.map(|(run, _)| run.clone()).collect()
    }

    /// What a run is attached to, if it is.
    #[must_use]
    pub fn attached(&self, run: &ContainerId) -> Option<Attached> {
        let known = self.shared.known.lock();
        let record = known.get(run)?;
        let (namespace, addresses) = (record.namespace.clone(), record.addresses.clone());
        Some(Attached { namespace, addresses })
    }

    /// Makes a container's network; `None` for those that need nothing made. After a failure
    /// nothing is left.
    ///
    /// # Errors
    /// [`NetworkError`], in words for the framework's user.
    pub async fn attach(
        &self,
        run: &ContainerId,
        network: &Network,
    ) -> Result<Option<Attached>, NetworkError> {
        let how = match network {
            Network::Host | Network::None => return Ok(None),
            Network::Bridge { .. } => {
                let number = self.shared.numbers.lock().take();
                let subnet = || NetworkError::NoAddress(self.shared.settings.subnet4.to_string());
                How::Bridge { number: number.ok_or_else(subnet)? }
            }
            Network::Cni { names, labels, .. } => How::Cni { networks: self.named(names, labels)? },
        };
        let record = Record {
            run: run.to_string(),
            how,
            ports: network.ports().to_vec(),
            addresses: Vec::new(),
            namespace: self.shared.settings.namespaces.join(run.as_str()),
        };
        self.shared.known.lock().insert(run.clone(), record.clone());
        match self.make(run, record).await {
            Ok(attached) => Ok(Some(attached)),
            Err(error) => {
                self.detach(run).await;
                Err(error)
            }
        }
    }

    fn named(
        &self,
        names: &[String],
        labels: &NetworkLabels,
    ) -> Result<Vec<cni::Network>, NetworkError> {
        let configured = self.configured()?;
        names
            .iter()
            .map(|name| {
                let found = configured.iter().find(|network| network.name == *name);
                let found = found.ok_or_else(|| NetworkError::NoNetwork(name.clone()))?;
                let labels = labels.get(name).cloned().unwrap_or_default();
                Ok(found.clone().labelled(labels))
            })
            .collect()
    }

    async fn make(&self, run: &ContainerId, mut record: Record) -> Result<Attached, NetworkError> {
        let settings = &self.shared.settings;
        record.save(&settings.records)?;
        namespace::create(record.namespace.clone()).await?;
        match &mut record.how {
            How::Bridge { number } => {
                self.ensure_bridge().await?;
                let addresses = Addresses::of(settings, *number);
                bridge::connect(settings, run, &record.namespace, addresses).await?;
                record.addresses = addresses.list();
            }
            How::Cni { networks } => {
                let path = record.namespace.clone();
                namespace::within(&path, || async {
                    crate::link::Links::open()?.raise_loopback().await
                })
                .await?;
                for (at, network) in networks.iter_mut().enumerate() {
                    let container = cni::Container {
                        id: run.as_str(),
                        namespace: &path,
                        interface: format!("eth{at}"),
                        ports: if at == 0 { &record.ports } else { &[] },
                    };
                    let found = network.add(&container, &settings.cni_plugins).await?;
                    record.addresses.extend(found);
                }
            }
        }
        record.save(&settings.records)?;
        if let Some(mapping) = Self::mapping(&record) {
            self.shared.tables.map(run, mapping).await?;
        }
        let attached =
            Attached { namespace: record.namespace.clone(), addresses: record.addresses.clone() };
        self.shared.known.lock().insert(run.clone(), record);
        Ok(attached)
    }

    /// What the agent maps, and not a plugin.
    fn mapping(record: &Record) -> Option<Mapping> {
        let maps_itself = match &record.how {
            How::Bridge { .. } => true,
            How::Cni { networks } => !networks.first().is_some_and(cni::Network::maps_ports),
        };
        (maps_itself && !record.ports.is_empty())
            .then(|| Mapping::new(&record.ports, &record.addresses))
    }

    async fn ensure_bridge(&self) -> Result<(), NetworkError> {
        let mut is_made = self.shared.bridge.lock().await;
        if !*is_made {
            bridge::ensure(&self.shared.settings).await?;
            *is_made = true;
        }
        drop(is_made);
        self.shared.tables.ensure().await
    }

    /// Ends a container's network. What cannot be ended now is found again by the next agent.
    pub async fn detach(&self, run: &ContainerId) {
        let Some(record) = self.shared.known.lock().get(run).cloned() else { return };
        match self.unmake(run, &record).await {
            Ok(()) => {
                if let How::Bridge { number } = record.how {
                    self.shared.numbers.lock().free(number);
                }
                self.shared.known.lock().remove(run);
            }
            Err(error) => {
                warn!(%run, error = &error as &dyn std::error::Error, "network not removed, left");
            }
        }
    }

    async fn unmake(&self, run: &ContainerId, record: &Record) -> Result<(), NetworkError> {
        let settings = &self.shared.settings;
        if let Some(mapping) = Self::mapping(record) {
            self.shared.tables.unmap(run, &mapping).await;
        }
        match &record.how {
            How::Bridge { .. } => self.shared.ends.disconnect(run).await?,
            How::Cni { networks } => {
                for (at, network) in networks.iter().enumerate().rev() {
                    let container = cni::Container {
                        id: run.as_str(),
                        namespace: &record.namespace,
                        interface: format!("eth{at}"),
                        ports: &record.ports,
                    };
                    network.remove(&container, &settings.cni_plugins).await?;
                }
            }
        }
        namespace::remove(&record.namespace)?;
        record.forget(&settings.records)
    }
}
