//! Root documents, server status, maintenance mode.

use serde_json::{Map, Value, json};

use super::Octopus;
use super::answer::{Answer, Reply};
use super::call::Call;

/// Links of the root document, as two captured ones have them (2019.7 and 2020.4).
const LINKS: &[(&str, &str)] = &[
    ("Self", "/api"),
    ("Authentication", "/api/authentication"),
    ("CurrentUser", "/api/users/me"),
    ("Users", "/api/users{/id}{?skip,take,ids,filter}"),
    ("UserAuthentication", "/api/users/authentication{/userId}"),
    ("UserIdentityMetadata", "/api/users/identity-metadata"),
    (
        "ExternalUserSearch",
        "/api/users/external-search{?partialName}",
    ),
    ("Invitations", "/api/users/invitations"),
    ("Register", "/api/users/register"),
    ("SignIn", "/api/users/login{?returnUrl}"),
    ("SignOut", "/api/users/logout"),
    (
        "Teams",
        "/api/teams{/id}{?skip,take,ids,partialName,spaces,includeSystem}",
    ),
    (
        "TeamMembership",
        "/api/teammembership{?userId,spaces,includeSystem}",
    ),
    (
        "TeamMembershipPreviewTeam",
        "/api/teammembership/previewteam",
    ),
    (
        "UserRoles",
        "/api/userroles{/id}{?skip,take,ids,partialName}",
    ),
    (
        "ScopedUserRoles",
        "/api/scopeduserroles{/id}{?skip,take,ids,partialName,spaces,includeSystem}",
    ),
    ("PermissionDescriptions", "/api/permissions/all"),
    (
        "Spaces",
        "/api/spaces{/id}{?name,skip,ids,take,partialName}",
    ),
    ("SpaceHome", "/api/{spaceId}"),
    (
        "Events",
        "/api/events{/id}{?skip,regarding,regardingAny,user,users,projects,projectGroups,\
         environments,eventGroups,eventCategories,eventAgents,tags,tenants,from,to,internal,\
         fromAutoId,toAutoId,documentTypes,asCsv,take,ids,spaces,includeSystem,excludeDifference}",
    ),
    ("EventAgents", "/api/events/agents"),
    ("EventCategories", "/api/events/categories{?appliesTo}"),
    ("EventDocumentTypes", "/api/events/documenttypes"),
    ("EventGroups", "/api/events/groups{?appliesTo}"),
    ("ServerStatus", "/api/serverstatus"),
    ("ServerHealthStatus", "/api/serverstatus/health"),
    ("MaintenanceConfiguration", "/api/maintenanceconfiguration"),
    ("Web", "/app"),
];

/// Anonymous: clients load it before they sign in.
pub(super) fn home(octopus: &mut Octopus, _: &Call) -> Reply {
    let links: Map<String, Value> = LINKS
        .iter()
        .map(|(name, link)| ((*name).to_owned(), json!(link)))
        .collect();
    Ok(Answer::ok(json!({
        "Application": "Octopus Deploy",
        "Version": octopus.version.to_string(),
        "ApiVersion": "3.0.0",
        "InstallationId": octopus.installation,
        "IsEarlyAccessProgram": false,
        "HasLongTermSupport": false,
        "Links": links,
    })))
}

/// The links of one space, without the server's version.
pub(super) fn space_home(octopus: &mut Octopus, call: &Call) -> Reply {
    let space = &octopus.space(call.at(0))?.id;
    let mut links = Map::new();
    links.insert("Self".into(), json!(format!("/api/{space}")));
    for (name, link) in LINKS.iter().filter(|(name, _)| IN_SPACES.contains(name)) {
        let inside = link.replacen("/api/", &format!("/api/{space}/"), 1);
        links.insert((*name).into(), json!(inside));
    }
    Ok(Answer::ok(json!({ "Id": space, "Links": links })))
}

const IN_SPACES: [&str; 3] = ["Teams", "ScopedUserRoles", "Events"];

pub(super) fn status(octopus: &mut Octopus, _: &Call) -> Reply {
    Ok(Answer::ok(json!({
        "Id": "serverstatus",
        "IsInMaintenanceMode": octopus.maintenance.is_some(),
        "IsUpgradeAvailable": false,
        "IsMajorMinorUpgrade": false,
        "IsDatabaseEncrypted": true,
        "MaximumAvailableVersion": octopus.version.to_string(),
        "MaximumAvailableVersionCoveredByLicense": octopus.version.to_string(),
        "Links": { "Self": "/api/serverstatus", "HealthStatus": "/api/serverstatus/health" },
    })))
}

pub(super) fn health(_: &mut Octopus, call: &Call) -> Reply {
    Ok(Answer::ok(json!({
        "Description": "The server is healthy.",
        "IsOperating": true,
        "Links": { "Self": format!("/{}", call.path.join("/")) },
    })))
}

pub(super) fn maintenance(octopus: &mut Octopus, _: &Call) -> Reply {
    Ok(Answer::ok(json!({
        "Id": "maintenance",
        "IsInMaintenanceMode": octopus.maintenance.is_some(),
        "Links": { "Self": "/api/maintenanceconfiguration" },
    })))
}
