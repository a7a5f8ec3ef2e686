//! Programs that are made ready once, from pinned files of our own, with a tool of the machine.
//!
//! The invariant: a folder in the cache is whole. It is named after the hash of the files, filled
//! beside its place under a lock that one process holds at a time, and renamed into place.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::process::Command;

/// Why there is no good result.
#[derive(Debug)]
pub enum Fault {
    /// A program that is needed is not on this machine; the text names it and what to install.
    Missing(String),
    /// Something could not be made ready, or did not do what it should; the text says why.
    Failed(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Fault {}

/// How a program is made ready. Each command is run in the program's folder; its first word lies
/// there too when it has a slash.
pub(crate) struct Recipe {
    /// What its folders in the cache are called, before the hash.
    pub(crate) kind: &'static str,
    /// Paths and texts.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// Fails when a part of the tool is not on this machine, with the name of that part.
    pub(crate) part: Option<(&'static [&'static str], &'static str)>,
    /// What makes it ready, one after the other.
    pub(crate) steps: &'static [&'static [&'static str]],
    /// What to install when the tool is missing.
    pub(crate) remedy: &'static str,
}

macro_rules! files {
    ($folder:literal: $($name:literal)*) => {
        &[$(($name, include_str!(concat!("../", $folder, "/", $name)))),*]
    };
}
pub(crate) use files;

/// How long an installation may take, downloads included.
const INSTALL: Duration = Duration::from_secs(600);
/// How long it may take to look for a part of a tool.
const LOOK: Duration = Duration::from_secs(60);

/// Makes a program ready, unless it is, and gives its folder.
pub(crate) async fn install(recipe: &'static Recipe) -> Result<PathBuf, Fault> {
    let failed = |cause: io::Error| Fault::Failed(format!("cannot fill the cache: {cause}"));
    let missing = "neither XDG_CACHE_HOME nor HOME is set";
    let cache = cache().ok_or_else(|| Fault::Missing(missing.to_owned()))?;
    std::fs::create_dir_all(&cache).map_err(failed)?;
    let name = format!("{}-{}", recipe.kind, fingerprint(recipe));
    let folder = cache.join(&name);
    let lock = cache.join(format!("{name}.lock"));
    let lock = tokio::task::spawn_blocking(move || locked(&lock))
        .await
        .map_err(|cause| Fault::Failed(cause.to_string()))?
        .map_err(failed)?;
    if !folder.exists() {
        let staging = tempfile::tempdir_in(&cache).map_err(failed)?;
        lay(recipe, staging.path()).map_err(failed)?;
        make(recipe, staging.path()).await?;
        std::fs::rename(staging.path(), &folder).map_err(failed)?;
    }
    drop(lock);
    Ok(folder)
}

fn lay(recipe: &Recipe, folder: &Path) -> io::Result<()> {
    for (name, text) in recipe.files {
        let file = folder.join(name);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(file, text)?;
    }
    Ok(())
}

async fn make(recipe: &Recipe, folder: &Path) -> Result<(), Fault> {
    if let Some((words, part)) = recipe.part
        && let Err(fault) = output(&mut command(words, folder), LOOK, recipe.remedy).await
    {
        return Err(match fault {
            Fault::Failed(_) => missing(part, recipe.remedy),
            Fault::Missing(_) => fault,
        });
    }
    for words in recipe.steps {
        let mut command = command(words, folder);
        command.env("GOWORK", "off").env("CGO_ENABLED", "0");
        output(&mut command, INSTALL, recipe.remedy).await?;
    }
    Ok(())
}

/// A command that is run in a program's folder.
pub(crate) fn command(words: &[&str], folder: &Path) -> Command {
    let (program, arguments) = words.split_first().unwrap_or((&"", &[]));
    let mut command = if program.contains('/') {
        Command::new(folder.join(program))
    } else {
        Command::new(program)
    };
    command.args(arguments).current_dir(folder);
    command
}

fn missing(what: &str, remedy: &str) -> Fault {
    Fault::Missing(format!("{what} is not on this machine: {remedy}"))
}

/// Runs a program to its end and gives what it printed; it ends with us.
pub(crate) async fn output(
    command: &mut Command,
    patience: Duration,
    remedy: &str,
) -> Result<String, Fault> {
    let program = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let run = command
        .kill_on_drop(true)
        .stdin(std::process::Stdio::null())
        .output();
    let output = match tokio::time::timeout(patience, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(cause)) if cause.kind() == io::ErrorKind::NotFound => {
            return Err(missing(&program, remedy));
        }
        Ok(Err(cause)) => return Err(Fault::Failed(format!("cannot run {program}: {cause}"))),
        Err(_) => {
            return Err(Fault::Failed(format!(
                "{program} did not end in {patience:?}"
            )));
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        let said = text(&output.stdout) + &text(&output.stderr);
        Err(Fault::Failed(format!("{program} failed:\n{said}")))
    }
}

fn locked(path: &Path) -> io::Result<File> {
    let file = File::create(path)?;
    file.lock()?;
    Ok(file)
}

fn fingerprint(recipe: &Recipe) -> String {
    let mut hash = Sha256::new();
    for (name, text) in recipe.files {
        hash.update(name.as_bytes());
        hash.update(text.len().to_be_bytes());
        hash.update(text.as_bytes());
    }
    let digest = hash.finalize();
    digest
        .iter()
        .take(8)
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Our folder in the user's cache.
pub(crate) fn cache() -> Option<PathBuf> {
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .map(|cache| cache.join("apikey-operator"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_missing_is_named_with_what_to_install() {
        let mut absent = Command::new("no-such-program");
        let fault = output(&mut absent, INSTALL, "install it")
            .await
            .unwrap_err();
        let Fault::Missing(text) = fault else {
            panic!("{fault}")
        };
        assert_eq!(text, "no-such-program is not on this machine: install it");
    }

    #[tokio::test]
    async fn a_missing_part_of_a_tool_is_named_too() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = Recipe {
            kind: "nothing",
            files: &[],
            part: Some((&["false"], "a part of it")),
            steps: &[],
            remedy: "install it",
        };
        let fault = make(&recipe, folder.path()).await.unwrap_err();
        let Fault::Missing(text) = fault else {
            panic!("{fault}")
        };
        assert_eq!(text, "a part of it is not on this machine: install it");
    }
}
