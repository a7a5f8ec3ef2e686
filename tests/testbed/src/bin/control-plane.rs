//! Runs a control plane alone until Ctrl-C, for trying things by hand:
//! `cargo run --package testbed --bin control-plane`.

use std::io::Write as _;

use anyhow::Result;
use testbed::control_plane::{Binaries, ControlPlane};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<()> {
    // Listened for from the start, so that an early one leads to an orderly end too.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = run() => result,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// Does not end by itself, unless the control plane does; dropped, it ends the control plane.
async fn run() -> Result<()> {
    let binaries = Binaries::obtain().await?;
    let control_plane = ControlPlane::start(&binaries).await?;
    let [first, second, third] = control_plane.processes();
    let mut out = std::io::stdout();
    for process in [first, second, third] {
        let (name, id) = (process.name(), process.id());
        writeln!(
            out,
            "# {name}: process {id}, log {}",
            process.log().display()
        )?;
    }
    writeln!(
        out,
        "export KUBECONFIG={}",
        control_plane.kubeconfig().display()
    )?;
    tokio::select! {
        ended = first.wait() => ended?,
        ended = second.wait() => ended?,
        ended = third.wait() => ended?,
    };
    control_plane.stop().await
}
