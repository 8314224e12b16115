use std::hash::{Hash, Hasher};

/// A hash that is the same on every machine and in every build, for trace hashes (invariant I-50)
/// and for spreading work. Not for untrusted keys. FNV-1a, 64 bits.
#[derive(Clone, Copy, Debug)]
pub struct TraceHash(u64);

impl Default for TraceHash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl TraceHash {
    /// Mixes a value in.
    pub fn mix(&mut self, value: &impl Hash) {
        value.hash(self);
    }
}

impl Hasher for TraceHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
