//! One wrong answer to each call: those to the deploy server, those that change something in
//! Kubernetes, and those that read there.

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{Response, StatusCode};
use simulation::effect::{Call, Door};
use simulation::life::Life;
use simulation::scene::{OPERATOR, Scene, play};
use simulation::script::{Act, Rule};

use super::matrix::verdict;
use crate::life::Test;

pub(super) fn tests() -> Vec<Test> {
    let mut tests = vec![
        test("server_refuses_the_connection", is_server, || Act::Refuse),
        test("server_answers_html", is_server, || {
            answer(200, "<html>Sign in</html>")
        }),
        test("server_answers_half", is_server, || Act::Instead(half())),
        test("cluster_fails_after_all", changes, || {
            Act::Instead(said(500, r#"{"kind":"Status","code":500}"#))
        }),
        test("cluster_refuses_the_connection", reads, || Act::Refuse),
        rotating("server_loses_its_answer", is_server, || Act::Lose),
    ];
    for status in [401, 403, 429, 500] {
        let act = move || answer(status, "{}");
        tests.push(test(&format!("server_says_{status}"), is_server, act));
    }
    for (status, reason) in [
        (403, "Forbidden"),
        (409, "Conflict"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
    ] {
        let code = StatusCode::from_u16(status).unwrap_or_default();
        let act = move || Act::status(code, reason, "no");
        tests.push(test(&format!("cluster_says_{status}"), changes, act));
        if status != 409 {
            tests.push(test(&format!("cluster_reads_{status}"), reads, act));
        }
        if status == 500 {
            tests.push(rotating("cluster_says_500", changes, act));
            tests.push(rotating("cluster_reads_500", reads, act));
        }
    }
    tests
}

fn test(
    name: &str,
    which: fn(&Call) -> bool,
    act: impl Fn() -> Act + Send + Sync + 'static,
) -> Test {
    let body = move || every_call(Life::Plain, which, &act);
    (format!("faults::{name}"), Box::new(body))
}

/// In a life in which the key is replaced as well.
fn rotating(
    name: &str,
    which: fn(&Call) -> bool,
    act: impl Fn() -> Act + Send + Sync + 'static,
) -> Test {
    let body = move || every_call(Life::Rotating, which, &act);
    let name = format!("faults::{name}_in_a_rotating_life");
    (name, Box::new(body))
}

fn said(status: u16, body: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response
}

/// Nothing is done, and this is said.
fn answer(status: u16, body: &'static str) -> Act {
    Act::Answer(said(status, body))
}

/// The beginning of an answer.
fn half() -> Response<Bytes> {
    said(200, r#"{"Id": "Us"#)
}

fn is_server(call: &Call) -> bool {
    matches!(call.door, Door::Server(_))
}

fn changes(call: &Call) -> bool {
    call.door == Door::Kubernetes && call.is_effect() && !call.path.contains("/events")
}

/// Reads of objects by name: a list begins a watch, and is not one step of a pass.
fn reads(call: &Call) -> bool {
    let named = call.target().is_some_and(|target| target.name.is_some());
    named && !call.is_effect()
}

fn every_call(life: Life, which: fn(&Call) -> bool, act: &(impl Fn() -> Act + Sync)) -> Result<()> {
    let calls = life.calls()?;
    let meant: Vec<_> = calls.iter().filter(|heard| which(&heard.call)).collect();
    ensure!(meant.len() > 2, "only {meant:?}");
    let mut wrong = Vec::new();
    for (number, heard) in meant.iter().enumerate() {
        let act = act();
        let outcome = play(|| async move {
            let scene = Scene::new().await?;
            scene.witness.spare(1);
            scene.start(OPERATOR);
            let meant = move |call: &Call| call.process.name.as_ref() == OPERATOR && which(call);
            let rule = Rule::once(act, meant).after(number);
            let ticket = scene.world.recorder.script(rule);
            scene
                .act(async {
                    life.live(&scene).await?;
                    ensure!(ticket.count() == 1, "nothing went wrong");
                    Ok(())
                })
                .await
        });
        if let Err(error) = outcome {
            let Call { method, path, .. } = &heard.call;
            wrong.push(format!("call {number} ({method} {path}):\n{error:#}"));
        }
    }
    verdict(&wrong, meant.len())
}
