//! The ground the project is tested on: a real Kubernetes control plane, twins of the deploy
//! servers, a real Elasticsearch, and the demo. It knows nothing of the operator's code.

pub mod clients;
pub mod control_plane;
pub mod demo;
pub mod elasticsearch;
mod install;
pub mod process;
mod progress;
mod run_folder;
pub mod twins;
