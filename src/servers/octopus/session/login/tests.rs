//! A session, from its opening to its end, as a prepared server answers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::DATE;
use http::{Request, Response};

use super::super::{Entrance, FAREWELL};
use super::*;
use crate::plan::port::{AccountId, KeyId};
use crate::servers::octopus::API_KEY;
use crate::servers::script::{Script, Ticking, answer};
use crate::servers::transport::{Cut, Transport};
use crate::servers::{Connection, Credential, Server, Unusable, connect};

const PASSWORD: &str = "CANARY-pass word\"1";
const SESSION: &str = "OctopusIdentificationToken_5c4e=CANARY/session==; Path=/; HttpOnly";
const ANTI_FORGERY: &str = "Octopus-Csrf-Token_5c4e=CANARY|csrf; Path=/; SameSite=Lax";

/// The answer to a sign-in that sets these cookies.
fn signed_in(cookies: &[&str]) -> Response<Bytes> {
    let mut answer = answer(200, r#"{"Id": "Users-1", "Username": "operator"}"#);
    for cookie in cookies {
        let cookie = cookie.parse().unwrap();
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
    answer
}

fn by_password(script: &Arc<Script>) -> Connection {
    Connection {
        credential: Credential::Basic {
            username: "operator".to_owned(),
            password: KeyMaterial::new(PASSWORD),
        },
        ..script.connection()
    }
}

fn client(script: &Arc<Script>) -> Arc<dyn Server> {
    connect(by_password(script)).unwrap()
}

fn opened() -> Arc<Script> {
    Script::new().then(Ok(signed_in(&[SESSION, ANTI_FORGERY])))
}

async fn revoke(client: &Arc<dyn Server>) -> Result<(), Fault> {
    let (account, key) = (AccountId::new("Users-2"), KeyId::new("apikeys-1"));
    client.revoke(&account, &key).await
}

#[tokio::test(start_paused = true)]
async fn a_session_shows_both_cookies_and_repeats_the_second() {
    let script = opened().says(200, "{}").says(200, "{}").says(200, "");
    let client = client(&script);
    revoke(&client).await.unwrap();
    revoke(&client).await.unwrap();
    client.leave().await;
    client.leave().await;
    let heard = script.heard();
    let key = "DELETE /prefix/api/users/Users-2/apikeys/apikeys-1";
    assert_eq!(heard[0], "POST /prefix/api/users/login");
    assert_eq!(heard[1..3], [key, key]);
    assert_eq!(heard[3..], ["POST /prefix/api/users/logout"]);
    let body = json!({ "Username": "operator", "Password": PASSWORD });
    assert_eq!(script.sent(0), body);
    let requests = script.requests();
    assert!(!format!("{:?}", requests[0].headers()).contains("CANARY"));
    for request in &requests[1..] {
        let headers = request.headers();
        let cookies = "OctopusIdentificationToken_5c4e=CANARY/session==; \
                       Octopus-Csrf-Token_5c4e=CANARY|csrf";
        assert_eq!(headers[COOKIE], cookies);
        assert_eq!(headers[CSRF], "CANARY|csrf");
        assert!(headers[COOKIE].is_sensitive() && headers[CSRF].is_sensitive());
        assert!(!headers.contains_key(API_KEY));
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_proven_without_the_session() {
    let me = json!({ "Id": "Users-2", "Username": "ci" });
    let script = opened().says(200, "{}").json(&me);
    let client = client(&script);
    revoke(&client).await.unwrap();
    let value = KeyMaterial::new("API-MINTED1234567");
    client
        .prove(&AccountId::new("Users-2"), &value)
        .await
        .unwrap();
    let headers = script.requests()[2].headers().clone();
    assert_eq!(headers[API_KEY], value.expose());
    assert!(!format!("{headers:?}").contains("CANARY"));
    assert!(!headers.contains_key(COOKIE) && !headers.contains_key(CSRF));
}

#[tokio::test(start_paused = true)]
async fn a_refused_session_is_had_anew_once() {
    let refused = |script: Arc<Script>| script.error(401, "no").error(401, "no");
    let anew = |script: Arc<Script>| script.then(Ok(signed_in(&[SESSION, ANTI_FORGERY])));
    let script = anew(refused(opened())).says(200, "{}");
    assert_eq!(revoke(&client(&script)).await, Ok(()));
    let script = refused(anew(refused(opened())));
    assert_eq!(revoke(&client(&script)).await, Err(Fault::Unauthorized));
    // A missing permission ends no session.
    let me = json!({ "Id": "Users-1", "Username": "operator" });
    let script = opened().error(401, "no").json(&me);
    let outcome = revoke(&client(&script)).await;
    assert_eq!(outcome.unwrap_err().label(), "forbidden");
    // Nobody knows what became of a request without an answer.
    let cut = Err(Cut::NoAnswer("cut".to_owned()));
    let script = opened().then(cut);
    let outcome = revoke(&client(&script)).await;
    assert_eq!(outcome.unwrap_err().label(), "uncertain");
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_without_an_answer_has_done_nothing() {
    let script = Script::new().then(Err(Cut::NoAnswer("cut".to_owned())));
    let outcome = revoke(&client(&script)).await;
    assert_eq!(outcome.unwrap_err().label(), "unreachable");
    let script = Script::new().error(400, "Invalid username or password.");
    let client = client(&script);
    for _ in 0..3 {
        assert_eq!(revoke(&client).await, Err(Fault::Unauthorized));
    }
    assert_eq!(script.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_opens_no_session_is_none() {
    let empty = "Octopus-Csrf-Token_5c4e=; Path=/";
    let odd = "Octopus-Csrf-Token_5c4e=a b";
    let long = format!("Octopus-Csrf-Token_5c4e={}", "x".repeat(5_000));
    let table: [&[&str]; 7] = [
        &[],
        &[SESSION],
        &[ANTI_FORGERY],
        &[SESSION, empty],
        &[SESSION, odd],
        &[SESSION, &long],
        &[SESSION, ANTI_FORGERY, "Octopus-Csrf-Token_77=x"],
    ];
    for cookies in table {
        let script = Script::new().then(Ok(signed_in(cookies)));
        let fault = revoke(&client(&script)).await.unwrap_err();
        assert_eq!(fault.label(), "protocol", "{cookies:?}");
        assert!(!fault.to_string().contains("CANARY"), "{fault}");
    }
    let script = Script::new().says(200, "<html>");
    let fault = revoke(&client(&script)).await.unwrap_err();
    assert_eq!(fault.label(), "protocol");
    // What is taken away does not count.
    let old = "Octopus-Csrf-Token_77=; Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    let script = Script::new().then(Ok(signed_in(&[old, SESSION, ANTI_FORGERY])));
    assert_eq!(revoke(&client(&script.says(200, "{}"))).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn no_fault_tells_what_a_session_is_made_of() {
    let told = format!("you sent {PASSWORD}, CANARY/session==, CANARY|csrf");
    let script = opened().error(403, &told);
    let fault = revoke(&client(&script)).await.unwrap_err();
    assert!(!fault.to_string().contains("CANARY"), "{fault}");
    assert!(fault.to_string().contains("(hidden)"), "{fault}");
    let script = Script::new().error(409, &told);
    let fault = revoke(&client(&script)).await.unwrap_err();
    assert!(!fault.to_string().contains(PASSWORD), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_told_is_on_our_clock() {
    let end_of = |attributes: &str| {
        let session = format!("OctopusIdentificationToken_5c4e=x; {attributes}");
        let mut answer = signed_in(&[&session, ANTI_FORGERY]);
        let date = "Sun, 22 Nov 2026 03:00:00 GMT".parse().unwrap();
        answer.headers_mut().insert(DATE, date);
        let script = Script::new().then(Ok(answer));
        async move {
            let http = Http::new(
                &by_password(&script),
                crate::servers::octopus::wire::complaint,
            )
            .unwrap();
            let entrance = Entrance::new(&by_password(&script)).unwrap();
            let Entrance::Password(login, _) = entrance else {
                unreachable!()
            };
            login.sign_in(&http).await.ok().unwrap().until
        }
    };
    let dawn = Ticking::dawn();
    assert_eq!(end_of("Path=/").await, None);
    assert_eq!(end_of("Expires=soon").await, None);
    let after = |seconds| Some(dawn + SignedDuration::from_secs(seconds));
    assert_eq!(end_of("max-age=600; Expires=never").await, after(600));
    let told = end_of("Expires=Sun, 22 Nov 2026 03:20:00 GMT").await;
    let error = told.unwrap().duration_since(after(1_200).unwrap());
    assert!(error.abs() < SignedDuration::from_secs(1), "{error}");
}

/// Opens sessions, and answers nothing else.
struct Mute;

#[async_trait]
impl Transport for Mute {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Cut> {
        match request.uri().path() {
            "/prefix/api/users/login" => Ok(signed_in(&[SESSION, ANTI_FORGERY])),
            "/prefix/api/users/logout" => std::future::pending().await,
            _ => Ok(answer(200, "{}")),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn signing_out_takes_no_longer_than_it_may() {
    let client = connect(Connection {
        transport: Arc::new(Mute),
        ..by_password(&Script::new())
    });
    let client = client.unwrap();
    let start = tokio::time::Instant::now();
    client.leave().await;
    assert_eq!(start.elapsed(), Duration::ZERO, "there is no session");
    revoke(&client).await.unwrap();
    client.leave().await;
    assert_eq!(start.elapsed(), FAREWELL);
}

#[test]
fn a_token_of_others_is_no_way_in() {
    let bearer = Connection {
        credential: Credential::Bearer(KeyMaterial::new("x")),
        ..Script::new().connection()
    };
    assert_eq!(connect(bearer).err(), Some(Unusable::SignIn));
}
