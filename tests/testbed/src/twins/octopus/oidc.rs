//! OIDC identities of service accounts, and the exchange of an issuer's token for one of ours.
//!
//! An identity matches when issuer and subject fit (subjects may hold `*` and `?` since 2024.1)
//! and the token's audience is the identity's, or else the account's `ExternalId`. The twin does
//! not fetch the issuer's keys and checks no signature: it believes the issuers of its
//! configuration, as long as the token has not expired.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Problem, Reply};
use super::call::{Body, Call};
use super::config::since;
use super::store::Document;
use super::users::User;
use super::{Octopus, sessions};

/// Whom a service account believes.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) id: String,
    /// The service account's user id.
    pub(super) account: String,
    name: String,
    issuer: String,
    subject: String,
    audience: Option<String>,
}

impl Document for Identity {
    const PREFIX: &'static str = "ServiceAccountOidcIdentitys-";

    fn id(&self) -> &str {
        &self.id
    }
}

/// The id of the key that access tokens claim to be signed with.
pub(super) const KEY_ID: &str = "twin-1";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

pub(super) fn list(octopus: &mut Octopus, call: &Call) -> Reply {
    let account = service_account(octopus, call)?;
    let number = |name: &str| call.query(name).and_then(|text| text.parse::<usize>().ok());
    let (Some(skip), Some(take)) = (number("skip"), number("take")) else {
        return Err(Problem::bad("skip and take are required."));
    };
    let all: Vec<_> = octopus
        .identities
        .iter()
        .filter(|i| i.account == account.id)
        .collect();
    let page: Vec<_> = all
        .iter()
        .skip(skip)
        .take(take)
        .map(|i| resource(i))
        .collect();
    Ok(Answer::ok(json!({
        "ServerUrl": call.origin,
        "ExternalId": account.external_id(),
        "OidcIdentities": page,
        "Count": all.len(),
    })))
}

pub(super) fn create(octopus: &mut Octopus, call: &Call) -> Reply {
    let account = service_account(octopus, call)?;
    let body = call.body()?;
    let mut identity = written(&body, String::new(), account.id)?;
    identity.id = octopus.identities.next_id();
    let answer = Answer::created(json!({ "Id": identity.id }));
    octopus.identities.add(identity);
    Ok(answer)
}

pub(super) fn get(octopus: &mut Octopus, call: &Call) -> Reply {
    Ok(Answer::ok(resource(&own(octopus, call)?)))
}

pub(super) fn update(octopus: &mut Octopus, call: &Call) -> Reply {
    let old = own(octopus, call)?;
    let new = written(&call.body()?, old.id, old.account)?;
    octopus.identities.replace(new);
    Ok(Answer::ok(json!({})))
}

pub(super) fn delete(octopus: &mut Octopus, call: &Call) -> Reply {
    let identity = own(octopus, call)?;
    octopus.identities.remove(&identity.id);
    Ok(Answer::ok(json!({})))
}

fn service_account(octopus: &Octopus, call: &Call) -> Result<User, Problem> {
    if octopus.version < since::OIDC {
        return Err(Problem::no_route());
    }
    let user = octopus.users.get(call.at(0))?;
    if user.is_service() {
        Ok(user.clone())
    } else {
        Err(Problem::bad("The user is not a service account."))
    }
}

fn own(octopus: &Octopus, call: &Call) -> Result<Identity, Problem> {
    let account = service_account(octopus, call)?;
    let identity = octopus.identities.get(call.at(1))?;
    if identity.account == account.id {
        Ok(identity.clone())
    } else {
        Err(Problem::not_found(call.at(1)))
    }
}

fn written(body: &Body, id: String, account: String) -> Result<Identity, Problem> {
    let field = |name: &str| {
        body.said(name)
            .filter(|text| text.chars().count() <= 200)
            .ok_or_else(|| Problem::bad(format!("{name} is required, of 200 characters at most.")))
    };
    Ok(Identity {
        id,
        account,
        name: field("Name")?,
        issuer: field("Issuer")?,
        subject: field("Subject")?,
        audience: body.said("Audience"),
    })
}

fn resource(identity: &Identity) -> Value {
    let mut json = json!({
        "Id": identity.id,
        "ServiceAccountId": identity.account,
        "Name": identity.name,
        "Issuer": identity.issuer,
        "Subject": identity.subject,
    });
    if let Some(audience) = &identity.audience {
        json["Audience"] = json!(audience);
    }
    json
}

