/// What went wrong with the servers.
#[derive(Debug, thiserror::Error)]
pub enum EnsembleError {
    /// The address or its files are of no use.
    #[error("{0}")]
    Address(String),
    /// No server answered, or none in time.
    #[error("{servers} did not {what}")]
    Unavailable {
        /// Which servers.
        servers: String,
        /// What was asked.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The servers have no room; nothing was written.
    #[error("{servers} has no space left: raise its quota, or compact and defragment it")]
    NoSpace {
        /// Which servers.
        servers: String,
    },
    /// The servers know the caller not, or do not let it.
    #[error("{servers} refused to {what}: check user and password of the store's address")]
    Denied {
        /// Which servers.
        servers: String,
        /// What was asked.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why a swap was not made, as far as one can know.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// Somebody else swapped since; nothing was written.
    #[error("the record of who leads was changed by somebody else")]
    Conflict,
    /// The answer did not come: it may have been written, or be written yet.
    #[error(transparent)]
    Unknown(EnsembleError),
}
