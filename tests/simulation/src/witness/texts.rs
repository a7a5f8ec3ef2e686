//! The value of a key is in its Secret's data, and in no other object and no URL.

use serde_json::Value;

use super::Look;
use crate::manifests::encoded;
use crate::recorder::Heard;

pub(super) fn judge(look: &mut Look<'_>, calls: &[Heard], values: &[String]) {
    let forms: Vec<String> = values
        .iter()
        .flat_map(|value| [value.clone(), encoded(value)])
        .collect();
    let leaks = |text: &str| forms.iter().any(|form| text.contains(form.as_str()));
    for change in look.changes.clone() {
        let Some(object) = change.new.as_deref() else {
            continue;
        };
        let mut shown = object.clone();
        if change.key.resource == "secrets" {
            shown["data"] = Value::Null;
        }
        if leaks(&shown.to_string()) {
            look.wrong(format!(
                "{} {} shows a key",
                change.key.resource, change.key.name
            ));
        }
    }
    for Heard { call, .. } in calls {
        if leaks(&call.path) || leaks(&call.query) {
            look.wrong(format!("a URL of {} shows a key", call.process.name));
        }
    }
}
