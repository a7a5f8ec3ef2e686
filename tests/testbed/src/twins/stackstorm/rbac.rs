//! Rights: roles, to whom they are assigned, and what they allow.
//!
//! They are read-only over HTTP; they come from files on the server's disk. To list and to create
//! keys is granted at large, all else only on the `uid` of one key. `api_key_create` makes a key
//! for whomever, also for an administrator.

use serde_json::{Value, json};

use super::answer::{Answer, Problem, Reply};
use super::api_keys::ApiKey;
use super::call::Call;
use super::{Grant, Permission, StackStorm};

/// A role.
#[derive(Debug, Clone)]
pub(super) struct Role {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) system: bool,
    /// What it allows, each with an id.
    pub(super) grants: Vec<(String, Grant)>,
}

/// A role of somebody.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    pub(super) id: String,
    pub(super) user: String,
    pub(super) role: String,
}

/// The roles that are always there.
pub(super) const SYSTEM: [&str; 3] = [SYSTEM_ADMIN, ADMIN, OBSERVER];
pub(super) const SYSTEM_ADMIN: &str = "system_admin";
pub(super) const ADMIN: &str = "admin";
const OBSERVER: &str = "observer";

pub(super) fn roles(st2: &mut StackStorm, call: &Call) -> Reply {
    st2.require_admin(call)?;
    let mut roles: Vec<&Role> = st2.roles.iter().collect();
    roles.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(listed(roles.into_iter().map(role_document).collect()))
}

pub(super) fn role(st2: &mut StackStorm, call: &Call) -> Reply {
    st2.require_admin(call)?;
    let place = &call.place;
    let mut roles = st2.roles.iter();
    let role = roles.find(|role| role.name == *place || role.id == *place);
    let role = role.ok_or_else(|| {
        Problem::not_found(format!("Resource with a name or id \"{place}\" not found"))
    })?;
    Ok(Answer::ok(role_document(role)))
}

pub(super) fn assignments(st2: &mut StackStorm, call: &Call) -> Reply {
    st2.require_admin_or_self(call, call.query("user"))?;
    let remote = call.flag("remote")?.unwrap_or(false);
    let says = |name: &str, value: &str| {
        let wanted = call.query(name).filter(|wanted| !wanted.is_empty());
        wanted.is_none_or(|wanted| wanted == value)
    };
    // None comes from a remote directory.
    let found = st2.assignments.iter().filter(|assignment| {
        !remote
            && says("user", &assignment.user)
            && says("role", &assignment.role)
            && says("source", &assignment.source())
    });
    Ok(listed(found.map(Assignment::document).collect()))
}

pub(super) fn assignment(st2: &mut StackStorm, call: &Call) -> Reply {
    let mut assignments = st2.assignments.iter();
    let found = assignments.find(|assignment| assignment.id == call.place);
    let found = found.ok_or_else(|| {
        let id = &call.place;
        Problem::not_found(format!("Unable to identify resource with id \"{id}\"."))
    })?;
    st2.require_admin_or_self(call, Some(&found.user))?;
    Ok(Answer::ok(found.document()))
}

pub(super) fn permission_types(st2: &mut StackStorm, call: &Call) -> Reply {
    st2.require_admin(call)?;
    Ok(Answer::ok(json!({ "api_key": descriptions() })))
}

pub(super) fn permission_types_of(st2: &mut StackStorm, call: &Call) -> Reply {
    st2.require_admin(call)?;
    match call.place.as_str() {
        "api_key" => Ok(Answer::ok(descriptions())),
        other => Err(Problem::not_found(format!(
            "Invalid resource type: {other}"
        ))),
    }
}

fn descriptions() -> Value {
    let each = Permission::EVERY.iter();
    let each = each.map(|one| (one.name().to_owned(), json!(one.description())));
    Value::Object(each.collect())
}

fn listed(items: Vec<Value>) -> Answer {
    let total = items.len().to_string();
    Answer::ok(Value::Array(items)).with("x-total-count", total)
}

