//! The definitions of the kinds (CRDs), made from the types; as files in [`files`].
//!
//! Invariant: every field has a description, and an API server takes each definition without a
//! warning.

mod files;

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition,
};
use kube::CustomResourceExt;
use schemars::Schema;
use serde_json::{Map, Value, json};

pub use files::{FilesError, MadeFile, Paths, check_files, crds_yaml, made_files, write_files};

use super::{ApiKey, ClusterDeployServer, DeployServer, ServiceAccount, columns};

/// The formats of ours that an API server knows; it warns of any other.
const FORMATS: [&str; 3] = ["date-time", "int32", "int64"];

/// Where an enum keeps what its values mean until it is known which field speaks of them: a keyword
/// that we do not use otherwise, and that the derive lets through.
const MEANINGS: &str = "title";

/// The definitions of all kinds.
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    vec![
        polished(DeployServer::crd(), &columns::connection()),
        polished(ClusterDeployServer::crd(), &columns::connection()),
        polished(ServiceAccount::crd(), &columns::service_account()),
        polished(ApiKey::crd(), &columns::api_key()),
    ]
}

/// Turns what the derive makes into what we publish: with columns, and see [`polish`].
fn polished(
    mut crd: CustomResourceDefinition,
    columns: &[CustomResourceColumnDefinition],
) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        version.additional_printer_columns = Some(columns.to_vec());
        let Some(validation) = &mut version.schema else {
            continue;
        };
        let Some(props) = validation.open_api_v3_schema.take() else {
            continue;
        };
        let mut schema = json!(props);
        polish(&mut schema);
        // The derive describes the object as "auto-generated", and the spec as the kind.
        schema["description"] = schema["properties"]["spec"]["description"].take();
        schema["properties"]["spec"]["description"] = json!("What is wanted.");
        schema["properties"]["status"]["description"] = json!("What was found and done last.");
        // An object that nobody has looked at yet is "in progress" to kstatus, not "current".
        schema["properties"]["status"]["default"] = json!({ "observedGeneration": -1 });
        validation.open_api_v3_schema = serde_json::from_value(schema).ok();
    }
    crd
}

/// Makes a schema one that we publish, at every depth:
/// - no `nullable`: an API server then takes a `null` for a field that is not given;
/// - no `oneOf`: its errors say nothing to people; a rule stands in its place;
/// - no format that an API server does not know;
/// - descriptions without the line breaks of our sources, with the default, which `kubectl explain`
///   does not show by itself, and with the meanings of an enum's values.
fn polish(value: &mut Value) {
    if let Value::Object(schema) = value {
        for keyword in ["nullable", "oneOf"] {
            schema.remove(keyword);
        }
        if schema
            .get("format")
            .is_some_and(|format| !FORMATS.iter().any(|known| format == known))
        {
            schema.remove("format");
        }
        let meanings = schema.remove(MEANINGS);
        let default = schema.get("default").and_then(said);
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = flowing(text);
            if let Some(default) = default {
                let _ = write!(text, " Default: {default}.");
            }
            if let Some(Value::String(meanings)) = meanings {
                let _ = write!(text, "\n\n{meanings}");
            }
        }
        for nested in ["properties", "additionalProperties", "items"] {
            match schema.get_mut(nested) {
                Some(Value::Object(properties)) if nested == "properties" => {
                    properties.values_mut().for_each(polish);
                }
                Some(schema) => polish(schema),
                None => {}
            }
        }
    }
}

/// A default in words; nothing for one that is told by its parts.
fn said(default: &Value) -> Option<String> {
    match default {
        Value::String(word) => Some(format!("`{word}`")),
        Value::Array(items) => Some(items.iter().filter_map(said).collect::<Vec<_>>().join(", ")),
        Value::Bool(_) | Value::Number(_) => Some(format!("`{default}`")),
        Value::Null | Value::Object(_) => None,
    }
}

/// A text with its paragraphs kept and the line breaks within them gone.
fn flowing(text: &str) -> String {
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    paragraphs.join("\n\n")
}

/// A transform for enums of words: remembers what each value means for the descriptions of the
/// fields that have it, as the schema of a CRD knows no description of a value.
pub(super) fn meanings(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    let Some(Value::Array(variants)) = object.get("oneOf") else {
        return;
    };
    let lines: Vec<String> = variants
        .iter()
        .filter_map(Value::as_object)
        .filter_map(line)
        .collect();
    object.insert(MEANINGS.to_owned(), json!(lines.join("\n")));
}

