//! Who somebody is, and tokens of ServiceAccounts, as far as whoever signs in elsewhere with them can
//! tell. They have the form of a JWT; nobody can tell that their signature is none.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::patch::decode;
use super::refusal::{Cause, Fault, Refusal};
use super::store::{Key, Store, User, respond};
use crate::manifests::OWN;

/// Who says so, and for whom alone tokens are that name nobody.
pub const ISSUER: &str = "https://kubernetes.default.svc";

/// The least and the greatest life of a token, in seconds.
const LIFE: std::ops::RangeInclusive<u64> = 600..=1 << 32;

/// The name of a program as a user: its account is in the operator's own namespace.
pub fn subject(program: &str) -> String {
    format!("system:serviceaccount:{OWN}:{program}")
}

impl Store {
    /// The answer to a request for a token, or for who it is that asks; `None` for any other request.
    pub(super) fn vouch(
        &self,
        now: Timestamp,
        request: &http::Request<Bytes>,
    ) -> Option<Result<Response<Bytes>, Refusal>> {
        if request.method() != Method::POST {
            return None;
        }
        let parts: Vec<&str> = request.uri().path().split('/').skip(1).collect();
        match parts[..] {
            ["apis", "authentication.k8s.io", "v1", "selfsubjectreviews"] => {
                let user = request.extensions().get::<User>();
                let user = user.map_or_else(String::new, |user| subject(&user.0));
                let review = json!({
                    "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview",
                    "metadata": {"creationTimestamp": now.to_string()},
                    "status": {"userInfo": {"username": user}},
                });
                Some(Ok(respond(StatusCode::CREATED, &review)))
            }
            [
                "api",
                "v1",
                "namespaces",
                namespace,
                "serviceaccounts",
                name,
                "token",
            ] => Some(self.token(now, namespace, name, request.body())),
            _ => None,
        }
    }

    fn token(
        &self,
        now: Timestamp,
        namespace: &str,
        name: &str,
        body: &Bytes,
    ) -> Result<Response<Bytes>, Refusal> {
        let mut asked = decode(body)?;
        let place = Key {
            resource: "serviceaccounts".to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let kind = self
            .kinds
            .iter()
            .find(|kind| kind.is("", "serviceaccounts"));
        let kind = kind.ok_or_else(Refusal::unknown_path)?;
        if !self.objects.contains_key(&place) {
            return Err(Refusal::not_found(kind, name));
        }
        let spec = &mut asked["spec"];
        if spec["audiences"].as_array().is_none_or(Vec::is_empty) {
            spec["audiences"] = json!([ISSUER]);
        }
        let life = spec["expirationSeconds"].as_u64().unwrap_or(3_600);
        if !LIFE.contains(&life) {
            let why = "may not specify a duration less than 10 minutes";
            let why = format!("Invalid value: {life}: {why}");
            let cause = Cause::new("spec.expirationSeconds", Fault::Invalid, why);
            return Err(Refusal::invalid(kind, "", &[cause]));
        }
        let expires = now + Duration::from_secs(life);
        let claims = json!({
            "iss": ISSUER,
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
            "aud": spec["audiences"],
            "iat": now.as_second(),
            "exp": expires.as_second(),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": "RS256", "typ": "JWT"});
        let token = format!("{}.{}.bm9uZQ", part(&header), part(&claims));
        spec["expirationSeconds"] = json!(life);
        let given = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": now.to_string()},
            "spec": spec,
            "status": {"token": token, "expirationTimestamp": expires.to_string()},
        });
        Ok(respond(StatusCode::CREATED, &given))
    }
}
