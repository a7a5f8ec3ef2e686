//! The table, as it is written in `table.txt`.

use serde_json::Value;

const TABLE: &str = include_str!("table.txt");

/// One request and the answer that a server must give.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// The case it belongs to.
    pub(crate) case: String,
    pub(crate) who: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) status: u16,
    /// What the body must hold.
    pub(crate) has: Value,
    pub(crate) precision: Precision,
}

/// How far the answers of two servers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    Whole,
    StatusAndType,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            case,
            who,
            method,
            path,
            body,
            ..
        } = self;
        write!(f, "{case}: {who} {method} {path} {body}")
    }
}

/// The whole table. Panics where it is not well written.
pub(crate) fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut case = String::new();
    for line in TABLE.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("== ") {
            name.clone_into(&mut case);
        } else if let Some(more) = line.strip_prefix("    ") {
            let Some(step) = steps.last_mut() else {
                panic!("an answer without a request: {line}")
            };
            more_of(step, more);
        } else {
            steps.push(request(&case, line));
        }
    }
    steps
}

fn request(case: &str, line: &str) -> Step {
    let mut words = line.splitn(4, ' ').map(str::to_owned);
    let mut word = || words.next().unwrap_or_default();
    Step {
        case: case.to_owned(),
        who: word(),
        method: word(),
        path: word(),
        body: word(),
        headers: Vec::new(),
        status: 0,
        has: Value::Null,
        precision: Precision::Whole,
    }
}

fn more_of(step: &mut Step, line: &str) {
    if let Some((name, value)) = line.strip_prefix("with ").and_then(|h| h.split_once(": ")) {
        step.headers.push((name.to_owned(), value.to_owned()));
        return;
    }
    let read = || {
        let (status, rest) = line.split_once(' ')?;
        let (precision, body) = match rest.strip_prefix("~ ") {
            Some(body) => (Precision::StatusAndType, body),
            None => (Precision::Whole, rest),
        };
        Some((
            status.parse().ok()?,
            precision,
            serde_json::from_str(body).ok()?,
        ))
    };
    let Some((status, precision, has)) = read() else {
        panic!("not an answer: {line}")
    };
    (step.status, step.precision, step.has) = (status, precision, has);
}
