//! What is made from the types of this room, as files of the repository: the definitions of the
//! kinds, where people and where the chart look for them, and the page of reasons.
//!
//! Invariant: the same types give the same bytes. `cargo crds` writes the files, a test checks them.

use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::all_crds;
use crate::api::conditions::Reason;

/// The folders that hold the definitions, and no other YAML file.
const FOLDERS: [&str; 2] = ["crds", "charts/apikey-operator/crds"];
/// The page of reasons.
const REASONS: &str = "docs/reasons.md";

/// A file that is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeFile {
    /// Where it is, seen from the root of the repository.
    pub path: PathBuf,
    /// Its whole text.
    pub text: String,
}

/// Why files could not be made, or are not good.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
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

/// The definitions of all kinds as YAML, each with the plural name of its kind.
///
/// # Errors
/// When a definition cannot be put into words.
pub fn crds_yaml() -> Result<Vec<(String, String)>, serde_saphyr::ser::Error> {
    all_crds()
        .into_iter()
        .map(|crd| {
            let yaml = serde_saphyr::to_string(&crd)?;
            let text = format!("# Made by `cargo crds` from src/api.\n{yaml}");
            Ok((crd.spec.names.plural, text))
        })
        .collect()
}

/// All files that are made.
///
/// # Errors
/// When a definition cannot be put into words.
pub fn made_files() -> Result<Vec<MadeFile>, serde_saphyr::ser::Error> {
    let definitions = crds_yaml()?;
    let copies = FOLDERS.iter().flat_map(|folder| {
        definitions.iter().map(move |(plural, text)| MadeFile {
            path: Path::new(folder).join(format!("{plural}.yaml")),
            text: text.clone(),
        })
    });
    let reasons = MadeFile {
        path: REASONS.into(),
        text: reasons_page(),
    };
    Ok(copies.chain([reasons]).collect())
}

/// What every reason means, and what to do about it.
fn reasons_page() -> String {
    let mut page = "<!-- Made by `cargo crds` from src/api/conditions.rs. -->\n\n\
        # Reasons\n\n\
        Every object says in its conditions how things stand with it: `kubectl describe` shows the \
        reason and one sentence that names the fix. `Ready` is true while the object does what it is \
        for. `UpToDate` is false while a key works but is not the one that is wanted. `Reconciling` \
        says that it goes on by itself, `Stalled` that a person must act, `Overdue` that a key's time \
        is over and its server, which knows no end of keys, takes it still.\n\n\
        | reason | what it means | what to do |\n| --- | --- | --- |\n"
        .to_owned();
    for reason in Reason::all() {
        let (word, meaning, fix) = (reason.as_str(), reason.meaning(), reason.fix());
        // Writing to a text does not fail.
        let _ = writeln!(page, "| `{word}` | {meaning} | {fix} |");
    }
    page
}

/// Writes the files under the root of a repository, and takes out definitions of kinds that are no
/// more. Says which files it has changed.
///
/// # Errors
/// When a file cannot be made or used.
pub fn write_files(root: &Path) -> Result<Vec<PathBuf>, FilesError> {
    let files = made_files()?;
    let changed = drifted(root, &files)?;
    for path in &changed {
        let whole = root.join(path);
        match files.iter().find(|file| file.path == *path) {
            Some(file) => whole
                .parent()
                .map_or(Ok(()), fs::create_dir_all)
                .and_then(|()| fs::write(&whole, &file.text)),
            None => fs::remove_file(&whole),
        }
        .map_err(|error| FilesError::Io(whole, error))?;
    }
    Ok(changed)
}

/// Looks whether the files under the root of a repository are as they would be written.
///
/// # Errors
/// [`FilesError::Drifted`] when they are not, or when there is a definition of a kind that is no more.
pub fn check_files(root: &Path) -> Result<(), FilesError> {
    let drifted = drifted(root, &made_files()?)?;
    if drifted.is_empty() {
        Ok(())
    } else {
        Err(FilesError::Drifted(Paths(drifted)))
    }
}

fn drifted(root: &Path, files: &[MadeFile]) -> Result<Vec<PathBuf>, FilesError> {
    let mut drifted = Vec::new();
    for file in files {
        let path = root.join(&file.path);
        match fs::read_to_string(&path) {
            Ok(text) if text == file.text => {}
            Ok(_) => drifted.push(file.path.clone()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                drifted.push(file.path.clone());
            }
            Err(error) => return Err(FilesError::Io(path, error)),
        }
    }
    for folder in FOLDERS {
        drifted.extend(left_over(root, Path::new(folder), files)?);
    }
    Ok(drifted)
}

fn left_over(root: &Path, folder: &Path, files: &[MadeFile]) -> Result<Vec<PathBuf>, FilesError> {
    let whole = root.join(folder);
    let broken = |error| FilesError::Io(whole.clone(), error);
    let entries = match fs::read_dir(&whole) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(broken(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = folder.join(entry.map_err(broken)?.file_name());
        let yaml = path.extension().is_some_and(|end| end == "yaml");
        if yaml && files.iter().all(|file| file.path != path) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_files_are_the_same_each_time_and_read_back() {
        assert_eq!(made_files().unwrap(), made_files().unwrap());
        for ((plural, text), crd) in crds_yaml().unwrap().iter().zip(all_crds()) {
            let read: Value = serde_saphyr::from_str(text).unwrap();
            assert_eq!(read, serde_json::to_value(&crd).unwrap(), "{plural}");
        }
    }

    #[test]
    fn drift_is_named_and_written_away() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(write_files(root).unwrap().len(), 9);
        check_files(root).unwrap();
        assert_eq!(write_files(root).unwrap().len(), 0);

        let [edited, left_over, removed] = [
            "crds/apikeys.yaml",
            "charts/apikey-operator/crds/oldkinds.yaml",
            "docs/reasons.md",
        ]
        .map(Path::new);
        fs::write(root.join(edited), "edited").unwrap();
        fs::write(root.join(left_over), "left over").unwrap();
        fs::remove_file(root.join(removed)).unwrap();
        let Err(FilesError::Drifted(paths)) = check_files(root) else {
            panic!("no drift")
        };
        assert_eq!(paths.0, [edited, removed, left_over]);

        assert_eq!(write_files(root).unwrap().len(), 3);
        check_files(root).unwrap();
    }
}
