//! A sign-in without a credential of our own (RFC 8693): somebody vouches for us with a token, which the
//! server exchanges for one of its own. Service accounts only, since 2023.4.8077.
//!
//! The server says itself where it exchanges tokens, at `/.well-known/openid-configuration` (official
//! clients take it from there, too). The token goes nowhere but to this very server: to its origin, under
//! the connection's own path.

use std::ops::RangeInclusive;
use std::sync::Arc;

use http::Method;
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::json;

use crate::plan::port::Fault;
use crate::secret::KeyMaterial;
use crate::servers::http::{Ask, Badge, Http, Route};
use crate::servers::session::Ticket;
use crate::servers::{Connection, Unusable, Voucher};

/// What we ask for, in the words of RFC 8693.
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// What we give for it.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// How long a token may be, in bytes. The server's are JWTs of about 900.
const TOKEN: RangeInclusive<usize> = 1..=16_384;

/// How long one may be good, in seconds. The server's are for an hour.
const LIFE: RangeInclusive<u32> = 1..=86_400;

/// The place where tokens are exchanged, and who vouches for us.
pub(in super::super) struct Exchange {
    http: Http,
    voucher: Arc<dyn Voucher>,
}

/// What the server says of itself, as far as we ask.
#[derive(Deserialize)]
struct Discovery {
    token_endpoint: String,
}

/// What it gives in exchange. Not to be printed.
#[derive(Deserialize)]
struct Given {
    #[serde(deserialize_with = "token")]
    access_token: KeyMaterial,
    token_type: String,
    expires_in: u32,
}

fn token<'de, D: Deserializer<'de>>(from: D) -> Result<KeyMaterial, D::Error> {
    let text = KeyMaterial::new(String::deserialize(from)?);
    let sane = TOKEN.contains(&text.expose().len())
        && text.expose().bytes().all(|byte| byte.is_ascii_graphic());
    sane.then_some(text)
        .ok_or_else(|| D::Error::custom("not a token"))
}

/// What the text of a refusal says: as RFC 6749 has it, or, of older servers, as everywhere else there.
fn complaint(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Complaint {
        error_description: String,
    }

    let said = serde_json::from_slice(body).ok();
    said.map(|Complaint { error_description }| error_description)
        .or_else(|| super::super::wire::complaint(body))
}

impl Exchange {
    /// An exchange on the server of this connection.
    pub(super) fn new(
        connection: &Connection,
        voucher: Arc<dyn Voucher>,
    ) -> Result<Self, Unusable> {
        Ok(Self {
            http: Http::new(connection, complaint)?,
            voucher,
        })
    }

    /// Gets a token of the server. `NoToken` where it exchanges none, or nobody vouches for us.
    pub(super) async fn sign_in(&self) -> Result<Ticket, Fault> {
        let place = self.place().await?;
        let voucher = self.voucher.token().await?;
        let body = json!({
            "grant_type": EXCHANGE,
            "audience": self.voucher.audience(),
            "subject_token_type": JWT,
            "subject_token": voucher.expose(),
        });
        let badge = Badge::unseen(&voucher);
        let ask = Ask {
            body: Some(body),
            ..Ask::new(Method::POST, place, &badge)
        };
        let answer = self.http.call(ask).await.map_err(|fault| match fault {
            Fault::Unauthorized => refused("401 Unauthorized"),
            Fault::Forbidden(why) | Fault::Rejected(why) => refused(&why),
            fault => fault,
        })?;
        let given: Given = answer.read()?;
        let odd = |what: &str| Fault::Protocol(format!("an exchanged token {what}"));
        if !given.token_type.eq_ignore_ascii_case("bearer") {
            return Err(odd("that is not of the type Bearer"));
        }
        if !LIFE.contains(&given.expires_in) {
            return Err(odd("that is good for no time, or more than a day"));
        }
        let badge = Badge::authorization("Bearer", &given.access_token)
            .ok_or_else(|| odd("that no header can carry"))?;
        let life = SignedDuration::from_secs(i64::from(given.expires_in));
        Ok(Ticket {
            badge: badge.hiding(&voucher),
            until: answer.sent_at.checked_add(life).ok(),
        })
    }

    /// Where the server exchanges tokens.
    async fn place(&self) -> Result<Route, Fault> {
        let nobody = Badge::nobodys();
        let route = Route::fixed("/.well-known/openid-configuration");
        let ask = Ask::new(Method::GET, route, &nobody);
        let answer = self.http.call(ask).await.map_err(|fault| match fault {
            Fault::NotFound => Fault::NoToken(
                "the server exchanges none for its own; Octopus Deploy does since 2023.4"
                    .to_owned(),
            ),
            fault => fault,
        })?;
        let Discovery { token_endpoint } = answer.read()?;
        self.http.named("(token endpoint)", &token_endpoint)
    }
}

fn refused(why: &str) -> Fault {
    Fault::NoToken(format!("the server takes none for its own: {why}"))
}

#[cfg(test)]
mod tests;
