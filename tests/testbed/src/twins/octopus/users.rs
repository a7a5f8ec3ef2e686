//! Users: people and service accounts.
//!
//! Facts from the Octopus REST API reference (2026.3, "Users"), from swagger written by a 2020.5
//! server, and from what the official clients need. The text for a taken username is not known.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::{Answer, Problem, Reply, date};
use super::call::Call;
use super::config::since;
use super::events::Category;
use super::store::Document;
use super::user_wish::Wish;
use super::{Octopus, Permission, chance, paging, spaces, teams};

/// A user.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) username: String,
    pub(super) display_name: String,
    pub(super) email: Option<String>,
    pub(super) active: bool,
    pub(super) kind: Kind,
    /// External logins, as they were sent.
    pub(super) logins: Vec<Value>,
    pub(super) created: Timestamp,
}

/// What a user is; fixed at its creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A person, perhaps with a password.
    Human { password: Option<[u8; 32]> },
    /// A service account, with the GUID that tokens are exchanged for.
    Service {
        external_id: String,
        account_type: String,
    },
}

impl Document for User {
    const PREFIX: &'static str = "Users-";

    fn id(&self) -> &str {
        &self.id
    }
}

impl User {
    pub(super) fn is_service(&self) -> bool {
        matches!(self.kind, Kind::Service { .. })
    }

    pub(super) fn external_id(&self) -> Option<&str> {
        match &self.kind {
            Kind::Service { external_id, .. } => Some(external_id),
            Kind::Human { .. } => None,
        }
    }
}

const TEMPLATE: &str = "/api/users{/id}{?skip,take,ids,filter}";

pub(super) fn list(octopus: &mut Octopus, call: &Call) -> Reply {
    let mut found: Vec<&User> = octopus
        .users
        .iter()
        .filter(|user| wanted(call, user))
        .collect();
    found.sort_by_key(|user| user.username.to_lowercase());
    let items = found
        .into_iter()
        .map(|user| resource(octopus, call, user))
        .collect();
    paging::page(call, "User", TEMPLATE, items)
}

/// The filter is a fragment, not an exact match: whoever looks for one user compares names.
fn wanted(call: &Call, user: &User) -> bool {
    let email = user.email.as_deref().unwrap_or_default();
    let external = user.external_id().unwrap_or_default();
    let account_type = match &user.kind {
        Kind::Service { account_type, .. } => account_type.as_str(),
        Kind::Human { .. } => "",
    };
    call.asks_for(&user.id)
        && call.fragment(
            "filter",
            &[&user.username, &user.display_name, email, external],
        )
        && call.says("isActive", &user.active.to_string())
        && call.says("isServiceAccount", &user.is_service().to_string())
        && call.says("serviceAccountType", account_type)
}

pub(super) fn all(octopus: &mut Octopus, call: &Call) -> Reply {
    let mut found: Vec<&User> = octopus
        .users
        .iter()
        .filter(|u| call.asks_for(&u.id))
        .collect();
    found.sort_by_key(|user| user.username.to_lowercase());
    Ok(Answer::ok(
        found
            .into_iter()
            .map(|user| resource(octopus, call, user))
            .collect(),
    ))
}

pub(super) fn me(octopus: &mut Octopus, call: &Call) -> Reply {
    let user = octopus.users.get(&call.caller()?.user)?;
    Ok(Answer::ok(resource(octopus, call, user)))
}

pub(super) fn get(octopus: &mut Octopus, call: &Call) -> Reply {
    octopus.require_for(call, call.at(0), Permission::UserView)?;
    let user = octopus.users.get(call.at(0))?;
    Ok(Answer::ok(resource(octopus, call, user)))
}

/// Makes a user. `IsActive: false` is ignored: the server makes no inactive users
/// (terraform-provider-octopusdeploy v1.17.0, `resource_user.go`).
pub(super) fn create(octopus: &mut Octopus, call: &Call) -> Reply {
    let body = call.body()?;
    let is_service = body.flag("IsService").unwrap_or(false);
    let wish = Wish::read(octopus, &body, None, is_service)?;
    let kind = if is_service {
        let account_type = body
            .said("ServiceAccountType")
            .unwrap_or_else(|| "Standard".into());
        Kind::Service {
            external_id: octopus.chance.guid(),
            account_type,
        }
    } else {
        Kind::Human {
            password: wish.password.as_deref().map(chance::hash),
        }
    };
    let user = User {
        id: octopus.users.next_id(),
        username: wish.username,
        display_name: wish.display_name,
        email: wish.email,
        active: true,
        kind,
        logins: wish.logins,
        created: call.now,
    };
    octopus.audit(call, Category::Created, "User", &user.id, &user.username);
    let resource = resource(octopus, call, &user);
    octopus.users.add(user);
    Ok(Answer::created(resource))
}

