//! Teams.
//!
//! A team is replaced whole by `PUT`; there is no endpoint for one member, no version and no
//! `ETag`: two writers can lose a change. Facts from the Octopus REST API reference (2026.3,
//! "Teams") and from the Go client's own test of teams.

use serde_json::{Value, json};

use super::answer::{Answer, Problem, Reply};
use super::call::{Body, Call};
use super::events::Category;
use super::store::{Document, same};
use super::{Octopus, Permission, paging};

/// A team.
#[derive(Debug, Clone)]
pub(super) struct Team {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) slug: String,
    pub(super) description: String,
    pub(super) members: Vec<String>,
    /// Groups of a directory, as they were sent.
    pub(super) groups: Vec<Value>,
    /// The space it is in; a system team is in none.
    pub(super) space: Option<String>,
    pub(super) origin: Origin,
}

/// Who made a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// People; it can be changed in every way.
    Custom,
    /// The server; its name, roles and life are fixed.
    BuiltIn,
}

/// Everybody is in it, always.
pub(super) const EVERYONE: &str = "teams-everyone";
/// Its members may do everything.
pub(super) const ADMINISTRATORS: &str = "teams-administrators";

impl Document for Team {
    const PREFIX: &'static str = "Teams-";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Team {
    pub(super) fn built_in(id: &str, name: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            slug: slug(name),
            description: String::new(),
            members: Vec::new(),
            groups: Vec::new(),
            space: None,
            origin: Origin::BuiltIn,
        }
    }
}

const TEMPLATE: &str = "/api/teams{/id}{?skip,take,ids,partialName,spaces,includeSystem}";

/// Whether the user is in the team.
pub(super) fn has(team: &Team, user: &str) -> bool {
    team.id == EVERYONE || team.members.iter().any(|member| member == user)
}

pub(super) fn list(octopus: &mut Octopus, call: &Call) -> Reply {
    let items = found(octopus, call).into_iter().map(resource).collect();
    paging::page(call, "Team", TEMPLATE, items)
}

pub(super) fn all(octopus: &mut Octopus, call: &Call) -> Reply {
    Ok(Answer::ok(
        found(octopus, call).into_iter().map(resource).collect(),
    ))
}

/// Sorted by name.
fn found<'a>(octopus: &'a Octopus, call: &Call) -> Vec<&'a Team> {
    let mut teams: Vec<&Team> = octopus
        .teams
        .iter()
        .filter(|team| in_scope(octopus, call, team.space.as_deref()))
        .filter(|team| call.asks_for(&team.id))
        .filter(|team| call.says("name", &team.name))
        .filter(|team| call.fragment("partialName", &[&team.name]))
        .collect();
    teams.sort_by_key(|team| team.name.to_lowercase());
    teams
}

/// Whether a call that names spaces, in its path or in its query, means this one. System teams
/// are left out only when `includeSystem` says so.
pub(super) fn in_scope(octopus: &Octopus, call: &Call, space: Option<&str>) -> bool {
    let Some(space) = space else {
        return call.says("includeSystem", "true");
    };
    let of_path = call
        .space
        .as_deref()
        .and_then(|named| octopus.space(named).ok());
    let of_query = call.list("spaces").filter(|spaces| spaces != &["all"]);
    of_path.is_none_or(|wanted| wanted.id == space)
        && of_query.is_none_or(|spaces| spaces.contains(&space))
}

pub(super) fn get(octopus: &mut Octopus, call: &Call) -> Reply {
    Ok(Answer::ok(resource(octopus.teams.get(call.at(0))?)))
}

pub(super) fn create(octopus: &mut Octopus, call: &Call) -> Reply {
    let body = call.body()?;
    let space = body
        .said("SpaceId")
        .or_else(|| call.space.clone())
        .map(|space| octopus.space(&space).map(|space| space.id.clone()))
        .transpose()?;
    let team = Team {
        id: String::new(),
        space,
        origin: Origin::Custom,
        ..Team::built_in("", "")
    };
    let mut team = written(octopus, &body, team)?;
    team.id = octopus.teams.next_id();
    octopus.audit(call, Category::Created, "Team", &team.id, &team.name);
    let json = resource(&team);
    octopus.teams.add(team);
    Ok(Answer::created(json))
}

