//! What the page says.

use super::*;

#[test]
fn passes_are_counted_however_they_end() {
    let metrics = Metrics::new();
    metrics.clone().pass(Kind::ApiKey).ended(Outcome::Changed);
    metrics.pass(Kind::ApiKey).ended(Outcome::Unchanged);
    drop(metrics.pass(Kind::ServiceAccount));
    metrics.pass(Kind::DeployServer).ended(Outcome::Stale);
    let page = metrics.encode().unwrap();
    for labels in [
        r#"kind="ApiKey",outcome="changed""#,
        r#"kind="ApiKey",outcome="unchanged""#,
        r#"kind="ServiceAccount",outcome="failed""#,
        r#"kind="DeployServer",outcome="stale""#,
    ] {
        let line = format!("apikey_operator_pass_duration_seconds_count{{{labels}}} 1\n");
        assert!(page.contains(&line), "{line}{page}");
    }
}

#[test]
fn names_are_as_prometheus_has_them() {
    let metrics = Metrics::new();
    metrics.effect("mint");
    metrics.call("team-a/octopus", "mint", "ok");
    metrics.fault(Kind::ApiKey, "SecretConflict");
    metrics.set_keys("team-a/octopus", KeyState::Managed, 3);
    metrics.leads();
    let page = metrics.encode().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        format!(r#"apikey_operator_build_info{{version="{version}"}} 1"#),
        r#"apikey_operator_effects_total{step="mint"} 1"#.to_owned(),
        r#"apikey_operator_server_calls_total{server="team-a/octopus",call="mint",outcome="ok"} 1"#
            .to_owned(),
        r#"apikey_operator_faults_total{kind="ApiKey",reason="SecretConflict"} 1"#.to_owned(),
        r#"apikey_operator_keys{server="team-a/octopus",state="managed"} 3"#.to_owned(),
        "apikey_operator_leader 1".to_owned(),
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    assert!(page.ends_with("# EOF\n"));
}

#[test]
fn of_a_connection_that_is_gone_nothing_is_told() {
    let metrics = Metrics::new();
    metrics.call("gone", "mint", "ok");
    metrics.call("gone", "mint", "throttled");
    for state in KeyState::ALL {
        metrics.set_keys("gone", state, 1);
        metrics.set_keys("here", state, 1);
    }
    metrics.forget_server("gone");
    let page = metrics.encode().unwrap();
    assert!(
        !page.contains("gone") && page.matches("here").count() == 6,
        "{page}"
    );
}
