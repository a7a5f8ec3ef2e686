//! What a process has said in an object's status, and patience with others who say something else.
//!
//! Two leaders with different views would contradict each other without end, each woken by the
//! other's write. So whoever has not changed its mind since somebody else wrote repeats itself at
//! most once in a while.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::plan::rotation::after;

/// What was said before is said again at most so often, while somebody else says otherwise.
const REPEAT: SignedDuration = SignedDuration::from_secs(30);

/// What a process has said last of one object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Voice<S> {
    said: Option<S>,
    repeated: Option<Timestamp>,
}

impl<S> Default for Voice<S> {
    fn default() -> Self {
        Self {
            said: None,
            repeated: None,
        }
    }
}

impl<S: Clone + PartialEq> Voice<S> {
    /// When `wanted` may be said of an object of which `there` is said now; `None` for at once.
    pub(crate) fn waits(
        &mut self,
        there: &S,
        wanted: &S,
        now: Timestamp,
        conditions: impl Fn(&S) -> &[Condition],
    ) -> Option<Timestamp> {
        let gist = |status| gist(conditions(status));
        let said = self.said.as_ref()?;
        if said == there || gist(said) != gist(wanted) {
            return None;
        }
        let next = self.repeated.map(|at| after(at, REPEAT));
        if let Some(next) = next.filter(|next| now < *next) {
            return Some(next);
        }
        self.repeated = Some(now);
        None
    }

    /// This is what is said now.
    pub(crate) fn said(&mut self, status: &S) {
        self.said = Some(status.clone());
    }
}

/// What conditions say, times and sentences aside.
fn gist(conditions: &[Condition]) -> Vec<(&str, &str, &str)> {
    conditions
        .iter()
        .map(|found| (&*found.type_, &*found.status, &*found.reason))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::conditions::{Finding, Reason, Status, Type, merge};

    type Said = Vec<Condition>;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn says(reason: Reason, second: i64) -> Said {
        let finding = Finding {
            type_: Type::Ready,
            status: Status::False,
            reason,
            message: "m".to_owned(),
            observed_generation: 1,
        };
        merge(&[], &[finding], at(second))
    }

    #[test]
    fn only_who_repeats_himself_against_another_waits() {
        let ours = |second| says(Reason::ServerUnreachable, second);
        let theirs = |second| says(Reason::Minting, second);
        let mut voice = Voice::default();
        let waits = |voice: &mut Voice<Said>, there: &Said, wanted: &Said, second| {
            voice.waits(there, wanted, at(second), Vec::as_slice)
        };
        assert_eq!(
            waits(&mut voice, &vec![], &ours(1), 1),
            None,
            "the first word"
        );
        voice.said(&ours(1));
        assert_eq!(
            waits(&mut voice, &ours(1), &theirs(2), 2),
            None,
            "nobody else spoke"
        );
        assert_eq!(
            waits(&mut voice, &theirs(3), &ours(3), 3),
            None,
            "once more"
        );
        voice.said(&ours(3));
        let until = Some(at(33));
        assert_eq!(waits(&mut voice, &theirs(4), &ours(4), 4), until, "again");
        assert_eq!(waits(&mut voice, &vec![], &ours(5), 5), until, "wiped, too");
        let other = says(Reason::Throttled, 6);
        assert_eq!(waits(&mut voice, &theirs(6), &other, 6), None, "a new word");
        assert_eq!(
            waits(&mut voice, &theirs(33), &ours(33), 33),
            None,
            "in time"
        );
    }
}
