//! The control door: what a test does to a twin in Rust, another process does here, with `curl`.
//!
//! It listens on a port of its own on 127.0.0.1 and wants no credential. Nothing it shows is
//! secret: accounts, keys by id, the journal.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use jiff::SignedDuration;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;

use super::tcp::{Listening, not_free};
use super::{Door, Rule, Twin};

/// What one can do, for people; `GET /` shows it, with the twin's own changes.
const GUIDE: &str = r#"The control door of a twin.

  GET    /view                     everything that an oracle sees
  GET    /journal                  what was asked, and what became of it
  DELETE /journal                  forget it
  GET    /faults                   the rules in force
  POST   /faults                   add one, for example
           {"fault":"outage"}
           {"fault":"throttled","retryAfter":5,"times":{"next":3}}
           {"fault":"late","seconds":20,"method":"POST","path":"/api/users/*/apikeys","times":{"next":1}}
         faults: outage cutBefore cutAfter late{seconds} slow{millis} throttled{retryAfter?}
                 refused{status} feigned html halfJson flood{mebibytes} redirect{location}
  DELETE /faults                   clear them all
  POST   /changes                  something happens from outside, for example
{changes}
  GET    /clock                    what the server takes for the present
  POST   /clock                    move it: {"by":"36h"} or {"by":"-10m"}
  POST   /backups/{name}           take a backup
  POST   /backups/{name}/restore   go back to it
"#;

/// The state behind the routes.
struct Control<T: Twin> {
    door: Door<T>,
    backups: Arc<Mutex<BTreeMap<String, T>>>,
}

impl<T: Twin> Clone for Control<T> {
    fn clone(&self) -> Self {
        Self {
            door: self.door.clone(),
            backups: Arc::clone(&self.backups),
        }
    }
}

/// A move of the clock.
#[derive(Deserialize)]
struct Move {
    by: SignedDuration,
}

/// Listens on a port of 127.0.0.1; port 0 takes a free one.
///
/// # Errors
/// When the port is taken.
pub async fn serve<T: Twin>(door: &Door<T>, port: u16) -> anyhow::Result<Listening> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|cause| not_free(port, &cause))?;
    let address = listener.local_addr()?;
    let router = router(Control {
        door: door.clone(),
        backups: Arc::default(),
    });
    let task = tokio::spawn(async move {
        // It ends with its task; there is nobody to tell of a failure.
        let _ = axum::serve(listener, router).await;
    });
    Ok(Listening::new(address, "http", task))
}

fn router<T: Twin>(control: Control<T>) -> Router {
    Router::new()
        .route(
            "/",
            get(|| async { GUIDE.replace("{changes}", T::CHANGES) }),
        )
        .route("/view", get(view))
        .route("/journal", get(journal).delete(forget))
        .route("/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/changes", post(change))
        .route("/clock", get(clock).post(move_clock))
        .route("/backups/{name}", post(take_backup))
        .route("/backups/{name}/restore", post(restore))
        .with_state(control)
}

async fn view<T: Twin>(State(control): State<Control<T>>) -> Response {
    shown(&control.door.view())
}

async fn journal<T: Twin>(State(control): State<Control<T>>) -> Response {
    shown(&control.door.journal())
}

async fn forget<T: Twin>(State(control): State<Control<T>>) -> StatusCode {
    control.door.forget();
    StatusCode::NO_CONTENT
}

async fn faults<T: Twin>(State(control): State<Control<T>>) -> Response {
    shown(&control.door.faults())
}

async fn add_fault<T: Twin>(State(control): State<Control<T>>, body: Bytes) -> Response {
    done(read::<Rule>(&body).map(|rule| control.door.fault(rule)))
}

async fn clear_faults<T: Twin>(State(control): State<Control<T>>) -> StatusCode {
    control.door.clear_faults();
    StatusCode::NO_CONTENT
}

async fn change<T: Twin>(State(control): State<Control<T>>, body: Bytes) -> Response {
    done(read::<T::Change>(&body).and_then(|change| {
        control
            .door
            .change(change)
            .map_err(|unknown| (StatusCode::NOT_FOUND, unknown.to_string()))
    }))
}

async fn clock<T: Twin>(State(control): State<Control<T>>) -> Response {
    shown(&json!({ "now": control.door.now() }))
}

async fn move_clock<T: Twin>(State(control): State<Control<T>>, body: Bytes) -> Response {
    done(read::<Move>(&body).map(|step| control.door.move_clock(step.by)))
}

async fn take_backup<T: Twin>(
    State(control): State<Control<T>>,
    Path(name): Path<String>,
) -> StatusCode {
    let backup = control.door.backup();
    control
        .backups
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(name, backup);
    StatusCode::NO_CONTENT
}

async fn restore<T: Twin>(State(control): State<Control<T>>, Path(name): Path<String>) -> Response {
    let backups = control
        .backups
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let found = backups.get(&name).cloned().ok_or_else(|| {
        (
            StatusCode::NOT_FOUND,
            format!("there is no backup {name} here"),
        )
    });
    done(found.map(|backup| control.door.restore(backup)))
}

/// Why something was refused.
type Refused = (StatusCode, String);

fn read<B: DeserializeOwned>(body: &Bytes) -> Result<B, Refused> {
    serde_json::from_slice(body).map_err(|cause| (StatusCode::BAD_REQUEST, cause.to_string()))
}

fn done(result: Result<(), Refused>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err((status, error)) => {
            (status, format!("{:#}\n", json!({ "error": error }))).into_response()
        }
    }
}

/// Pretty JSON with a last line end, for people and programs.
fn shown(value: &impl Serialize) -> Response {
    match serde_json::to_string_pretty(value) {
        Ok(text) => ([("content-type", "application/json")], text + "\n").into_response(),
        Err(cause) => (StatusCode::INTERNAL_SERVER_ERROR, cause.to_string()).into_response(),
    }
}
