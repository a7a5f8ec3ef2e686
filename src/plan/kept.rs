//! What of a manifest a server keeps for us, with a key or an account, and shows with every list of them.

use super::Stop;
use crate::api::FreeForm;
use crate::api::conditions::Reason;

/// The name under which we keep what is ours.
const OURS: &str = "apikeys.dev";

/// The greatest length of what is kept, as JSON in bytes: lists show it of all keys of all tenants.
const LONGEST: usize = 8 * 1024;

/// That no name in it is one of the server's or of ours.
pub(super) fn unreserved(metadata: &FreeForm, reserved: char) -> Result<(), Stop> {
    let taken = |name: &&String| name.starts_with(reserved) || name.as_str() == OURS;
    match metadata.names().find(taken) {
        None => Ok(()),
        Some(name) => Err(Stop::new(
            Reason::Invalid,
            format!(
                "The name {name} in the metadata is reserved, as all that begin with {reserved} and {OURS} are. Choose another one."
            ),
        )),
    }
}

/// That what a server keeps for us is no longer than it may be: the field of this name has so many bytes.
pub(super) fn bounded(length: usize, name: &str) -> Result<(), Stop> {
    if length <= LONGEST {
        return Ok(());
    }
    Err(Stop::new(
        Reason::Invalid,
        format!("{name} has {length} bytes as JSON, and may have {LONGEST}. Shorten it."),
    ))
}
