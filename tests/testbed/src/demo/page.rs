//! What people see of a demo: a line for each step, with its time, and what programs print.
//!
//! Invariant: nothing secret is ever written on it. Colours and lines that change are for
//! terminals; a log gets plain lines, each written once.

use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use tokio::time::Instant;

use super::step::{Step, Trouble};

/// Where the times end, on a terminal of 80.
const TEXT: usize = 66;

/// Escape codes; empty where colours are not wanted.
#[derive(Debug, Clone, Copy)]
struct Ink {
    bold: &'static str,
    faint: &'static str,
    good: &'static str,
    bad: &'static str,
    plain: &'static str,
}

const COLOURS: Ink = Ink {
    bold: "\x1b[1m",
    faint: "\x1b[2m",
    good: "\x1b[32m",
    bad: "\x1b[31m",
    plain: "\x1b[0m",
};

const NO_COLOURS: Ink = Ink {
    bold: "",
    faint: "",
    good: "",
    bad: "",
    plain: "",
};

/// What the page is written on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paper {
    /// The last line can change.
    Terminal,
    /// What is written stays.
    Log,
}

/// The page that a demo is written on.
pub struct Page {
    out: Box<dyn Write + Send>,
    paper: Paper,
    ink: Ink,
    began: Instant,
    times: Vec<(Step, Duration)>,
    /// The step that is under way.
    open: Option<Step>,
}

impl Page {
    /// A page on standard output. Colours are for terminals, and for people who have not set
    /// `NO_COLOR` (<https://no-color.org>).
    pub fn stdout() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let terminal = std::io::stdout().is_terminal() && set("TERM").is_some_and(|t| t != "dumb");
        let mut page = Self::log(std::io::stdout());
        if terminal {
            page.paper = Paper::Terminal;
            if set("NO_COLOR").is_none() {
                page.ink = COLOURS;
            }
        }
        page
    }

    /// A page without colours on `out`.
    pub fn log(out: impl Write + Send + 'static) -> Self {
        Self {
            out: Box::new(out),
            paper: Paper::Log,
            ink: NO_COLOURS,
            began: Instant::now(),
            times: Vec::new(),
            open: None,
        }
    }

    /// Does one step: shows what is under way, then what came of it and how long it took. The
    /// work says in a few words what came of it, next to its result.
    pub(super) async fn step<T>(
        &mut self,
        step: Step,
        work: impl Future<Output = anyhow::Result<(T, String)>>,
    ) -> Result<T, Trouble> {
        self.under_way(step);
        let began = Instant::now();
        let result = work.await;
        let took = began.elapsed();
        self.times.push((step, took));
        self.settle(step, result, took)
    }

    /// Does one step for each of many, all at once: a line for each, in their order. The first that
    /// fails ends the others.
    pub(super) async fn each<T, W>(
        &mut self,
        step: Step,
        works: impl IntoIterator<Item = W>,
    ) -> Result<Vec<T>, Trouble>
    where
        W: Future<Output = anyhow::Result<(T, String)>>,
    {
        let began = Instant::now();
        let timed = async |work: W| (work.await, began.elapsed());
        let mut works: FuturesOrdered<_> = works.into_iter().map(timed).collect();
        let mut results = Vec::new();
        self.under_way(step);
        while let Some((result, took)) = works.next().await {
            results.push(self.settle(step, result, took));
            if results.last().is_some_and(Result::is_err) {
                break;
            }
            if !works.is_empty() {
                self.under_way(step);
            }
        }
        self.times.push((step, began.elapsed()));
        results.into_iter().collect()
    }

    /// Shows what came of a step.
    fn settle<T>(
        &mut self,
        step: Step,
        result: anyhow::Result<(T, String)>,
        took: Duration,
    ) -> Result<T, Trouble> {
        let Ink { good, bad, .. } = self.ink;
        match result {
            Ok((value, text)) => {
                self.done(good, '✓', &text, took);
                Ok(value)
            }
            Err(why) => {
                self.done(bad, '✗', &step.to_string(), took);
                Err(Trouble { at: step, why })
            }
        }
    }

    /// Begins a part of the story.
    pub(super) fn heading(&mut self, text: &str) {
        let Ink { bold, plain, .. } = self.ink;
        self.write(&format!("\n{bold}{text}{plain}\n"));
    }

    /// A command that people could type, and what it prints.
    pub(super) fn shell(&mut self, command: &str, output: &str) {
        let Ink {
            bold, faint, plain, ..
        } = self.ink;
        self.write(&format!("\n    {faint}${plain} {bold}{command}{plain}\n"));
        for line in output.lines() {
            self.say(line);
        }
        self.write("\n");
    }

    /// Something to know.
    pub(super) fn say(&mut self, text: &str) {
        self.write(&format!("    {text}\n"));
    }

    /// What a program has said, below a step.
    pub(super) fn note(&mut self, text: &str) {
        let Ink { faint, plain, .. } = self.ink;
        for line in text.lines() {
            self.write(&format!("      {faint}{line}{plain}\n"));
        }
    }

    /// Something to try: what to type, and what it does.
    pub(super) fn offer(&mut self, command: &str, what: &str) {
        let Ink { faint, plain, .. } = self.ink;
        let line = format!("    {command:<56}{faint}{what}{plain}");
        self.write(&format!("{}\n", line.trim_end()));
    }

    /// How long each step took.
    pub(super) fn table(&mut self) {
        let all = self.began.elapsed();
        let times = std::mem::take(&mut self.times);
        self.heading("How long it took");
        for (step, took) in times {
            self.row(&step.to_string(), took);
        }
        self.row("all of it", all);
    }

    fn row(&mut self, what: &str, took: Duration) {
        self.write(&format!("    {what:<34}{}\n", seconds(took)));
    }

    fn under_way(&mut self, step: Step) {
        self.open = Some(step);
        if self.paper == Paper::Terminal {
            let Ink { faint, plain, .. } = self.ink;
            self.write(&format!("  {faint}· {step} …{plain}"));
        }
    }

    fn done(&mut self, ink: &str, mark: char, text: &str, took: Duration) {
        let Ink { faint, plain, .. } = self.ink;
        let clear = match self.paper {
            Paper::Terminal => "\r\x1b[2K",
            Paper::Log => "",
        };
        let time = seconds(took);
        self.open = None;
        self.write(&format!(
            "{clear}  {ink}{mark}{plain} {text:<TEXT$}{faint}{time}{plain}\n"
        ));
    }

    fn write(&mut self, text: &str) {
        // Nobody listens: then there is nobody to tell that nobody listens.
        let _ = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
    }
}

impl Drop for Page {
    /// Somebody has ended it in the middle of a step: their shell's prompt wants its own line.
    fn drop(&mut self) {
        if self.paper == Paper::Terminal && self.open.is_some() {
            self.write("\n");
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:>7.1} s", time.as_secs_f64())
}
