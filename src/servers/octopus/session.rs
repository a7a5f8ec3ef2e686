//! How we sign in: with an API key, shown each time; or with a user name and a password, for which the
//! server opens a session (`login`); or with a token of somebody who vouches for us, which it exchanges
//! for one of its own (`exchange`).

mod exchange;
mod login;

use std::time::Duration;

use tokio::time::timeout;

use self::exchange::Exchange;
use self::login::Login;
use super::API_KEY;
use crate::plan::port::Fault;
use crate::secret::KeyMaterial;
use crate::servers::http::{Badge, Http};
use crate::servers::session::Session;
use crate::servers::{Connection, Credential, Unusable};

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
    Password(Login, Session),
    /// With a token in exchange for another.
    Token(Exchange, Session),
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
    pub(super) fn new(connection: &Connection) -> Result<Self, Unusable> {
        match connection.credential.clone() {
            Credential::ApiKey(key) => {
                // What was put into a Secret from a file often ends with a line feed.
                let key = KeyMaterial::new(key.expose().trim());
                let badge = Badge::new(API_KEY, &key).ok_or(Unusable::Credential)?;
                Ok(Self::Key { key, badge })
            }
            Credential::Basic { username, password } => {
                let login = Login::new(username, password);
                Ok(Self::Password(login, Session::default()))
            }
            Credential::Vouched(voucher) => {
                let exchange = Exchange::new(connection, voucher)?;
                Ok(Self::Token(exchange, Session::default()))
            }
            Credential::Bearer(_) => Err(Unusable::SignIn),
        }
    }

    /// What to show now. Signs in where there is no session; fails as that does, and has then had no
    /// effect.
    pub(super) async fn show(&self, http: &Http) -> Result<Shown, Fault> {
        let now = http.now();
        let (number, badge) = match self {
            Self::Key { badge, .. } => (0, badge.clone()),
            Self::Password(login, session) => session.badge(now, login.sign_in(http)).await?,
            Self::Token(exchange, session) => session.badge(now, exchange.sign_in()).await?,
        };
        Ok(Shown { badge, number })
    }

    /// What was shown is refused. Says whether there may be something else to show.
    pub(super) async fn refused(&self, shown: &Shown) -> Else {
        match self {
            Self::Key { .. } => Else::Nothing,
            Self::Password(_, session) | Self::Token(_, session) => {
                session.refused(shown.number).await;
                Else::Another
            }
        }
    }

    /// Signs out, if that comes about within a few seconds. A token cannot be given back: it ends by
    /// itself.
    pub(super) async fn leave(&self, http: &Http) {
        let Self::Password(login, session) = self else {
            return;
        };
        let sign_out = async {
            if let Some(badge) = session.end().await {
                // A session that stays behind ends by itself.
                let _ = login.sign_out(http, &badge).await;
            }
        };
        let _ = timeout(FAREWELL, sign_out).await;
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
