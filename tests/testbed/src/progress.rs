//! What people see on standard error while something long is under way: one line that changes
//! on a terminal, now and then a line elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::Instant;

/// How often a log (not a terminal) hears that the same thing still goes on.
const REMINDER: Duration = Duration::from_secs(30);

/// The width that no terminal goes below.
const WIDTH: usize = 79;

/// One long piece of work, as it is shown.
#[derive(Debug)]
pub(crate) struct Progress {
    terminal: bool,
    start: Instant,
    /// What was said last in a log, and when.
    said: Option<(String, Instant)>,
}

impl Progress {
    /// Begins now; shows nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            start: Instant::now(),
            said: None,
        }
    }

    /// Shows what is being done; `detail` changes quickly and is for terminals only.
    pub(crate) fn show(&mut self, what: &str, detail: &str) {
        let line = format!("{what} ({})", clock(self.start.elapsed()));
        if self.terminal {
            let line: String = format!("{line} {detail}").chars().take(WIDTH).collect();
            say(&format!("\r\x1b[2K{line}"));
        } else if self
            .said
            .as_ref()
            .is_none_or(|(w, at)| w != what || at.elapsed() > REMINDER)
        {
            say(&format!("{line}\n"));
            self.said = Some((what.to_owned(), Instant::now()));
        }
    }

    /// Says how it went, on a line that stays.
    pub(crate) fn finish(&self, how: &str) {
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        say(&format!("{clear}{how} ({})\n", clock(self.start.elapsed())));
    }
}

fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // Nobody listens: then there is nobody to tell that nobody listens.
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}

fn clock(elapsed: Duration) -> String {
    format!("{}:{:02}", elapsed.as_secs() / 60, elapsed.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_and_seconds() {
        assert_eq!(clock(Duration::from_secs(9)), "0:09");
        assert_eq!(clock(Duration::from_secs(754)), "12:34");
    }
}
