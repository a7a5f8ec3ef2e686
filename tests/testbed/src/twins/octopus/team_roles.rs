//! Scoped user roles: which team has which role, where. Restrictions to projects, environments
//! and tenants are kept and shown, not enforced.

use serde_json::{Value, json};

use super::answer::{Answer, Problem, Reply};
use super::call::{Body, Call};
use super::events::Category;
use super::store::Document;
use super::{Octopus, paging, teams};

/// A role given to a team.
#[derive(Debug, Clone)]
pub(super) struct TeamRole {
    pub(super) id: String,
    pub(super) role: String,
    pub(super) team: String,
    /// The space it is for; in every one and in the system when absent.
    pub(super) space: Option<String>,
    /// `ProjectIds` and their like, in the order of [`RESTRICTIONS`].
    pub(super) restrictions: [Vec<String>; 4],
}

const RESTRICTIONS: [&str; 4] = [
    "ProjectIds",
    "ProjectGroupIds",
    "EnvironmentIds",
    "TenantIds",
];

impl Document for TeamRole {
    const PREFIX: &'static str = "ScopedUserRoles-";

    fn id(&self) -> &str {
        &self.id
    }
}

impl TeamRole {
    pub(super) fn new(id: String, role: &str, team: &str) -> Self {
        Self {
            id,
            role: role.to_owned(),
            team: team.to_owned(),
            space: None,
            restrictions: Default::default(),
        }
    }
}

const TEMPLATE: &str = "/api/scopeduserroles{/id}{?skip,take,ids,partialName,spaces,includeSystem}";

pub(super) fn list(octopus: &mut Octopus, call: &Call) -> Reply {
    let found = octopus
        .team_roles
        .iter()
        .filter(|scope| call.asks_for(&scope.id))
        .filter(|scope| teams::in_scope(octopus, call, scope.space.as_deref()));
    paging::page(
        call,
        "ScopedUserRole",
        TEMPLATE,
        found.map(resource).collect(),
    )
}

pub(super) fn of_team(octopus: &mut Octopus, call: &Call) -> Reply {
    let team = octopus.teams.get(call.at(0))?;
    let found = octopus
        .team_roles
        .iter()
        .filter(|scope| scope.team == team.id);
    let template = format!("/api/teams/{}/scopeduserroles{{?skip,take}}", team.id);
    paging::page(
        call,
        "ScopedUserRole",
        &template,
        found.map(resource).collect(),
    )
}

pub(super) fn get(octopus: &mut Octopus, call: &Call) -> Reply {
    Ok(Answer::ok(resource(octopus.team_roles.get(call.at(0))?)))
}

pub(super) fn create(octopus: &mut Octopus, call: &Call) -> Reply {
    let body = call.body()?;
    let mut scope = written(octopus, &body, String::new())?;
    scope.id = octopus.team_roles.next_id();
    octopus.audit(
        call,
        Category::Created,
        "Scoped user role",
        &scope.id,
        &scope.id,
    );
    let json = resource(&scope);
    octopus.team_roles.add(scope);
    Ok(Answer::created(json))
}

pub(super) fn update(octopus: &mut Octopus, call: &Call) -> Reply {
    let id = octopus.team_roles.get(call.at(0))?.id.clone();
    let body = call.body()?;
    let scope = written(octopus, &body, id)?;
    octopus.audit(
        call,
        Category::Modified,
        "Scoped user role",
        &scope.id,
        &scope.id,
    );
    let json = resource(&scope);
    octopus.team_roles.replace(scope);
    Ok(Answer::ok(json))
}

pub(super) fn delete(octopus: &mut Octopus, call: &Call) -> Reply {
    let scope = octopus.team_roles.get(call.at(0))?.clone();
    octopus.team_roles.remove(&scope.id);
    octopus.audit(
        call,
        Category::Deleted,
        "Scoped user role",
        &scope.id,
        &scope.id,
    );
    Ok(Answer::empty())
}

fn written(octopus: &Octopus, body: &Body, id: String) -> Result<TeamRole, Problem> {
    let role = body.said("UserRoleId").unwrap_or_default();
    let team = body.said("TeamId").unwrap_or_default();
    if octopus.roles.find(&role).is_none() {
        return Err(Problem::bad(format!(
            "The user role '{role}' does not exist."
        )));
    }
    if octopus.teams.find(&team).is_none() {
        return Err(Problem::bad(format!("The team '{team}' does not exist.")));
    }
    let mut scope = TeamRole::new(id, &role, &team);
    scope.space = body.said("SpaceId");
    scope.restrictions = RESTRICTIONS.map(|name| body.texts(name).unwrap_or_default());
    Ok(scope)
}

fn resource(scope: &TeamRole) -> Value {
    let mut json = json!({
        "Id": scope.id,
        "UserRoleId": scope.role,
        "TeamId": scope.team,
        "SpaceId": scope.space,
        "Links": { "Self": format!("/api/scopeduserroles/{}", scope.id) },
    });
    for (name, ids) in RESTRICTIONS.iter().zip(&scope.restrictions) {
        json[*name] = json!(ids);
    }
    json
}
