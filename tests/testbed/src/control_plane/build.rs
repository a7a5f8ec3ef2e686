//! Builds the programs of the control plane with Go, from modules pinned in
//! `tests/testbed/control-plane/`. Turns what can be missing into a sentence that names the fix.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::binaries::Binary;
use crate::process::{Process, Program};
use crate::progress::Progress;

/// The pinned modules.
pub(super) const GO_MOD: &str = include_str!("../../control-plane/go.mod");
/// Their checksums.
pub(super) const GO_SUM: &str = include_str!("../../control-plane/go.sum");

/// Builds `missing` into `folder`, one after the other.
pub(super) async fn build(
    folder: &Path,
    missing: &[Binary],
    progress: &mut Progress,
) -> Result<()> {
    let workshop = folder.join("build");
    set_up(&workshop).map_err(|error| explain(&error.to_string(), &workshop))?;
    for (done, &binary) in missing.iter().enumerate() {
        let name = binary.name();
        let what = format!("Building {name}, {} of {}", done + 1, missing.len());
        let go = go(binary, &workshop)?.start(workshop.join(format!("{name}.log")))?;
        watch(&go, &what, progress).await?;
        fs::rename(workshop.join(name), folder.join(name))
            .with_context(|| format!("cannot move {name} into {}", folder.display()))?;
    }
    fs::remove_dir_all(&workshop).with_context(|| format!("cannot remove {}", workshop.display()))
}

/// Makes the folder to build in, without what an earlier build has left behind.
fn set_up(workshop: &Path) -> io::Result<()> {
    if workshop.exists() {
        fs::remove_dir_all(workshop)?;
    }
    fs::create_dir_all(workshop.join("tmp"))?;
    fs::write(workshop.join("go.mod"), GO_MOD)?;
    fs::write(workshop.join("go.sum"), GO_SUM)
}

fn go(binary: Binary, workshop: &Path) -> Result<Program> {
    let flags = linker_flags()?;
    let go = Program::new("go")
        .args([
            "build",
            "-v",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            &flags,
        ])
        .args(["-o", binary.name(), binary.package()])
        .current_dir(workshop)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        // Killed, Go leaves its temporary files behind; here the next build finds them.
        .env("GOTMPDIR", workshop.join("tmp"));
    Ok(go)
}

/// Without these the programs say that they are version v0.0.0.
fn linker_flags() -> Result<String> {
    let version = GO_MOD
        .lines()
        .find_map(|line| {
            line.trim()
                .strip_prefix("k8s.io/kubernetes ")?
                .split(' ')
                .next()
        })
        .context("go.mod does not name k8s.io/kubernetes")?;
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let set = "-X k8s.io/component-base/version.git";
    Ok(format!(
        "-s -w {set}Version={version} {set}Major={major} {set}Minor={minor}"
    ))
}

/// Shows what Go is at until it is done.
async fn watch(go: &Process, what: &str, progress: &mut Progress) -> Result<()> {
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    let status = loop {
        tokio::select! {
            status = go.wait() => break status?,
            _ = tick.tick() => {
                let words = go.last_words();
                progress.show(what, words.lines().next_back().unwrap_or_default());
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    progress.finish(&format!("{what}: failed"));
    let words = fs::read_to_string(go.log()).unwrap_or_default();
    Err(explain(&words, go.log()))
}

/// What Go and the shell say when something is missing, and the sentence for people.
const FIXES: [(&[&str], &str); 5] = [
    (
        &["go: not found", "go: command not found", "exec: go:"],
        "Go is missing: install Go 1.26 or newer (https://go.dev/dl), the Kubernetes control \
         plane is built with it",
    ),
    (
        &[
            "requires go >=",
            "invalid go version",
            "unknown directive",
            "toolchain not available",
        ],
        "Go is too old: install Go 1.26 or newer (https://go.dev/dl), or set GOTOOLCHAIN=auto so \
         that it fetches the one it needs",
    ),
    (
        &[
            "no space left on device",
            "No space left on device",
            "quota exceeded",
        ],
        "The disk is full: building the control plane takes 5 GB in Go's caches and ours (`go env \
         GOCACHE GOMODCACHE`)",
    ),
    (
        &["signal: killed", "cannot allocate memory"],
        "Memory ran out: building the control plane takes 3 GB, close something or set \
         GOFLAGS=-p=1",
    ),
    (
        &[
            "dial tcp",
            "no such host",
            "i/o timeout",
            "TLS handshake",
            "proxyconnect",
            "network is unreachable",
            "connection reset by peer",
            "module lookup disabled",
            "502 Bad Gateway",
            "503 Service Unavailable",
        ],
        "The Go modules could not be fetched: check the network, or set GOPROXY to a mirror that \
         you can reach",
    ),
];

fn explain(words: &str, log: &Path) -> anyhow::Error {
    let fix = FIXES
        .iter()
        .find(|(signs, _)| signs.iter().any(|sign| words.contains(sign)));
    if let Some((_, fix)) = fix {
        return anyhow::anyhow!("{fix}.");
    }
    // Lines of one word are packages that went well; the first of the others tell most.
    let said: Vec<_> = words
        .lines()
        .filter(|line| line.contains(' '))
        .take(5)
        .collect();
    if said.is_empty() {
        // On a full disk not even the log can be written.
        return anyhow::anyhow!(
            "Go ended without a word, so the disk is full or it was killed: building the control \
             plane takes 5 GB of disk and 3 GB of memory."
        );
    }
    anyhow::anyhow!(
        "Go could not build the control plane ({}):\n{}",
        log.display(),
        said.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let cases = [
            ("sh: 4: exec: go: not found\n", "Go is missing"),
            ("sh: line 4: exec: go: not found\n", "Go is missing"),
            (
                "go: go.mod requires go >= 1.26.0 (running go 1.24.1; GOTOOLCHAIN=local)",
                "too old",
            ),
            (
                "go.mod:5: invalid go version '1.26.0': must match format 1.23",
                "too old",
            ),
            (
                "go/ast\nx.go:1:1: write /tmp/a.o: no space left on device",
                "disk is full",
            ),
            (
                "go: x@v1: Get \"https://y/x\": dial tcp: lookup y: no such host",
                "network",
            ),
            ("module lookup disabled by GOPROXY=off", "network"),
            (
                "k8s.io/api/core/v1: compile: signal: killed",
                "Memory ran out",
            ),
            ("go/ast\ngo/tok", "without a word"),
            (
                "# k8s.io/api\nx.go:1:1: syntax error",
                "x.go:1:1: syntax error",
            ),
        ];
        for (words, part) in cases {
            let error = explain(words, Path::new("log")).to_string();
            assert!(error.contains(part), "{words}: {error}");
        }
    }

    #[test]
    fn the_programs_know_their_version() {
        let flags = linker_flags().unwrap();
        assert!(flags.contains("version.gitVersion=v1."), "{flags}");
        assert!(flags.ends_with("version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"));
    }
}
