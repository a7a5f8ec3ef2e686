//! The definitions of the kinds (CRDs), made from the types: as objects and as files.
//!
//! Invariant: the same types give the same bytes; every field has a description; an API server
//! takes each definition without a warning. `cargo crds` writes the files, a test checks them.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::Schema;
use serde_json::{Map, Value, json};

use super::{ApiKey, ClusterDeployServer, DeployServer, ServiceAccount};

/// The formats of ours that an API server knows; it warns of any other.
const FORMATS: [&str; 3] = ["date-time", "int32", "int64"];

/// Where an enum keeps what its values mean until it is known which field speaks of them: a keyword
/// that we do not use otherwise, and that the derive lets through.
const MEANINGS: &str = "title";

/// The definitions of all kinds.
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    [
        DeployServer::crd(),
        ClusterDeployServer::crd(),
        ServiceAccount::crd(),
        ApiKey::crd(),
    ]
    .into_iter()
    .map(polished)
    .collect()
}

/// A definition as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrdFile {
    /// The file's name, without a folder.
    pub name: String,
    /// Its whole text.
    pub text: String,
}

/// The definitions of all kinds as files, one a kind.
pub fn crds_yaml() -> Result<Vec<CrdFile>, serde_saphyr::ser::Error> {
    all_crds()
        .iter()
        .map(|crd| {
            let yaml = serde_saphyr::to_string(crd)?;
            Ok(CrdFile {
                name: format!("{}.yaml", crd.spec.names.plural),
                text: format!("# Made by `cargo crds` from src/api.\n{yaml}"),
            })
        })
        .collect()
}

/// Why the files of definitions could not be written, or are not good.
#[derive(Debug, thiserror::Error)]
pub enum CrdsError {
    /// A definition cannot be put into words.
    #[error("a definition does not serialize")]
    Yaml(#[from] serde_saphyr::ser::Error),
    /// A file or folder cannot be used.
    #[error("cannot use {path}", path = .0.display())]
    Io(PathBuf, #[source] io::Error),
    /// Files differ from what the types say, are missing, or are left over.
    #[error("not what src/api says, run `cargo crds`: {0}")]
    Drifted(Paths),
}

/// Some files, shown with blanks between them.
#[derive(Debug)]
pub struct Paths(pub Vec<PathBuf>);

impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, path) in self.0.iter().enumerate() {
            write!(f, "{}{}", if n == 0 { "" } else { " " }, path.display())?;
        }
        Ok(())
    }
}

/// Writes the files into each of the folders, and takes out YAML files of kinds that are no more.
/// Says which files it has changed.
pub fn write_crds(folders: &[&Path]) -> Result<Vec<PathBuf>, CrdsError> {
    let changed = drifted(folders)?;
    let files = crds_yaml()?;
    for path in &changed {
        let wanted = files.iter().find(|file| path.ends_with(&file.name));
        match wanted {
            Some(file) => {
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).map_err(|e| CrdsError::Io(folder.into(), e))?;
                }
                fs::write(path, &file.text)
            }
            None => fs::remove_file(path),
        }
        .map_err(|e| CrdsError::Io(path.clone(), e))?;
    }
    Ok(changed)
}

/// Fails with [`CrdsError::Drifted`] unless each of the folders holds the files as they would be
/// written, and no other YAML file.
pub fn check_crds(folders: &[&Path]) -> Result<(), CrdsError> {
    let drifted = drifted(folders)?;
    if drifted.is_empty() {
        Ok(())
    } else {
        Err(CrdsError::Drifted(Paths(drifted)))
    }
}

fn drifted(folders: &[&Path]) -> Result<Vec<PathBuf>, CrdsError> {
    let files = crds_yaml()?;
    let mut drifted = Vec::new();
    for folder in folders {
        for file in &files {
            let path = folder.join(&file.name);
            match fs::read_to_string(&path) {
                Ok(text) if text == file.text => {}
                Ok(_) => drifted.push(path),
                Err(e) if e.kind() == io::ErrorKind::NotFound => drifted.push(path),
                Err(e) => return Err(CrdsError::Io(path, e)),
            }
        }
        drifted.extend(left_over(folder, &files)?);
    }
    Ok(drifted)
}

fn left_over(folder: &Path, files: &[CrdFile]) -> Result<Vec<PathBuf>, CrdsError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(CrdsError::Io(folder.into(), e)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| CrdsError::Io(folder.into(), e))?.path();
        let yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml");
        if yaml && !files.iter().any(|file| path.ends_with(&file.name)) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Turns what the derives make into what we publish; see [`polish`].
fn polished(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
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
        schema["properties"]["spec"]["description"] = json!("What is wished.");
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
/// - descriptions without the line breaks of our sources, with the meanings of an enum's values.
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
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = flowing(text);
            if let Some(Value::String(meanings)) = meanings {
                text.push_str("\n\n");
                text.push_str(&meanings);
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
    use std::fs;

    use serde_json::Value;

    use super::{CrdsError, FORMATS, all_crds, check_crds, crds_yaml, write_crds};

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
    fn what_enum_values_mean_is_said_where_they_are_used() {
        let mut enums = 0;
        each_schema(&mut |path, schema| {
            let Some(words) = schema["enum"].as_array() else {
                return;
            };
            if path.ends_with("[]") {
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
        assert!(enums > 10);
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

    #[test]
    fn the_files_are_the_same_each_time_and_read_back() {
        let files = crds_yaml().unwrap();
        assert_eq!(files, crds_yaml().unwrap());
        for (file, crd) in files.iter().zip(all_crds()) {
            let read: Value = serde_saphyr::from_str(&file.text).unwrap();
            assert_eq!(read, serde_json::to_value(&crd).unwrap(), "{}", file.name);
        }
    }

    #[test]
    fn drift_is_named_and_written_away() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let folders = [one.as_path(), two.as_path()];

        assert_eq!(write_crds(&folders).unwrap().len(), 8);
        check_crds(&folders).unwrap();
        assert_eq!(write_crds(&folders).unwrap().len(), 0);

        fs::write(one.join("apikeys.yaml"), "edited").unwrap();
        fs::write(two.join("oldkinds.yaml"), "left over").unwrap();
        fs::remove_file(two.join("serviceaccounts.yaml")).unwrap();
        let Err(CrdsError::Drifted(paths)) = check_crds(&folders) else {
            panic!("no drift")
        };
        assert_eq!(
            paths.0,
            [
                one.join("apikeys.yaml"),
                two.join("serviceaccounts.yaml"),
                two.join("oldkinds.yaml")
            ]
        );

        assert_eq!(write_crds(&folders).unwrap().len(), 3);
        check_crds(&folders).unwrap();
    }
}