pub(super) fn discovery(octopus: &mut Octopus, call: &Call) -> Reply {
    if octopus.version < since::OIDC {
        return Err(Problem::no_route());
    }
    let base = format!("{}{}", call.origin, octopus.prefix);
    Ok(Answer::ok(json!({
        "issuer": octopus.issuer(call),
        "token_endpoint": format!("{base}/token/v1"),
        "jwks_uri": format!("{base}/api/.well-known/jwks"),
        "grant_types_supported": [GRANT],
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["PS256"],
    })))
}

/// A key of the right form; nothing was ever signed with it.
pub(super) fn jwks(octopus: &mut Octopus, _: &Call) -> Reply {
    if octopus.version < since::OIDC {
        return Err(Problem::no_route());
    }
    let modulus: Vec<u8> = octopus.installation.bytes().cycle().take(256).collect();
    Ok(Answer::ok(json!({ "keys": [{
        "kty": "RSA",
        "use": "sig",
        "alg": "PS256",
        "kid": KEY_ID,
        "n": URL_SAFE_NO_PAD.encode(modulus),
        "e": "AQAB",
    }] })))
}

/// Exchanges a token of a believed issuer for a short-lived one of the server.
pub(super) fn exchange(octopus: &mut Octopus, call: &Call) -> Reply {
    if octopus.version < since::OIDC {
        return Err(Problem::no_route());
    }
    let body = call.form_or_body()?;
    let said = |name: &str| body.said(name).unwrap_or_default();
    if said("grant_type") != GRANT {
        return Err(refused("The grant_type is not supported."));
    }
    if said("subject_token_type") != JWT {
        return Err(refused("The subject_token_type is not supported."));
    }
    let Some(claims) = claims(&said("subject_token")) else {
        return Err(refused("The subject_token is not a JWT."));
    };
    let account = matching(octopus, call, &said("audience"), &claims).ok_or_else(|| {
        let told = |name: &str| claims.get(name).map(Value::to_string).unwrap_or_default();
        refused(&format!(
            "Could not find matching identity for presented assertions. Issuer: {}, Subject: {}, \
             Audience: {}",
            told("iss"),
            told("sub"),
            told("aud"),
        ))
    })?;
    let token = octopus.issue(call, &account);
    Ok(Answer::ok(json!({
        "access_token": token,
        "token_type": "Bearer",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "expires_in": sessions::TOKEN_LIFE.as_secs(),
    })))
}

fn refused(description: &str) -> Problem {
    Problem {
        status: StatusCode::BAD_REQUEST,
        body: json!({ "error": "invalid_request", "error_description": description }),
        retry_after: None,
    }
}

/// The account that these claims open, if any.
fn matching(octopus: &Octopus, call: &Call, audience: &str, claims: &Value) -> Option<String> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let audiences: Vec<&str> = match claims.get("aud") {
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one],
        _ => Vec::new(),
    };
    let alive = claims.get("exp")?.as_i64()? > call.now.as_second();
    let believed = octopus.issuers.iter().any(|issuer| issuer == text("iss"));
    let account = octopus
        .users
        .iter()
        .find(|user| user.active && user.external_id() == Some(audience))
        .filter(|_| alive && believed)?;
    let wildcards = octopus.version >= since::OIDC_WILDCARDS;
    let fits = |identity: &&Identity| {
        let wanted = identity
            .audience
            .as_deref()
            .or(account.external_id())
            .unwrap_or_default();
        let subject = if wildcards {
            glob(identity.subject.as_bytes(), text("sub").as_bytes())
        } else {
            identity.subject == text("sub")
        };
        identity.issuer == text("iss") && subject && audiences.contains(&wanted)
    };
    let mut identities = octopus
        .identities
        .iter()
        .filter(|i| i.account == account.id);
    identities.find(fits).map(|_| account.id.clone())
}

/// `*` stands for any text, `?` for one character; all else must be the same, case included.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skip| glob(rest, &text[skip..])),
        ([b'?', pattern @ ..], [_, text @ ..]) => glob(pattern, text),
        ([one, pattern @ ..], [other, text @ ..]) if one == other => glob(pattern, text),
        _ => false,
    }
}

fn claims(token: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload)
        .ok()
        .filter(Value::is_object)
}
