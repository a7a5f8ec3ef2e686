//! Who may ask for what of a ClusterDeployServer. Nothing that no grant covers is done.
//!
//! One grant must cover all that a ServiceAccount asks for: the pieces of several grants are never
//! put together.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::Stop;
use super::pattern::fits;
use crate::api::conditions::Reason;
use crate::api::{
    ForeignKeys, Grant, GrantedNamespaces, Management, NamespacesFrom, Period, ServiceAccountSpec,
    Team,
};

/// A namespace that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// Its name.
    pub namespace: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What the grants that cover a ServiceAccount allow its ApiKeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowance {
    /// The longest lifetime; `None` for that of the key policy.
    pub max_lifetime: Option<SignedDuration>,
    /// Whether keys and accounts may be left behind.
    pub retain: Retain,
    /// What may be done with keys that no operator made.
    pub foreign: Foreign,
    /// Whether accounts that were there before may be taken over.
    pub adopt: Adopt,
}

/// Whether accounts that were there before may be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Adopt {
    /// They may.
    #[default]
    Allowed,
    /// They may not.
    Refused,
}

/// What may be done with keys that no operator made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Foreign {
    /// They may be revoked.
    #[default]
    Revoked,
    /// They may be counted.
    Counted,
}

/// Whether keys and accounts may be left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retain {
    /// They may.
    #[default]
    Allowed,
    /// They may not.
    Refused,
}

/// What the grants allow this ServiceAccount, under this user name.
///
/// # Errors
/// `NotGranted`, when no grant covers it.
pub fn allowance(
    grants: &[Grant],
    asker: &Asker,
    spec: &ServiceAccountSpec,
    username: Option<&str>,
) -> Result<Allowance, Stop> {
    let mine: Vec<&Grant> = grants
        .iter()
        .filter(|grant| asker.is_in(&grant.namespaces))
        .collect();
    if mine.is_empty() {
        return Err(refuse(&format!(
            "no grant names the namespace {}",
            asker.namespace
        )));
    }
    let (covering, lacking): (Vec<_>, Vec<_>) = mine
        .iter()
        .map(|grant| (grant, lacks(grant, asker, spec, username)))
        .partition(|(_, lacks)| lacks.is_none());
    if covering.is_empty() {
        let lacks: Vec<String> = lacking.into_iter().filter_map(|(_, lacks)| lacks).collect();
        return Err(refuse(&format!(
            "no single grant covers it: {}",
            lacks.join("; ")
        )));
    }
    let unlimited = covering
        .iter()
        .any(|(grant, _)| grant.max_lifetime.is_none());
    let longest = covering
        .iter()
        .filter_map(|(grant, _)| grant.max_lifetime.as_ref())
        .map(Period::duration)
        .max();
    Ok(Allowance {
        max_lifetime: longest.filter(|_| !unlimited),
        retain: if covering.iter().any(|(grant, _)| grant.retain) {
            Retain::Allowed
        } else {
            Retain::Refused
        },
        foreign: if covering
            .iter()
            .any(|(grant, _)| grant.foreign_keys.contains(&ForeignKeys::Revoke))
        {
            Foreign::Revoked
        } else {
            Foreign::Counted
        },
        adopt: if covering.iter().any(|(grant, _)| grant.adopt) {
            Adopt::Allowed
        } else {
            Adopt::Refused
        },
    })
}

fn refuse(why: &str) -> Stop {
    Stop::new(
        Reason::NotGranted,
        format!(
            "The ClusterDeployServer does not grant this: {why}. {}",
            Reason::NotGranted.fix()
        ),
    )
}

