//! What one may do: actions, and the privileges that grant them.
//!
//! An action is granted by a privilege that names it among its own; `manage_own_api_key` counts
//! only where a request is about the caller's own keys, which the routes find out. Of a key's
//! rights both what it was given and what its owner had must grant an action.

use super::json::fits;
use super::roles::Descriptor;

/// Something that needs a privilege.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Main,
    License,
    Authenticate,
    CreateKey,
    GrantKey,
    GetKeys,
    GetOwnKeys,
    QueryKeys,
    UpdateKey,
    UpdateKeys,
    InvalidateKeys,
    InvalidateOwnKeys,
    GetUsers,
    PutUser,
    DeleteUser,
    SetEnabled,
    ChangePassword,
    GetRoles,
    PutRole,
    DeleteRole,
    HasPrivileges,
}

const MONITOR: &[&str] = &["monitor", "manage", "all"];
const KEYS: &[&str] = &["manage_api_key", "manage_security", "all"];
const OWN_KEYS: &[&str] = &[
    "manage_own_api_key",
    "manage_api_key",
    "manage_security",
    "all",
];
const GRANTS: &[&str] = &["grant_api_key", "manage_api_key", "manage_security", "all"];
const READ_KEYS: &[&str] = &["read_security", "manage_api_key", "manage_security", "all"];
const READ_OWN_KEYS: &[&str] = &[
    "manage_own_api_key",
    "read_security",
    "manage_api_key",
    "manage_security",
    "all",
];
const READ: &[&str] = &["read_security", "manage_security", "all"];
const WRITE: &[&str] = &["manage_security", "all"];
const READ_OTHERS: &[&str] = &[
    "read_ccr",
    "read_security",
    "manage_ccr",
    "manage_security",
    "all",
];

impl Action {
    /// Its name, and the privileges that grant it in the order in which the server names them.
    fn row(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Main => ("cluster:monitor/main", MONITOR),
            Self::License => ("cluster:monitor/xpack/license/get", MONITOR),
            Self::Authenticate => ("cluster:admin/xpack/security/user/authenticate", &[]),
            Self::CreateKey => ("cluster:admin/xpack/security/api_key/create", OWN_KEYS),
            Self::GrantKey => ("cluster:admin/xpack/security/api_key/grant", GRANTS),
            Self::GetKeys => ("cluster:admin/xpack/security/api_key/get", READ_KEYS),
            Self::GetOwnKeys => ("cluster:admin/xpack/security/api_key/get", READ_OWN_KEYS),
            Self::QueryKeys => ("cluster:admin/xpack/security/api_key/query", READ_OWN_KEYS),
            Self::UpdateKey => ("cluster:admin/xpack/security/api_key/update", OWN_KEYS),
            Self::UpdateKeys => ("cluster:admin/xpack/security/api_key/bulk_update", OWN_KEYS),
            Self::InvalidateKeys => ("cluster:admin/xpack/security/api_key/invalidate", KEYS),
            Self::InvalidateOwnKeys => {
                ("cluster:admin/xpack/security/api_key/invalidate", OWN_KEYS)
            }
            Self::GetUsers => ("cluster:admin/xpack/security/user/get", READ),
            Self::PutUser => ("cluster:admin/xpack/security/user/put", WRITE),
            Self::DeleteUser => ("cluster:admin/xpack/security/user/delete", WRITE),
            Self::SetEnabled => ("cluster:admin/xpack/security/user/set_enabled", WRITE),
            Self::ChangePassword => ("cluster:admin/xpack/security/user/change_password", WRITE),
            Self::GetRoles => ("cluster:admin/xpack/security/role/get", READ),
            Self::PutRole => ("cluster:admin/xpack/security/role/put", WRITE),
            Self::DeleteRole => ("cluster:admin/xpack/security/role/delete", WRITE),
            Self::HasPrivileges => (
                "cluster:admin/xpack/security/user/has_privileges",
                READ_OTHERS,
            ),
        }
    }

    pub(super) fn name(self) -> &'static str {
        self.row().0
    }

    pub(super) fn granted_by(self) -> &'static [&'static str] {
        self.row().1
    }

    /// Whether one of these roles grants it.
    pub(super) fn is_granted(self, roles: &[&Descriptor]) -> bool {
        let (name, granted_by) = self.row();
        roles
            .iter()
            .flat_map(|role| &role.cluster)
            .any(|privilege| {
                granted_by.contains(&privilege.as_str())
                    || (privilege.starts_with("cluster:") && fits(privilege, name))
            })
    }
}
