//! The temporary folder of one run: data, certificates, tokens, logs, kubeconfigs.
//!
//! The invariant: only its owner's account can enter it, and it goes with the run; the folder of
//! a run that was killed is removed by the next run.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

const PREFIX: &str = "apikey-operator-";

/// A file that the run holds locked as long as it lives.
const ALIVE: &str = "alive";

/// The folder; removed when dropped.
#[derive(Debug)]
pub(crate) struct RunFolder {
    folder: TempDir,
    _alive: File,
}

impl RunFolder {
    /// Makes the folder, and removes those of runs that were killed.
    pub(crate) fn create() -> Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent);
        let folder = folder
            .with_context(|| format!("cannot make a temporary folder in {}", parent.display()))?;
        // Locked before it has its name: who sees it unlocked sees a dead run's.
        let fresh = folder.path().join("fresh");
        let alive = File::create(&fresh)?;
        alive.lock()?;
        fs::rename(&fresh, folder.path().join(ALIVE))?;
        Ok(Self {
            folder,
            _alive: alive,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Removes it now, and says when that fails.
    pub(crate) fn remove(self) -> io::Result<()> {
        self.folder.close()
    }
}

/// Removes the folders of our dead runs. What cannot be looked at or removed is left alone: it is
/// not ours, or another run is removing it just now.
fn sweep(parent: &Path) {
    let me = rustix::process::getuid().as_raw();
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry
                .metadata()
                .is_ok_and(|meta| meta.is_dir() && meta.uid() == me);
        let dead =
            || File::open(entry.path().join(ALIVE)).is_ok_and(|file| file.try_lock().is_ok());
        if ours && dead() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_run_is_swept_a_living_one_is_not() {
        let living = RunFolder::create().unwrap();
        let dead = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir()
            .unwrap()
            .keep();
        fs::write(dead.join(ALIVE), "").unwrap();
        let mine = RunFolder::create().unwrap();
        assert!(!dead.exists());
        assert!(living.path().exists());
        assert_eq!(
            fs::metadata(mine.path()).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }
}
