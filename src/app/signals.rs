//! How the operator is asked to end.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What SIGTERM and Ctrl-C ask for.
pub struct Signals {
    /// Cancelled by the first: passes that have begun are finished.
    pub stop: CancellationToken,
    /// Cancelled by the second: nothing is waited for. It is as safe as a crash.
    pub abort: CancellationToken,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub fn listen() -> anyhow::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let cancel = [stop.clone(), abort.clone()];
        tokio::spawn(async move {
            for token in cancel {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
                tracing::info!(
                    "asked to end: passes that have begun are finished, unless asked again"
                );
                token.cancel();
            }
        });
        Ok(Self { stop, abort })
    }
}
