//! [`KeyMaterial`]: the plaintext of a key or of a credential, made hard to leak.
//!
//! It has no `Serialize`, no `Display`, a redacted `Debug`, and is wiped when dropped. Whoever needs
//! the text says [`KeyMaterial::expose`]: in `servers` (the request that carries it) and in
//! `controllers::cluster` (the Secret), nowhere else. Copies inside HTTP bodies and Kubernetes'
//! `ByteString` cannot be wiped; they live as long as their request.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// The plaintext of an API key, a password or a token.
#[derive(Clone)]
pub struct KeyMaterial(SecretString);

impl KeyMaterial {
    /// Takes over a plaintext.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The plaintext itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The first 16 hexadecimal digits of the SHA-256 of the plaintext: enough to tell two keys
    /// apart, of no use for guessing a random key.
    pub fn fingerprint(&self) -> String {
        let digest: [u8; 32] = Sha256::digest(self.expose().as_bytes()).into();
        digest
            .first_chunk()
            .map(|head| format!("{:016x}", u64::from_be_bytes(*head)))
            .unwrap_or_default()
    }
}

/// A digest of a Secret's entries, names and values in the order of the names: enough to tell
/// whether somebody has changed one. The key among them is random, so nothing can be guessed by it.
pub fn digest<'a>(entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hash = Sha256::new();
    for (name, value) in entries {
        for part in [name.as_bytes(), value] {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest
        .first_chunk()
        .map(|head| format!("{:032x}", u128::from_be_bytes(*head)))
        .unwrap_or_default()
}

impl std::fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyMaterial(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::KeyMaterial;

    #[test]
    fn debug_never_shows_the_plaintext() {
        assert_eq!(
            format!("{:?}", KeyMaterial::new("API-CANARY")),
            "KeyMaterial(redacted)"
        );
    }

    #[test]
    fn fingerprints_tell_keys_apart() {
        let one = KeyMaterial::new("API-ONE").fingerprint();
        assert_eq!(one.len(), 16);
        assert_eq!(one, KeyMaterial::new("API-ONE").fingerprint());
        assert_ne!(one, KeyMaterial::new("API-TWO").fingerprint());
    }
}
