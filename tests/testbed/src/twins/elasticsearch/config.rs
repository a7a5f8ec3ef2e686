//! What a new server is like: its version, its licence.

use jiff::Timestamp;

pub use crate::elasticsearch::License;

/// How to make a new server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Same seed, same requests: same ids, same keys.
    pub seed: u64,
    /// The server's version.
    pub version: Version,
    /// A path that a proxy puts in front, such as `/search`; empty for none.
    pub prefix: String,
    /// What the server may do.
    pub license: License,
    /// When the server was installed and its first accounts were made.
    pub installed: Timestamp,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            version: Version::new(8, 19, 21),
            prefix: String::new(),
            license: License::Basic,
            installed: Timestamp::constant(1_767_225_600, 0), // 2026-01-01T00:00:00Z
        }
    }
}

/// A server version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    major: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// The version `major.minor.patch`.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self {
            major,
            minor,
            patch,
        }
    }

    /// The first number: which compatible media types are understood hangs on it.
    pub(super) const fn major(self) -> u32 {
        self.major
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl std::str::FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[major, minor, patch]) => Ok(Self::new(major, minor, patch)),
            _ => Err(format!("`{text}` is not a version such as 8.19.21")),
        }
    }
}
