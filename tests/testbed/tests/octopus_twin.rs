//! The doors of the Octopus twin: faults in the process and on a socket, the control door, and the
//! program.
#![expect(clippy::unwrap_used, reason = "helpers of tests may, as tests do")]

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use testbed::twins::octopus::{Change, Config, Life, Octopus, Start};
use testbed::twins::tls::Tls;
use testbed::twins::{Cut, Door, Effect, Fate, Fault, Rule, control, tcp};

type TwinDoor = Door<Octopus>;

/// A twin that lives in tokio's time.
fn paused() -> (TwinDoor, Start) {
    let twin = Octopus::new(&Config::default());
    let start = twin.start().clone();
    let begun = tokio::time::Instant::now();
    let birth: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
    let clock = move || birth + SignedDuration::try_from(begun.elapsed()).unwrap();
    (Door::new(twin, clock), start)
}

fn live() -> (TwinDoor, Start) {
    let twin = Octopus::new(&Config::default());
    let start = twin.start().clone();
    (Door::live(twin), start)
}

fn request(method: Method, path: &str, key: &str, body: &Value) -> Request<Bytes> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("X-Octopus-ApiKey", key)
        .body(Bytes::from(body.to_string()))
        .unwrap()
}

/// The operator makes a key for itself.
fn mint(start: &Start) -> Request<Bytes> {
    let path = format!("/api/users/{}/apikeys", start.operator.user);
    request(
        Method::POST,
        &path,
        &start.operator.key,
        &json!({ "Purpose": "p" }),
    )
}

fn minted(door: &TwinDoor) -> usize {
    door.view()
        .keys
        .iter()
        .filter(|key| key.purpose == "p")
        .count()
}

fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_each_fault_does_to_caller_and_server() {
    let elsewhere = || "https://other.test/".to_owned();
    // fault, what the caller sees, whether the server acts, what the journal says
    let table = [
        (Fault::Outage, Err(Cut::NeverReached), 0, Fate::NeverArrived),
        (
            Fault::CutBefore,
            Err(Cut::PerhapsReached),
            0,
            Fate::NeverArrived,
        ),
        (
            Fault::CutAfter,
            Err(Cut::PerhapsReached),
            1,
            Fate::AnswerLost,
        ),
        (
            Fault::Late { seconds: 20 },
            Err(Cut::PerhapsReached),
            0,
            Fate::OnItsWay,
        ),
        (Fault::Slow { millis: 7000 }, Ok(200), 1, Fate::Answered),
        (
            Fault::Throttled { retry_after: None },
            Ok(429),
            0,
            Fate::NeverArrived,
        ),
        (
            Fault::Refused { status: 503 },
            Ok(503),
            0,
            Fate::NeverArrived,
        ),
        (Fault::Feigned, Ok(200), 0, Fate::Feigned),
        (Fault::Html, Ok(200), 0, Fate::NeverArrived),
        (Fault::HalfJson, Ok(200), 1, Fate::AnswerReplaced),
        (
            Fault::Flood { mebibytes: 2 },
            Ok(200),
            1,
            Fate::AnswerReplaced,
        ),
        (
            Fault::Redirect {
                location: elsewhere(),
            },
            Ok(307),
            0,
            Fate::NeverArrived,
        ),
    ];
    for (fault, seen, acted, fate) in table {
        let (door, start) = paused();
        door.fault(
            Rule::new(fault.clone())
                .on("POST", "/api/users/*/apikeys")
                .next(1),
        );
        let answer = door.send(mint(&start)).await;
        assert_eq!(
            answer.map(|answer| answer.status().as_u16()),
            seen,
            "{fault:?}"
        );
        assert_eq!(minted(&door), acted, "{fault:?}");
        let journal = door.journal();
        assert_eq!((journal.len(), journal[0].fate), (1, fate), "{fault:?}");
        assert_eq!(
            (door.done(Effect::Mint), door.sent(Effect::Mint)),
            (acted, 1),
            "{fault:?}"
        );
        assert_eq!(
            door.send(mint(&start)).await.unwrap().status(),
            200,
            "{fault:?} is used up"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_spoilt() {
    let (door, start) = paused();
    let me = || request(Method::GET, "/api/users/me", &start.admin.key, &Value::Null);
    let whole = door.send(me()).await.unwrap().into_body();
    let struck = async |fault: Fault| {
        door.fault(Rule::new(fault).next(1));
        door.send(me()).await.unwrap()
    };
    let half = struck(Fault::HalfJson).await.into_body();
    assert!(whole.starts_with(&half) && half.len() < whole.len() && !half.is_empty());
    assert_eq!(
        struck(Fault::Flood { mebibytes: 3 }).await.body().len(),
        3 << 20
    );
    let html = struck(Fault::Html).await;
    assert_eq!(html.headers()["content-type"], "text/html; charset=utf-8");
    let throttled = struck(Fault::Throttled {
        retry_after: Some(7),
    })
    .await;
    assert_eq!(throttled.headers()["retry-after"], "7");
    assert!(json_of(&throttled)["ErrorMessage"].is_string());
    let elsewhere = struck(Fault::Redirect {
        location: "https://other.test/api".into(),
    })
    .await;
    assert_eq!(elsewhere.headers()["location"], "https://other.test/api");
    let begun = tokio::time::Instant::now();
    struck(Fault::Slow { millis: 7000 }).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_late_effect_lands_at_its_own_time() {
    let (door, start) = paused();
    door.fault(
        Rule::new(Fault::Late { seconds: 20 })
            .on("POST", "/api/**")
            .next(1),
    );
    assert_eq!(
        door.send(mint(&start)).await.unwrap_err(),
        Cut::PerhapsReached
    );
    tokio::time::advance(Duration::from_secs(19)).await;
    assert_eq!(minted(&door), 0);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(minted(&door), 1);
    let key = door
        .view()
        .keys
        .into_iter()
        .find(|key| key.purpose == "p")
        .unwrap();
    assert_eq!(
        key.created,
        "2026-11-22T02:00:20Z".parse().unwrap(),
        "not when somebody looked"
    );
    let journal = door.journal();
    assert_eq!(
        (journal[0].fate, journal[0].status),
        (Fate::LandedLate, Some(200))
    );
}

#[tokio::test(start_paused = true)]
async fn a_backup_forgets_what_came_after_it_and_clocks_can_differ() {
    let (door, start) = paused();
    let backup = door.backup();
    let made = json_of(&door.send(mint(&start)).await.unwrap());
    let text = made["ApiKey"].as_str().unwrap().to_owned();
    assert_eq!(
        door.look(|twin, now| twin.whose(now, &text)).unwrap().life,
        Life::Alive
    );
    door.restore(backup);
    assert!(door.look(|twin, now| twin.whose(now, &text)).is_none());
    assert_eq!(door.done(Effect::Mint), 1, "the journal is not restored");

    door.move_clock(SignedDuration::from_hours(25));
    let root = request(Method::GET, "/api", "", &Value::Null);
    let date = door.send(root).await.unwrap().headers()["date"].clone();
    assert_eq!(date, "Mon, 23 Nov 2026 03:00:00 GMT");
    door.change(Change::Disable {
        user: "apikey-operator".into(),
    })
    .unwrap();
    assert_eq!(door.send(mint(&start)).await.unwrap().status(), 401);
    assert!(
        door.change(Change::RevokeKey {
            key: "apikeys-none".into()
        })
        .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn the_journal_tells_who_asked_what_and_no_secret() {
    let (door, start) = paused();
    let made = json_of(&door.send(mint(&start)).await.unwrap());
    let path = format!(
        "/api/users/{}/apikeys?ApiKey={}",
        start.operator.user, start.admin.key
    );
    let list = Request::get(path).body(Bytes::new()).unwrap();
    door.send(list).await.unwrap();
    let journal = door.journal();
    let told = |at: usize| {
        (
            journal[at].template,
            journal[at].effect,
            journal[at].user.as_deref(),
        )
    };
    let operator = Some(start.operator.user.as_str());
    assert_eq!(told(0), ("/api/users/{id}/apikeys", Effect::Mint, operator));
    assert_eq!(
        told(1),
        ("/api/users/{id}/apikeys", Effect::ListKeys, Some("Users-1"))
    );
    assert_eq!(journal[1].account.as_deref(), operator);
    let text = format!("{journal:?}") + &serde_json::to_string(&journal).unwrap();
    for secret in [
        &start.admin.key,
        &start.operator.key,
        made["ApiKey"].as_str().unwrap(),
    ] {
        assert!(!text.contains(secret));
    }
    door.forget();
    assert_eq!(door.journal().len(), 0);
}

/// A client that follows nothing and trusts what it is told to.
fn caller(ca: Option<&Tls>) -> reqwest::Client {
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none());
    let builder = match ca {
        Some(tls) => {
            let ca = reqwest::Certificate::from_pem(tls.ca_pem().as_bytes()).unwrap();
            builder.tls_certs_only([ca])
        }
        None => builder,
    };
    builder.build().unwrap()
}

#[tokio::test]
async fn over_a_socket_cuts_are_cuts_and_an_outage_is_an_outage() {
    let (door, start) = live();
    let server = tcp::serve(&door, 0, None).unwrap();
    let client = caller(None);
    let mint = || {
        let url = format!("{}/api/users/{}/apikeys", server.url(), start.operator.user);
        client
            .post(url)
            .header("X-Octopus-ApiKey", &start.operator.key)
            .body(r#"{"Purpose":"p"}"#)
    };
    assert_eq!(mint().send().await.unwrap().status(), 200);

    door.fault(Rule::new(Fault::CutAfter).next(1));
    let cut = mint().send().await.unwrap_err();
    assert!(!cut.is_connect(), "the request was sent: {cut:?}");
    assert_eq!(minted(&door), 2);
    door.fault(Rule::new(Fault::CutBefore).next(1));
    mint().send().await.unwrap_err();
    assert_eq!(minted(&door), 2);

    let address = server.address();
    door.fault(Rule::new(Fault::Outage));
    settles(async || mint().send().await.is_err_and(|cut| cut.is_connect())).await;
    let taken = tcp::serve(&door, address.port(), None).unwrap_err();
    assert!(
        taken.to_string().contains("taken by another program"),
        "the port stays ours: {taken}"
    );
    door.clear_faults();
    settles(async || {
        mint()
            .send()
            .await
            .is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    assert_eq!(server.address(), address);
}

/// Waits, with a deadline, until something holds.
async fn settles(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "it never settled");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn over_tls_only_the_right_authority_helps() {
    let (door, _) = live();
    let tls = Tls::new().unwrap();
    let server = tcp::serve(&door, 0, Some(&tls)).unwrap();
    let root = format!("{}/.well-known/openid-configuration", server.url());
    let answer = caller(Some(&tls)).get(&root).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let oidc: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(oidc["token_endpoint"], format!("{}/token/v1", server.url()));
    for stranger in [caller(None), caller(Some(&Tls::new().unwrap()))] {
        let refused = stranger.get(&root).send().await.unwrap_err();
        let why = format!("{refused:?}");
        assert!(
            why.contains("UnknownIssuer") || why.contains("BadSignature"),
            "{why}"
        );
    }
}

#[tokio::test]
async fn the_control_door_has_the_same_powers() {
    let (door, start) = live();
    let server = tcp::serve(&door, 0, None).unwrap();
    let control = control::serve(&door, 0).await.unwrap();
    let client = caller(None);
    let call = async |method: Method, path: &str, body: &str| {
        let url = format!("{}{path}", control.url());
        let answer = client
            .request(method, url)
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let me = async || {
        let url = format!("{}/api/users/me", server.url());
        let request = client
            .get(url)
            .header("X-Octopus-ApiKey", &start.operator.key);
        request.send().await.unwrap().status()
    };
    assert!(
        call(Method::GET, "/", "")
            .await
            .1
            .contains("POST   /faults")
    );
    assert_eq!(call(Method::POST, "/backups/early", "").await.0, 204);
    assert_eq!(me().await, StatusCode::OK);
    let change = r#"{"change":"disable","user":"apikey-operator"}"#;
    assert_eq!(call(Method::POST, "/changes", change).await.0, 204);
    assert_eq!(me().await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        call(Method::POST, "/backups/early/restore", "").await.0,
        204
    );
    assert_eq!(me().await, StatusCode::OK);
    let fault = r#"{"fault":"refused","status":503}"#;
    assert_eq!(call(Method::POST, "/faults", fault).await.0, 204);
    assert!(call(Method::GET, "/faults", "").await.1.contains("503"));
    assert_eq!(me().await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(call(Method::DELETE, "/faults", "").await.0, 204);
    assert_eq!(me().await, StatusCode::OK);
    let before = door.now();
    assert_eq!(call(Method::POST, "/clock", r#"{"by":"36h"}"#).await.0, 204);
    assert!(door.now().duration_since(before) >= SignedDuration::from_hours(36));
    let (_, journal) = call(Method::GET, "/journal", "").await;
    assert_eq!(
        serde_json::from_str::<Value>(&journal)
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        5
    );
    assert_eq!(call(Method::DELETE, "/journal", "").await.0, 204);
    assert_eq!(door.journal().len(), 0);
    let (_, view) = call(Method::GET, "/view", "").await;
    assert!(view.contains("apikey-operator") && !view.contains(&start.operator.key));
    for (path, body, status) in [
        ("/changes", r#"{"change":"disable","user":"nobody"}"#, 404),
        ("/changes", r#"{"change":"explode"}"#, 400),
        ("/faults", "no json", 400),
        ("/backups/none/restore", "", 404),
    ] {
        let (got, said) = call(Method::POST, path, body).await;
        assert_eq!(
            (got, said.contains("error")),
            (status, true),
            "{path} {body}: {said}"
        );
    }
}

#[tokio::test]
async fn the_program_says_where_it_is_and_when_a_port_is_taken() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let program = env!("CARGO_BIN_EXE_twin");
    let key = "API-0123456789ABCDEF";
    let mut child = tokio::process::Command::new(program)
        .args(["octopus", "--seed", "5", "--admin-key", key])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut url = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if let Some(("", rest)) = line.trim().split_once("server ") {
            rest.trim().clone_into(&mut url);
        }
        if line.starts_with("Ctrl-C") {
            break;
        }
    }
    let request = caller(None)
        .get(format!("{url}/api/users/me"))
        .header("X-Octopus-ApiKey", key);
    assert_eq!(request.send().await.unwrap().status(), 200);

    let port = url.rsplit_once(':').unwrap().1;
    let mut second = tokio::process::Command::new(program);
    let second = second
        .args(["octopus", "--port", port])
        .kill_on_drop(true)
        .output();
    let second = tokio::time::timeout(Duration::from_secs(10), second)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(&format!("port {port} is taken")), "{said}");
}

/// The guide of the control door names each fault, and the door takes each as it is named there.
#[tokio::test]
async fn the_control_door_takes_each_fault() {
    let (door, _) = live();
    let control = control::serve(&door, 0).await.unwrap();
    let client = caller(None);
    let guide = client.get(control.url()).send().await.unwrap();
    let guide = guide.text().await.unwrap();
    let faults = [
        Fault::Outage,
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::Late { seconds: 20 },
        Fault::Slow { millis: 5 },
        Fault::Throttled {
            retry_after: Some(5),
        },
        Fault::Refused { status: 503 },
        Fault::Feigned,
        Fault::Html,
        Fault::HalfJson,
        Fault::Flood { mebibytes: 5 },
        Fault::Redirect {
            location: "https://elsewhere.test".to_owned(),
        },
    ];
    let (_, named) = guide.split_once("faults: ").unwrap();
    let (named, _) = named.split_once("DELETE").unwrap();
    assert_eq!(named.split_whitespace().count(), faults.len(), "{named}");
    for fault in faults {
        let rule = serde_json::to_value(Rule::new(fault.clone())).unwrap();
        let name = rule["fault"].as_str().unwrap();
        let asked: Vec<&str> = named
            .split_whitespace()
            .filter(|word| word.split('{').next() == Some(name))
            .collect();
        let fields = rule.as_object().unwrap().keys();
        let own: Vec<_> = fields
            .filter(|field| !["fault", "method", "path", "times"].contains(&field.as_str()))
            .collect();
        assert!(
            own.iter().all(|field| asked[0].contains(field.as_str())),
            "{name}"
        );
        let request = client.post(format!("{}/faults", control.url()));
        let answer = request.body(rule.to_string()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{name}");
        assert_eq!(door.faults().last(), Some(&Rule::new(fault)));
    }
}
