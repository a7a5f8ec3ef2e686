//! How we sign in: with an API key, shown each time, or with a user name and a password, for which the
//! server opens a session.
//!
//! A session is two cookies, whose names begin alike on every server and end in its installation id; the
//! value of the second goes into a header too, without which the first opens nothing (Octopus' product
//! documentation, "CSRF and Octopus Deploy"). C#'s client sends it with every request, and so do we. The
//! server tells no end of a session as a rule: 20 minutes after its last use, unless it is set otherwise.

use std::time::Duration;

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderName, Method};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::time::timeout;

use super::API_KEY;
use super::wire::Me;
use crate::plan::port::Fault;
use crate::secret::KeyMaterial;
use crate::servers::http::{Answer, Ask, Badge, Http, Route, date};
use crate::servers::session::{Session, Ticket};
use crate::servers::{Credential, Unusable};

/// The header that repeats the second cookie.
const CSRF: HeaderName = HeaderName::from_static("x-octopus-csrf-token");

/// What the names of the two cookies begin with.
const COOKIES: [&str; 2] = ["OctopusIdentificationToken", "Octopus-Csrf-Token"];

/// The greatest length of a cookie: what browsers take.
const LONGEST_COOKIE: usize = 4096;

/// How long signing out may take.
const FAREWELL: Duration = Duration::from_secs(3);

/// How we sign in.
pub(super) enum Entrance {
    /// With an API key.
    Key {
        /// The key.
        key: KeyMaterial,
        /// What shows it.
        badge: Badge,
    },
    /// With a user name and a password.
    Password(Login),
}

/// A user name, a password, and the session that was opened for them.
pub(super) struct Login {
    username: String,
    password: KeyMaterial,
    /// Shows nothing: the password goes where a badge cannot be.
    badge: Badge,
    session: Session,
}

/// What is shown with a request.
pub(super) struct Shown {
    pub(super) badge: Badge,
    /// The number of the session's ticket.
    number: u64,
}

impl Entrance {
    /// The way in that a credential opens. `Credential` for one that cannot be sent, `SignIn` for one of
    /// other servers.
    pub(super) fn new(credential: Credential) -> Result<Self, Unusable> {
        match credential {
            Credential::ApiKey(key) => {
                // What was put into a Secret from a file often ends with a line feed.
                let key = KeyMaterial::new(key.expose().trim());
                let badge = Badge::new(API_KEY, &key).ok_or(Unusable::Credential)?;
                Ok(Self::Key { key, badge })
            }
            Credential::Basic { username, password } => Ok(Self::Password(Login {
                username,
                badge: Badge::unseen(&password),
                password,
                session: Session::default(),
            })),
            Credential::Bearer(_) => Err(Unusable::SignIn),
        }
    }

    /// What to show now. Signs in where there is no session; fails as that does, and has then had no
    /// effect.
    pub(super) async fn show(&self, http: &Http) -> Result<Shown, Fault> {
        match self {
            Self::Key { badge, .. } => Ok(Shown {
                badge: badge.clone(),
                number: 0,
            }),
            Self::Password(login) => {
                let signed_in = login.session.badge(http.now(), login.sign_in(http));
                let (number, badge) = signed_in.await?;
                Ok(Shown { badge, number })
            }
        }
    }

    /// What was shown is refused. Says whether there may be something else to show.
    pub(super) async fn refused(&self, shown: &Shown) -> Else {
        match self {
            Self::Key { .. } => Else::Nothing,
            Self::Password(login) => {
                login.session.refused(shown.number).await;
                Else::Another
            }
        }
    }

    /// Signs out, if that comes about within a few seconds.
    pub(super) async fn leave(&self, http: &Http) {
        let Self::Password(login) = self else { return };
        // A session that stays behind ends by itself.
        let _ = timeout(FAREWELL, login.sign_out(http)).await;
    }
}

/// What is left once something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Else {
    /// Another session may be opened.
    Another,
    /// Nothing.
    Nothing,
}

impl Login {
    /// Opens a session. `Unauthorized` where the server does not want us.
    async fn sign_in(&self, http: &Http) -> Result<Ticket, Fault> {
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

    async fn sign_out(&self, http: &Http) -> Result<(), Fault> {
        let Some(badge) = self.session.end().await else {
            return Ok(());
        };
        let ask = Ask {
            body: Some(json!({})),
            ..Ask::new(Method::POST, Route::fixed("/api/users/logout"), &badge)
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
