//! What etcd and ZooKeeper have in common: a small record of who leads, swapped together with
//! any number of changes, and a watch that tells every change in order.
//!
//! Nothing here knows what is kept. The store builds durable records on [`Ensemble::swap`], the
//! daemons find the leader by [`Ensemble::meta`].

mod address;
mod error;
mod etcd;
mod pace;
mod place;
#[cfg(feature = "servers")]
pub mod servers;
mod zookeeper;

pub use address::{Address, AddressError, Kind, Tls, TlsFiles};
pub use error::{EnsembleError, SwapError};
pub use place::{Change, Limits, News, Place, Stamp};

use std::time::Duration;

use pace::Pace;
use tokio::sync::mpsc;

/// News that may wait for a slow follower before the watch waits too.
const NEWS: usize = 256;

/// A connection to an etcd cluster or a ZooKeeper ensemble. Clones share it.
#[derive(Clone, Debug)]
pub enum Ensemble {
    /// etcd, 3.4 or newer.
    Etcd(etcd::Etcd),
    /// ZooKeeper, 3.6 or newer (recursive watches).
    ZooKeeper(zookeeper::ZooKeeper),
}

impl Ensemble {
    /// Connects to the first of the servers that answers.
    ///
    /// # Errors
    /// When none answers in time, or they refuse the credentials.
    pub async fn connect(address: &Address) -> Result<Self, EnsembleError> {
        let pace = Pace::default();
        match address.kind {
            Kind::Etcd => etcd::Etcd::connect(address, pace).await.map(Self::Etcd),
            Kind::ZooKeeper => {
                zookeeper::ZooKeeper::connect(address, pace).await.map(Self::ZooKeeper)
            }
        }
    }

    /// Connects as [`Ensemble::connect`] does, for somebody who leads with this lease or may come to:
    /// no request waits so long for a server that hangs that the lease ends before another is asked. Each
    /// server is tried once, so that the caller can say soon what it waits for, and ask again.
    ///
    /// # Errors
    /// When no server answers in time, or they refuse the credentials.
    pub async fn connect_to_lead(
        address: &Address,
        lease: Duration,
    ) -> Result<Self, EnsembleError> {
        let pace = Pace::within(lease);
        match address.kind {
            Kind::Etcd => etcd::Etcd::connect(address, pace).await.map(Self::Etcd),
            Kind::ZooKeeper => {
                zookeeper::ZooKeeper::connect_once(address, pace).await.map(Self::ZooKeeper)
            }
        }
    }

    /// Connects as [`Ensemble::connect`] does, for somebody who only reads who leads: nothing is
    /// made there, so that neither rights to write are needed nor a wrong path leaves traces.
    ///
    /// # Errors
    /// When no server answers in time, or they refuse the credentials.
    pub async fn connect_to_read(address: &Address) -> Result<Self, EnsembleError> {
        let pace = Pace::default();
        match address.kind {
            Kind::Etcd => etcd::Etcd::connect(address, pace).await.map(Self::Etcd),
            Kind::ZooKeeper => zookeeper::ZooKeeper::open(address, pace).await.map(Self::ZooKeeper),
        }
    }

    /// What one swap may carry.
    pub fn limits(&self) -> Limits {
        match self {
            Self::Etcd(_) => etcd::LIMITS,
            Self::ZooKeeper(_) => zookeeper::LIMITS,
        }
    }

    /// The record of who leads, with the stamp that a swap must name; `None` before the first.
    /// Never older than what any earlier swap of anybody left.
    ///
    /// # Errors
    /// When the servers do not answer.
    pub async fn meta(&self) -> Result<Option<(Vec<u8>, Stamp)>, EnsembleError> {
        match self {
            Self::Etcd(etcd) => etcd.meta().await,
            Self::ZooKeeper(zookeeper) => zookeeper.meta().await,
        }
    }

    /// Writes `meta` and every change together if the record of who leads still has `stamp`
    /// (`None`: if there is none yet), and nothing otherwise. Returns the new stamp.
    ///
    /// # Errors
    /// [`SwapError::Conflict`] when somebody swapped since and nothing was written;
    /// [`SwapError::Unknown`] when it may or may not have been written, now or in a moment.
    pub async fn swap(
        &self,
        stamp: Option<Stamp>,
        meta: &[u8],
        changes: &[Change],
    ) -> Result<Stamp, SwapError> {
        match self {
            Self::Etcd(etcd) => etcd.swap(stamp, meta, changes).await,
            Self::ZooKeeper(zookeeper) => zookeeper.swap(stamp, meta, changes).await,
        }
    }

    /// Everything that is kept. While others write, records may be newer than the record of who
    /// leads says, never older.
    ///
    /// # Errors
    /// When the servers do not answer; never a shortened list.
    pub async fn load(&self) -> Result<Vec<(Place, Vec<u8>)>, EnsembleError> {
        match self {
            Self::Etcd(etcd) => etcd.load().await,
            Self::ZooKeeper(zookeeper) => zookeeper.load().await,
        }
    }

    /// Follows everything: first a [`News::Snapshot`], then each change in order, and another
    /// snapshot whenever changes may have been missed. Ends with an error when the servers are
    /// gone for good; whoever follows begins again.
    pub fn follow(&self) -> mpsc::Receiver<Result<News, EnsembleError>> {
        let (sender, receiver) = mpsc::channel(NEWS);
        match self.clone() {
            Self::Etcd(etcd) => drop(tokio::spawn(async move { etcd.follow(sender).await })),
            Self::ZooKeeper(zookeeper) => {
                drop(tokio::spawn(async move { zookeeper.follow(sender).await }));
            }
        }
        receiver
    }

    /// Tells clients of Mesos who leads, where the ensemble is ZooKeeper, until the record of who
    /// leads is no longer `ours`: by a node `json.info_…` with this text, and none of an earlier
    /// leader (`spec/mesos-http.md` 0.6). On etcd there is nobody to tell.
    pub async fn keep_announced(&self, text: &str, ours: impl Fn(&[u8]) -> bool + Send) {
        if let Self::ZooKeeper(zookeeper) = self {
            zookeeper.keep_announced(text, ours).await;
        }
    }
}
