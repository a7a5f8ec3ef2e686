//! Teams. Octopus has no call for one membership: the whole team is read, changed and put back, one
//! change at a time, and read again because nothing keeps others from doing the same.

use http::Method;
use serde_json::json;

use super::Octopus;
use super::wire::{Space, Team};
use crate::plan::port::{AccountId, Fault, RemoteTeam, TeamId, TeamRef};
use crate::servers::http::{Route, is_id};

/// Where an account shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// In the team.
    In,
    /// Out of it.
    Out,
}

impl Octopus {
    pub(super) async fn team_called(&self, team: &TeamRef) -> Result<Option<RemoteTeam>, Fault> {
        match team {
            TeamRef::Id(id) if is_id(id.as_str()) => {
                let answer = found(self.get(one(id)?).await)?;
                answer
                    .map(|answer| Ok(answer.read::<Team>()?.team()))
                    .transpose()
            }
            TeamRef::Id(_) => Ok(None),
            TeamRef::Name { name, space: None } => self.team_named(name, None).await,
            TeamRef::Name {
                name,
                space: Some(space),
            } => match self.space_id(space).await? {
                Some(space) => self.team_named(name, Some(space)).await,
                None => Ok(None),
            },
        }
    }

    /// The team of exactly this name; the server's own search finds fragments, also elsewhere.
    async fn team_named(
        &self,
        name: &str,
        space: Option<String>,
    ) -> Result<Option<RemoteTeam>, Fault> {
        let mut query = vec![("partialName", name.to_owned())];
        match &space {
            Some(space) => {
                query.extend([
                    ("spaces", space.clone()),
                    ("includeSystem", "false".to_owned()),
                ]);
            }
            None => query.push(("includeSystem", "true".to_owned())),
        }
        let pages = self
            .pages::<Team>(&Route::fixed("/api/teams"), &query)
            .await?;
        let teams = pages.items.into_iter();
        only(
            "team",
            name,
            teams.filter(|team| team.name == name && team.space_id == space),
        )
        .map(|team| team.map(Team::team))
    }

    /// The id of the space of exactly this name or id.
    async fn space_id(&self, space: &str) -> Result<Option<String>, Fault> {
        let query = [("partialName", space.to_owned())];
        let pages = self
            .pages::<Space>(&Route::fixed("/api/spaces"), &query)
            .await?;
        let spaces = pages.items.into_iter();
        if let Some(space) = only("space", space, spaces.filter(|found| found.name == space))? {
            return Ok(Some(space.id));
        }
        if !is_id(space) || !space.starts_with("Spaces-") {
            return Ok(None);
        }
        let answer = found(self.get(Route::new("/api/spaces/{}", &[space])?).await)?;
        answer
            .map(|answer| Ok(answer.read::<Space>()?.id))
            .transpose()
    }

    /// Brings an account into a team or out of it, and says how the team looks afterwards.
    pub(super) async fn membership(
        &self,
        team: &TeamId,
        account: &AccountId,
        wish: Wish,
    ) -> Result<RemoteTeam, Fault> {
        let thing = (self.http.origin(), team.to_string());
        let _turn = self.turns.take(thing).await;
        let answer = self.get(one(team)?).await?;
        let seen = answer.read::<Team>()?.team();
        let is_in = seen.members.contains(account);
        if is_in == (wish == Wish::In) {
            return Ok(seen);
        }
        let mut members = seen.members;
        match wish {
            Wish::In => members.push(account.clone()),
            Wish::Out => members.retain(|member| member != account),
        }
        let mut whole = answer.whole()?;
        let members: Vec<_> = members.iter().map(AccountId::as_str).collect();
        whole.insert("MemberUserIds".to_owned(), json!(members));
        self.send(Method::PUT, one(team)?, whole.into())
            .await?
            .read::<Team>()?;
        Ok(self.get(one(team)?).await?.read::<Team>()?.team())
    }
}

fn one(team: &TeamId) -> Result<Route, Fault> {
    Route::new("/api/teams/{}", &[team.as_str()])
}

