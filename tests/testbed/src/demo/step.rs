//! The steps of a demo, and how a demo can end.

use std::fmt;
use std::io::Write as _;
use std::process::{ExitCode, Termination};

/// A part of a demo that takes time and can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The programs of Kubernetes are found or built.
    Programs,
    /// Elasticsearch is found or built.
    Elasticsearch,
    /// The operator is built.
    Operator,
    /// Kubernetes starts.
    ControlPlane,
    /// The deploy servers start.
    Server,
    /// What the chart renders is applied.
    Install,
    /// The operator starts.
    Start,
    /// The samples are applied.
    Apply,
    /// Every `ApiKey` becomes ready.
    Ready,
    /// The servers take the keys that are in the Secrets.
    Prove,
    /// A key is replaced because somebody asks for it.
    Rotate,
    /// A Secret that somebody has deleted comes back.
    Lose,
    /// A key is deleted on the server.
    Vanish,
    /// A key that vanished is replaced.
    Replace,
    /// The `ApiKey`s are deleted.
    Delete,
    /// The servers take those keys no more.
    Dead,
    /// All else is deleted.
    Clear,
    /// The servers are as they were before.
    Left,
    /// It goes on until somebody ends it.
    Stay,
    /// Everything is ended.
    End,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Programs => "getting the programs of Kubernetes",
            Self::Elasticsearch => "getting Elasticsearch",
            Self::Operator => "building the operator",
            Self::ControlPlane => "starting Kubernetes",
            Self::Server => "starting the deploy servers",
            Self::Install => "installing kinds and rights",
            Self::Start => "starting the operator",
            Self::Apply => "applying the manifests",
            Self::Ready => "waiting for the keys",
            Self::Prove => "trying the keys",
            Self::Rotate => "asking for another key",
            Self::Lose => "waiting for the Secret to come back",
            Self::Vanish => "deleting a key on the server",
            Self::Replace => "waiting for what the server lost",
            Self::Delete => "deleting the keys",
            Self::Dead => "trying the old keys again",
            Self::Clear => "deleting the rest",
            Self::Left => "looking for what is left",
            Self::Stay => "staying",
            Self::End => "ending everything",
        })
    }
}

/// What was wrong, and where.
#[derive(Debug)]
pub struct Trouble {
    /// The step that failed.
    pub at: Step,
    /// Why.
    pub why: anyhow::Error,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:#}", self.at, self.why)
    }
}

impl std::error::Error for Trouble {}

/// How a demo ended.
#[derive(Debug)]
pub enum Outcome {
    /// As it should.
    Well,
    /// Something was wrong.
    Wrong(Trouble),
    /// Somebody ended it before it was through.
    Interrupted,
}

impl Outcome {
    /// The exit code of a program that ends like this.
    pub fn code(&self) -> u8 {
        match self {
            Self::Well => 0,
            Self::Wrong(_) => 1,
            // As shells say it of Ctrl-C.
            Self::Interrupted => 130,
        }
    }
}

impl From<Result<(), Trouble>> for Outcome {
    fn from(result: Result<(), Trouble>) -> Self {
        result.map_or_else(Self::Wrong, |()| Self::Well)
    }
}

impl Termination for Outcome {
    /// Says what was wrong, on standard error, and gives the exit code.
    fn report(self) -> ExitCode {
        if let Self::Wrong(trouble) = &self {
            // Nobody listens: then the exit code alone tells.
            let _ = writeln!(std::io::stderr(), "error: {trouble}");
        }
        ExitCode::from(self.code())
    }
}
