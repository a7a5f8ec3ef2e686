//! What a new server is like: its version, its policies, its first accounts.

use jiff::Timestamp;

/// How to make a new server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Same seed, same requests: same ids, same keys.
    pub seed: u64,
    /// The server's version; older ones behave as older servers did.
    pub version: Version,
    /// The virtual directory, such as `/octopus`; empty for none.
    pub prefix: String,
    /// The administrator's key; drawn from the seed when absent.
    pub admin_key: Option<String>,
    /// When the server was installed and its first accounts and keys were made.
    pub installed: Timestamp,
    /// When the operator's key ends; never when absent, as keys made before 2025.4 may.
    pub operator_key_expires: Option<Timestamp>,
    /// The lifetime of keys made without a wish, in days (2025.4 and later).
    pub default_expiry_days: u32,
    /// The longest lifetime of keys, in days (2025.4 and later).
    pub max_expiry_days: u32,
    /// Issuers whose tokens can be exchanged.
    pub issuers: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            version: Version::new(2026, 3, 15_581),
            prefix: String::new(),
            admin_key: None,
            installed: Timestamp::constant(1_767_225_600, 0), // 2026-01-01T00:00:00Z
            operator_key_expires: None,
            default_expiry_days: 180,
            max_expiry_days: 366,
            issuers: vec!["https://issuer.test".to_owned()],
        }
    }
}

/// A server version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    year: u32,
    minor: u32,
    patch: u32,
}

impl Version {
    /// The version `year.minor.patch`.
    pub const fn new(year: u32, minor: u32, patch: u32) -> Self {
        Self { year, minor, patch }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.year, self.minor, self.patch)
    }
}

impl std::str::FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = text.split('.').map(str::parse);
        match (
            numbers.next(),
            numbers.next(),
            numbers.next(),
            numbers.next(),
        ) {
            (Some(Ok(year)), Some(Ok(minor)), Some(Ok(patch)), None) => {
                Ok(Self::new(year, minor, patch))
            }
            _ => Err(format!("`{text}` is not a version such as 2026.3.15581")),
        }
    }
}

/// The first version that can do something.
pub(super) mod since {
    use super::Version;

    /// Keys have an `Expires` and a `Hint`.
    pub(in super::super) const EXPIRES: Version = Version::new(2020, 6, 0);
    /// Sessions can be revoked.
    pub(in super::super) const REVOKE_SESSIONS: Version = Version::new(2022, 2, 0);
    /// A key made without a wish ends after 180 days (Octopus issue 7872: 2022.4 or 2023.1).
    pub(in super::super) const DEFAULT_EXPIRY: Version = Version::new(2023, 1, 0);
    /// `UserApiKeysEnabled`.
    pub(in super::super) const USER_API_KEYS: Version = Version::new(2023, 2, 0);
    /// OIDC identities and the token exchange (Octopus issue 8558).
    pub(in super::super) const OIDC: Version = Version::new(2023, 4, 8077);
    /// Wildcards in subjects, an audience of one's own.
    pub(in super::super) const OIDC_WILDCARDS: Version = Version::new(2024, 1, 0);
    /// `POST /api/users/access-token`.
    pub(in super::super) const ACCESS_TOKEN: Version = Version::new(2024, 2, 0);
    /// No key without an end; `ApiKeyDefaultExpiryDays`, `ApiKeyMaxExpiryDays`.
    pub(in super::super) const MAX_EXPIRY: Version = Version::new(2025, 4, 0);
    /// `ActorType`, `AccessLevel`, `ServiceAccountType`, last use.
    pub(in super::super) const LAST_USED: Version = Version::new(2026, 2, 0);
    /// Rate limits.
    pub(in super::super) const RATE_LIMITS: Version = Version::new(2026, 3, 0);
}
