//! Users, teams, roles, spaces.

use serde_json::{Value, json};

use super::{Change, Desk, text, words};

#[test]
fn bodies_that_are_refused() {
    let mut desk = Desk::new();
    desk.service("Taken");
    let login = json!({
        "IdentityProviderName": "Okta",
        "Claims": { "email": { "Value": "a@b.c", "IsIdentifyingClaim": true } },
    });
    let first =
        json!({ "Username": "first", "DisplayName": "First", "Identities": [login.clone()] });
    assert_eq!(desk.post("/api/users", &first).0, 201);
    let table = [
        (json!({ "DisplayName": "x" }), "Username is required"),
        (json!({ "Username": "x" }), "DisplayName is required"),
        (
            json!({ "Username": "x".repeat(65), "DisplayName": "x" }),
            "64 characters",
        ),
        (
            json!({ "Username": "tAKEN", "DisplayName": "x" }),
            "already taken",
        ),
        (
            json!({ "Username": "x", "DisplayName": "x", "EmailAddress": "nobody" }),
            "EmailAddress",
        ),
        (
            json!({ "Username": "x", "DisplayName": "x", "Password": "weak" }),
            "strong enough",
        ),
        (
            json!({ "Username": "x", "DisplayName": "x", "IsService": true, "Password": "Correct-9" }),
            "Passwords cannot be set",
        ),
        (
            json!({ "Username": "x", "DisplayName": "x", "Identities": [login.clone(), login.clone()] }),
            "one login for each",
        ),
        (
            json!({ "Username": "x", "DisplayName": "x", "Identities": [login] }),
            "already used",
        ),
    ];
    for (body, reason) in table {
        let (status, refused) = desk.post("/api/users", &body);
        assert_eq!(status, 400, "{body}");
        assert!(words(&refused).contains(reason), "{refused}");
    }
}

