//! What each kind of server has in its own way, as far as it is only words: names in its samples,
//! entries of its Secrets, and how one asks it who one is.

use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use super::{Handed, Kind};
use crate::demo::samples::{Samples, samples};

/// The samples' entry of the team's own, which holds both the address and the key.
const OWN_ENTRY: &str = "config.json";

/// What one kind of server has in its own way.
pub(in crate::demo) struct Ways {
    /// What people call it.
    pub(in crate::demo) name: &'static str,
    /// Its manifests.
    pub(in crate::demo) samples: Samples,
    /// The samples' key that stays; its Secret has the default entries.
    pub(in crate::demo) key: &'static str,
    /// The samples' key for one run; its Secret has an entry of the team's own.
    pub(in crate::demo) once: &'static str,
    /// The default entry with the address of the API.
    url_entry: &'static str,
    /// The default entry with the key.
    key_entry: &'static str,
    /// Below that address: who am I?
    me: &'static str,
    /// The header that shows a key.
    header: &'static str,
    /// What is before the key in it.
    scheme: &'static str,
    /// Where the answer has the name.
    pub(super) username: &'static str,
}

static OCTOPUS: Ways = Ways {
    name: "Octopus Deploy",
    samples: samples!("octopus"),
    key: "deploy",
    once: "release-1042",
    url_entry: "OCTOPUS_URL",
    key_entry: "OCTOPUS_API_KEY",
    me: "/api/users/me",
    header: "X-Octopus-ApiKey",
    scheme: "",
    username: "Username",
};

static STACKSTORM: Ways = Ways {
    name: "StackStorm",
    samples: samples!("stackstorm"),
    key: "alerts",
    once: "drill-12",
    url_entry: "ST2_API_URL",
    key_entry: "ST2_API_KEY",
    me: "/user",
    header: "St2-Api-Key",
    scheme: "",
    username: "username",
};

static ELASTICSEARCH: Ways = Ways {
    name: "Elasticsearch",
    samples: samples!("elasticsearch"),
    key: "ingest",
    once: "import-88",
    url_entry: "ELASTICSEARCH_URL",
    key_entry: "ELASTICSEARCH_API_KEY",
    me: "/_security/_authenticate",
    header: "Authorization",
    scheme: "ApiKey ",
    username: "username",
};

impl Ways {
    pub(super) fn of(kind: Kind) -> &'static Self {
        match kind {
            Kind::Octopus => &OCTOPUS,
            Kind::StackStorm => &STACKSTORM,
            Kind::Elasticsearch => &ELASTICSEARCH,
        }
    }

    /// The key in a Secret with these entries: the default ones, or the one of the team's own.
    pub(in crate::demo) fn handed(&self, entry: impl Fn(&str) -> Option<String>) -> Option<Handed> {
        let Some(own) = entry(OWN_ENTRY) else {
            return Some(Handed {
                url: entry(self.url_entry)?,
                key: entry(self.key_entry)?,
            });
        };
        let own: Value = serde_json::from_str(&own).ok()?;
        Some(Handed {
            url: own["server"].as_str()?.to_owned(),
            key: own["apiKey"].as_str()?.to_owned(),
        })
    }

    /// The question who one is, asked with this key.
    pub(super) fn who_am_i(&self, client: &Client, handed: &Handed) -> RequestBuilder {
        let shown = format!("{}{}", self.scheme, handed.key);
        let me = client.get(format!("{}{}", handed.url, self.me));
        me.header(self.header, shown)
    }
}
