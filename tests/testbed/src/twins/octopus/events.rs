//! The audit: who did what, with which key.
//!
//! It names the account whose key was used, never the person behind it. The ids of the document
//! type for keys and the words of `IdentityEstablishedWith` for keys and tokens are not known.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::{Answer, Reply, date};
use super::auth::Via;
use super::call::Call;
use super::store::Document;
use super::{Octopus, paging};

/// Something that was done.
#[derive(Debug, Clone)]
pub(super) struct Event {
    id: String,
    category: Category,
    user: String,
    username: String,
    is_service: bool,
    established_with: &'static str,
    key: Option<String>,
    user_agent: String,
    occurred: Timestamp,
    message: String,
    documents: Vec<String>,
}

/// What kind of thing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Category {
    Created,
    Modified,
    Deleted,
    LoginSucceeded,
}

impl Category {
    const ALL: [Self; 4] = [
        Self::Created,
        Self::Modified,
        Self::Deleted,
        Self::LoginSucceeded,
    ];

    const fn id(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Modified => "Modified",
            Self::Deleted => "Deleted",
            Self::LoginSucceeded => "LoginSucceeded",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Created => "was created",
            Self::Modified => "was changed",
            Self::Deleted => "was deleted",
            Self::LoginSucceeded => "logged in",
        }
    }
}

impl Document for Event {
    const PREFIX: &'static str = "Events-";

    fn id(&self) -> &str {
        &self.id
    }
}

impl Octopus {
    /// Writes into the audit that the caller did this to a document.
    pub(super) fn audit(&mut self, call: &Call, what: Category, kind: &str, id: &str, name: &str) {
        let (user, via) = match &call.caller {
            Some(caller) => (caller.user.as_str(), Some(&caller.via)),
            None => (id, None),
        };
        let account = self.users.find(user);
        let event = Event {
            id: String::new(),
            category: what,
            user: user.to_owned(),
            username: account
                .map(|user| user.username.clone())
                .unwrap_or_default(),
            is_service: account.is_some_and(super::users::User::is_service),
            established_with: match via {
                Some(Via::Key(_)) => "API key",
                Some(Via::Token) => "Access token",
                Some(Via::Session) | None => "Session cookie",
            },
            key: if let Some(Via::Key(key)) = via {
                Some(key.clone())
            } else {
                None
            },
            user_agent: call.user_agent().to_owned(),
            occurred: call.now,
            message: format!("{kind} {name} {}", what.words()),
            documents: vec![id.to_owned()],
        };
        let event = Event {
            id: self.events.next_id(),
            ..event
        };
        self.events.add(event);
    }
}

const TEMPLATE: &str = "/api/events{/id}{?skip,regarding,regardingAny,user,users,projects,\
                        projectGroups,environments,eventGroups,eventCategories,eventAgents,tags,\
                        tenants,from,to,internal,fromAutoId,toAutoId,documentTypes,asCsv,take,ids,\
                        spaces,includeSystem,excludeDifference}";

/// Newest first.
pub(super) fn list(octopus: &mut Octopus, call: &Call) -> Reply {
    let found = octopus
        .events
        .iter()
        .rev()
        .filter(|event| wanted(call, event));
    let items = found.map(|event| resource(octopus, event)).collect();
    paging::page(call, "Event", TEMPLATE, items)
}

fn wanted(call: &Call, event: &Event) -> bool {
    let among = |name: &str, id: &str| call.list(name).is_none_or(|list| list.contains(&id));
    let regards = |name: &str| {
        call.list(name)
            .is_none_or(|list| event.documents.iter().any(|id| list.contains(&id.as_str())))
    };
    let after = |name: &str| {
        call.query(name)
            .and_then(|text| text.parse::<Timestamp>().ok())
    };
    call.asks_for(&event.id)
        && among("users", &event.user)
        && among("user", &event.user)
        && among("eventCategories", event.category.id())
        && regards("regarding")
        && regards("regardingAny")
        && after("from").is_none_or(|from| event.occurred >= from)
        && after("to").is_none_or(|to| event.occurred <= to)
}

pub(super) fn get(octopus: &mut Octopus, call: &Call) -> Reply {
    Ok(Answer::ok(resource(
        octopus,
        octopus.events.get(call.at(0))?,
    )))
}

pub(super) fn categories(_: &mut Octopus, _: &Call) -> Reply {
    Ok(Answer::ok(names(Category::ALL.map(Category::id))))
}

pub(super) fn agents(_: &mut Octopus, _: &Call) -> Reply {
    Ok(Answer::ok(names(["Server"])))
}

pub(super) fn document_types(_: &mut Octopus, _: &Call) -> Reply {
    Ok(Answer::ok(names([
        "ApiKeys",
        "Spaces",
        "Teams",
        "Users",
        "UserRoles",
    ])))
}

pub(super) fn groups(_: &mut Octopus, _: &Call) -> Reply {
    let document = json!({
        "Id": "Document",
        "Name": "Document",
        "EventCategories": ["Created", "Modified", "Deleted"],
        "Links": null,
    });
    Ok(Answer::ok(json!([document])))
}

fn names<const N: usize>(ids: [&str; N]) -> Value {
    ids.iter()
        .map(|id| json!({ "Id": id, "Name": id, "Links": null }))
        .collect()
}

fn resource(octopus: &Octopus, event: &Event) -> Value {
    let hint = event
        .key
        .as_ref()
        .and_then(|key| octopus.keys.find(key))
        .map(|key| &key.hint);
    json!({
        "Id": event.id,
        "Category": event.category.id(),
        "UserId": event.user,
        "Username": event.username,
        "IsService": event.is_service,
        "IdentityEstablishedWith": event.established_with,
        "UserAgent": event.user_agent,
        "IpAddress": "127.0.0.1",
        "ApiKeyId": event.key,
        "ApiKeyHint": hint,
        "Occurred": date(event.occurred),
        "Message": event.message,
        "MessageHtml": event.message,
        "MessageReferences": [],
        "RelatedDocumentIds": event.documents,
        "Comments": null,
        "Details": null,
        "SpaceId": null,
        "ChangeDetails": { "DocumentContext": null, "Differences": [] },
        "Links": { "Self": format!("/api/events/{}", event.id) },
    })
}
