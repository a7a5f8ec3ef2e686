//! The columns of `kubectl get`, kind by kind.
//!
//! Dates that lie ahead are texts: of a date column kubectl prints the age, and for one that lies
//! ahead `<invalid>`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceColumnDefinition;

const READY: &str = ".status.conditions[?(@.type==\"Ready\")].status";
const REASON: &str = ".status.conditions[?(@.type==\"Ready\")].reason";
const KEYS: &str = ".status.keys.managed";

/// The columns of both kinds of connections.
pub(super) fn connection() -> Vec<CustomResourceColumnDefinition> {
    vec![
        text("Type", ".spec.type", "What kind of server it is"),
        text("URL", ".spec.url", "Where the server answers"),
        text("Ready", READY, "Whether the server can be used"),
        text("Reason", REASON, "Why"),
        text("Version", ".status.version", "The server's version"),
        number("Keys", KEYS, "How many keys are in use"),
        age(),
    ]
}

/// The columns of a ServiceAccount.
pub(super) fn service_account() -> Vec<CustomResourceColumnDefinition> {
    vec![
        text(
            "Server",
            ".spec.serverRef.name",
            "The connection to the server",
        ),
        text("Username", ".status.username", "The account's user name"),
        text("ID", ".status.id", "The server's id of the account"),
        text("Ready", READY, "Whether the account is as declared"),
        text("Reason", REASON, "Why"),
        number("Keys", KEYS, "How many of its keys are in use"),
        age(),
    ]
}

/// The columns of an ApiKey.
pub(super) fn api_key() -> Vec<CustomResourceColumnDefinition> {
    vec![
        text(
            "Account",
            ".spec.serviceAccountRef.name",
            "The ServiceAccount whose key this is",
        ),
        text("Ready", READY, "Whether the Secret holds a key that works"),
        text("Reason", REASON, "Why"),
        text("Expires", ".status.current.expiresAt", "When the key ends"),
        text("Rotates", ".status.rotateAt", "When the next key is due"),
        wide(text(
            "Secret",
            ".status.secretName",
            "The Secret that holds the key",
        )),
        wide(text(
            "Key-ID",
            ".status.current.id",
            "The server's id of the key",
        )),
        wide(number("Serial", ".status.serial", "The number of the key")),
        age(),
    ]
}

fn text(name: &str, path: &str, description: &str) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        name: name.to_owned(),
        json_path: path.to_owned(),
        description: Some(description.to_owned()),
        type_: "string".to_owned(),
        ..CustomResourceColumnDefinition::default()
    }
}

fn number(name: &str, path: &str, description: &str) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        type_: "integer".to_owned(),
        ..text(name, path, description)
    }
}

fn age() -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        type_: "date".to_owned(),
        ..text(
            "Age",
            ".metadata.creationTimestamp",
            "How old the object is",
        )
    }
}

/// Shown with `-o wide` alone.
fn wide(column: CustomResourceColumnDefinition) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        priority: Some(1),
        ..column
    }
}
