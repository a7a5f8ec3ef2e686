//! A sign-in by user name and password.
//!
//! A session is two cookies, whose names begin alike on every server and end in its installation id; the
//! value of the second goes into a header too, without which the first opens nothing (Octopus' product
//! documentation, "CSRF and Octopus Deploy"). C#'s client sends it with every request, and so do we. The
//! server tells no end of a session as a rule: 20 minutes after its last use, unless it is set otherwise.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderName, Method};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::plan::port::Fault;
use crate::secret::KeyMaterial;
use crate::servers::http::{Answer, Ask, Badge, Http, Route, date};
use crate::servers::octopus::wire::Me;
use crate::servers::session::Ticket;

/// The header that repeats the second cookie.
const CSRF: HeaderName = HeaderName::from_static("x-octopus-csrf-token");

/// What the names of the two cookies begin with.
const COOKIES: [&str; 2] = ["OctopusIdentificationToken", "Octopus-Csrf-Token"];

/// The greatest length of a cookie: what browsers take.
const LONGEST_COOKIE: usize = 4096;

/// A user name and a password.
pub(in super::super) struct Login {
    username: String,
    password: KeyMaterial,
    /// Shows nothing: the password goes where a badge cannot be.
    badge: Badge,
}

impl Login {
    pub(super) fn new(username: String, password: KeyMaterial) -> Self {
        Self {
            username,
            badge: Badge::unseen(&password),
            password,
        }
    }

    /// Opens a session. `Unauthorized` where the server does not want us.
    pub(super) async fn sign_in(&self, http: &Http) -> Result<Ticket, Fault> {
        let body = json!({ "Username": self.username, "Password": self.password.expose() });
        let ask = Ask {
            body: Some(body),
            ..Ask::new(Method::POST, Route::fixed("/api/users/login"), &self.badge)
        };
        let answer = match http.call(ask).await {
            // A wrong password, an account that is disabled, or may not sign in so, or was tried too often.
            Err(Fault::Rejected(why)) => {
                tracing::debug!("the sign-in is refused: {why}");
                return Err(Fault::Unauthorized);
            }
            answer => answer?,
        };
        // Octopus tells who has signed in; whoever does not is not Octopus.
        answer.read::<Me>()?;
        let [session, csrf] = [cookie(&answer, COOKIES[0])?, cookie(&answer, COOKIES[1])?];
        let until = session.end(&answer);
        Ok(Ticket {
            badge: badge(&session, &csrf, &self.password)?,
            until,
        })
    }

    /// Ends the session that this badge shows.
    pub(super) async fn sign_out(&self, http: &Http, badge: &Badge) -> Result<(), Fault> {
        let ask = Ask {
            body: Some(json!({})),
            ..Ask::new(Method::POST, Route::fixed("/api/users/logout"), badge)
        };
        http.call(ask).await.map(drop)
    }
}

/// A cookie that the server has set. Not to be printed.
struct Cookie<'a> {
    name: &'a str,
    value: KeyMaterial,
    attributes: &'a str,
}

impl<'a> Cookie<'a> {
    /// Reads a cookie; `None` for one without a value, which takes one away, and for one that cannot be
    /// sent back.
    fn read(text: &'a str) -> Option<Self> {
        let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
        let (name, value) = pair.trim().split_once('=')?;
        let sane = (1..=LONGEST_COOKIE).contains(&value.len())
            && [name, value]
                .into_iter()
                .all(|part| part.bytes().all(|b| b.is_ascii_graphic() && b != b','));
        sane.then(|| Self {
            name,
            value: KeyMaterial::new(value),
            attributes,
        })
    }

    /// When it ends, on our clock, if the server tells.
    fn end(&self, answer: &Answer) -> Option<Timestamp> {
        let said = |wanted: &str| {
            let mut attributes = self.attributes.split(';');
            attributes.find_map(|attribute| {
                let (name, value) = attribute.trim().split_once('=')?;
                name.eq_ignore_ascii_case(wanted).then_some(value)
            })
        };
        // Where both are told, the first counts (RFC 6265, section 4.1.2.2).
        if let Some(seconds) = said("Max-Age").and_then(|text| text.parse().ok()) {
            let life = SignedDuration::from_secs(seconds);
            return answer.sent_at.checked_add(life).ok();
        }
        let end = date(said("Expires")?)?;
        end.checked_sub(answer.skew).ok()
    }
}

/// The one cookie whose name begins like this.
fn cookie<'a>(answer: &'a Answer, prefix: &str) -> Result<Cookie<'a>, Fault> {
    let cookies = answer.headers(&SET_COOKIE).filter_map(Cookie::read);
    let mut found = cookies.filter(|cookie| cookie.name.starts_with(prefix));
    match (found.next(), found.next()) {
        (Some(cookie), None) => Ok(cookie),
        (None, _) => Err(Fault::Protocol(format!("a sign-in without a {prefix}"))),
        (Some(_), Some(_)) => Err(Fault::Protocol(format!(
            "a sign-in with more than one {prefix}"
        ))),
    }
}

/// What shows a session; it hides the password too, which a server may repeat.
fn badge(session: &Cookie, csrf: &Cookie, password: &KeyMaterial) -> Result<Badge, Fault> {
    let cookies =
        [session, csrf].map(|cookie| format!("{}={}", cookie.name, cookie.value.expose()));
    Badge::unseen(password)
        .hiding(&session.value)
        .hiding(&csrf.value)
        .with(COOKIE, &cookies.join("; "))
        .and_then(|badge| badge.with(CSRF, csrf.value.expose()))
        .ok_or_else(|| Fault::Protocol("a session that no header can carry".to_owned()))
}

#[cfg(test)]
mod tests;
