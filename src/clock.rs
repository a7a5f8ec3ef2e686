//! Time and chance, as the shell asks for them. Nothing else in `src/` may look at the system's
//! clock or draw random bytes (`clippy.toml` refuses it), so a test that owns a [`Clock`] and an
//! [`Entropy`] owns every date and every nonce of the operator.

use jiff::Timestamp;

/// Tells what time it is.
pub trait Clock: Send + Sync {
    /// The present, in UTC, as good as the machine knows it.
    fn now(&self) -> Timestamp;
}

/// Draws random bytes that nobody can guess.
pub trait Entropy: Send + Sync {
    /// Sixteen fresh random bytes.
    fn draw(&self) -> [u8; 16];
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the system clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// The machine's random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that draws random bytes"
    )]
    fn draw(&self) -> [u8; 16] {
        rand::random()
    }
}
