//! The two clocks, read in one place.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tepui_types::{Mono, Now, Span, Wall};

/// Reads the monotonic clock against this process's start, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// What both clocks say.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono: Mono::default() + Span::from(self.start.elapsed()),
            wall: Wall::default() + Span::from(wall),
        }
    }
}

/// Random bits from the system, to seed a state machine's [`tepui_types::Entropy`].
///
/// # Errors
/// When the system gives none.
pub fn seed() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
