//! The twin on a socket, over TLS, and as a program.

use std::process::Stdio;

use testbed::twins::tls::Tls;
use testbed::twins::{Fault, Rule, tcp};

use super::{Duration, Value, caller, live, minted, settles};

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
