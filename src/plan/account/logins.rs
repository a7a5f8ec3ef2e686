//! Ways to sign in as an account without a key: additive, and only what we added is taken away.

use super::living::on_the_present;
use super::{Added, Seen, Step};
use crate::api::conditions::Reason;
use crate::api::{ExternalLogin, OctopusAccount, OidcIdentity};
use crate::plan::Stop;
use crate::plan::port::{Login, RemoteAccount, Trust};

/// Gives the account the declared logins of external providers, and takes away those that we gave it and
/// nobody declares any more.
pub(super) fn logins(seen: &Seen, account: &RemoteAccount) -> Result<Option<Step>, Stop> {
    let wanted = declared_logins(seen);
    let mut missing = Missing::new(seen, "spec.octopus.externalLogins");
    for login in &wanted {
        let mut there = account.logins.iter();
        let there = there.find(|there| there.provider == login.provider);
        if there.is_some_and(|there| login.is_met_by(there)) {
            continue;
        }
        let give = Step::GiveLogin(account.id.clone(), login.clone());
        let added = Added::Login(login.provider.clone());
        if there.is_some() {
            missing.ours(&added)?;
        }
        missing.note(added, give);
    }
    let over = |added: &&Added| matches!(added, Added::Login(provider) if wanted.iter().all(|login| login.provider != *provider));
    Ok(missing.step().or_else(|| undo(seen, account, over)))
}

/// The same for OIDC identities.
pub(super) fn oidc(seen: &Seen, account: &RemoteAccount) -> Result<Option<Step>, Stop> {
    let wanted = declared_trusts(seen);
    let mut missing = Missing::new(seen, "spec.octopus.oidcIdentities");
    for trust in &wanted {
        let Some(oidc) = &seen.oidc else {
            return Ok(Some(Step::FindOidc(account.id.clone())));
        };
        let there = || oidc.trusts.iter().map(|(_, there)| there);
        if there().any(|there| there == trust) {
            continue;
        }
        let give = Step::GiveTrust(account.id.clone(), trust.clone());
        let added = Added::Oidc(trust.name.clone());
        if there().any(|there| there.name == trust.name) {
            missing.ours(&added)?;
        }
        missing.note(added, give);
    }
    let over = |added: &&Added| matches!(added, Added::Oidc(name) if wanted.iter().all(|trust| trust.name != *name));
    Ok(missing.step().or_else(|| undo(seen, account, over)))
}

/// What the account lacks of what is declared.
struct Missing<'a> {
    seen: &'a Seen,
    /// The part of the manifest that declares it.
    part: &'static str,
    /// What is not recorded yet as added by us.
    unrecorded: Vec<Added>,
    /// How the first of all is given.
    give: Option<Step>,
}

impl<'a> Missing<'a> {
    fn new(seen: &'a Seen, part: &'static str) -> Self {
        Self {
            seen,
            part,
            unrecorded: Vec::new(),
            give: None,
        }
    }

    /// That what stands in its place is ours: somebody else's is not changed.
    fn ours(&self, added: &Added) -> Result<(), Stop> {
        if self.seen.object.pins.added.contains(added) {
            return Ok(());
        }
        let part = self.part;
        let what = match added {
            Added::Login(name) => format!("a login of {name}"),
            Added::Oidc(name) => format!("an OIDC identity {name}"),
            Added::Team(id) => format!("a team {id}"),
        };
        Err(Stop::new(
            Reason::Rejected,
            format!(
                "The account has {what} already that is another one, and the operator did not make it. Take it away on the server, or leave it out of {part}."
            ),
        ))
    }

    /// This is missing, and given so.
    fn note(&mut self, added: Added, give: Step) {
        if self.seen.object.pins.added.contains(&added) {
            self.give.get_or_insert(give);
        } else {
            self.unrecorded.push(added);
        }
    }

    /// What we add is recorded before it is added, all at once, so that it can be taken back.
    fn step(self) -> Option<Step> {
        if self.unrecorded.is_empty() {
            return self.give.map(|give| on_the_present(self.seen, give));
        }
        let mut pins = self.seen.object.pins.clone();
        pins.added.extend(self.unrecorded);
        Some(Step::Pin(pins))
    }
}

/// Takes away what we added of these ways to sign in, one by one, and forgets them once they are gone.
pub(super) fn undo(
    seen: &Seen,
    account: &RemoteAccount,
    over: impl Fn(&&Added) -> bool,
) -> Option<Step> {
    let over: Vec<&Added> = seen.object.pins.added.iter().filter(over).collect();
    for added in &over {
        let away = match added {
            Added::Team(_) => None,
            Added::Login(provider) => {
                let mut logins = account.logins.iter();
                let there = logins.any(|login| login.provider == *provider);
                there.then(|| Step::DropLogin(account.id.clone(), provider.clone()))
            }
            Added::Oidc(name) => {
                let Some(oidc) = &seen.oidc else {
                    return Some(Step::FindOidc(account.id.clone()));
                };
                let mut trusts = oidc.trusts.iter();
                let there = trusts.any(|(_, trust)| trust.name == *name);
                there.then(|| Step::DropTrust(account.id.clone(), name.clone()))
            }
        };
        if let Some(step) = away {
            return Some(on_the_present(seen, step));
        }
    }
    let mut pins = seen.object.pins.clone();
    pins.added.retain(|added| !over.contains(&added));
    (!over.is_empty()).then_some(Step::Pin(pins))
}

/// The declared OIDC identities that the account has, each with the server's id of it.
pub(super) fn present(seen: &Seen) -> Option<Vec<(&str, &str)>> {
    let wanted = declared_trusts(seen);
    let oidc = seen.oidc.as_ref()?;
    let there = oidc
        .trusts
        .iter()
        .filter(|(_, there)| wanted.contains(there));
    Some(
        there
            .map(|(id, trust)| (trust.name.as_str(), id.as_str()))
            .collect(),
    )
}

fn octopus(seen: &Seen) -> Option<&OctopusAccount> {
    seen.object.spec.octopus.as_ref()
}

fn declared_logins(seen: &Seen) -> Vec<Login> {
    let login = |login: &ExternalLogin| Login {
        provider: login.provider.clone(),
        claims: login.claims.clone(),
    };
    let declared = octopus(seen).into_iter();
    declared
        .flat_map(|octopus| &octopus.external_logins)
        .map(login)
        .collect()
}

fn declared_trusts(seen: &Seen) -> Vec<Trust> {
    let trust = |identity: &OidcIdentity| Trust {
        name: identity.name.clone(),
        issuer: identity.issuer.clone(),
        subject: identity.subject.clone(),
        audience: identity.audience.clone(),
    };
    let declared = octopus(seen).into_iter();
    declared
        .flat_map(|octopus| &octopus.oidc_identities)
        .map(trust)
        .collect()
}
