//! A new server: its built-in teams and roles, and its first accounts.

use super::api_keys::ApiKey;
use super::authentication::Settings;
use super::chance::{self, Chance};
use super::roles::Role;
use super::store::{Document as _, Store};
use super::team_roles::TeamRole;
use super::teams::{ADMINISTRATORS, EVERYONE, Origin, Team};
use super::users::{Kind, User};
use super::{Config, Octopus, Permission as P};

/// The accounts that are there from the start.
#[derive(Debug, Clone)]
pub struct Start {
    /// A person who may do everything.
    pub admin: Credential,
    /// A service account that may see and edit users, and see and edit teams.
    pub operator: Credential,
    /// A service account without any right.
    pub bystander: Credential,
}

/// An account and a key of it.
#[derive(Clone)]
pub struct Credential {
    /// The account's id.
    pub user: String,
    /// Its name.
    pub username: String,
    /// The key's text.
    pub key: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({}, {})", self.user, self.username)
    }
}

/// The administrator's password.
const PASSWORD: &str = "Octopus-Twin-2026!";

const MANAGER: &[P] = &[
    P::EventView,
    P::SpaceView,
    P::SpaceCreate,
    P::SpaceEdit,
    P::SpaceDelete,
    P::TeamView,
    P::TeamCreate,
    P::TeamEdit,
    P::TeamDelete,
    P::UserView,
    P::UserEdit,
    P::UserInvite,
    P::UserRoleView,
    P::UserRoleEdit,
    P::ConfigureServer,
];
const KEY_KEEPER: &[P] = &[P::UserView, P::UserEdit, P::TeamView, P::TeamEdit];
const SPACE_MANAGER: &[P] = &[
    P::SpaceView,
    P::TeamView,
    P::TeamCreate,
    P::TeamEdit,
    P::TeamDelete,
];

impl Start {
    /// The administrator's password, for signing in with a session.
    pub fn admin_password(&self) -> &'static str {
        PASSWORD
    }
}

pub(super) fn install(config: &Config) -> Octopus {
    let mut chance = Chance::new(config.seed);
    let installation = chance.guid();
    let mut octopus = Octopus {
        version: config.version,
        prefix: config.prefix.trim_end_matches('/').to_owned(),
        installation,
        chance,
        users: Store::default(),
        keys: Store::default(),
        identities: Store::default(),
        teams: Store::default(),
        roles: Store::default(),
        team_roles: Store::default(),
        spaces: Store::default(),
        events: Store::default(),
        sessions: Vec::new(),
        tokens: Vec::new(),
        failed_logins: Vec::new(),
        settings: Settings::new(config),
        limits: Store::default(),
        buckets: Vec::new(),
        issuers: config.issuers.clone(),
        maintenance: None,
        start: Start {
            admin: nobody(),
            operator: nobody(),
            bystander: nobody(),
        },
    };
    octopus.add_policies();
    octopus.add_roles_and_teams();

    let password = Some(chance::hash(PASSWORD));
    let mut admin = octopus.add_user(config, "admin", Kind::Human { password });
    if let Some(text) = &config.admin_key {
        admin.key.clone_from(text);
    }
    let kind = octopus.service();
    let operator = octopus.add_user(config, "apikey-operator", kind);
    let kind = octopus.service();
    let bystander = octopus.add_user(config, "bystander", kind);

    octopus.give(config, &admin, None);
    octopus.give(config, &operator, config.operator_key_expires);
    octopus.give(config, &bystander, None);
    octopus.add_space("Default", vec![admin.user.clone()]);
    octopus.admit(ADMINISTRATORS, &admin.user);
    octopus.admit("Teams-1", &operator.user);
    octopus.start = Start {
        admin,
        operator,
        bystander,
    };
    octopus
}

fn nobody() -> Credential {
    Credential {
        user: String::new(),
        username: String::new(),
        key: String::new(),
    }
}

impl Octopus {
    fn add_roles_and_teams(&mut self) {
        let names = |permissions: &[P]| -> Vec<String> {
            permissions
                .iter()
                .map(|permission| permission.name().to_owned())
                .collect()
        };
        let role = |id: &str, name: &str, system: &[P], space: &[P]| Role {
            id: id.to_owned(),
            name: name.to_owned(),
            description: String::new(),
            system: names(system),
            space: names(space),
            origin: Origin::BuiltIn,
        };
        self.roles.add(role(
            "userroles-systemadministrator",
            "System administrator",
            &P::ALL,
            &[],
        ));
        self.roles.add(role(
            "userroles-systemmanager",
            "System manager",
            MANAGER,
            &[],
        ));
        self.roles.add(role(
            "userroles-spacemanager",
            "Space manager",
            &[],
            SPACE_MANAGER,
        ));
        let own = self.roles.next_id();
        self.roles.add(Role {
            origin: Origin::Custom,
            ..role(&own, "API key operator", KEY_KEEPER, &[])
        });

        self.teams.add(Team::built_in(EVERYONE, "Everyone"));
        self.teams
            .add(Team::built_in(ADMINISTRATORS, "Octopus Administrators"));
        self.teams
            .add(Team::built_in("teams-managers", "Octopus Managers"));
        let team = self.teams.next_id();
        self.teams.add(Team {
            origin: Origin::Custom,
            ..Team::built_in(&team, "API key operators")
        });
        for (role, team) in [
            ("userroles-systemadministrator", ADMINISTRATORS),
            ("userroles-systemmanager", "teams-managers"),
            (own.as_str(), team.as_str()),
        ] {
            let id = self.team_roles.next_id();
            self.team_roles.add(TeamRole::new(id, role, team));
        }
    }

    fn service(&mut self) -> Kind {
        let external_id = self.chance.guid();
        Kind::Service {
            external_id,
            account_type: "Standard".to_owned(),
        }
    }

    fn add_user(&mut self, config: &Config, username: &str, kind: Kind) -> Credential {
        let user = User {
            id: self.users.next_id(),
            username: username.to_owned(),
            display_name: username.to_owned(),
            email: None,
            active: true,
            kind,
            logins: Vec::new(),
            created: config.installed,
        };
        let credential = Credential {
            user: user.id().to_owned(),
            username: username.to_owned(),
            key: self.chance.key(),
        };
        self.users.add(user);
        credential
    }

    fn give(&mut self, config: &Config, to: &Credential, expires: Option<jiff::Timestamp>) {
        let mut key = ApiKey::new(&mut self.chance, &to.user, &to.key, config.installed);
        "Installed with the server".clone_into(&mut key.purpose);
        key.expires = expires;
        self.keys.add(key);
    }

    fn admit(&mut self, team: &str, user: &str) {
        if let Some(team) = self.teams.find_mut(team) {
            team.members.push(user.to_owned());
        }
    }
}
