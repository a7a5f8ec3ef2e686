//! The connection itself: which server this is, who we are there, and for how long.

use http::Method;
use jiff::{SignedDuration, Timestamp};

use super::Octopus;
use super::session::Entrance;
use super::wire::{Authentication, ListedKey, Me, Root};
use crate::plan::port::{AccountId, Fault, KeyExpiry, Own, Probe, ServerIdentity};
use crate::secret::KeyMaterial;
use crate::servers::http::{Ask, Badge, Route};

/// Where whoever asks is told who that is.
const ME: &str = "/api/users/me";

/// How much of a key a hint must show, its prefix included, to say anything.
const SHORTEST_HINT: usize = 7;

impl Octopus {
    /// Looks at the server and at ourselves.
    pub(super) async fn standing(&self) -> Result<Probe, Fault> {
        let (identity, version, skew) = self.root().await?;
        let own = self.get(Route::fixed(ME)).await?.read::<Me>()?.own();
        let key_expiry = self.key_expiry().await?;
        let credential_expires_at = *self
            .own_end
            .get_or_try_init(|| self.end_of_own_key(&own.id))
            .await?;
        Ok(Probe {
            version,
            identity,
            own,
            key_expiry,
            credential_expires_at,
            skew,
            caution: None,
        })
    }

    /// Which server answers, its version, and its clock less ours.
    pub(super) async fn root(&self) -> Result<(ServerIdentity, String, SignedDuration), Fault> {
        let answer = self.get(Route::fixed("/api")).await?;
        let root: Root = answer.read()?;
        let identity = ServerIdentity::new(root.installation_id.to_ascii_lowercase());
        let version = answer.plain(&root.version).chars().take(40).collect();
        Ok((identity, version, answer.skew))
    }

    /// Who shows this badge.
    pub(super) async fn whose(&self, badge: &Badge) -> Result<Own, Fault> {
        let ask = Ask::new(Method::GET, Route::fixed(ME), badge);
        Ok(self.http.call(ask).await?.read::<Me>()?.own())
    }

    async fn key_expiry(&self) -> Result<KeyExpiry, Fault> {
        let rules: Authentication = self
            .get(Route::fixed("/api/authentication"))
            .await?
            .read()?;
        let days = |days: Option<i64>| days.and_then(|days| u32::try_from(days).ok());
        Ok(KeyExpiry {
            default_days: days(rules.api_key_default_expiry_days).filter(|days| *days > 0),
            max_days: days(rules.api_key_max_expiry_days).filter(|days| *days > 0),
        })
    }