pub(super) fn update(octopus: &mut Octopus, call: &Call) -> Reply {
    let old = octopus.teams.get(call.at(0))?.clone();
    let body = call.body()?;
    let new = written(octopus, &body, old.clone())?;
    if old.id == EVERYONE && new.members != old.members {
        return Err(Problem::bad(
            "The members of the team \"Everyone\" cannot be changed.",
        ));
    }
    if old.origin == Origin::BuiltIn && new.name != old.name {
        return Err(Problem::bad("A built-in team cannot be renamed."));
    }
    if old.id == ADMINISTRATORS {
        octopus.require(call, Permission::AdministerSystem)?;
        if new.members.is_empty() {
            return Err(Problem::bad("At least one user must be an administrator."));
        }
    }
    octopus.audit(call, Category::Modified, "Team", &new.id, &new.name);
    let json = resource(&new);
    octopus.teams.replace(new);
    Ok(Answer::ok(json))
}

/// The team as the body wants it.
fn written(octopus: &Octopus, body: &Body, mut team: Team) -> Result<Team, Problem> {
    let name = body.said("Name").unwrap_or_default();
    let members = body.texts("MemberUserIds").unwrap_or_default();
    let stranger = members
        .iter()
        .find(|member| octopus.users.find(member).is_none());
    let taken = octopus
        .teams
        .iter()
        .any(|other| other.id != team.id && other.space == team.space && same(&other.name, &name));
    if name.is_empty() || name.chars().count() > 200 {
        return Err(Problem::bad(
            "Name is required and must not exceed 200 characters.",
        ));
    }
    if taken {
        return Err(Problem::bad(
            "A team with this name already exists. Please use another name.",
        ));
    }
    if let Some(stranger) = stranger {
        return Err(Problem::bad(format!(
            "The user '{stranger}' does not exist."
        )));
    }
    team.slug = body.said("Slug").unwrap_or_else(|| slug(&name));
    team.name = name;
    team.description = body.text("Description").unwrap_or_default();
    team.members.clear();
    for member in members {
        if !team.members.contains(&member) {
            team.members.push(member);
        }
    }
    team.groups = body.values("ExternalSecurityGroups").unwrap_or_default();
    Ok(team)
}

pub(super) fn delete(octopus: &mut Octopus, call: &Call) -> Reply {
    let team = octopus.teams.get(call.at(0))?.clone();
    if team.origin == Origin::BuiltIn {
        return Err(Problem::bad("A built-in team cannot be deleted."));
    }
    octopus.teams.remove(&team.id);
    octopus.team_roles.retain(|scope| scope.team != team.id);
    octopus.audit(call, Category::Deleted, "Team", &team.id, &team.name);
    Ok(Answer::empty())
}

/// The teams of a user, in brief.
pub(super) fn of_user(octopus: &Octopus, user: &str) -> Value {
    let teams = octopus.teams.iter().filter(|team| has(team, user));
    teams
        .map(|team| {
            json!({
                "Id": team.id,
                "Name": team.name,
                "SpaceId": team.space,
                "IsDirectlyAssigned": true,
                "ExternalSecurityGroups": [],
            })
        })
        .collect()
}

/// One row for each team that a user, or the caller, is in.
pub(super) fn membership(octopus: &mut Octopus, call: &Call) -> Reply {
    let user = call
        .query("userId")
        .unwrap_or(&call.caller()?.user)
        .to_owned();
    octopus.require_for(call, &user, Permission::UserView)?;
    octopus.users.get(&user)?;
    let teams = octopus.teams.iter().filter(|team| has(team, &user));
    let rows = teams
        .filter(|team| in_scope(octopus, call, team.space.as_deref()))
        .map(|team| {
            json!({
                "TeamId": team.id,
                "TeamName": team.name,
                "SpaceId": team.space,
                "UserId": user,
                "IsDirectlyAssigned": true,
                "ExternalSecurityGroups": [],
            })
        });
    Ok(Answer::ok(rows.collect()))
}

fn resource(team: &Team) -> Value {
    let custom = team.origin == Origin::Custom;
    json!({
        "Id": team.id,
        "Name": team.name,
        "Slug": team.slug,
        "Description": team.description,
        "MemberUserIds": team.members,
        "ExternalSecurityGroups": team.groups,
        "CanBeDeleted": custom,
        "CanBeRenamed": custom,
        "CanChangeRoles": custom,
        "CanChangeMembers": team.id != EVERYONE,
        "SpaceId": team.space,
        "Links": {
            "Self": format!("/api/teams/{}", team.id),
            "ScopedUserRoles": format!("/api/teams/{}/scopeduserroles{{?skip,take}}", team.id),
        },
    })
}

/// A name as part of a web address.
pub(super) fn slug(name: &str) -> String {
    let dashed: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    dashed
        .split('-')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}