/// What a grant lacks for this ServiceAccount; `None` when it covers it.
fn lacks(
    grant: &Grant,
    asker: &Asker,
    spec: &ServiceAccountSpec,
    username: Option<&str>,
) -> Option<String> {
    if !grant.management.contains(&spec.management) {
        return Some(format!(
            "management {} is not granted",
            management(spec.management)
        ));
    }
    if let Some(name) = username.filter(|name| {
        !grant
            .usernames
            .iter()
            .any(|pattern| asker.matches(pattern, name))
    }) {
        return Some(format!("username {name} is not granted"));
    }
    if spec.adopt && !grant.adopt {
        return Some("adopt is not granted".to_owned());
    }
    if spec.foreign_keys != ForeignKeys::Report && !grant.foreign_keys.contains(&spec.foreign_keys)
    {
        return Some("foreignKeys Revoke is not granted".to_owned());
    }
    let octopus = spec.octopus.as_ref();
    let any =
        |granted: &[String], wanted: &str| granted.iter().any(|item| item == "*" || item == wanted);
    let team = octopus
        .into_iter()
        .flat_map(|octopus| &octopus.teams)
        .map(team_name)
        .find(|team| !any(&grant.teams, team));
    if let Some(team) = team {
        return Some(format!("team {team} is not granted"));
    }
    let logins = octopus.is_some_and(|octopus| {
        !octopus.external_logins.is_empty() || !octopus.oidc_identities.is_empty()
    });
    if logins && !grant.logins {
        return Some("logins are not granted".to_owned());
    }
    let roles = spec.elasticsearch.iter().flat_map(|account| &account.roles);
    roles
        .into_iter()
        .find(|role| !any(&grant.roles, role))
        .map(|role| format!("role {role} is not granted"))
}

/// How a grant names a team: by its id, as `name`, or as `space/name` where a space has it.
fn team_name(team: &Team) -> String {
    let name = team.name.as_deref().unwrap_or_default();
    match (&team.id, &team.space) {
        (Some(id), _) => id.clone(),
        (None, Some(space)) => format!("{space}/{name}"),
        (None, None) => name.to_owned(),
    }
}

fn management(management: Management) -> &'static str {
    match management {
        Management::Managed => "Managed",
        Management::Observed => "Observed",
        Management::Own => "Self",
    }
}

impl Asker {
    fn is_in(&self, namespaces: &GrantedNamespaces) -> bool {
        match namespaces.from {
            NamespacesFrom::All => true,
            NamespacesFrom::Names => namespaces.names.contains(&self.namespace),
            NamespacesFrom::Selector => namespaces
                .selector
                .as_ref()
                .is_some_and(|selector| selects(selector, &self.labels)),
        }
    }

    /// Whether a pattern of the grant takes this user name.
    fn matches(&self, pattern: &str, name: &str) -> bool {
        // A namespace has no `*`, so what stands for it cannot widen the pattern.
        fits(&pattern.replace("{namespace}", &self.namespace), name)
    }
}

