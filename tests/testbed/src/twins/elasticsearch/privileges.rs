//! What one may do: actions and the privileges that grant them, and `_has_privileges`.
//!
//! An action is granted by a privilege that names it among its own; `manage_own_api_key` counts
//! only where a request is about the caller's own keys, which the routes find out. Of a key's
//! rights both what it was given and what its owner had must grant an action.

use serde_json::{Map, Value, json};

use super::Elasticsearch;
use super::answer::{Answer, Problem, Reply};
use super::call::Call;
use super::json::{fits, strict};
use super::privilege_names::CLUSTER;
use super::roles::{Descriptor, short_application, unknown_privilege};

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

/// Actions by name, for whoever asks for one.
const ACTIONS: [Action; 16] = [
    Action::Main,
    Action::License,
    Action::CreateKey,
    Action::GrantKey,
    Action::GetKeys,
    Action::QueryKeys,
    Action::UpdateKey,
    Action::UpdateKeys,
    Action::InvalidateKeys,
    Action::GetUsers,
    Action::PutUser,
    Action::DeleteUser,
    Action::SetEnabled,
    Action::GetRoles,
    Action::PutRole,
    Action::DeleteRole,
];

/// What else a cluster privilege brings.
fn brings(privilege: &str) -> &'static [&'static str] {
    match privilege {
        "manage_security" => &[
            "manage_api_key",
            "manage_own_api_key",
            "grant_api_key",
            "read_security",
            "manage_service_account",
            "manage_token",
            "manage_user_profile",
            "manage_oidc",
            "manage_saml",
        ],
        "manage_api_key" => &["manage_own_api_key", "grant_api_key"],
        "manage" => &[
            "monitor",
            "manage_pipeline",
            "manage_ml",
            "manage_ilm",
            "manage_watcher",
        ],
        _ => &[],
    }
}

/// Whether these roles hold a cluster privilege, or an action by name.
fn holds(roles: &[&Descriptor], wanted: &str) -> bool {
    let action = ACTIONS.iter().find(|action| action.name() == wanted);
    let mut privileges = roles.iter().flat_map(|role| &role.cluster);
    privileges.any(|has| {
        // Who may do something with keys of his own only does not hold it by name.
        let by_action = has != "manage_own_api_key"
            && action.is_some_and(|action| action.granted_by().contains(&has.as_str()));
        by_action || has == wanted || has == "all" || brings(has).contains(&wanted)
    })
}

/// Whether these roles hold a privilege for an index name.
fn holds_index(roles: &[&Descriptor], index: &str, wanted: &str) -> bool {
    roles.iter().flat_map(|role| &role.indices).any(|indices| {
        indices.names.iter().any(|name| fits(name, index))
            && indices.privileges.iter().any(|has| {
                has == wanted
                    || has == "all"
                    || (has == "write"
                        && ["index", "create", "create_doc", "delete"].contains(&wanted))
            })
    })
}

/// `_has_privileges`, of oneself alone, whether the path names him or not.
pub(super) fn has(server: &mut Elasticsearch, call: &Call) -> Reply {
    let caller = call.caller()?;
    let user = if call.places.is_empty() {
        caller.subject.name.clone()
    } else {
        call.at(0).to_owned()
    };
    if call.body.is_empty() {
        let reason = "request body or source parameter is required";
        return Err(Problem::unreadable(reason));
    }
    let sent = strict(&call.body)?;
    let wishes = Wishes::read(&user, &sent)?;
    wishes.check()?;
    if user == caller.subject.name {
        server.authorize(call, Action::Authenticate)?;
    } else {
        server.authorize(call, Action::HasPrivileges)?;
        let reason = "users may only check the privileges of their own account";
        return Err(Problem::illegal(reason));
    }
    if let Some(unknown) = wishes
        .cluster
        .iter()
        .find(|name| !CLUSTER.contains(&name.as_str()) && !name.starts_with("cluster:"))
    {
        return Err(Problem::illegal(unknown_privilege("cluster", unknown)));
    }
    let layers = server.layers(&caller.subject);
    Ok(Answer::ok(wishes.answer(&user, &layers)))
}

