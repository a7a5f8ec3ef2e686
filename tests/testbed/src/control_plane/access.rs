//! Who may talk to the API server: its users' tokens, the key that signs the tokens of
//! a `ServiceAccount`, and kubeconfig files.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use rand::RngExt as _;
use rcgen::KeyPair;
use serde_json::json;

/// The user behind [`super::ControlPlane::kubeconfig`]; may do everything.
pub(super) const ADMIN: &str = "admin";
/// The controller manager's own name, so that its requests are told from ours.
pub(super) const CONTROLLERS: &str = "controllers";

/// Writes the API server's `--token-auth-file` for our two users, and returns their tokens.
pub(super) fn write_tokens(file: &Path) -> Result<[String; 2]> {
    let tokens = [(); 2].map(|()| format!("{:032x}", rand::rng().random::<u128>()));
    let [admin, controllers] = &tokens;
    let lines = format!(
        "{admin},{ADMIN},{ADMIN},system:masters
\
         {controllers},{CONTROLLERS},{CONTROLLERS},system:masters
"
    );
    write(file, &lines)?;
    Ok(tokens)
}

/// Writes a new key pair for signing and checking the tokens of a `ServiceAccount`.
pub(super) fn write_signing_key(private: &Path, public: &Path) -> Result<()> {
    let pair = KeyPair::generate().context("cannot make a key pair")?;
    write(private, &pair.serialize_pem())?;
    write(public, &pair.public_key_pem())
}

/// Writes a kubeconfig file for one user.
pub(super) fn write_kubeconfig(file: &Path, server: &str, ca: &Path, token: &str) -> Result<()> {
    // JSON is YAML.
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "testbed",
            "cluster": {"server": server, "certificate-authority": ca},
        }],
        "users": [{"name": "testbed", "user": {"token": token}}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "testbed"}}],
        "current-context": "testbed",
    });
    write(file, &format!("{config:#}\n"))
}

/// Writes a file that nobody else can read; Helm warns of others.
fn write(file: &Path, text: &str) -> Result<()> {
    let mut options = File::options();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(file)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", file.display()))
}
