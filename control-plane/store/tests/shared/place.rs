//! Servers, and stores on them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tepui_election::{Candidate, Leadership};
use tepui_ensemble::servers::Server;
use tepui_ensemble::{Address, Ensemble};
use tepui_store::{Op, Replica, Shared};
use tepui_types::Uuid;
use tokio::runtime::Runtime;

pub(crate) struct Place {
    pub(crate) runtime: Runtime,
    pub(crate) server: Server,
    paths: AtomicU32,
}

impl Place {
    pub(crate) fn new(server: Server) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self { runtime, server, paths: AtomicU32::new(0) }
    }

    pub(crate) fn fresh(&self) -> Address {
        let path = self.paths.fetch_add(1, Ordering::Relaxed);
        self.server.address(&format!("/test-{path}"))
    }

    pub(crate) fn ensemble(&self, address: &Address) -> Ensemble {
        self.runtime.block_on(Ensemble::connect(address)).unwrap()
    }

    pub(crate) fn open(&self, address: &Address, name: &str) -> Shared {
        self.with(self.ensemble(address), name)
    }

    pub(crate) fn with(&self, ensemble: Ensemble, name: &str) -> Shared {
        let fresh = Uuid::from_bytes([9; 16]);
        let lease = Duration::from_secs(10);
        Shared::new(ensemble, self.runtime.handle().clone(), candidate(name), fresh, lease)
    }

    /// A copy that follows until it has seen this revision.
    pub(crate) fn follow(&self, address: &Address, until: impl Fn(&Leadership) -> bool) -> Replica {
        self.runtime.block_on(async {
            let mut news = Ensemble::connect(address).await.unwrap().follow();
            let mut replica = Replica::default();
            while !replica.leadership().is_some_and(&until) {
                replica.take(news.recv().await.unwrap().unwrap()).unwrap();
            }
            replica
        })
    }
}

pub(crate) fn candidate(name: &str) -> Candidate {
    Candidate {
        id: name.into(),
        hostname: name.into(),
        mesos: format!("{name}:5050"),
        marathon: format!("{name}:8080"),
        agents: format!("{name}:5052"),
    }
}

pub(crate) fn put(key: &str, value: impl Into<Vec<u8>>) -> Op {
    Op::Put { key: key.to_owned(), value: value.into() }
}
