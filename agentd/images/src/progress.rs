//! How far a pull is.

use std::fmt;

use tokio::sync::watch;

/// What a pull is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Asking for manifest and configuration.
    #[default]
    Resolving,
    /// Downloading and unpacking layers.
    Layers,
    /// Making the image durable.
    Finishing,
}

/// One layer of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerProgress {
    /// Digest of the compressed layer, or of the tar file where only that is known.
    pub digest: crate::Digest,
    /// Bytes to transfer.
    pub total_bytes: u64,
    /// Bytes that are here.
    pub done_bytes: u64,
    /// Whether it is unpacked, or was here before.
    pub ready: bool,
}

/// How far a pull is. `Display` says it in a line for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub stage: Stage,
    /// Its layers, lowest first; empty before they are known.
    pub layers: Vec<LayerProgress>,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.layers.is_empty() {
            return f.write_str("asking for the manifest");
        }
        let ready = self.layers.iter().filter(|layer| layer.ready).count();
        let sum = |of: fn(&LayerProgress) -> u64| self.layers.iter().map(of).sum::<u64>();
        let (done, total) = (sum(|layer| layer.done_bytes), sum(|layer| layer.total_bytes));
        // Tenths of a megabyte, without rounding up to "all".
        let mb = |bytes: u64| format!("{}.{}", bytes / 1_000_000, bytes % 1_000_000 / 100_000);
        write!(f, "{ready} of {} layers, ", self.layers.len())?;
        write!(f, "{} of {} MB", mb(done), mb(total))
    }
}

/// Tells progress to whoever waits.
#[derive(Clone, Debug)]
pub(crate) struct Teller(watch::Sender<Progress>);

impl Teller {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Progress::default()))
    }

    pub(crate) fn listen(&self) -> watch::Receiver<Progress> {
        self.0.subscribe()
    }

    pub(crate) fn stage(&self, stage: Stage) {
        self.0.send_modify(|progress| progress.stage = stage);
    }

    pub(crate) fn layers(&self, layers: Vec<LayerProgress>) {
        self.0.send_modify(|progress| *progress = Progress { stage: Stage::Layers, layers });
    }

    pub(crate) fn bytes(&self, layer: usize, bytes: u64) {
        self.0.send_modify(|progress| {
            if let Some(layer) = progress.layers.get_mut(layer) {
                layer.done_bytes = bytes;
            }
        });
    }

    pub(crate) fn ready(&self, layer: usize) {
        self.0.send_modify(|progress| {
            if let Some(layer) = progress.layers.get_mut(layer) {
                layer.done_bytes = layer.total_bytes;
                layer.ready = true;
            }
        });
    }
}
