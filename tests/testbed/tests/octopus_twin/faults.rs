//! Faults in the process: what caller and server make of each.

use jiff::SignedDuration;
use testbed::twins::octopus::{Change, Life};
use testbed::twins::{Cut, Effect, Fate, Fault, Rule};

use super::{Bytes, Duration, Method, Request, Value, json_of, mint, minted, paused, request};

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
