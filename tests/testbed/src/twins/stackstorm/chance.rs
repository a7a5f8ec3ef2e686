//! Chance, from a seed: the same seed and the same requests give the same ids, keys and tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256, Sha512};

/// What the server puts before a key when it hashes it, in every installation the same.
const SALT: &str = "saltnpepper";

/// A stream of bytes that looks random and is not.
#[derive(Debug, Clone)]
pub(super) struct Chance {
    seed: u64,
    draws: u64,
}

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, draws: 0 }
    }

    fn bytes(&mut self) -> [u8; 32] {
        self.draws += 1;
        let mut hash = Sha256::new();
        hash.update(b"stackstorm");
        hash.update(self.seed.to_be_bytes());
        hash.update(self.draws.to_be_bytes());
        hash.finalize().into()
    }

    /// The text of an API key: 64 hexadecimal digits in base64, which are 86 characters.
    pub(super) fn key(&mut self) -> String {
        STANDARD_NO_PAD.encode(hex(&self.bytes()))
    }

    /// The text of a token: 32 hexadecimal digits.
    pub(super) fn token(&mut self) -> String {
        hex(&self.bytes()[..16])
    }

    /// An `ObjectId`, as the database makes them: the second in which it was made, then chance.
    pub(super) fn object_id(&mut self, now: Timestamp) -> String {
        let second = u32::try_from(now.as_second()).unwrap_or(u32::MAX);
        hex(&second.to_be_bytes()) + &hex(&self.bytes()[..8])
    }

    pub(super) fn uuid(&mut self) -> String {
        let hex = self.token();
        let (start, end) = (&hex[..8], &hex[20..]);
        let middle = format!("{}-4{}-8{}", &hex[8..12], &hex[13..16], &hex[17..20]);
        format!("{start}-{middle}-{end}")
    }

    /// Goes on where the other one stands, when that is further: what is drawn next is new to both.
    pub(super) fn outrun(&mut self, other: &Self) {
        self.draws = self.draws.max(other.draws);
    }
}

/// What the server keeps of a key and calls its `key_hash`.
pub(super) fn key_hash(key: &str) -> String {
    let mut hash = Sha512::new();
    hash.update(SALT);
    hash.update(key);
    hex(&hash.finalize())
}

/// What the twin keeps of a password or a token.
pub(super) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