fn role_document(role: &Role) -> Value {
    let ids: Vec<&String> = role.grants.iter().map(|(id, _)| id).collect();
    let grants = role.grants.iter().map(|(id, grant)| {
        let uid = grant.resource_uid.as_deref();
        let kind = uid.and_then(|uid| uid.split(':').next());
        let permissions: Vec<&str> = grant.permissions.iter().map(|one| one.name()).collect();
        let mut json = json!({ "id": id, "permission_types": permissions });
        if let (Some(uid), Some(kind)) = (uid, kind) {
            json["resource_uid"] = json!(uid);
            json["resource_type"] = json!(kind);
        }
        json
    });
    json!({
        "id": role.id,
        "name": role.name,
        "description": role.description,
        "system": role.system,
        "permission_grants": ids,
        "permission_grant_ids": ids,
        "permission_grant_objects": grants.collect::<Vec<_>>(),
    })
}

impl Assignment {
    /// The file that it comes from.
    fn source(&self) -> String {
        format!("assignments/{}.yaml", self.user)
    }

    fn document(&self) -> Value {
        json!({
            "id": self.id,
            "user": self.user,
            "role": self.role,
            "description": "",
            "is_remote": false,
            "source": self.source(),
        })
    }
}

impl StackStorm {
    pub(super) fn roles_of<'a>(&'a self, user: &'a str) -> impl Iterator<Item = &'a Role> {
        self.roles.iter().filter(move |role| {
            let mut assignments = self.assignments.iter();
            assignments.any(|one| one.user == user && one.role == role.name)
        })
    }

    /// While nobody looks at rights, everybody is one.
    pub(super) fn is_admin(&self, user: &str) -> bool {
        let admin = |role: &Role| [SYSTEM_ADMIN, ADMIN].contains(&role.name.as_str());
        !self.rbac || self.roles_of(user).any(admin)
    }

    /// 403 unless the caller has a right at large.
    pub(super) fn require(&self, call: &Call, permission: Permission) -> Result<(), Problem> {
        let user = &call.caller()?.user;
        if self.may(user, permission, |grant| {
            grant.permissions.contains(&permission)
        }) {
            Ok(())
        } else {
            Err(Problem::forbidden(lacks(user, permission)))
        }
    }

    /// 403 unless the caller has a right on a key.
    pub(super) fn require_on(
        &self,
        call: &Call,
        permission: Permission,
        key: &ApiKey,
    ) -> Result<(), Problem> {
        let user = &call.caller()?.user;
        let uid = key.uid();
        let granted = |grant: &Grant| {
            let fits = |one: &Permission| [permission, Permission::All].contains(one);
            grant.resource_uid.as_deref() == Some(uid.as_str())
                && grant.permissions.iter().any(fits)
        };
        if self.may(user, permission, granted) {
            return Ok(());
        }
        let text = lacks(user, permission);
        Err(Problem::forbidden(format!("{text} on resource \"{uid}\"")))
    }

    fn may(&self, user: &str, permission: Permission, granted: impl Fn(&Grant) -> bool) -> bool {
        let reads = matches!(permission, Permission::List | Permission::View);
        self.is_admin(user)
            || self.roles_of(user).any(|role| {
                (reads && role.name == OBSERVER)
                    || role.grants.iter().any(|(_, grant)| granted(grant))
            })
    }

    fn require_admin(&self, call: &Call) -> Result<(), Problem> {
        if self.is_admin(&call.caller()?.user) {
            Ok(())
        } else {
            Err(Problem::forbidden("Administrator access required"))
        }
    }

    fn require_admin_or_self(&self, call: &Call, user: Option<&str>) -> Result<(), Problem> {
        let caller = &call.caller()?.user;
        if self.is_admin(caller) || user == Some(caller) {
            Ok(())
        } else {
            Err(Problem::forbidden("Administrator or self access required"))
        }
    }
}

fn lacks(user: &str, permission: Permission) -> String {
    let permission = permission.name();
    format!("User \"{user}\" doesn't have required permission \"{permission}\"")
}
