//! What a fetch may cost.

use std::time::Duration;

/// Limits of every fetch; the defaults suit a host that trusts its frameworks with its disk, but
/// not with all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one download or copied file.
    pub download_bytes: u64,
    /// Bytes that one archive may unpack to.
    pub unpacked_bytes: u64,
    /// How many times its own size an archive may unpack to, above [`Self::ratio_floor_bytes`].
    pub ratio: u64,
    /// Up to so many unpacked bytes the ratio does not matter: small files compress well.
    pub ratio_floor_bytes: u64,
    /// Entries of one archive.
    pub entries: u64,
    /// Redirects that are followed.
    pub redirects: usize,
    /// Time to a connection.
    pub connect: Duration,
    /// Time without a single byte after which a download is given up (Mesos's
    /// `fetcher_stall_timeout`).
    pub stall: Duration,
    /// Time for one artifact, unpacking included.
    pub total: Duration,
    /// Bytes of the cache (Mesos's `fetcher_cache_size`).
    pub cache_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            download_bytes: 16 << 30,
            unpacked_bytes: 64 << 30,
            ratio: 200,
            ratio_floor_bytes: 256 << 20,
            entries: 250_000,
            redirects: 10,
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(60),
            total: Duration::from_secs(3600),
            cache_bytes: 2 << 30,
        }
    }
}