/// "There is none" as a fact instead of a fault.
fn found<T>(outcome: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match outcome {
        Ok(thing) => Ok(Some(thing)),
        Err(Fault::NotFound) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// The only one, if there is one.
fn only<T>(what: &str, name: &str, mut all: impl Iterator<Item = T>) -> Result<Option<T>, Fault> {
    match (all.next(), all.next()) {
        (one, None) => Ok(one),
        (_, Some(_)) => Err(Fault::Rejected(format!(
            "there is more than one {what} \"{name}\": name it by id"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;
    use crate::servers::script::Script;

    fn shown(id: &str, name: &str, space: Option<&str>, members: &[&str]) -> Value {
        json!({ "Id": id, "Name": name, "SpaceId": space, "MemberUserIds": members,
            "ExternalSecurityGroups": [{ "Id": "S-1", "DisplayName": "x" }], "Unheard": { "a": 1 },
            "CanChangeMembers": true, "Links": { "Self": format!("/api/teams/{id}") } })
    }

    fn page(items: &[Value]) -> Value {
        json!({ "ItemType": "Team", "TotalResults": items.len(), "Items": items, "Links": {} })
    }

    fn space(id: &str, name: &str) -> Value {
        json!({ "Id": id, "Name": name, "IsDefault": false })
    }

    fn named(name: &str, space: Option<&str>) -> TeamRef {
        TeamRef::Name {
            name: name.to_owned(),
            space: space.map(ToOwned::to_owned),
        }
    }

    async fn found(script: &Arc<Script>, team: TeamRef) -> Result<Option<String>, &'static str> {
        let team = script.client().find_team(&team).await;
        team.map(|team| team.map(|team| team.id.to_string()))
            .map_err(|fault| fault.label())
    }

    #[tokio::test(start_paused = true)]
    async fn a_team_is_found_by_id() {
        let script = Script::new()
            .json(&shown("Teams-1", "Builders", None, &[]))
            .error(404, "no");
        let id = |id: &str| TeamRef::Id(TeamId::new(id));
        assert_eq!(
            found(&script, id("Teams-1")).await,
            Ok(Some("Teams-1".to_owned()))
        );
        assert_eq!(found(&script, id("Teams-2")).await, Ok(None));
        assert_eq!(found(&script, id("../users")).await, Ok(None));
        assert_eq!(script.requests().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_team_that_is_no_object_is_nonsense() {
        let list = json!(["Teams-1", "A", null, []]);
        let script = Script::new().json(&list);
        let (team, account) = (TeamId::new("Teams-1"), AccountId::new("Users-1"));
        let outcome = script.client().join_team(&team, &account).await;
        assert_eq!(outcome.unwrap_err().label(), "protocol");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_is_exact_and_of_the_system() {
        let teams = [
            shown("Teams-1", "Builders 2", None, &[]),
            shown("Teams-2", "Builders", Some("Spaces-1"), &[]),
            shown("Teams-3", "Builders", None, &[]),
        ];
        let script = Script::new().json(&page(&teams)).json(&page(&teams[..2]));
        assert_eq!(
            found(&script, named("Builders", None)).await,
            Ok(Some("Teams-3".to_owned()))
        );
        assert_eq!(found(&script, named("Builders", None)).await, Ok(None));
        let line = "GET /prefix/api/teams?partialName=Builders&includeSystem=true&skip=0&take=200";
        assert_eq!(script.heard()[0], line);
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_may_be_of_a_space() {
        let spaces = page(&[space("Spaces-9", "Web 2"), space("Spaces-2", "Web")]);
        let teams = page(&[
            shown("Teams-2", "Builders", Some("Spaces-1"), &[]),
            shown("Teams-4", "Builders", Some("Spaces-2"), &[]),
        ]);
        let script = Script::new().json(&spaces).json(&teams);
        let team = found(&script, named("Builders", Some("Web"))).await;
        assert_eq!(team, Ok(Some("Teams-4".to_owned())));
        assert!(script.heard()[1].contains("spaces=Spaces-2&includeSystem=false"));

        let by_id = Script::new()
            .json(&page(&[]))
            .json(&space("Spaces-2", "Web"))
            .json(&teams);
        let team = found(&by_id, named("Builders", Some("Spaces-2"))).await;
        assert_eq!(team, Ok(Some("Teams-4".to_owned())));
        assert_eq!(by_id.heard()[1], "GET /prefix/api/spaces/Spaces-2");

        let none = Script::new()
            .json(&page(&[]))
            .error(404, "no")
            .json(&page(&[]));
        assert_eq!(
            found(&none, named("Builders", Some("Spaces-7"))).await,
            Ok(None)
        );
        assert_eq!(
            found(&none, named("Builders", Some("No such"))).await,
            Ok(None)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_team_hides_nothing_and_has_a_bound() {
        let team = async |script: Arc<Script>| {
            let team = TeamRef::Id(TeamId::new("Teams-1"));
            script.client().find_team(&team).await
        };
        let name = "A\u{202e}B";
        let script = Script::new().json(&shown("Teams-1", name, None, &[]));
        assert_eq!(team(script).await.unwrap().unwrap().name, "A\u{fffd}B");
        for (count, label) in [(10_000, "ok"), (10_001, "protocol")] {
            let script = Script::new().json(&shown("Teams-1", "A", None, &vec!["Users-1"; count]));
            let outcome = team(script).await;
            assert_eq!(outcome.map_or_else(|fault| fault.label(), |_| "ok"), label);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_of_two_teams_is_refused() {
        let twins = [
            shown("Teams-1", "A", None, &[]),
            shown("Teams-2", "A", None, &[]),
        ];
        let script = Script::new().json(&page(&twins));
        let fault = script
            .client()
            .find_team(&named("A", None))
            .await
            .unwrap_err();
        let why = "there is more than one team \"A\": name it by id".to_owned();
        assert_eq!(fault, Fault::Rejected(why));
    }

    #[tokio::test(start_paused = true)]
    async fn joining_and_leaving_keep_the_rest_of_the_team() {
        let before = shown("Teams-1", "A", None, &["Users-1"]);
        let after = shown("Teams-1", "A", None, &["Users-1", "Users-2"]);
        let script = Script::new().json(&before).json(&after).json(&after);
        let script = script.json(&after).json(&before).json(&before);
        let (client, team, user) = (
            script.client(),
            TeamId::new("Teams-1"),
            AccountId::new("Users-2"),
        );
        assert!(
            client
                .join_team(&team, &user)
                .await
                .unwrap()
                .members
                .contains(&user)
        );
        assert!(
            !client
                .leave_team(&team, &user)
                .await
                .unwrap()
                .members
                .contains(&user)
        );
        assert_eq!(script.sent(1), after);
        assert_eq!(script.sent(4), before);
        let heard = script.heard();
        assert_eq!(
            heard[..3],
            ["GET", "PUT", "GET"].map(|m| format!("{m} /prefix/api/teams/Teams-1"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_where_he_should_be_stays_there_without_a_write() {
        let team = shown("Teams-1", "A", None, &["Users-1"]);
        let script = Script::new().json(&team).json(&team);
        let (client, id) = (script.client(), TeamId::new("Teams-1"));
        client
            .join_team(&id, &AccountId::new("Users-1"))
            .await
            .unwrap();
        client
            .leave_team(&id, &AccountId::new("Users-2"))
            .await
            .unwrap();
        assert_eq!(script.requests().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_overwritten_by_another_is_seen() {
        let before = shown("Teams-1", "A", None, &["Users-1"]);
        let script = Script::new().json(&before).json(&before).json(&before);
        let user = AccountId::new("Users-2");
        let team = script
            .client()
            .join_team(&TeamId::new("Teams-1"), &user)
            .await
            .unwrap();
        assert!(!team.members.contains(&user));
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_wrong_with_a_team_is_told() {
        let team = shown("Teams-1", "A", None, &["Users-1"]);
        let mut no_members = team.clone();
        no_members.as_object_mut().unwrap().remove("MemberUserIds");
        let table = [
            (Script::new().error(404, "no"), "not_found"),
            (Script::new().json(&no_members), "protocol"),
            (
                Script::new()
                    .json(&team)
                    .error(400, "The team is read-only."),
                "rejected",
            ),
            (Script::new().json(&team).error(500, "no"), "uncertain"),
            (Script::new().json(&team).says(200, "<html>"), "protocol"),
            (
                Script::new().json(&team).json(&team).error(500, "no"),
                "unreachable",
            ),
        ];
        for (script, label) in table {
            let (client, user) = (script.client(), AccountId::new("Users-2"));
            let fault = client
                .join_team(&TeamId::new("Teams-1"), &user)
                .await
                .unwrap_err();
            assert_eq!(fault.label(), label);
        }
    }
}