/// Replaces a user whole: what is not sent is emptied, but for the password.
pub(super) fn update(octopus: &mut Octopus, call: &Call) -> Reply {
    octopus.require_for(call, call.at(0), Permission::UserEdit)?;
    let old = octopus.users.get(call.at(0))?.clone();
    octopus.require_rank_of(call, &old.id)?;
    let body = call.body()?;
    let wish = Wish::read(octopus, &body, Some(&old.id), old.is_service())?;
    let active = body
        .flag("IsActive")
        .ok_or_else(|| Problem::bad("IsActive is required."))?;
    let kind = match (old.kind, wish.password) {
        (Kind::Human { .. }, Some(password)) => Kind::Human {
            password: Some(chance::hash(&password)),
        },
        (kind, _) => kind,
    };
    let user = octopus.users.get_mut(&old.id)?;
    user.username = wish.username;
    user.display_name = wish.display_name;
    user.email = wish.email;
    user.active = active;
    user.logins = wish.logins;
    user.kind = kind;
    let user = user.clone();
    octopus.audit(call, Category::Modified, "User", &user.id, &user.username);
    Ok(Answer::ok(resource(octopus, call, &user)))
}

/// Deletes a user, and with it its keys, sessions, tokens and identities.
pub(super) fn delete(octopus: &mut Octopus, call: &Call) -> Reply {
    let user = octopus.users.get(call.at(0))?.clone();
    if call.caller()?.user == user.id {
        return Err(Problem::bad("You cannot delete your own user account."));
    }
    octopus.require_rank_of(call, &user.id)?;
    octopus.end_user(&user.id);
    octopus.audit(call, Category::Deleted, "User", &user.id, &user.username);
    Ok(Answer::empty())
}

impl Octopus {
    /// Takes a user out of the world, with everything that hangs on it.
    pub(super) fn end_user(&mut self, id: &str) {
        self.users.remove(id);
        self.keys.retain(|key| key.user != id);
        self.identities.retain(|identity| identity.account != id);
        self.sessions.retain(|session| session.user != id);
        self.tokens.retain(|token| token.user != id);
        for team in self.teams.iter_mut() {
            team.members.retain(|member| member != id);
        }
    }
}

/// A user as JSON. `IsRequestor` says whether it is the caller.
pub(super) fn resource(octopus: &Octopus, call: &Call, user: &User) -> Value {
    let this = format!("/api/users/{}", user.id);
    let link = |tail: &str| format!("{this}{tail}");
    let email = user.email.as_deref().unwrap_or_default();
    let mut json = json!({
        "Id": user.id,
        "Username": user.username,
        "DisplayName": user.display_name,
        "EmailAddress": email,
        "IsActive": user.active,
        "IsService": user.is_service(),
        "IsRequestor": call.caller.as_ref().is_some_and(|caller| caller.user == user.id),
        "CanPasswordBeEdited": !user.is_service(),
        "Identities": user.logins,
        "Created": date(user.created),
        "Links": {
            "Self": this,
            "Permissions": link("/permissions{?spaces,includeSystem}"),
            "PermissionsConfiguration": link("/permissions/configuration{?spaces,includeSystem}"),
            "Spaces": link("/spaces"),
            "Teams": link("/teams{?spaces,includeSystem}"),
            "ApiKeys": link("/apikeys{/id}{?skip,take}"),
            "RevokeSessions": link("/revoke-sessions"),
            "AccessToken": "/api/users/access-token",
            "Avatar": "https://www.gravatar.com/avatar/?d=mm",
        },
    });
    if let (Kind::Service { account_type, .. }, true) =
        (&user.kind, octopus.version >= since::LAST_USED)
    {
        json["ServiceAccountType"] = json!(account_type);
    }
    json
}

pub(super) fn permissions(octopus: &mut Octopus, call: &Call) -> Reply {
    octopus.require_for(call, call.at(0), Permission::UserView)?;
    let user = octopus.users.get(call.at(0))?;
    let grants = octopus.grants(&user.id);
    let mut in_spaces = serde_json::Map::new();
    for (name, space) in &grants.space {
        let entry = in_spaces.entry(name.clone()).or_insert_with(|| json!([]));
        if let Some(list) = entry.as_array_mut() {
            list.push(json!({
                "SpaceId": space,
                "RestrictedToProjectIds": [],
                "RestrictedToEnvironmentIds": [],
                "RestrictedToTenantIds": [],
                "RestrictedToProjectGroupIds": [],
            }));
        }
    }
    Ok(Answer::ok(json!({
        "Id": user.id,
        "IsPermissionsComplete": true,
        "IsTeamsComplete": true,
        "SpacePermissions": in_spaces,
        "SystemPermissions": grants.system,
        "Teams": teams::of_user(octopus, &user.id),
        "Links": { "Self": format!("/{}", call.path.join("/")) },
    })))
}

pub(super) fn teams(octopus: &mut Octopus, call: &Call) -> Reply {
    octopus.require_for(call, call.at(0), Permission::UserView)?;
    let user = octopus.users.get(call.at(0))?;
    Ok(Answer::ok(teams::of_user(octopus, &user.id)))
}

/// The spaces that a user sees; only its own.
pub(super) fn spaces(octopus: &mut Octopus, call: &Call) -> Reply {
    octopus.users.get(call.at(0))?;
    if call.caller()?.user != call.at(0) {
        return Err(Problem::forbidden());
    }
    spaces::all(octopus, call)
}
