//! Time and chance of the world: tokio's paused clock over a fixed beginning, and bytes from a
//! seed.

use std::sync::{Arc, Mutex, PoisonError};

use apikey_operator::clock::{Clock, Entropy};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A clock that goes as tokio's does, from a fixed beginning.
#[derive(Debug, Clone)]
pub struct SimulatedClock {
    base: Timestamp,
    began: Instant,
    shift: Arc<Mutex<SignedDuration>>,
}

impl SimulatedClock {
    /// A clock that now shows `base`.
    pub fn new(base: Timestamp) -> Self {
        Self {
            base,
            began: Instant::now(),
            shift: Arc::default(),
        }
    }

    /// Another clock, of another machine: it shows the same time until it jumps by itself.
    #[must_use]
    pub fn apart(&self) -> Self {
        let shift = *self.shift.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            shift: Arc::new(Mutex::new(shift)),
            ..self.clone()
        }
    }

    /// Moves what the clock shows, as an administrator or a bad battery would. Timers do not
    /// notice.
    pub fn jump(&self, by: SignedDuration) {
        *self.shift.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let shift = *self.shift.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = SignedDuration::try_from(self.began.elapsed()).unwrap_or(SignedDuration::MAX);
        self.base
            .checked_add(gone.saturating_add(shift))
            .unwrap_or(Timestamp::MAX)
    }
}

/// Bytes that look random and are the same for the same seed.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<u64>);

impl SeededEntropy {
    /// Chance as this seed has it.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// The next number: splitmix64.
    pub fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn draw(&self) -> [u8; 16] {
        let (high, low) = (self.next(), self.next());
        ((u128::from(high) << 64) | u128::from(low)).to_be_bytes()
    }
}
