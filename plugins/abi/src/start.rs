//! What an instance is opened with.

use prost::Message;

/// The first message to a plugin of any kind.
#[derive(Clone, PartialEq, Message)]
pub struct Start {
    /// The name in the configuration.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The operator's settings for it, JSON.
    #[prost(string, tag = "2")]
    pub settings: String,
    /// What chance is made of.
    #[prost(uint64, tag = "3")]
    pub seed: u64,
}
