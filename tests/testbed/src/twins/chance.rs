//! Chance, from a seed: the same seed and the same requests give the same ids, keys and GUIDs.
//! Every twin draws from it.

use sha2::{Digest as _, Sha256};

const KEY: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const ID: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

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

    pub(super) fn bytes(&mut self) -> [u8; 32] {
        self.draws += 1;
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        hash.update(self.draws.to_be_bytes());
        hash.finalize().into()
    }

    /// The text of an Octopus key: `API-` and 31 upper-case letters and digits, as newer servers
    /// make them.
    pub(super) fn key(&mut self) -> String {
        format!("API-{}", self.letters(KEY, 31))
    }

    /// The id of an Octopus key: `apikeys-` and 25 letters and digits of either case.
    pub(super) fn key_id(&mut self) -> String {
        format!("apikeys-{}", self.letters(ID, 25))
    }

    /// A secret that nobody has to read: a session, a token's signature.
    pub(super) fn secret(&mut self) -> String {
        self.letters(ID, 32)
    }

    pub(super) fn guid(&mut self) -> String {
        let bytes = self.bytes();
        let hex = bytes
            .iter()
            .take(16)
            .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        format!(
            "{}-{}-4{}-8{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[13..16],
            &hex[17..20],
            &hex[20..]
        )
    }

    fn letters(&mut self, alphabet: &[u8], count: usize) -> String {
        let bytes = self.bytes();
        bytes
            .iter()
            .take(count)
            .map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()]))
            .collect()
    }

    /// Goes on where the other one stands, when that is further: what is drawn next is new to both.
    pub(super) fn outrun(&mut self, other: &Self) {
        self.draws = self.draws.max(other.draws);
    }
}

/// What the twin keeps of a secret: like the real server, a one-way hash.
pub(super) fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}
