//! User roles: names for sets of permissions. The server knows many more permissions than the
//! twin asks for; whatever name is granted is kept and shown.

use serde_json::{Value, json};

use super::answer::{Answer, Problem, Reply};
use super::call::{Body, Call};
use super::events::Category;
use super::store::{Document, same};
use super::teams::Origin;
use super::{Octopus, Permission, paging};

/// A role.
#[derive(Debug, Clone)]
pub(super) struct Role {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: String,
    /// Permissions within spaces.
    pub(super) space: Vec<String>,
    /// Permissions over the whole server.
    pub(super) system: Vec<String>,
    pub(super) origin: Origin,
}

impl Document for Role {
    const PREFIX: &'static str = "UserRoles-";

    fn id(&self) -> &str {
        &self.id
    }
}

const TEMPLATE: &str = "/api/userroles{/id}{?skip,take,ids,partialName}";

pub(super) fn list(octopus: &mut Octopus, call: &Call) -> Reply {
    paging::page(call, "UserRole", TEMPLATE, found(octopus, call))
}

pub(super) fn all(octopus: &mut Octopus, call: &Call) -> Reply {
    Ok(Answer::ok(Value::Array(found(octopus, call))))
}

fn found(octopus: &Octopus, call: &Call) -> Vec<Value> {
    let mut roles: Vec<&Role> = octopus
        .roles
        .iter()
        .filter(|role| call.asks_for(&role.id))
        .filter(|role| call.fragment("partialName", &[&role.name]))
        .collect();
    roles.sort_by_key(|role| role.name.to_lowercase());
    roles.into_iter().map(resource).collect()
}

pub(super) fn get(octopus: &mut Octopus, call: &Call) -> Reply {
    Ok(Answer::ok(resource(octopus.roles.get(call.at(0))?)))
}

pub(super) fn create(octopus: &mut Octopus, call: &Call) -> Reply {
    let body = call.body()?;
    let mut role = written(octopus, &body, String::new())?;
    role.id = octopus.roles.next_id();
    octopus.audit(call, Category::Created, "User role", &role.id, &role.name);
    let json = resource(&role);
    octopus.roles.add(role);
    Ok(Answer::created(json))
}

pub(super) fn update(octopus: &mut Octopus, call: &Call) -> Reply {
    let id = custom(octopus, call)?.id;
    let body = call.body()?;
    let role = written(octopus, &body, id)?;
    octopus.audit(call, Category::Modified, "User role", &role.id, &role.name);
    let json = resource(&role);
    octopus.roles.replace(role);
    Ok(Answer::ok(json))
}

pub(super) fn delete(octopus: &mut Octopus, call: &Call) -> Reply {
    let role = custom(octopus, call)?;
    octopus.roles.remove(&role.id);
    octopus.team_roles.retain(|scope| scope.role != role.id);
    octopus.audit(call, Category::Deleted, "User role", &role.id, &role.name);
    Ok(Answer::empty())
}

fn custom(octopus: &Octopus, call: &Call) -> Result<Role, Problem> {
    let role = octopus.roles.get(call.at(0))?;
    match role.origin {
        Origin::Custom => Ok(role.clone()),
        Origin::BuiltIn => Err(Problem::bad("A built-in user role cannot be changed.")),
    }
}

fn written(octopus: &Octopus, body: &Body, id: String) -> Result<Role, Problem> {
    let name = body
        .said("Name")
        .ok_or_else(|| Problem::bad("Name is required."))?;
    if octopus
        .roles
        .iter()
        .any(|other| other.id != id && same(&other.name, &name))
    {
        return Err(Problem::bad("A user role with this name already exists."));
    }
    Ok(Role {
        id,
        name,
        description: body.text("Description").unwrap_or_default(),
        space: body.texts("GrantedSpacePermissions").unwrap_or_default(),
        system: body.texts("GrantedSystemPermissions").unwrap_or_default(),
        origin: Origin::Custom,
    })
}

fn resource(role: &Role) -> Value {
    json!({
        "Id": role.id,
        "Name": role.name,
        "Description": role.description,
        "CanBeDeleted": role.origin == Origin::Custom,
        "GrantedSpacePermissions": role.space,
        "GrantedSystemPermissions": role.system,
        "SpacePermissionDescriptions": [],
        "SystemPermissionDescriptions": [],
        "SupportedRestrictions": [],
        "Links": { "Self": format!("/api/userroles/{}", role.id) },
    })
}

/// The permissions that the twin knows, by name.
pub(super) fn permissions(_: &mut Octopus, _: &Call) -> Reply {
    let entry = |permission: Permission| {
        let about = json!({
            "CanApplyAtSystemLevel": true,
            "CanApplyAtSpaceLevel": !matches!(permission, Permission::AdministerSystem),
            "Description": permission.name(),
            "SupportedRestrictions": [],
        });
        (permission.name().to_owned(), about)
    };
    Ok(Answer::ok(Value::Object(
        Permission::ALL.into_iter().map(entry).collect(),
    )))
}