/// Whether a label selector takes these labels. An operator that Kubernetes does not know takes
/// none.
pub fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    let fits = selector.match_expressions.iter().flatten().all(|rule| {
        let value = labels.get(&rule.key);
        let among = |value: &String| rule.values.iter().flatten().any(|allowed| allowed == value);
        match rule.operator.as_str() {
            "In" => value.is_some_and(among),
            "NotIn" => !value.is_some_and(among),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    equal && fits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker() -> Asker {
        Asker {
            namespace: "team-a".to_owned(),
            labels: BTreeMap::from([("tier".to_owned(), "gold".to_owned())]),
        }
    }

    fn grant(extra: &serde_json::Value) -> Grant {
        let mut grant = serde_json::json!({"namespaces": {"from": "Names", "names": ["team-a"]}});
        grant
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        serde_json::from_value(grant).unwrap()
    }

    fn account(extra: &serde_json::Value) -> ServiceAccountSpec {
        let mut spec =
            serde_json::json!({"serverRef": {"kind": "ClusterDeployServer", "name": "main"}});
        spec.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn the_default_grant_gives_own_names_alone() {
        let grants = [grant(&serde_json::json!({}))];
        let ask = |spec: serde_json::Value, name| {
            allowance(&grants, &asker(), &account(&spec), name).is_ok()
        };
        assert!(ask(serde_json::json!({}), Some("team-a.ci")));
        for (spec, name) in [
            (serde_json::json!({}), Some("team-b.ci")),
            (serde_json::json!({}), Some("team-a")),
            (serde_json::json!({}), Some("xteam-a.ci")),
            (
                serde_json::json!({"management": "Observed"}),
                Some("team-a.ci"),
            ),
            (serde_json::json!({"management": "Self"}), None),
            (serde_json::json!({"adopt": true}), Some("team-a.ci")),
            (
                serde_json::json!({"foreignKeys": "Revoke"}),
                Some("team-a.ci"),
            ),
            (
                serde_json::json!({"octopus": {"teams": [{"name": "Admins"}]}}),
                Some("team-a.ci"),
            ),
            (
                serde_json::json!({"octopus": {"teams": [{"id": "Teams-1"}]}}),
                Some("team-a.ci"),
            ),
            (
                serde_json::json!({"octopus": {"oidcIdentities": [{"name": "a", "issuer": "b", "subject": "c"}]}}),
                Some("team-a.ci"),
            ),
            (
                serde_json::json!({"elasticsearch": {"roles": ["superuser"]}}),
                Some("team-a.ci"),
            ),
        ] {
            assert!(!ask(spec.clone(), name), "{spec} {name:?}");
        }
    }

    #[test]
    fn a_team_is_granted_with_its_space() {
        let joins = |granted: &str, team: serde_json::Value| {
            let grants = [grant(&serde_json::json!({"teams": [granted]}))];
            let spec = account(&serde_json::json!({"octopus": {"teams": [team]}}));
            allowance(&grants, &asker(), &spec, Some("team-a.ci")).is_ok()
        };
        let whole = serde_json::json!({"name": "Deployers"});
        let of_a_space = serde_json::json!({"name": "Deployers", "space": "Web"});
        let by_id = serde_json::json!({"id": "Teams-1"});
        for (granted, team, fine) in [
            ("Deployers", &whole, true),
            ("Deployers", &of_a_space, false),
            ("Web/Deployers", &of_a_space, true),
            ("Web/Deployers", &whole, false),
            ("Teams-1", &by_id, true),
            ("Deployers", &by_id, false),
            ("*", &of_a_space, true),
        ] {
            assert_eq!(joins(granted, team.clone()), fine, "{granted} {team}");
        }
    }

    #[test]
    fn pieces_of_two_grants_are_not_put_together() {
        let grants = [
            grant(&serde_json::json!({"usernames": ["shared"]})),
            grant(&serde_json::json!({"adopt": true})),
        ];
        let spec = account(&serde_json::json!({"adopt": true}));
        assert!(allowance(&grants, &asker(), &spec, Some("shared")).is_err());
        assert!(allowance(&grants, &asker(), &spec, Some("team-a.x")).is_ok());
    }

    #[test]
    fn namespaces_are_chosen_by_name_label_or_all() {
        let from = |namespaces: serde_json::Value| {
            let grants = [grant(&serde_json::json!({"namespaces": namespaces}))];
            allowance(
                &grants,
                &asker(),
                &account(&serde_json::json!({})),
                Some("team-a.ci"),
            )
            .is_ok()
        };
        assert!(from(serde_json::json!({"from": "All"})));
        assert!(!from(
            serde_json::json!({"from": "Names", "names": ["team-b"]})
        ));
        assert!(from(
            serde_json::json!({"from": "Selector", "selector": {"matchLabels": {"tier": "gold"}}})
        ));
        assert!(!from(
            serde_json::json!({"from": "Selector", "selector": {"matchLabels": {"tier": "tin"}}})
        ));
        assert!(!from(serde_json::json!({"from": "Selector"})));
    }

    #[test]
    fn the_widest_covering_grant_counts() {
        let limits = |grants: &[serde_json::Value]| {
            let grants: Vec<_> = grants.iter().map(grant).collect();
            allowance(
                &grants,
                &asker(),
                &account(&serde_json::json!({})),
                Some("team-a.ci"),
            )
            .unwrap()
        };
        let day = serde_json::json!({"maxLifetime": "1d", "retain": false});
        let week = serde_json::json!({"maxLifetime": "7d", "retain": false});
        assert_eq!(
            limits(&[day.clone(), week.clone()]).max_lifetime,
            Some(SignedDuration::from_hours(168))
        );
        assert_eq!(limits(&[day.clone(), week]).retain, Retain::Refused);
        let revoke = serde_json::json!({"foreignKeys": ["Report", "Revoke"]});
        assert_eq!(limits(std::slice::from_ref(&day)).foreign, Foreign::Counted);
        assert_eq!(limits(std::slice::from_ref(&day)).adopt, Adopt::Refused);
        let adopt = serde_json::json!({"adopt": true});
        assert_eq!(limits(&[day, revoke, adopt]), Allowance::default());
    }
}
