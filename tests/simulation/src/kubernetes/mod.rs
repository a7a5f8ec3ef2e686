//! A simulated Kubernetes API: one store, one counter of versions, and the manners of a real
//! server as far as an operator can tell.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `store` `list` | objects, history, reads; [`Store::handle`] |
//! | `write` `delete` `meta` `builtin` | the rules of writes, in the order of a real server |
//! | `patch` `manage` `fields` | merge and JSON patch; field managers and server-side apply |
//! | `schema` `rules` `selector` `request` `refusal` | what bodies, queries and answers are made of |
//! | `watch` `server` | streams, and the store as a server under a clock |
//! | `admission` | the seam for quotas and policies |
//! | `tokens` | who somebody is, and tokens of ServiceAccounts |
//!
//! The same table of requests is played to it and to a real API server
//! ([`crate::conformance`]); where they differ, this one is wrong.
//!
//! Not covered: strategic merge patches (415), field validation `Strict`, conversion
//! between versions, authorization, discovery, and what needs a kubelet.

mod admission;
mod builtin;
mod delete;
mod fields;
mod kind;
mod list;
mod manage;
mod meta;
mod patch;
mod refusal;
mod request;
mod rules;
mod schema;
mod selector;
mod server;
mod store;
mod tokens;
mod watch;
mod write;

pub use admission::{Denied, Write};
pub use kind::{Kind, Origin, Scope, StatusDoor};
pub use refusal::{Cause, Fault, Refusal};
pub use request::{Dialect, Durability, Options, Ownership, Part, Target, Verb, View};
pub use schema::Schema;
pub use server::{ApiServer, Body, whole};
pub use store::{Answer, Change, Horizon, Key, Snapshot, Store, User};
pub use tokens::{ISSUER, subject};
pub use watch::{Blinds, Subscription};
