//! Every kind of answer, good and bad, against what it is sorted into.

use std::sync::Mutex;

use serde_json::json;

use super::super::script::{CREDENTIAL, Script, Ticking, answer};
use super::super::{Budget, Limits};
use super::*;

/// A way to a scripted server whose errors look like `{"Error": "text"}`.
fn way(script: &Arc<Script>) -> Http {
    let complaint = |body: &[u8]| {
        let body: Value = serde_json::from_slice(body).ok()?;
        body.get("Error")?.as_str().map(ToOwned::to_owned)
    };
    Http::new(&script.connection(), complaint).unwrap()
}

fn badge() -> Badge {
    Badge::new(
        HeaderName::from_static("x-key"),
        &KeyMaterial::new(CREDENTIAL),
    )
    .unwrap()
}

async fn call(script: &Arc<Script>, method: Method) -> Result<Answer, Fault> {
    let body = (method != Method::GET).then(|| json!({ "A": 1 }));
    let route = Route::new("/api/things/{}", &["Things-1"]).unwrap();
    let query = vec![("filter", "a b&c/d=é".to_owned())];
    way(script)
        .call(Ask {
            method,
            route,
            query,
            body,
            badge: &badge(),
            by: None,
        })
        .await
}

async fn fault(response: Response<Bytes>, method: Method) -> Fault {
    call(&Script::new().then(Ok(response)), method)
        .await
        .err()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_is_what_was_asked_for() {
    let script = Script::new().says(200, "{}").says(200, "{}");
    call(&script, Method::POST).await.unwrap();
    call(&script, Method::GET).await.unwrap();
    let [post, get] = script.requests().try_into().unwrap();
    let uri = "https://octopus.example/prefix/api/things/Things-1?filter=a+b%26c%2Fd%3D%C3%A9";
    assert_eq!(post.uri(), uri);
    assert_eq!(post.headers()["content-type"], "application/json");
    assert_eq!(post.headers()["x-key"], CREDENTIAL);
    assert!(post.headers()["x-key"].is_sensitive());
    assert_eq!(post.body(), r#"{"A":1}"#);
    assert!(get.body().is_empty());
    assert!(!get.headers().contains_key("content-type"));
}

#[tokio::test(start_paused = true)]
async fn every_status_has_its_fault() {
    let said = || "no, because".to_owned();
    let trouble = |status: &str| format!("{status}: no, because");
    let get = Method::GET;
    let table = [
        (get.clone(), 401, Fault::Unauthorized),
        (get.clone(), 403, Fault::Forbidden(said())),
        (get.clone(), 404, Fault::NotFound),
        (get.clone(), 400, Fault::Rejected(said())),
        (get.clone(), 405, Fault::Rejected(said())),
        (get.clone(), 418, Fault::Rejected(said())),
        (get.clone(), 409, Fault::Conflict(said())),
        (get.clone(), 429, Fault::Throttled { after: None }),
        (
            get.clone(),
            408,
            Fault::Unreachable(trouble("408 Request Timeout")),
        ),
        (
            get.clone(),
            500,
            Fault::Unreachable(trouble("500 Internal Server Error")),
        ),
        (
            get,
            503,
            Fault::Unreachable(trouble("503 Service Unavailable")),
        ),
        (Method::POST, 400, Fault::Rejected(said())),
        (Method::POST, 429, Fault::Throttled { after: None }),
        (
            Method::POST,
            408,
            Fault::Uncertain(trouble("408 Request Timeout")),
        ),
        (
            Method::POST,
            500,
            Fault::Uncertain(trouble("500 Internal Server Error")),
        ),
        (
            Method::PUT,
            502,
            Fault::Uncertain(trouble("502 Bad Gateway")),
        ),
        (
            Method::DELETE,
            503,
            Fault::Uncertain(trouble("503 Service Unavailable")),
        ),
        (Method::DELETE, 404, Fault::NotFound),
    ];
    for (method, status, expected) in table {
        let response = answer(status, r#"{"Error": "no,\nbecause"}"#);
        assert_eq!(
            fault(response, method.clone()).await,
            expected,
            "{method} {status}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_than_the_server_say_is_not_repeated_and_no_word_that_a_thing_is_gone() {
    for body in [
        "",
        "<html>Not found</html>",
        "{\"Error\": 1}",
        "{}",
        "[",
        "null",
    ] {
        let gone = fault(answer(404, body), Method::DELETE).await;
        assert_eq!(
            gone,
            Fault::Protocol("a 404 that is not the server's".to_owned()),
            "{body}"
        );
        let refused = fault(answer(400, body), Method::POST).await;
        let expected = "400 Bad Request, without a reason".to_owned();
        assert_eq!(refused, Fault::Rejected(expected), "{body}");
        let trouble = fault(answer(502, body), Method::GET).await;
        let expected = "502 Bad Gateway, without a reason".to_owned();
        assert_eq!(trouble, Fault::Unreachable(expected), "{body}");
    }
    assert_eq!(
        fault(answer(101, ""), Method::GET).await.label(),
        "protocol"
    );
}

#[tokio::test(start_paused = true)]
async fn a_word_of_a_server_is_short() {
    for (length, expected) in [(60_000, "not_found"), (70_000, "protocol")] {
        let body = json!({ "Error": "no", "More": "x".repeat(length) }).to_string();
        assert_eq!(
            fault(answer(404, &body), Method::GET).await.label(),
            expected
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_sorted_by_whether_the_request_may_have_arrived() {
    let table = [
        (
            Cut::NotSent("refused".to_owned()),
            Fault::Unreachable("refused".to_owned()),
        ),
        (
            Cut::Untrusted("unknown".to_owned()),
            Fault::Untrusted("unknown".to_owned()),
        ),
        (
            Cut::NoAnswer("reset".to_owned()),
            Fault::Uncertain("reset".to_owned()),
        ),
        (
            Cut::TooLong(9),
            Fault::Protocol("the answer is longer than 9 bytes".to_owned()),
        ),
    ];
    for (cut, expected) in table {
        for method in [Method::GET, Method::POST] {
            let script = Script::new().then(Err(cut.clone()));
            assert_eq!(call(&script, method).await.err().unwrap(), expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_names_an_origin_and_nothing_else() {
    let table = [
        (
            Some("https://evil.example/steal?key=1"),
            "https://evil.example",
        ),
        (
            Some("http://octopus.example/prefix/api"),
            "http://octopus.example",
        ),
        (Some("//other.example:8443/x"), "https://other.example:8443"),
        (
            Some("https://user:pass@evil.example/"),
            "https://evil.example",
        ),
        (Some("/app#/login?secret=1"), "another path of its own"),
        (Some("https://["), "somewhere that it does not name"),
        (None, "somewhere that it does not name"),
    ];
    for (location, expected) in table {
        let mut response = answer(302, "");
        if let Some(location) = location {
            response
                .headers_mut()
                .insert(LOCATION, location.parse().unwrap());
        }
        let script = Script::new().then(Ok(response));
        let fault = call(&script, Method::GET).await.err().unwrap();
        assert_eq!(fault, Fault::Redirected(expected.to_owned()));
        assert_eq!(script.requests().len(), 1, "a redirect is not followed");
    }
}

#[tokio::test(start_paused = true)]
async fn patience_is_asked_for_in_seconds_or_by_a_date() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let table = [
        ("7", seconds(7)),
        (" 0 ", seconds(1)),
        ("Sun, 22 Nov 2026 02:00:30 GMT", seconds(30)),
        ("Sun, 22 Nov 2026 01:00:00 GMT", seconds(1)),
        ("999999999999", seconds(3600)),
        ("Sun, 22 Nov 2099 02:00:30 GMT", seconds(3600)),
        ("-3", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("99999999999999999999999", None),
    ];
    for (text, expected) in table {
        let mut response = answer(429, "<html>");
        response
            .headers_mut()
            .insert(RETRY_AFTER, text.parse().unwrap());
        let after = fault(response, Method::GET).await;
        assert_eq!(after, Fault::Throttled { after: expected }, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_patience_is_left_alone_by_all() {
    let mut response = answer(429, "{}");
    response
        .headers_mut()
        .insert(RETRY_AFTER, "60".parse().unwrap());
    let script = Script::new().then(Ok(response)).says(200, "{}");
    let mut connection = script.connection();
    connection.budget = Arc::new(Budget::new(Limits::default()));
    let [one, other] = [(), ()].map(|()| Http::new(&connection, |_| None).unwrap());
    let (one, other) = (Arc::new(one), Arc::new(other));
    let ask = async |way: &Http| {
        let (method, route) = (Method::GET, Route::fixed("/api"));
        let ask = Ask {
            method,
            route,
            query: Vec::new(),
            body: None,
            badge: &badge(),
            by: None,
        };
        way.call(ask).await.map(drop)
    };
    let after = |seconds| {
        Err(Fault::Throttled {
            after: Some(Duration::from_secs(seconds)),
        })
    };
    assert_eq!(ask(&one).await, after(60));
    tokio::time::advance(Duration::from_secs(20)).await;
    assert_eq!(ask(&other).await, after(40));
    assert_eq!(script.requests().len(), 1);
    tokio::time::advance(Duration::from_secs(40)).await;
    assert_eq!(ask(&other).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up() {
    struct Silent(Mutex<u32>);
    #[async_trait::async_trait]
    impl Transport for Silent {
        async fn send(&self, _: Request<Bytes>) -> Result<Response<Bytes>, Cut> {
            *self.0.lock().unwrap() += 1;
            std::future::pending().await
        }
    }
    let silent = Arc::new(Silent(Mutex::new(0)));
    let mut connection = Script::new().connection();
    connection.transport = silent.clone();
    let way = Http::new(&connection, |_| None).unwrap();
    let start = Instant::now();
    let (method, route) = (Method::POST, Route::fixed("/api"));
    let ask = Ask {
        method,
        route,
        query: Vec::new(),
        body: Some(json!({})),
        badge: &badge(),
        by: None,
    };
    let fault = way.call(ask).await.err().unwrap();
    assert_eq!(fault, Fault::Uncertain("it took too long".to_owned()));
    assert_eq!((start.elapsed(), *silent.0.lock().unwrap()), (REQUEST, 1));
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_late_is_not_sent_late() {
    let script = Script::new().says(200, "{}");
    let way = Http::new(&script.connection(), |_| None).unwrap();
    let now = way.clock.now();
    for (by, sent) in [(now - SignedDuration::from_secs(1), false), (now, true)] {
        let ask = Ask {
            method: Method::POST,
            route: Route::fixed("/api"),
            query: Vec::new(),
            body: Some(json!({})),
            badge: &badge(),
            by: Some(by),
        };
        assert_eq!(way.call(ask).await.is_ok(), sent);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_secret_gets_into_a_fault() {
    let said = format!("you sent {CREDENTIAL} and API-OTHER1");
    let body = json!({ "Error": said }).to_string();
    for status in [400, 401, 403, 404, 405, 409, 429, 500, 503] {
        for method in [Method::GET, Method::POST] {
            let shown = fault(answer(status, &body), method).await.to_string();
            assert!(!shown.contains("API-"), "{shown}");
        }
    }
}

fn read<T: DeserializeOwned>(body: &str) -> Result<T, String> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let answer = Answer {
        sent_at: Ticking::dawn(),
        skew: SignedDuration::ZERO,
        badge: badge(),
        headers: HeaderMap::new(),
        body,
    };
    answer.read().map_err(|fault| fault.to_string())
}

#[test]
fn an_answer_that_makes_no_sense_is_told_without_quoting_it() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let table = [
        ("", "an empty answer"),
        (" \n", "an empty answer"),
        (
            "<html>API-CANARY</html>",
            "not JSON, seen at line 1, column 1",
        ),
        (
            "{\"Id\": \"API-CANARY",
            "JSON that breaks off, seen at line 1, column 18",
        ),
        (
            "{\"Id\": 5",
            "JSON that breaks off, seen at line 1, column 8",
        ),
        (
            "[\"API-CANARY\"]",
            "JSON of another shape, seen at line 1, column 0",
        ),
        ("\u{feff}{}", "not JSON, seen at line 1, column 1"),
        (&deep, "not JSON, seen at line 1, column 128"),
    ];
    for (body, expected) in table {
        let told = read::<Value>(body).and_then(|value| match value {
            Value::Array(_) => read::<std::collections::HashMap<String, u8>>(body).map(drop),
            _ => Ok(()),
        });
        let expected = format!("the server's answer makes no sense: {expected}");
        assert_eq!(told, Err(expected), "{body:.40}");
    }
}

#[test]
fn only_a_plain_url_is_a_base() {
    for good in [
        "https://a.example",
        "http://127.0.0.1:80/b/c/",
        "https://[::1]:8443",
    ] {
        assert!(Base::parse(good).is_some(), "{good}");
    }
    let bad = [
        "",
        "a.example",
        "ftp://a.example",
        "file:///etc/passwd",
        "https://",
        "https://u@a.example",
        "https://u:p@a.example",
        "https://a.example?b",
        "https://a.example#b",
        "data:text/plain,a",
    ];
    for bad in bad {
        assert!(Base::parse(bad).is_none(), "{bad}");
    }
}

#[test]
fn a_path_prefix_stays_before_every_path() {
    let table = [
        ("https://a.example", "https://a.example/api"),
        ("https://a.example/", "https://a.example/api"),
        (
            "https://a.example:8443/b/c//",
            "https://a.example:8443/b/c/api",
        ),
    ];
    for (base, expected) in table {
        assert_eq!(
            Base::parse(base).unwrap().at("/api", &[]).unwrap(),
            expected
        );
    }
}

#[test]
fn an_id_cannot_change_a_path() {
    let long = "x".repeat(LONGEST_ID + 1);
    for bad in [
        "", ".", "..", "a/b", "../teams", "a?b", "a%2fb", "a b", "ä", "a\n", &long,
    ] {
        let route = Route::new("/api/users/{}", &[bad]);
        assert_eq!(
            route.err().map(|fault| fault.to_string()),
            Some(
                "the server refuses this: nothing was sent, because an id holds what no id should hold"
                    .to_owned()
            ),
            "{bad}"
        );
    }
    let route = Route::new("/api/users/{}/apikeys/{}", &["Users-1", "apikeys-I6_d"]).unwrap();
    assert_eq!(route.path, "/api/users/Users-1/apikeys/apikeys-I6_d");
    assert_eq!(route.template, "/api/users/{}/apikeys/{}");
}

#[test]
fn the_skew_is_reckoned_at_the_middle_of_the_request() {
    let sent_at = Ticking::dawn();
    let received_at = sent_at + SignedDuration::from_secs(4);
    let skew = |date: &str| {
        let headers = HeaderMap::from_iter([(DATE, date.parse().unwrap())]);
        skew(&headers, sent_at, received_at)
    };
    let half = SignedDuration::from_millis(500);
    assert_eq!(skew("Sun, 22 Nov 2026 02:00:02 GMT"), half);
    assert_eq!(
        skew("Sun, 22 Nov 2026 03:00:02 GMT"),
        half + SignedDuration::from_hours(1)
    );
    assert_eq!(
        skew("Sun, 22 Nov 2026 01:00:02 GMT"),
        half - SignedDuration::from_hours(1)
    );
    assert_eq!(skew("yesterday"), SignedDuration::ZERO);
}

#[test]
fn a_secret_that_no_header_can_carry_is_no_badge() {
    let badge = |text: &str| Badge::new(HeaderName::from_static("x-key"), &KeyMaterial::new(text));
    for bad in ["a\nb", "a\r\nX-Evil: 1", "a\0"] {
        assert!(badge(bad).is_none());
    }
    let shown = format!("{:?}", badge("CANARY").unwrap());
    assert!(!shown.contains("CANARY"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_name_stays_one_part_of_a_path() {
    for (name, path) in [
        ("team-a.ci", "team-a.ci"),
        ("a b/../ü?x=1#y%2f", "a%20b%2F..%2F%C3%BC%3Fx%3D1%23y%252f"),
    ] {
        let script = Script::new().says(200, "{}");
        let way = Http::new(&script.connection(), |_| None).unwrap();
        let route = Route::named("/user/{}/x", &[name]).unwrap();
        assert!(
            way.call(Ask::new(Method::GET, route, &badge()))
                .await
                .is_ok()
        );
        assert_eq!(script.heard(), [format!("GET /prefix/user/{path}/x")]);
    }
    for name in ["", ".", ".."] {
        assert!(Route::named("/user/{}", &[name]).is_err(), "{name:?}");
    }
}

#[test]
fn a_badge_hides_all_that_is_secret_of_it() {
    let password = KeyMaterial::new("CANARY-PASSWORD");
    let badge = Badge::basic("operator", &password).unwrap();
    let shown = format!("{badge:?}");
    let coded = BASE64.encode("operator:CANARY-PASSWORD");
    for secret in ["CANARY", coded.as_str()] {
        assert!(!shown.contains(secret), "{shown}");
        let said = badge.plain(&format!("you sent {secret}-PASSWORD and {coded}"));
        assert!(!said.contains(secret), "{said}");
    }
    for bad in ["", "a:b", "a\nb"] {
        // A name with a line feed is sent encoded, and does no harm.
        assert_eq!(
            Badge::basic(bad, &password).is_some(),
            bad == "a\nb",
            "{bad:?}"
        );
    }
}