/// What somebody wants to know.
struct Wishes {
    cluster: Vec<String>,
    index: Vec<(Vec<String>, Vec<String>)>,
    application: Vec<(String, Vec<String>, Vec<String>)>,
}

impl Wishes {
    fn read(user: &str, sent: &Value) -> Result<Self, Problem> {
        let check = format!("failed to parse privileges check [{user}/has_privileges].");
        let known = ["cluster", "index", "application"];
        let fields = sent.as_object().cloned().unwrap_or_default();
        if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(Problem::unreadable(format!(
                "{check} unexpected field [{name}]"
            )));
        }
        if fields.is_empty() {
            return Err(Problem::unreadable(format!(
                "{check} All privilege fields [cluster,index,applications] are missing"
            )));
        }
        let texts = |value: &Value| -> Vec<String> {
            match value {
                Value::String(one) => vec![one.clone()],
                Value::Array(items) => {
                    let texts = items.iter().filter_map(Value::as_str);
                    texts.map(str::to_owned).collect()
                }
                _ => Vec::new(),
            }
        };
        let items = |name: &str| sent[name].as_array().cloned().unwrap_or_default();
        Ok(Self {
            cluster: texts(&sent["cluster"]),
            index: items("index")
                .iter()
                .map(|item| (texts(&item["names"]), texts(&item["privileges"])))
                .collect(),
            application: items("application")
                .iter()
                .map(|item| {
                    let name = item["application"].as_str().unwrap_or_default();
                    let privileges = texts(&item["privileges"]);
                    (name.to_owned(), privileges, texts(&item["resources"]))
                })
                .collect(),
        })
    }

    fn check(&self) -> Result<(), Problem> {
        let mut wrong: Vec<String> = self
            .application
            .iter()
            .filter_map(|(name, ..)| short_application(name))
            .collect();
        if self.cluster.is_empty() && self.index.is_empty() && self.application.is_empty() {
            wrong.push("must specify at least one privilege".to_owned());
        }
        Problem::invalid(&wrong)
    }

    fn answer(&self, user: &str, layers: &[Vec<&Descriptor>]) -> Value {
        let everywhere = |holds: &dyn Fn(&[&Descriptor]) -> bool| layers.iter().all(|l| holds(l));
        let cluster: Map<String, Value> = self
            .cluster
            .iter()
            .map(|name| (name.clone(), json!(everywhere(&|roles| holds(roles, name)))))
            .collect();
        let mut index = Map::new();
        for (name, privilege) in self.index.iter().flat_map(|(names, privileges)| {
            names
                .iter()
                .flat_map(move |name| privileges.iter().map(move |p| (name, p)))
        }) {
            let held = everywhere(&|roles| holds_index(roles, name, privilege));
            index.entry(name).or_insert_with(|| json!({}))[privilege] = json!(held);
        }
        // The twin knows no application privileges but those of who may do everything.
        let all = everywhere(&|roles| roles.iter().any(|r| r.cluster.iter().any(|p| p == "all")));
        let mut application = Map::new();
        for (name, privileges, resources) in &self.application {
            let held: Map<String, Value> =
                privileges.iter().map(|p| (p.clone(), json!(all))).collect();
            let of: Map<String, Value> =
                resources.iter().map(|r| (r.clone(), json!(held))).collect();
            application.insert(name.clone(), json!(of));
        }
        let yes = |value: &Value| !value.to_string().contains("false");
        let all_held = cluster
            .values()
            .chain(index.values())
            .chain(application.values())
            .all(yes);
        json!({
            "username": user,
            "has_all_requested": all_held,
            "cluster": cluster,
            "index": index,
            "application": application,
        })
    }
}
