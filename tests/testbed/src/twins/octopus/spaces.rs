//! Spaces. Facts from swagger written by a 2020.5 server and bodies captured from 2022.2.

use serde_json::{Value, json};

use super::answer::{Answer, Problem, Reply};
use super::call::{Body, Call};
use super::events::Category;
use super::store::{Document, same};
use super::teams::{Team, slug};
use super::{Octopus, paging, team_roles::TeamRole};

/// A space.
#[derive(Debug, Clone)]
pub(super) struct Space {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) slug: String,
    pub(super) description: String,
    pub(super) is_default: bool,
    pub(super) task_queue_stopped: bool,
    pub(super) manager_teams: Vec<String>,
}

impl Document for Space {
    const PREFIX: &'static str = "Spaces-";

    fn id(&self) -> &str {
        &self.id
    }
}

const TEMPLATE: &str = "/api/spaces{/id}{?name,skip,ids,take,partialName}";

impl Octopus {
    /// A space by its id or slug.
    pub(super) fn space(&self, id_or_slug: &str) -> Result<&Space, Problem> {
        self.spaces
            .iter()
            .find(|space| space.id == id_or_slug || space.slug == id_or_slug)
            .ok_or_else(|| Problem::not_found(id_or_slug))
    }

    /// Adds a space, and the team of its managers.
    pub(super) fn add_space(&mut self, name: &str, managers: Vec<String>) -> String {
        let id = self.spaces.next_id();
        let is_default = self.spaces.iter().next().is_none();
        let team = format!("teams-spacemanagers-{id}");
        self.teams.add(Team {
            space: Some(id.clone()),
            members: managers,
            ..Team::built_in(&team, "Space Managers")
        });
        let scope = TeamRole::new(self.team_roles.next_id(), "userroles-spacemanager", &team);
        self.team_roles.add(TeamRole {
            space: Some(id.clone()),
            ..scope
        });
        self.spaces.add(Space {
            id: id.clone(),
            name: name.to_owned(),
            slug: slug(name),
            description: String::new(),
            is_default,
            task_queue_stopped: false,
            manager_teams: vec![team],
        });
        id
    }
}

pub(super) fn list(octopus: &mut Octopus, call: &Call) -> Reply {
    paging::page(call, "Space", TEMPLATE, found(octopus, call))
}

pub(super) fn all(octopus: &mut Octopus, call: &Call) -> Reply {
    Ok(Answer::ok(Value::Array(found(octopus, call))))
}

fn found(octopus: &Octopus, call: &Call) -> Vec<Value> {
    let mut spaces: Vec<&Space> = octopus
        .spaces
        .iter()
        .filter(|space| call.asks_for(&space.id))
        .filter(|space| call.fragment("partialName", &[&space.name]))
        .filter(|space| call.says("name", &space.name))
        .collect();
    spaces.sort_by_key(|space| space.name.to_lowercase());
    spaces
        .into_iter()
        .map(|space| resource(octopus, space))
        .collect()
}

pub(super) fn get(octopus: &mut Octopus, call: &Call) -> Reply {
    Ok(Answer::ok(resource(octopus, octopus.space(call.at(0))?)))
}

pub(super) fn create(octopus: &mut Octopus, call: &Call) -> Reply {
    let body = call.body()?;
    let name = named(octopus, &body, None)?;
    let teams = body.texts("SpaceManagersTeams").unwrap_or_default();
    let members = body.texts("SpaceManagersTeamMembers").unwrap_or_default();
    if teams.is_empty() && members.is_empty() {
        return Err(Problem::bad("A space must have at least one manager."));
    }
    let id = octopus.add_space(&name, members);
    write(octopus, &id, &body, teams)?;
    octopus.audit(call, Category::Created, "Space", &id, &name);
    Ok(Answer::created(resource(octopus, octopus.space(&id)?)))
}

pub(super) fn update(octopus: &mut Octopus, call: &Call) -> Reply {
    let id = octopus.spaces.get(call.at(0))?.id.clone();
    let body = call.body()?;
    let name = named(octopus, &body, Some(&id))?;
    if let Some(members) = body.texts("SpaceManagersTeamMembers") {
        octopus
            .teams
            .get_mut(&format!("teams-spacemanagers-{id}"))?
            .members = members;
    }
    let teams = body.texts("SpaceManagersTeams").unwrap_or_default();
    octopus.spaces.get_mut(&id)?.name.clone_from(&name);
    write(octopus, &id, &body, teams)?;
    octopus.audit(call, Category::Modified, "Space", &id, &name);
    Ok(Answer::ok(resource(octopus, octopus.space(&id)?)))
}

/// What create and update have in common. The team of managers always stays among them.
fn write(octopus: &mut Octopus, id: &str, body: &Body, teams: Vec<String>) -> Result<(), Problem> {
    let own = format!("teams-spacemanagers-{id}");
    let space = octopus.spaces.get_mut(id)?;
    space.description = body.text("Description").unwrap_or_default();
    space.task_queue_stopped = body.flag("TaskQueueStopped").unwrap_or(false);
    if let Some(wanted) = body.said("Slug") {
        space.slug = wanted;
    }
    space.manager_teams = vec![own.clone()];
    space
        .manager_teams
        .extend(teams.into_iter().filter(|team| *team != own));
    Ok(())
}

fn named(octopus: &Octopus, body: &Body, id: Option<&str>) -> Result<String, Problem> {
    let name = body
        .said("Name")
        .ok_or_else(|| Problem::bad("Name is required."))?;
    let taken = octopus
        .spaces
        .iter()
        .any(|space| Some(space.id.as_str()) != id && same(&space.name, &name));
    if taken {
        return Err(Problem::bad("A space with this name already exists."));
    }
    Ok(name)
}

pub(super) fn delete(octopus: &mut Octopus, call: &Call) -> Reply {
    let space = octopus.spaces.get(call.at(0))?.clone();
    if !space.task_queue_stopped {
        return Err(Problem::bad(
            "The task queue of a space must be stopped before its deletion.",
        ));
    }
    octopus.spaces.remove(&space.id);
    octopus
        .teams
        .retain(|team| team.space.as_ref() != Some(&space.id));
    octopus
        .team_roles
        .retain(|scope| scope.space.as_ref() != Some(&space.id));
    octopus.audit(call, Category::Deleted, "Space", &space.id, &space.name);
    Ok(Answer::empty())
}

fn resource(octopus: &Octopus, space: &Space) -> Value {
    let own = octopus
        .teams
        .find(&format!("teams-spacemanagers-{}", space.id));
    json!({
        "Id": space.id,
        "Name": space.name,
        "Slug": space.slug,
        "Description": space.description,
        "IsDefault": space.is_default,
        "TaskQueueStopped": space.task_queue_stopped,
        "SpaceManagersTeams": space.manager_teams,
        "SpaceManagersTeamMembers": own.map(|team| team.members.clone()).unwrap_or_default(),
        "IsPrivate": false,
        "PrivateSpaceOwner": null,
        "Icon": null,
        "ExtensionSettings": [],
        "Links": {
            "Self": format!("/api/spaces/{}", space.id),
            "SpaceHome": format!("/api/{}", space.id),
            "Web": format!("/app#/spaces/{}", space.id),
            "Logo": format!("/api/spaces/{}/logo", space.id),
            "Search": format!("/api/spaces/{}/search{{?keyword}}", space.id),
        },
    })
}
