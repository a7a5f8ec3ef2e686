//! Permissions, and who has them.
//!
//! They are modelled simply: a user has what the roles of its teams grant, in whatever space; an
//! administrator has everything. Restrictions to projects, environments and tenants are kept and
//! shown but not enforced.

use std::collections::BTreeSet;

use super::answer::Problem;
use super::call::Call;
use super::{Octopus, teams};

/// The permissions that the twin asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// May do everything.
    AdministerSystem,
    /// May change the server's settings.
    ConfigureServer,
    /// May read the audit.
    EventView,
    /// May see spaces.
    SpaceView,
    /// May make spaces.
    SpaceCreate,
    /// May change spaces.
    SpaceEdit,
    /// May delete spaces.
    SpaceDelete,
    /// May see teams.
    TeamView,
    /// May make teams.
    TeamCreate,
    /// May change teams: their members and roles.
    TeamEdit,
    /// May delete teams.
    TeamDelete,
    /// May see users and their keys.
    UserView,
    /// May make, change and delete users, and make keys for service accounts.
    UserEdit,
    /// May invite users.
    UserInvite,
    /// May see roles.
    UserRoleView,
    /// May change roles.
    UserRoleEdit,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::AdministerSystem,
        Self::ConfigureServer,
        Self::EventView,
        Self::SpaceView,
        Self::SpaceCreate,
        Self::SpaceEdit,
        Self::SpaceDelete,
        Self::TeamView,
        Self::TeamCreate,
        Self::TeamEdit,
        Self::TeamDelete,
        Self::UserView,
        Self::UserEdit,
        Self::UserInvite,
        Self::UserRoleView,
        Self::UserRoleEdit,
    ];

    /// The name that the server uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdministerSystem => "AdministerSystem",
            Self::ConfigureServer => "ConfigureServer",
            Self::EventView => "EventView",
            Self::SpaceView => "SpaceView",
            Self::SpaceCreate => "SpaceCreate",
            Self::SpaceEdit => "SpaceEdit",
            Self::SpaceDelete => "SpaceDelete",
            Self::TeamView => "TeamView",
            Self::TeamCreate => "TeamCreate",
            Self::TeamEdit => "TeamEdit",
            Self::TeamDelete => "TeamDelete",
            Self::UserView => "UserView",
            Self::UserEdit => "UserEdit",
            Self::UserInvite => "UserInvite",
            Self::UserRoleView => "UserRoleView",
            Self::UserRoleEdit => "UserRoleEdit",
        }
    }
}

/// What a user is granted.
#[derive(Debug, Default)]
pub(super) struct Grants {
    pub(super) system: BTreeSet<String>,
    /// Permission and the space it is for; no space means every one.
    pub(super) space: BTreeSet<(String, Option<String>)>,
}

impl Octopus {
    /// Everything that the user's teams grant.
    pub(super) fn grants(&self, user: &str) -> Grants {
        let mut grants = Grants::default();
        for team in self.teams.iter().filter(|team| teams::has(team, user)) {
            for scope in self.team_roles.iter().filter(|scope| scope.team == team.id) {
                let Some(role) = self.roles.find(&scope.role) else {
                    continue;
                };
                grants.system.extend(role.system.iter().cloned());
                let space = role
                    .space
                    .iter()
                    .map(|name| (name.clone(), scope.space.clone()));
                grants.space.extend(space);
            }
        }
        grants
    }

    /// Whether the user has the permission.
    pub(super) fn may(&self, user: &str, permission: Permission) -> bool {
        let grants = self.grants(user);
        grants.system.contains(Permission::AdministerSystem.name())
            || grants.system.contains(permission.name())
            || grants
                .space
                .iter()
                .any(|(name, _)| name == permission.name())
    }

    /// The caller must have the permission.
    pub(super) fn require(&self, call: &Call, permission: Permission) -> Result<(), Problem> {
        let caller = call.caller()?;
        if self.may(&caller.user, permission) {
            Ok(())
        } else {
            Err(Problem::missing(permission))
        }
    }

    /// The caller must be this user or have the permission.
    pub(super) fn require_for(
        &self,
        call: &Call,
        user: &str,
        permission: Permission,
    ) -> Result<(), Problem> {
        if call.caller()?.user == user {
            Ok(())
        } else {
            self.require(call, permission)
        }
    }

    /// Whoever changes an administrator must be one (by analogy with Octopus issue 4355).
    pub(super) fn require_rank_of(&self, call: &Call, user: &str) -> Result<(), Problem> {
        if call.caller()?.user != user && self.may(user, Permission::AdministerSystem) {
            return self.require(call, Permission::AdministerSystem);
        }
        Ok(())
    }
}
