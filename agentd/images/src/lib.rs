//! Container images on a host: pulled, verified, unpacked and kept in the form that overlayfs mounts.
//!
//! One [`Images`] per agent. Images come from registries (OCI and Docker, plain or by index, with
//! basic or token authentication), from OCI layouts and from archives. Layers are named by the digest
//! of what they unpack to and shared between images. What a registry or an image says is believed
//! only after its digest is verified, and costs no more than [`Limits`] allow: fault F-79 of the
//! fault catalogue.
//!
//! An image that is here is found without a lock and without the network; pulls of the same image
//! share one; garbage collection never takes what somebody holds ([`Prepared`]) or has pinned.

mod archive;
mod collect;
mod config;
mod credentials;
mod digest;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod images;
mod local;
mod manifest;
mod platform;
mod progress;
mod pull;
mod reference;
mod registry;
mod resolve;
mod settings;
mod source;
mod state;
mod stats;
mod store;
mod unpack;

pub use collect::{Collected, ImageInfo, Policy};
pub use config::{ExposedPort, ImageConfig};
pub use credentials::{Auth, DockerConfig, InvalidDockerConfig};
pub use digest::{Algorithm, Digest, InvalidDigest};
pub use error::{ImageError, StoreError};
pub(crate) use images::Shared;
pub use images::{ImageRequest, Images, PullInfo};
pub use manifest::ManifestError;
pub use platform::Platform;
pub use progress::{LayerProgress, Progress, Stage};
pub use reference::{ArchiveForm, DOCKER_HUB, InvalidReference, Reference, RegistryReference};
pub use registry::RegistryError;
pub use settings::{Limits, Settings};
pub use state::Prepared;
pub use stats::Stats;
pub use unpack::{Hostile, UnpackError};
