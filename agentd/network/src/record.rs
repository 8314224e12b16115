//! What is known of a container's network after the death of the agent.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tepui_container::Port;

use crate::error::NetworkError;

/// One container's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The run.
    pub(crate) run: String,
    /// How it is attached.
    pub(crate) how: How,
    /// Ports of the host that lead into it.
    pub(crate) ports: Vec<Port>,
    /// Its addresses, once known.
    pub(crate) addresses: Vec<IpAddr>,
    /// Where its namespace is pinned.
    pub(crate) namespace: PathBuf,
}

/// How a container is attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum How {
    /// To the bridge, as this number.
    Bridge {
        /// The number.
        number: u32,
    },
    /// To these CNI networks, as their configuration was then.
    Cni {
        /// Configurations, in order of attachment.
        networks: Vec<crate::cni::Network>,
    },
}

impl Record {
    /// Written whole or not at all. After a power cut there is nothing that it could tell of.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), NetworkError> {
        let name = folder.join(format!("{}.json", self.run));
        let fresh = folder.join(format!(".{}.new", self.run));
        let text = serde_json::to_vec(self).map_err(io::Error::other);
        let written = text.and_then(|text| {
            File::create(&fresh)?.write_all(&text)?;
            fs::rename(&fresh, &name)
        });
        written.map_err(NetworkError::file("write", &name))
    }

    pub(crate) fn forget(&self, folder: &Path) -> Result<(), NetworkError> {
        let name = folder.join(format!("{}.json", self.run));
        match fs::remove_file(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(NetworkError::file("remove", &name)(error))
            }
            _ => Ok(()),
        }
    }

    /// Every record that can be read; the others are named.
    pub(crate) fn load_all(folder: &Path) -> Result<(Vec<Self>, Vec<PathBuf>), NetworkError> {
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        let entries = fs::read_dir(folder).map_err(NetworkError::file("list", folder))?;
        for entry in entries {
            let path = entry.map_err(NetworkError::file("list", folder))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = fs::read(&path).map_err(NetworkError::file("read", &path))?;
            match serde_json::from_slice(&text) {
                Ok(record) => records.push(record),
                Err(_) => damaged.push(path),
            }
        }
        Ok((records, damaged))
    }
}
