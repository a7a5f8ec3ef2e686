//! The demo as people start it: the built program, and what it says by its exit code.
#![expect(clippy::unwrap_used, reason = "helpers of tests may, as tests do")]

use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// Long enough to build the operator on the way.
const PATIENCE: Duration = Duration::from_secs(1200);

fn demo() -> Command {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_demo"));
    demo.arg("--check").stdin(Stdio::null()).kill_on_drop(true);
    demo
}

async fn outcome(mut demo: Command) -> (Output, String) {
    let output = tokio::time::timeout(PATIENCE, demo.output());
    let output = output.await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    (output, said)
}

#[tokio::test]
async fn it_ends_with_0_when_all_is_well() {
    let (output, said) = outcome(demo()).await;
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("everything has ended"), "{said}");
}

#[tokio::test]
async fn it_ends_with_1_and_a_sentence_when_something_is_missing() {
    let empty = tempfile::tempdir().unwrap();
    let mut demo = demo();
    // No cache, and no Go to fill it with.
    demo.env_remove("KUBEBUILDER_ASSETS");
    demo.env("XDG_CACHE_HOME", empty.path()).env("PATH", "");
    let (output, said) = outcome(demo).await;
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Go 1.26"), "{said}");
}

#[tokio::test]
async fn it_ends_with_1_and_a_sentence_without_java() {
    let mut demo = demo();
    demo.args(["--server", "all"]).env("PATH", "");
    let (output, said) = outcome(demo).await;
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Java development kit 17"), "{said}");
}
