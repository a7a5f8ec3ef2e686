//! Where the programs of the control plane are: in `KUBEBUILDER_ASSETS` or in our cache, filled
//! by building what is missing.
//!
//! The invariant: a program at its place in the cache is whole. It is built beside its place and
//! renamed, under a lock that one process holds at a time; a build that dies leaves nothing that
//! a later one would take for a program.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::build::{self, GO_MOD, GO_SUM};
use crate::install;
use crate::progress::Progress;

/// A program of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// Where the API server keeps everything.
    Etcd,
    /// The Kubernetes API.
    KubeApiserver,
    /// Garbage collection, namespaces, quota.
    KubeControllerManager,
    /// The command line that people use.
    Kubectl,
    /// Installs charts.
    Helm,
}

impl Binary {
    /// All of them, the order is the order of building.
    pub const ALL: [Self; 5] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::Kubectl,
        Self::Helm,
    ];

    /// The program's file name, the same that `KUBEBUILDER_ASSETS` uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
        }
    }

    /// The Go package that it is built from.
    pub(super) const fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
        }
    }
}

/// The five programs, each at a path where it is whole.
#[derive(Debug, Clone)]
pub struct Binaries([PathBuf; 5]);

impl Binaries {
    /// Finds the programs, and builds those that are missing: minutes the first time, with
    /// progress on standard error; nothing but a look later.
    ///
    /// `KUBEBUILDER_ASSETS`, when set, is used for the programs that it holds. The others live in
    /// a folder under `$XDG_CACHE_HOME` (or `~/.cache`) named after the hash of the pinned
    /// modules.
    ///
    /// # Errors
    /// One sentence that names what is missing and the fix: Go, disk, network.
    pub async fn obtain() -> Result<Self> {
        let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let cache = install::cache()
            .context("there is no place for the control plane's programs: set HOME")?;
        Self::obtain_in(assets.as_deref(), &cache).await
    }

    async fn obtain_in(assets: Option<&Path>, cache: &Path) -> Result<Self> {
        let folder = cache.join(format!("control-plane-{}", pinned()));
        let places = Binary::ALL.map(|binary| place(binary, assets, &folder));
        if places.iter().any(|place| !place.is_file()) {
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
            fill(&folder, &places).await?;
        }
        Ok(Self(places))
    }

    /// The place of one program.
    pub fn path(&self, binary: Binary) -> &Path {
        &self.0[binary as usize]
    }
}

/// The name of exactly these modules.
fn pinned() -> String {
    let digest = Sha256::new()
        .chain_update(GO_MOD)
        .chain_update(GO_SUM)
        .finalize();
    let number = digest
        .iter()
        .take(8)
        .fold(0, |number, &byte| number << 8 | u64::from(byte));
    format!("{number:016x}")
}

fn place(binary: Binary, assets: Option<&Path>, folder: &Path) -> PathBuf {
    assets
        .map(|assets| assets.join(binary.name()))
        .filter(|given| given.is_file())
        .unwrap_or_else(|| folder.join(binary.name()))
}

/// Builds what is missing in `folder`, one process at a time.
async fn fill(folder: &Path, places: &[PathBuf; 5]) -> Result<()> {
    let mut progress = Progress::new();
    let _lock = lock(folder, &mut progress).await?;
    // Whoever held the lock before us may have built some or all.
    let missing: Vec<_> = Binary::ALL
        .into_iter()
        .filter(|&binary| !places[binary as usize].is_file())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    build::build(folder, &missing, &mut progress).await?;
    progress.finish(&format!("Built the control plane in {}", folder.display()));
    Ok(())
}

async fn lock(folder: &Path, progress: &mut Progress) -> Result<File> {
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                progress.show(
                    "Waiting for another process that builds the control plane",
                    "",
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        tick.tick().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn given_programs_come_first_and_whole_ones_are_not_built_again() {
        let assets = tempfile::tempdir().unwrap();
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join(format!("control-plane-{}", pinned()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(assets.path().join("etcd"), "").unwrap();
        for binary in Binary::ALL {
            fs::write(folder.join(binary.name()), "").unwrap();
        }
        let found = Binaries::obtain_in(Some(assets.path()), cache.path())
            .await
            .unwrap();
        assert_eq!(found.path(Binary::Etcd), assets.path().join("etcd"));
        assert_eq!(found.path(Binary::Helm), folder.join("helm"));
    }
}
