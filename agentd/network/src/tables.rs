//! The agent's table of nftables: what has to be in it, and whether it is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use parking_lot::Mutex;
use tepui_container::Port;
use tepui_types::ContainerId;
use tokio::sync::RwLock;
use tracing::debug;

use crate::error::NetworkError;
use crate::nft;
use crate::rules;
use crate::settings::Settings;

/// Ports of the host that lead to one container, to one address of each family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) ports: Vec<Port>,
    pub(crate) four: Option<Ipv4Addr>,
    pub(crate) six: Option<Ipv6Addr>,
}

impl Mapping {
    pub(crate) fn new(ports: &[Port], addresses: &[IpAddr]) -> Self {
        let four = addresses.iter().find_map(|one| match one {
            IpAddr::V4(four) => Some(*four),
            IpAddr::V6(_) => None,
        });
        let six = addresses.iter().find_map(|one| match one {
            IpAddr::V6(six) => Some(*six),
            IpAddr::V4(_) => None,
        });
        Self { ports: ports.to_vec(), four, six }
    }
}

/// The table. Whoever maps or unmaps ports shares it, whoever compares or replaces it is alone.
#[derive(Debug)]
pub(crate) struct Tables {
    settings: Settings,
    /// How the kernel lists the table without its ports, once it was made.
    made: RwLock<Option<String>>,
    /// What is mapped now.
    mapped: Mutex<BTreeMap<ContainerId, Mapping>>,
}

impl Tables {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, made: RwLock::default(), mapped: Mutex::default() }
    }

    /// Makes the table unless it was made already.
    pub(crate) async fn ensure(&self) -> Result<(), NetworkError> {
        if self.made.read().await.is_some() {
            return Ok(());
        }
        let mut made = self.made.write().await;
        match &*made {
            Some(_) => Ok(()),
            None => self.replace(&mut made).await,
        }
    }

    /// Takes over what a former agent has mapped; made right by [`Self::ensure`].
    pub(crate) fn adopt(&self, run: ContainerId, mapping: Mapping) {
        self.mapped.lock().insert(run, mapping);
    }

    /// Maps the ports of a container, all or none.
    pub(crate) async fn map(
        &self,
        run: &ContainerId,
        mapping: Mapping,
    ) -> Result<(), NetworkError> {
        self.ensure().await?;
        match self.try_map(run, &mapping).await {
            // Where the table has gone, and nobody has put it back yet, it comes back here.
            Err(NetworkError::Rules(why)) => match self.repair().await? {
                Some(_) => self.try_map(run, &mapping).await,
                None => Err(NetworkError::Rules(why)),
            },
            done => done,
        }
    }

    async fn try_map(&self, run: &ContainerId, mapping: &Mapping) -> Result<(), NetworkError> {
        let _shared = self.made.read().await;
        let done = nft::apply(&rules::map_ports(&self.settings.bridge, mapping)).await;
        if done.is_ok() {
            self.mapped.lock().insert(run.clone(), mapping.clone());
        }
        done
    }

    /// Ends what is mapped to a container.
    pub(crate) async fn unmap(&self, run: &ContainerId, mapping: &Mapping) {
        let _shared = self.made.read().await;
        self.mapped.lock().remove(run);
        match nft::apply(&rules::unmap_ports(&self.settings.bridge, mapping)).await {
            // Another container has the port by now, so this one's mapping is gone.
            Ok(()) | Err(NetworkError::PortTaken) => {}
            Err(error) => {
                debug!(%run, error = &error as &dyn std::error::Error, "no rules to remove");
            }
        }
    }

    /// Puts the table back where it is not as it was made; the ports that came back with it, or
    /// `None` when nothing was wrong.
    pub(crate) async fn repair(&self) -> Result<Option<usize>, NetworkError> {
        let mut made = self.made.write().await;
        let Some(skeleton) = &*made else { return Ok(None) };
        let wanted = self.wanted();
        let found = nft::list(&self.settings.bridge).await?;
        let is_right = found.is_some_and(|listing| {
            let (found, ports) = rules::split(&listing);
            found == *skeleton && ports == wanted
        });
        if is_right {
            return Ok(None);
        }
        self.replace(&mut made).await?;
        Ok(Some(wanted.len()))
    }

    fn wanted(&self) -> BTreeSet<String> {
        rules::elements_of(self.mapped.lock().values())
    }

    /// Makes the table anew with every mapping, as one transaction: no packet sees it half made.
    async fn replace(&self, made: &mut Option<String>) -> Result<(), NetworkError> {
        let script = {
            let mapped = self.mapped.lock();
            rules::whole(&self.settings, mapped.values())
        };
        nft::apply(&script).await?;
        let listing = nft::list(&self.settings.bridge).await?;
        let gone = || NetworkError::Rules("the table is gone as soon as it was made".into());
        *made = Some(rules::split(&listing.ok_or_else(gone)?).0);
        Ok(())
    }
}
