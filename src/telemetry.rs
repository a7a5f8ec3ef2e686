//! Logs: set up once, as text or as JSON, on standard error.
//!
//! Invariant: whatever filter is asked for, libraries that would print what goes over a wire (the
//! body of a Secret that does not parse, the headers of a request) are held to what is harmless.

use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, ParseError, Targets};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The most that is heard of a library, whatever is asked for. `kube_client` logs a body that does
/// not parse, whole, as a warning; the others log headers or frames as they see them.
const CEILING: [(&str, LevelFilter); 10] = [
    ("kube_client", LevelFilter::ERROR),
    ("kube_runtime", LevelFilter::WARN),
    ("h2", LevelFilter::INFO),
    ("hyper", LevelFilter::INFO),
    ("hyper_util", LevelFilter::INFO),
    ("reqwest", LevelFilter::INFO),
    ("rustls", LevelFilter::INFO),
    ("tokio_util", LevelFilter::INFO),
    ("tower", LevelFilter::INFO),
    ("tower_http", LevelFilter::INFO),
];

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum Unheard {
    /// The filter is malformed.
    #[error("the log filter does not parse; it should look like info,apikey_operator=debug")]
    Filter(#[from] ParseError),
    /// Somebody else has set up logs before.
    #[error("logs are set up already")]
    Taken,
}

/// Sets up the logs of this process, for what `filter` lets through.
pub fn init(filter: &str, format: Format) -> Result<(), Unheard> {
    subscriber(filter, format, io::stderr, io::stderr().is_terminal())?
        .try_init()
        .map_err(|_| Unheard::Taken)
}

fn subscriber<W>(
    filter: &str,
    format: Format,
    writer: W,
    ansi: bool,
) -> Result<Box<dyn Subscriber + Send + Sync>, ParseError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(filter)?;
    let ceiling = Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_targets(CEILING);
    let lines = fmt::layer().with_writer(writer);
    let base = tracing_subscriber::registry().with(filter).with(ceiling);
    Ok(match format {
        Format::Text => Box::new(base.with(lines.with_ansi(ansi))),
        Format::Json => Box::new(base.with(lines.json().flatten_event(true))),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What is logged under a filter.
    fn logged(filter: &str, format: Format, log: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Page(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Page {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let page = Page::default();
        let written = page.clone();
        let subscriber = subscriber(filter, format, move || page.clone(), false).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_filter_lets_bodies_and_headers_through() {
        for filter in [
            "trace",
            "trace,kube_client=trace,h2=trace",
            "kube_client::client=warn",
        ] {
            let text = logged(filter, Format::Text, || {
                tracing::warn!(target: "kube_client::client", "{{\"data\": \"CANARY\"}}");
                tracing::trace!(target: "h2::codec", "CANARY");
                tracing::debug!(target: "hyper::proto", "CANARY");
            });
            assert_eq!(text, "", "{filter}");
        }
    }

    #[test]
    fn what_is_asked_for_is_logged() {
        let log = || {
            tracing::trace!("quiet");
            tracing::info!(key.name = "ci", "loud");
            tracing::error!(target: "kube_client", "broken");
        };
        let info = logged("info", Format::Text, log);
        assert!(info.contains("loud") && info.contains("broken") && !info.contains("quiet"));
        assert!(logged("apikey_operator=trace", Format::Text, log).contains("quiet"));
        let json = logged("info", Format::Json, log);
        let line: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&line["message"], &line["key.name"]),
            (&"loud".into(), &"ci".into())
        );
    }

    #[test]
    fn a_malformed_filter_is_refused() {
        assert!(init("loud=very", Format::Text).is_err());
    }
}
