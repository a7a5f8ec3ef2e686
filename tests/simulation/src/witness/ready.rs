//! That Ready means what it says: the Secret holds a key that works, of the declared account.

use jiff::SignedDuration;
use serde_json::Value;

use super::objects::{is_operators, text};
use super::{Look, Memory};
use crate::kubernetes::Change;
use crate::servers::Servers;

/// A status that was written down in good faith may land so much later.
const LATE: SignedDuration = SignedDuration::from_mins(3);

impl Memory {
    /// Looks at each ApiKey of which an operator has just said that it is Ready.
    pub(super) fn ready(&self, look: &mut Look<'_>, servers: &Servers) {
        let says = look
            .effect
            .is_some_and(|effect| effect.call.path.ends_with("/status"));
        for change in look.changes.clone().into_iter().filter(|_| says) {
            let said = change.new.as_deref().filter(|object| says_ready(object));
            if change.key.resource != "apikeys.apikeys.dev" || !is_operators(look, &change) {
                continue;
            }
            if let Some(why) =
                said.and_then(|object| self.not_ready(look, &change, object, servers))
            {
                look.wrong(format!("{} is not Ready: {why}", change.key.name));
            }
        }
    }

    fn not_ready(
        &self,
        look: &Look<'_>,
        change: &Change,
        object: &Value,
        servers: &Servers,
    ) -> Option<String> {
        let uid = text(&object["metadata"]["uid"]);
        let of_late = look.now - LATE;
        let mut held = self.held.iter().rev().filter(|held| held.uid == uid);
        let held = held.find(|held| held.until.is_none_or(|until| until >= of_late));
        let Some(held) = held else {
            return Some("its Secret holds no key of its own".to_owned());
        };
        let key = self.ours.get(&held.key)?;
        if self.outside.contains(&held.key) || self.is_pardoned(&uid, look.now) {
            return None;
        }
        if key.gone.is_some_and(|gone| gone < of_late) {
            return Some(format!("{} was revoked", held.key));
        }
        if key.view.expires.is_some_and(|end| end < of_late) {
            return Some(format!("{} has expired", held.key));
        }
        let account = text(&object["spec"]["serviceAccountRef"]["name"]);
        let account = self
            .accounts
            .get(&(change.key.namespace.clone(), account))?;
        // One that was renamed or deleted on the server is told of elsewhere.
        let declared = servers.is_of(&key.view, account)?;
        (!declared).then(|| format!("{} is of {}, not of {account}", held.key, key.view.owner))
    }

    /// Takes note of the name that a ServiceAccount gives its account on the server.
    pub(super) fn account(&mut self, change: &Change) {
        let Some(object) = change.new.as_deref() else {
            return;
        };
        let (namespace, name) = (&change.key.namespace, &change.key.name);
        let spec = &object["spec"];
        let username = match (spec["management"].as_str(), spec["username"].as_str()) {
            (Some("Self"), _) => OWN_ACCOUNT.to_owned(),
            (_, Some(username)) => username.to_owned(),
            (_, None) => format!("{namespace}.{name}"),
        };
        self.accounts
            .insert((namespace.clone(), name.clone()), username);
    }
}

/// The account of the operator on the server.
const OWN_ACCOUNT: &str = "apikey-operator";

fn says_ready(object: &Value) -> bool {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
