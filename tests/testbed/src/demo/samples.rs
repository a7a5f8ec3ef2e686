//! The manifests of a demo: the repository's samples, with this demo's servers in their blanks.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::Server;

/// The folder of all manifests that a team applies.
pub(super) const SAMPLES: &str = "samples";

/// The folder with one key more for each server.
pub(super) const ONE_MORE: &str = "one-more";

/// What all servers have in common.
const NAMESPACE: &str = include_str!("../../samples/1-namespace.yaml");

/// The manifests of one server.
pub(super) struct Samples {
    pub(super) folder: &'static str,
    pub(super) server: &'static str,
    pub(super) account: &'static str,
    pub(super) keys: &'static str,
    pub(super) one_more: &'static str,
}

/// The samples in this folder.
macro_rules! samples {
    ($folder:literal) => {
        Samples {
            folder: $folder,
            server: include_str!(concat!("../../../samples/", $folder, "/2-server.yaml")),
            account: include_str!(concat!("../../../samples/", $folder, "/3-account.yaml")),
            keys: include_str!(concat!("../../../samples/", $folder, "/4-keys.yaml")),
            one_more: include_str!(concat!("../../../one-more/", $folder, ".yaml")),
        }
    };
}
pub(super) use samples;

impl Samples {
    /// Where the manifest of the keys is.
    pub(super) fn keys_path(&self) -> String {
        format!("{SAMPLES}/{}/4-keys.yaml", self.folder)
    }

    /// Where the manifest of one key more is.
    pub(super) fn one_more_path(&self) -> String {
        format!("{ONE_MORE}/{}.yaml", self.folder)
    }

    /// What people write to get a key, without the comments above it.
    pub(super) fn first_key(&self) -> String {
        let lines = self.keys.lines().take_while(|line| *line != "---");
        let lines = lines.filter(|line| !line.starts_with('#'));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Writes the manifests for these servers into `folder`.
pub(super) fn write(servers: &[Server], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder.join(ONE_MORE))?;
    fs::create_dir_all(folder.join(SAMPLES))?;
    fs::write(folder.join(SAMPLES).join("1-namespace.yaml"), NAMESPACE)?;
    for server in servers {
        let samples = &server.ways().samples;
        let own = folder.join(SAMPLES).join(samples.folder);
        fs::create_dir_all(&own)?;
        for (path, manifest) in [
            (own.join("2-server.yaml"), samples.server),
            (own.join("3-account.yaml"), samples.account),
            (folder.join(samples.keys_path()), samples.keys),
            (folder.join(samples.one_more_path()), samples.one_more),
        ] {
            fs::write(path, server.fill(manifest))?;
        }
    }
    Ok(())
}