fn line(variant: &Map<String, Value>) -> Option<String> {
    let word = variant.get("const")?.as_str()?;
    let meaning = variant.get("description")?.as_str()?;
    Some(format!("{word}: {}", flowing(meaning)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::{CATEGORY, GROUP, VERSION};
    use super::{FORMATS, all_crds};

    /// Calls back with each schema of each kind, and where it is.
    fn each_schema(look: &mut impl FnMut(&str, &Value)) {
        fn walk(path: &str, schema: &Value, look: &mut impl FnMut(&str, &Value)) {
            look(path, schema);
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                walk(&format!("{path}.{name}"), property, look);
            }
            for nested in ["items", "additionalProperties"] {
                if schema[nested].is_object() {
                    walk(&format!("{path}[]"), &schema[nested], look);
                }
            }
        }
        for crd in all_crds() {
            let schema = &serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
            walk(&crd.spec.names.kind, &schema["openAPIV3Schema"], look);
        }
    }

    #[test]
    fn every_field_has_a_description() {
        let mut mute = Vec::new();
        each_schema(&mut |path, schema| {
            let described = schema["description"]
                .as_str()
                .is_some_and(|text| text.len() > 4);
            if !described && !path.ends_with("[]") {
                mute.push(path.to_owned());
            }
        });
        assert_eq!(mute, Vec::<String>::new());
    }

    #[test]
    fn nothing_is_in_a_schema_that_an_api_server_warns_of_or_that_speaks_in_riddles() {
        let mut seen = BTreeSet::new();
        each_schema(&mut |path, schema| {
            for keyword in ["nullable", "oneOf", "anyOf", "title"] {
                assert!(schema.get(keyword).is_none(), "{path} has {keyword}");
            }
            if let Some(format) = schema.get("format") {
                assert!(
                    FORMATS.iter().any(|known| format == known),
                    "{path} is {format}"
                );
                seen.insert(format.to_string());
            }
            for rule in schema["x-kubernetes-validations"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let message = rule["message"].as_str().unwrap_or_default();
                assert!(
                    message.len() > 10 && !message.contains('\n'),
                    "{path}: {rule}"
                );
            }
        });
        // An unsigned number must not have lost its schema on the way.
        assert_eq!(seen.len(), 2, "{seen:?}");
    }

    #[test]
    fn names_are_those_of_our_constants() {
        for crd in all_crds() {
            assert_eq!(crd.spec.group, GROUP);
            assert_eq!(crd.spec.versions[0].name, VERSION);
            assert_eq!(crd.spec.names.categories, Some(vec![CATEGORY.to_owned()]));
        }
    }

    #[test]
    fn every_default_is_said() {
        let mut defaults = 0;
        each_schema(&mut |path, schema| {
            let Some(default) = schema.get("default").filter(|default| !default.is_object()) else {
                return;
            };
            defaults += 1;
            let description = schema["description"].as_str().unwrap();
            let times = description.matches("Default: ").count();
            assert_eq!(
                times, 1,
                "{path} has the default {default}, but says {description}"
            );
        });
        assert!(defaults > 20);
    }

    #[test]
    fn what_enum_values_mean_is_said_where_they_are_used() {
        let mut enums = 0;
        each_schema(&mut |path, schema| {
            let Some(words) = schema["enum"].as_array() else {
                return;
            };
            // The name of a kind of Kubernetes says what it is.
            let kinds = words[0] == "Deployment" || words[0] == "ConfigMap";
            if path.ends_with("[]") || kinds {
                return;
            }
            enums += 1;
            let description = schema["description"].as_str().unwrap();
            for word in words {
                let line = format!("\n{}: ", word.as_str().unwrap());
                assert!(
                    description.contains(&line),
                    "{path} does not say what {word} means"
                );
            }
        });
        assert!(enums >= 10);
    }

    #[test]
    fn an_object_that_nobody_has_looked_at_is_in_progress() {
        for crd in all_crds() {
            let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
            let status = &schema["openAPIV3Schema"]["properties"]["status"];
            assert_eq!(status["default"]["observedGeneration"], -1);
            let conditions = &status["properties"]["conditions"];
            assert_eq!(conditions["x-kubernetes-list-type"], "map");
            assert_eq!(conditions["x-kubernetes-list-map-keys"][0], "type");
        }
    }
}