#[test]
fn what_creation_ignores() {
    let mut desk = Desk::new();
    let (_, user) = desk.post(
        "/api/users",
        &json!({
            "Username": "svc", "DisplayName": "svc", "IsService": true, "IsActive": false,
            "Id": "Users-999", "IsRequestor": true, "CanPasswordBeEdited": true, "Links": {},
            "Password": null, "EmailAddress": null, "Identities": null, "Unknown": 1,
        }),
    );
    assert_eq!(user["IsActive"], true, "the server makes no inactive users");
    assert_ne!(user["Id"], "Users-999");
    let path = text(&user, "/Links/Self");
    let off = json!({ "Id": "x", "Username": "svc", "DisplayName": "svc", "IsActive": false, "IsService": false });
    let (status, user) = desk.put(&path, &off);
    assert_eq!(status, 200);
    assert_eq!(
        (&user["IsActive"], &user["IsService"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(desk.get(&path).1, user, "PUT and GET say the same");
}

#[test]
fn an_update_replaces_the_whole_user() {
    let mut desk = Desk::new();
    let (_, user) = desk.post(
        "/api/users",
        &json!({ "Username": "u", "DisplayName": "U", "EmailAddress": "u@example.org" }),
    );
    let path = text(&user, "/Links/Self");
    let whole = json!({ "Username": "renamed", "DisplayName": "R", "IsActive": true });
    let (_, user) = desk.put(&path, &whole);
    assert_eq!(
        (&user["Username"], &user["EmailAddress"]),
        (&json!("renamed"), &json!(""))
    );
    let (status, refused) = desk.put(&path, &json!({ "Username": "renamed", "DisplayName": "R" }));
    assert_eq!((status, words(&refused).contains("IsActive")), (400, true));
}

#[test]
fn the_filter_is_a_fragment() {
    let mut desk = Desk::new();
    desk.service("team.bot");
    desk.service("team.bot-2");
    desk.human("human");
    let found = |desk: &mut Desk, query: &str| -> Vec<String> {
        let page = desk.get(&format!("/api/users?{query}")).1;
        page["Items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| text(user, "/Username"))
            .collect()
    };
    assert_eq!(
        found(&mut desk, "filter=TEAM.bot"),
        ["team.bot", "team.bot-2"]
    );
    assert_eq!(
        found(&mut desk, "isServiceAccount=false"),
        ["admin", "human"]
    );
    let id = desk.service("third");
    assert_eq!(
        found(&mut desk, &format!("ids={id},Users-1")),
        ["admin", "third"]
    );
    let oidc = desk
        .get(&format!(
            "/api/serviceaccounts/{id}/oidcidentities/v1?skip=0&take=0"
        ))
        .1;
    let guid = text(&oidc, "/ExternalId");
    assert_eq!(found(&mut desk, &format!("filter={guid}")), ["third"]);
    desk.change(Change::Disable {
        user: "third".into(),
    });
    assert_eq!(found(&mut desk, "isActive=false"), ["third"]);
}

#[test]
fn deletion_takes_everything_along_but_not_oneself() {
    let mut desk = Desk::new();
    let id = desk.service("gone");
    let (_, key) = desk.key(&id, &json!({ "Purpose": "p" }));
    let team = json!({ "Name": "T", "MemberUserIds": [id], "ExternalSecurityGroups": [] });
    let (_, team) = desk.post("/api/teams", &team);
    assert_eq!(desk.delete("/api/users/Users-1").0, 400);
    assert_eq!(desk.delete(&format!("/api/users/{id}")), (200, Value::Null));
    let (status, missing) = desk.get(&format!("/api/users/{id}"));
    assert_eq!(
        (status, words(&missing)),
        (404, format!("The resource '{id}' was not found."))
    );
    assert_eq!(
        desk.get(&text(&team, "/Links/Self")).1["MemberUserIds"],
        json!([])
    );
    assert_eq!(desk.with_key(&key).get("/api/users/me").0, 401);
}

#[test]
fn teams() {
    let mut desk = Desk::new();
    let id = desk.service("member");
    let wish = json!({ "Name": "Builders", "MemberUserIds": [], "ExternalSecurityGroups": [] });
    let (status, team) = desk.post("/api/teams", &wish);
    assert_eq!(status, 201);
    assert_eq!(desk.post("/api/teams", &wish).0, 400, "the name is taken");
    let path = text(&team, "/Links/Self");
    let mut changed = team.clone();
    changed["MemberUserIds"] = json!([id]);
    let (status, changed) = desk.put(&path, &changed);
    assert_eq!((status, &changed["MemberUserIds"]), (200, &json!([id])));
    assert_eq!(changed["Links"], team["Links"]);
    let of_user = desk.get(&format!("/api/users/{id}/teams")).1;
    assert_eq!(
        of_user.as_array().unwrap().len(),
        2,
        "the team, and Everyone"
    );
    let rows = desk.get(&format!("/api/teammembership?userId={id}")).1;
    assert_eq!(rows.as_array().unwrap().len(), 2);

    let table = [
        (
            "teams-everyone",
            json!({ "Name": "Everyone", "MemberUserIds": [id] }),
            "cannot be changed",
        ),
        (
            "teams-managers",
            json!({ "Name": "Others", "MemberUserIds": [] }),
            "renamed",
        ),
        (
            "teams-administrators",
            json!({ "Name": "Octopus Administrators" }),
            "At least one",
        ),
        (
            "Teams-1",
            json!({ "Name": "X", "MemberUserIds": ["Users-77"] }),
            "Users-77",
        ),
    ];
    for (team, body, reason) in table {
        let (status, refused) = desk.put(&format!("/api/teams/{team}"), &body);
        assert_eq!(status, 400, "{team}");
        assert!(words(&refused).contains(reason), "{refused}");
    }
    assert_eq!(desk.delete("/api/teams/teams-everyone").0, 400);
    assert_eq!(desk.delete(&path).0, 200);
}

#[test]
fn a_role_given_to_a_team_gives_its_members_the_right() {
    let mut desk = Desk::new();
    let start = desk.start();
    let role = json!({ "Name": "Reader", "GrantedSystemPermissions": ["UserView"], "GrantedSpacePermissions": [] });
    let (status, role) = desk.post("/api/userroles", &role);
    assert_eq!(status, 201);
    let team = json!({ "Name": "Readers", "MemberUserIds": [start.bystander.user] });
    let (_, team) = desk.post("/api/teams", &team);
    let scope = json!({ "UserRoleId": role["Id"], "TeamId": team["Id"] });
    assert_eq!(desk.with_key(&start.bystander.key).get("/api/users").0, 403);
    desk.with_key(&start.admin.key);
    let (status, scope) = desk.post("/api/scopeduserroles", &scope);
    assert_eq!(status, 201);
    assert_eq!(desk.with_key(&start.bystander.key).get("/api/users").0, 200);
    let permissions = desk
        .get(&format!("/api/users/{}/permissions", start.bystander.user))
        .1;
    assert_eq!(permissions["SystemPermissions"], json!(["UserView"]));
    desk.with_key(&start.admin.key)
        .delete(&text(&scope, "/Links/Self"));
    assert_eq!(desk.with_key(&start.bystander.key).get("/api/users").0, 403);
}

#[test]
fn spaces() {
    let mut desk = Desk::new();
    let wish = json!({ "Name": "Second", "SpaceManagersTeamMembers": ["Users-1"], "SpaceManagersTeams": [] });
    let (status, space) = desk.post("/api/spaces", &wish);
    assert_eq!(status, 201);
    let id = text(&space, "/Id");
    let home = desk.get(&format!("/api/{id}")).1;
    assert!(home.get("Version").is_none() && home["Links"]["Self"] == format!("/api/{id}"));
    let inside = desk.get(&format!("/api/{id}/teams?includeSystem=false")).1;
    assert_eq!(
        inside["Items"][0]["Id"],
        format!("teams-spacemanagers-{id}")
    );
    assert_eq!(
        inside,
        desk.get("/api/spaces/second/teams?includeSystem=false").1
    );
    let path = format!("/api/spaces/{id}");
    assert_eq!(desk.delete(&path).0, 400, "its queue still runs");
    let mut stopped = space;
    stopped["TaskQueueStopped"] = json!(true);
    assert_eq!(desk.put(&path, &stopped).0, 200);
    assert_eq!(desk.delete(&path).0, 200);
    assert_eq!(desk.get(&format!("/api/{id}")).0, 404);
}
