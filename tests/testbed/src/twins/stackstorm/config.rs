//! What a new server is like: its version, its settings, its first users.

use jiff::Timestamp;

/// How to make a new server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Same seed, same requests: same ids, same keys.
    pub seed: u64,
    /// The version that the server says it has. From 3.7 to 3.10dev all behave alike here.
    pub version: String,
    /// A virtual directory before `/api` and `/auth`, such as `/st2`; empty for none.
    pub prefix: String,
    /// The administrator's key; drawn from the seed when absent.
    pub admin_key: Option<String>,
    /// When the server was installed and its first keys were made.
    pub installed: Timestamp,
    /// Whether rights are looked at (`rbac.enable`); off, everybody may do everything.
    pub rbac: bool,
    /// The lifetime of tokens made without a wish, and the longest, in seconds (`auth.token_ttl`).
    pub token_ttl: u32,
    /// The longest page for those who are no administrators (`api.max_page_size`).
    pub max_page_size: u32,
    /// Users besides those of [`super::Start`].
    pub users: Vec<Account>,
    /// Roles besides those of the system.
    pub roles: Vec<Role>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            version: "3.9.0".to_owned(),
            prefix: String::new(),
            admin_key: None,
            installed: Timestamp::constant(1_767_225_600, 0), // 2026-01-01T00:00:00Z
            rbac: false,
            token_ttl: 86_400,
            max_page_size: 100,
            users: Vec::new(),
            roles: Vec::new(),
        }
    }
}

/// A user, as the files on the server's disk tell of it.
#[derive(Clone, Default)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its line in the password file, if it has one.
    pub password: Option<String>,
    /// The roles that are assigned to it.
    pub roles: Vec<String>,
    /// Whether it may ask for tokens of others; then the server has a record of it at once.
    pub is_service: bool,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({}, {:?})", self.name, self.roles)
    }
}

/// A role, as its file tells of it.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// What people say of it.
    pub description: String,
    /// What it allows.
    pub grants: Vec<Grant>,
}

/// What a role allows.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The thing that it is about, such as `api_key:<key_hash>`; to list and to create is about
    /// none.
    pub resource_uid: Option<String>,
    /// What one may do.
    pub permissions: Vec<Permission>,
}

/// What one may do with API keys. Other things have permissions too; they are not covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// See them all.
    List,
    /// See one.
    View,
    /// Make one, for whomever.
    Create,
    /// Change one.
    Modify,
    /// End one.
    Delete,
    /// Everything that can be done with one that is there.
    All,
}

impl Permission {
    pub(super) const EVERY: [Self; 6] = [
        Self::List,
        Self::View,
        Self::Create,
        Self::Modify,
        Self::Delete,
        Self::All,
    ];

    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::List => "api_key_list",
            Self::View => "api_key_view",
            Self::Create => "api_key_create",
            Self::Modify => "api_key_modify",
            Self::Delete => "api_key_delete",
            Self::All => "api_key_all",
        }
    }

    pub(super) const fn description(self) -> &'static str {
        match self {
            Self::List => "Ability to list (view all) API keys.",
            Self::View => "Ability to view an API Key.",
            Self::Create => "Ability to create a new API Key.",
            Self::Modify => {
                "Ability to modify (update) an existing API key. Also implies \"api_key_view\" \
                 permission."
            }
            Self::Delete => "Ability to delete an existing API Keys.",
            Self::All => "Ability to perform all the supported operations on an API Key.",
        }
    }
}
