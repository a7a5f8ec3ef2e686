//! The value of a key is in its Secret's data, and in no other object and no URL.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;

use super::Look;
use crate::manifests::encoded;
use crate::recorder::Heard;

/// How many bytes of a form are looked for at first.
const HEAD: usize = 4;

/// The forms in which values can be told, by what they begin with and how long they are: so a text is
/// read once, however many values there are.
#[derive(Debug, Default)]
pub(super) struct Forms {
    values: usize,
    heads: BTreeMap<Vec<u8>, BTreeSet<usize>>,
    whole: HashSet<Vec<u8>>,
}

impl Forms {
    /// How many values are known.
    pub(super) fn values(&self) -> usize {
        self.values
    }

    /// One more value.
    pub(super) fn add(&mut self, value: &str) {
        self.values += 1;
        for form in [value.to_owned(), encoded(value)] {
            let form = form.into_bytes();
            let head = form[..form.len().min(HEAD)].to_vec();
            self.heads.entry(head).or_default().insert(form.len());
            self.whole.insert(form);
        }
    }

    /// Whether a text tells one of them.
    fn told(&self, text: &str) -> bool {
        let text = text.as_bytes();
        (0..text.len()).any(|at| {
            let rest = &text[at..];
            let lengths = self.heads.get(&rest[..rest.len().min(HEAD)]);
            let mut lengths = lengths.into_iter().flatten();
            lengths.any(|length| {
                rest.get(..*length)
                    .is_some_and(|it| self.whole.contains(it))
            })
        })
    }
}

pub(super) fn judge(look: &mut Look<'_>, calls: &[Heard], forms: &Forms) {
    for change in look.changes.clone() {
        let Some(object) = change.new.as_deref() else {
            continue;
        };
        let leaks = if change.key.resource == "secrets" {
            let mut shown = object.clone();
            shown["data"] = Value::Null;
            forms.told(&shown.to_string())
        } else {
            forms.told(&object.to_string())
        };
        if leaks {
            look.wrong(format!(
                "{} {} shows a key",
                change.key.resource, change.key.name
            ));
        }
    }
    for Heard { call, .. } in calls {
        if forms.told(&call.path) || forms.told(&call.query) {
            look.wrong(format!("a URL of {} shows a key", call.process.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_in_either_form_and_nothing_else_is() {
        let mut forms = Forms::default();
        forms.add("API-ONE1");
        forms.add("API-LONGER22");
        let coded = encoded("API-LONGER22");
        for text in ["API-ONE1", "key=API-LONGER22.", "xAPI-API-ONE1", &coded] {
            assert!(forms.told(text), "{text}");
        }
        for text in ["", "API", "API-ONE2", "API-LONGER2", &coded[1..]] {
            assert!(!forms.told(text), "{text}");
        }
        assert_eq!(forms.values(), 2);
    }
}
