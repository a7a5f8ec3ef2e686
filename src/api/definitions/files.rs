//! The definitions as files, in as many folders as need a copy.
//!
//! Invariant: the same types give the same bytes. `cargo crds` writes the files, a test checks them.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::all_crds;

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

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::{CrdsError, all_crds, check_crds, crds_yaml, write_crds};

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