    /// When our own key ends, if we have one and one look at our own keys can tell. No new key may
    /// outlive it.
    async fn end_of_own_key(&self, own: &AccountId) -> Result<Option<Timestamp>, Fault> {
        let Entrance::Key { key, .. } = &self.entrance else {
            return Ok(None);
        };
        let route = Route::new("/api/users/{}/apikeys", &[own.as_str()])?;
        match self.pages::<ListedKey>(&route, &[]).await {
            Ok(pages) => Ok(end(key, &pages.items, pages.began)),
            Err(Fault::Forbidden(_) | Fault::NotFound | Fault::Rejected(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }
}

/// The end of the one living key whose hint is how `secret` begins; `None` when none or several are.
fn end(secret: &KeyMaterial, keys: &[ListedKey], now: Timestamp) -> Option<Timestamp> {
    let shown = |key: &ListedKey| {
        let hint = key
            .hint()?
            .trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        Some(hint.len() >= SHORTEST_HINT && secret.expose().starts_with(hint))
    };
    let living = keys
        .iter()
        .filter(|key| key.expires.is_none_or(|end| end > now));
    let mut ours = living.filter(|key| shown(key).unwrap_or_default());
    match (ours.next(), ours.next()) {
        (Some(key), None) => key.expires,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::servers::script::{CREDENTIAL, Script, answer};

    const ROOT: &str = r#"{"Application": "Octopus Deploy", "Version": "2026.3.15581",
        "ApiVersion": "3.0.0", "InstallationId": "5C4E1E3C-0C6D-4F5E-9B53-6E5B2F1E4A10",
        "IsEarlyAccessProgram": false, "Links": {"Self": "/api"}}"#;

    fn me() -> Value {
        json!({ "Id": "Users-1", "Username": "operator", "DisplayName": "Operator",
            "IsActive": true, "IsService": true, "IsRequestor": true, "Links": {} })
    }

    fn rules() -> Value {
        json!({ "UserApiKeysEnabled": true, "ApiKeyDefaultExpiryDays": 180,
            "ApiKeyMaxExpiryDays": 366, "AuthenticationProviders": [], "Links": {} })
    }

    fn key(id: &str, hint: &Value, expires: Option<&str>) -> Value {
        json!({ "Id": id, "Purpose": "x", "UserId": "Users-1", "Expires": expires,
            "Created": "2026-01-01T00:00:00.000+00:00",
            "ApiKey": { "HasValue": true, "Hint": hint, "NewValue": null } })
    }

    fn page(items: &[Value]) -> Value {
        json!({ "ItemType": "ApiKey", "TotalResults": items.len(), "Items": items, "Links": {} })
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_tells_all_there_is_to_know() {
        let mut root = answer(200, ROOT);
        root.headers_mut()
            .insert("date", "Sun, 22 Nov 2026 02:00:59 GMT".parse().unwrap());
        let keys = [
            key("apikeys-1", &json!("API-ABC..."), None),
            key(
                "apikeys-2",
                &json!("API-CANAR..."),
                Some("2026-12-24T02:00:00.000+00:00"),
            ),
        ];
        let script = Script::new()
            .then(Ok(root))
            .json(&me())
            .json(&rules())
            .json(&page(&keys));
        let probe = script.client().probe().await.unwrap();
        assert_eq!(
            probe,
            Probe {
                version: "2026.3.15581".to_owned(),
                identity: ServerIdentity::new("5c4e1e3c-0c6d-4f5e-9b53-6e5b2f1e4a10"),
                own: Own {
                    id: AccountId::new("Users-1"),
                    username: "operator".to_owned()
                },
                key_expiry: KeyExpiry {
                    default_days: Some(180),
                    max_days: Some(366)
                },
                credential_expires_at: Some("2026-12-24T02:00:00Z".parse().unwrap()),
                skew: SignedDuration::from_millis(59_500),
                caution: None,
            }
        );
        let heard = ["/api", "/api/users/me", "/api/authentication"].map(ToOwned::to_owned);
        for (line, path) in script.heard().iter().zip(heard) {
            assert_eq!(*line, format!("GET /prefix{path}"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_name_is_short_and_hides_nothing() {
        let mut me = me();
        me["Username"] = json!(format!("o\u{2066}{}", "u".repeat(5_000)));
        let script = Script::new().says(200, ROOT).json(&me).json(&rules());
        let probe = script.json(&page(&[])).client().probe().await.unwrap();
        assert_eq!(probe.own.username, format!("o\u{fffd}{}…", "u".repeat(254)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_probe_does_not_ask_again_for_what_cannot_change() {
        let script = Script::new()
            .says(200, ROOT)
            .json(&me())
            .json(&json!({}))
            .json(&page(&[]));
        let script = script.says(200, ROOT).json(&me()).json(&json!({}));
        let client = script.client();
        let first = client.probe().await.unwrap();
        assert_eq!(first.key_expiry, KeyExpiry::default(), "older than 2025.4");
        assert_eq!(client.probe().await.unwrap(), first);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_lives_without_seeing_its_own_keys_but_not_without_an_answer() {
        let script = || Script::new().says(200, ROOT).json(&me()).json(&rules());
        let probe = script().error(403, "no").client().probe().await.unwrap();
        assert_eq!(probe.credential_expires_at, None);
        let fault = script()
            .error(500, "no")
            .client()
            .probe()
            .await
            .unwrap_err();
        assert_eq!(fault.label(), "unreachable");
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_tells_what_is_wrong() {
        let table = [
            (
                Script::new()
                    .error(401, "The API key you provided was not valid.")
                    .error(401, ""),
                "unauthorized",
            ),
            (
                Script::new().says(200, "<html>Welcome to nginx</html>"),
                "protocol",
            ),
            (Script::new().says(200, "{}"), "protocol"),
            (
                Script::new().says(200, r#"{"Version": "1", "InstallationId": "a/b"}"#),
                "protocol",
            ),
            (Script::new().says(404, "<html>"), "protocol"),
            (Script::new().says(200, ROOT).says(200, ""), "protocol"),
            (
                Script::new()
                    .says(200, ROOT)
                    .says(200, r#"{"Id": 1, "Username": "x"}"#),
                "protocol",
            ),
        ];
        for (script, label) in table {
            assert_eq!(script.client().probe().await.unwrap_err().label(), label);
        }
    }

    #[test]
    fn the_end_of_our_key_is_known_only_when_one_hint_fits() {
        let end_of = |keys: &[(Value, Option<&str>)]| {
            let keys: Vec<ListedKey> = keys
                .iter()
                .map(|(hint, expires)| key("apikeys-1", hint, *expires))
                .map(|key| serde_json::from_value(key).unwrap())
                .collect();
            end(
                &KeyMaterial::new(CREDENTIAL),
                &keys,
                "2026-11-22T02:00:00Z".parse().unwrap(),
            )
        };
        let later = Some("2026-12-24T02:00:00Z");
        let known = later.map(|end| end.parse().unwrap());
        assert_eq!(end_of(&[(json!("API-CANARY****"), later)]), known);
        assert_eq!(
            end_of(&[(json!("API-CAN"), later), (json!("API-XYZ"), None)]),
            known
        );
        let past = Some("2026-11-22T02:00:00Z");
        assert_eq!(
            end_of(&[(json!("API-CAN"), later), (json!("API-CAN"), past)]),
            known
        );
        for unknown in [
            &[][..],
            &[(json!("API-CAN"), later), (json!("API-CAN"), later)],
            &[(json!("API-CAN"), None)],
            &[(json!("API-CAN"), past)],
            &[(json!("API-CA..."), later)],
            &[(json!("API-XYZ"), later)],
            &[(Value::Null, later)],
        ] {
            assert_eq!(end_of(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn lists_of_before_2020_6_have_no_hint() {
        for old in [json!(null), json!("API-ABCD")] {
            let mut key = key("apikeys-1", &Value::Null, None);
            key["ApiKey"] = old;
            let key: ListedKey = serde_json::from_value(key).unwrap();
            assert_eq!(key.hint(), None);
        }
    }
}
