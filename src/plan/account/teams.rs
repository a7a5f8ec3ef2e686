//! The teams of an account: additive, and only what we joined is left.

use super::living::on_the_present;
use super::{Added, Seen, Step};
use crate::api::conditions::Reason;
use crate::api::{ServiceAccountSpec, Team};
use crate::plan::Stop;
use crate::plan::port::{RemoteAccount, TeamId, TeamRef};

/// Joins declared teams, and leaves those that we joined and nobody declares any more.
pub(super) fn teams(seen: &Seen, account: &RemoteAccount) -> Result<Option<Step>, Stop> {
    let pins = &seen.object.pins;
    let mut wanted = Vec::new();
    for team in declared(&seen.object.spec) {
        let Some((_, found)) = seen.teams.iter().find(|(known, _)| *known == team) else {
            return Ok(Some(Step::FindTeam(team)));
        };
        let Some(found) = found else {
            return Err(no_team(&team));
        };
        wanted.push(found.id.clone());
        if !found.members.contains(&account.id) {
            // What we add is recorded before it is added, so that it can be taken back.
            let ours = Added::Team(found.id.clone());
            if pins.added.contains(&ours) {
                let join = Step::Join(found.id.clone(), account.id.clone());
                return Ok(Some(on_the_present(seen, join)));
            }
            let mut pins = pins.clone();
            pins.added.insert(ours);
            return Ok(Some(Step::Pin(pins)));
        }
    }
    Ok(pins
        .added
        .iter()
        .filter_map(Added::team)
        .find(|team| !wanted.contains(team))
        .map(|team| leave(seen, team, account)))
}

/// Leaves a team, and forgets it once left.
pub(super) fn leave(seen: &Seen, team: &TeamId, account: &RemoteAccount) -> Step {
    let reference = TeamRef::Id(team.clone());
    match seen.teams.iter().find(|(known, _)| *known == reference) {
        None => Step::FindTeam(reference),
        Some((_, Some(found))) if found.members.contains(&account.id) => {
            on_the_present(seen, Step::Leave(team.clone(), account.id.clone()))
        }
        Some(_) => {
            let mut pins = seen.object.pins.clone();
            pins.added.remove(&Added::Team(team.clone()));
            Step::Pin(pins)
        }
    }
}

fn no_team(team: &TeamRef) -> Stop {
    let which = match team {
        TeamRef::Id(id) => id.to_string(),
        TeamRef::Name { name, space: None } => name.clone(),
        TeamRef::Name {
            name,
            space: Some(space),
        } => format!("{name} of space {space}"),
    };
    Stop::new(
        Reason::TeamNotFound,
        format!(
            "There is no team {which} on the server. {}",
            Reason::TeamNotFound.fix()
        ),
    )
}

fn declared(spec: &ServiceAccountSpec) -> Vec<TeamRef> {
    let reference = |team: &Team| match (&team.id, &team.name) {
        (Some(id), _) => TeamRef::Id(TeamId::new(id)),
        (None, name) => TeamRef::Name {
            name: name.clone().unwrap_or_default(),
            space: team.space.clone(),
        },
    };
    spec.octopus
        .iter()
        .flat_map(|octopus| &octopus.teams)
        .map(reference)
        .collect()
}
