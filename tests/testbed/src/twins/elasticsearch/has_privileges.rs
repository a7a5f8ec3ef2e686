//! `_has_privileges`: what somebody may do, as he asks it himself.

use serde_json::{Map, Value, json};

use super::Elasticsearch;
use super::answer::{Answer, Problem, Reply};
use super::call::Call;
use super::json::{fits, strict};
use super::privilege_names::CLUSTER;
use super::privileges::Action;
use super::roles::{Descriptor, short_application, unknown_privilege};

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
        let mut all = true;
        let mut ask = |held: &dyn Fn(&[&Descriptor]) -> bool| {
            let held = layers.iter().all(|layer| held(layer));
            all &= held;
            held
        };
        let (mut cluster, mut index, mut application) = (Map::new(), Map::new(), Map::new());
        for name in &self.cluster {
            cluster.insert(name.clone(), json!(ask(&|roles| holds(roles, name))));
        }
        for (names, privileges) in &self.index {
            for name in names {
                for privilege in privileges {
                    let held = ask(&|roles| holds_index(roles, name, privilege));
                    index.entry(name).or_insert_with(|| json!({}))[privilege] = json!(held);
                }
            }
        }
        for (name, privileges, resources) in &self.application {
            // The twin knows no application privileges but those of who may do everything.
            let held = json!(ask(&|roles| holds(roles, "all")));
            let held: Map<String, Value> = privileges
                .iter()
                .map(|name| (name.clone(), held.clone()))
                .collect();
            let of = resources.iter().map(|name| (name.clone(), json!(held)));
            application.insert(name.clone(), Value::Object(of.collect()));
        }
        json!({
            "username": user,
            "has_all_requested": all,
            "cluster": cluster,
            "index": index,
            "application": application,
        })
    }
}
