//! The entries of a Secret, rendered from templates.
//!
//! Templates are a tenant's text: they get no loader, no environment, a bound on work (`tags` keeps
//! out what it would not hold for) and a bound on size, and an error that names the entry and the
//! place but shows no value.

mod tags;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, UndefinedBehavior, context};

use super::facts::{self, Rendering};
use super::standing::{Address, Register};
use crate::api::{ApiKey, Window};
use crate::plan::marker;
use crate::plan::record::Uid;
use crate::plan::window::Windows;
use crate::secret::{KeyMaterial, digest};

/// How many instructions the templates of all entries together may take.
const FUEL: u64 = 20_000;
/// How long all entries together may be, in bytes: half of what etcd takes.
const LONGEST: usize = 512 * 1024;

/// What a template sees of a key.
pub(crate) struct Values<'a> {
    /// Its value.
    pub key: &'a KeyMaterial,
    /// Its id on the server.
    pub id: &'a str,
    /// Where the server answers.
    pub address: &'a Address,
    /// The account's user name.
    pub username: &'a str,
    /// Its serial.
    pub serial: u64,
    /// When it ends, as RFC 3339.
    pub expires_at: &'a str,
    /// The value of the replaced key that still works, where it is kept.
    pub previous: Option<&'a KeyMaterial>,
}

/// What the entries that hold the previous key are called before the name of the entry.
pub(crate) const PREVIOUS: &str = "PREVIOUS_";

/// The entries of a Secret.
#[derive(Default)]
pub(crate) struct Entries {
    /// All of them.
    pub all: BTreeMap<String, ByteString>,
    /// The names of those that hold the previous key, and go with it.
    pub previous: BTreeSet<String>,
}

impl Entries {
    /// A digest of those that stay as long as the key.
    pub(crate) fn digest(&self) -> String {
        let lasting = self
            .all
            .iter()
            .filter(|(name, _)| !self.previous.contains(*name));
        digest(lasting.map(|(name, value)| (name.as_str(), value.0.as_slice())))
    }
}

/// The templates of one ApiKey's Secret, by entry.
pub(crate) struct Templates<'a> {
    entries: BTreeMap<&'a str, &'a str>,
    shape: String,
    keep_previous: KeepPrevious,
    windows: &'a [Window],
}

/// Whether the previous key is kept beside the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeepPrevious {
    Yes,
    No,
}

impl<'a> Templates<'a> {
    /// Those of the manifest, or the server's own.
    pub(crate) fn of(
        object: &'a ApiKey,
        defaults: &'static [(&'static str, &'static str)],
    ) -> Self {
        let own = &object.spec.secret.data;
        let own: BTreeMap<_, _> = own
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        // The server's own entries are not part of it: they are not the author's wish.
        let mut wish: Vec<&str> = own.iter().flat_map(|(name, text)| [*name, *text]).collect();
        let keep_previous = if object.spec.secret.keep_previous {
            wish.push("keepPrevious");
            KeepPrevious::Yes
        } else {
            KeepPrevious::No
        };
        let shape = marker::digest(&wish);
        let entries = if own.is_empty() {
            defaults.iter().copied().collect()
        } else {
            own
        };
        Self {
            entries,
            shape,
            keep_previous,
            windows: &object.spec.rotation.windows,
        }
    }

    /// Whether the templates render, tried with values that are none, and a digest of what its author wrote.
    pub(crate) fn try_out(&self) -> Rendering {
        let (dummy, former) = (
            KeyMaterial::new("not-a-key"),
            KeyMaterial::new("not-that-key"),
        );
        let values = Values {
            key: &dummy,
            id: "not-an-id",
            address: &Address::of("https://server.invalid", None),
            username: "nobody",
            serial: 1,
            expires_at: "1970-01-01T00:00:00Z",
            previous: Some(&former),
        };
        let sound = |entries: &Entries| self.has_sense(entries, &dummy);
        Rendering {
            templates: self.render(&values).and_then(|entries| sound(&entries)),
            shape: self.shape.clone(),
            windows: Windows::read(self.windows),
        }
    }

    /// That a previous key can be kept as the templates want it.
    fn has_sense(&self, entries: &Entries, key: &KeyMaterial) -> Result<(), String> {
        if self.keep_previous == KeepPrevious::No {
            return entries.previous.first().map_or(Ok(()), |name| {
                Err(format!(
                    "Entry {name} of spec.secret.data shows `previous`, but spec.secret.keepPrevious is not set"
                ))
            });
        }
        if let Some(name) = entries.all.keys().find(|name| name.starts_with(PREVIOUS)) {
            return Err(format!(
                "Entry {name} of spec.secret.data has a name that spec.secret.keepPrevious needs"
            ));
        }
        let plain = entries
            .all
            .values()
            .any(|value| value.0 == key.expose().as_bytes());
        if !entries.previous.is_empty() && !plain {
            return Err(
                "Some entry of spec.secret.data shows `previous`, which is read from an entry that is nothing but `{{ key }}`, and there is none".to_owned()
            );
        }
        Ok(())
    }

    /// The entries, rendered; without those that show `previous` when there is none. Never logged.
    pub(crate) fn render(&self, values: &Values<'_>) -> Result<Entries, String> {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let whole = SyntaxConfig::builder().keep_trailing_newline(true).build();
        environment.set_syntax(whole.map_err(|error| error.to_string())?);
        let context = context! {
            key => values.key.expose(),
            id => values.id,
            url => values.address.url.as_str(),
            authUrl => values.address.auth_url.as_str(),
            username => values.username,
            serial => values.serial,
            expiresAt => values.expires_at,
            previous => values.previous.map(KeyMaterial::expose),
        };
        let mut entries = Entries::default();
        let (mut length, mut fuel) = (0, FUEL);
        for (name, text) in &self.entries {
            tags::are_bounded(text).map_err(|why| {
                format!("Entry {name} of spec.secret.data does not render: {why}")
            })?;
            environment.set_fuel(Some(fuel));
            let template = environment
                .template_from_str(text)
                .map_err(|error| complaint(name, &error))?;
            let of_previous = template.undeclared_variables(false).contains("previous");
            if of_previous && values.previous.is_none() {
                continue;
            }
            let captured = template.render_captured(&context);
            let captured = captured.map_err(|error| complaint(name, &error))?;
            fuel = captured.state().fuel_levels().map_or(0, |(_, left)| left);
            let rendered = captured.into_output();
            length += rendered.len();
            if length > LONGEST {
                return Err(format!(
                    "The entries of spec.secret.data are longer than {LONGEST} bytes"
                ));
            }
            let value = ByteString(rendered.into_bytes());
            entries.all.insert((*name).to_owned(), value);
            if of_previous {
                entries.previous.insert((*name).to_owned());
            }
        }
        Ok(entries)
    }
}

fn complaint(entry: &str, error: &Error) -> String {
    let line = error
        .line()
        .map_or_else(String::new, |line| format!(", line {line}"));
    let kind = error.kind();
    format!("Entry {entry} of spec.secret.data does not render: {kind}{line}")
}

/// What the templates of ApiKeys are worth, as it was tried for their present generations: a
/// tenant's templates are not tried at every look.
#[derive(Default)]
pub(crate) struct Renderings(Register<Uid, (i64, Rendering)>);

impl Renderings {
    /// What the templates of this ApiKey are worth.
    pub(crate) fn of(&self, object: &ApiKey) -> Rendering {
        let meta = &object.metadata;
        let (uid, generation) = (facts::uid(meta), meta.generation.unwrap_or_default());
        match self.0.get(&uid) {
            Some((tried, rendering)) if tried == generation => rendering,
            Some(_) | None => {
                let rendering = Templates::of(object, &[]).try_out();
                self.0.put(uid, (generation, rendering.clone()));
                rendering
            }
        }
    }

    /// Forgets those of this ApiKey.
    pub(crate) fn forget(&self, uid: &Uid) {
        self.0.forget(uid);
    }

    /// Forgets all but those of these.
    pub(crate) fn keep(&self, stays: impl Fn(&Uid) -> bool) {
        self.0.keep(stays);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(data: &serde_json::Value) -> ApiKey {
        let spec = serde_json::json!({
            "serviceAccountRef": {"name": "ci"}, "secret": {"data": data}, "rotation": {"overlap": "1d"},
        });
        ApiKey::new("deploy", serde_json::from_value(spec).unwrap())
    }

    fn render(text: &str) -> Result<String, String> {
        let object = object(&serde_json::json!({ "entry": text }));
        let key = KeyMaterial::new("API-CANARY");
        let values = Values {
            key: &key,
            id: "apikeys-1",
            address: &Address::of("https://octopus.example", None),
            username: "team-a.ci",
            serial: 3,
            expires_at: "2026-12-23T16:01:07Z",
            previous: None,
        };
        let mut entries = Templates::of(&object, &[]).render(&values)?.all;
        Ok(String::from_utf8(entries.remove("entry").unwrap().0).unwrap())
    }

    #[test]
    fn entries_are_what_their_author_wrote() {
        for (text, rendered) in [
            ("{{ key }}", "API-CANARY"),
            (
                "{{ url }}/api {{ id }} {{ username }} {{ serial }} {{ expiresAt }}\n",
                "https://octopus.example/api apikeys-1 team-a.ci 3 2026-12-23T16:01:07Z\n",
            ),
            (r#"{"key": "{{ key }}"}"#, r#"{"key": "API-CANARY"}"#),
            ("plain", "plain"),
        ] {
            assert_eq!(render(text).as_deref(), Ok(rendered), "{text}");
        }
    }

    #[test]
    fn what_does_not_render_says_where_and_shows_no_value() {
        for text in [
            "{{ nobody }}",
            "{{ key",
            "{{ key.x.y }}",
            "{% include 'x' %}",
            "{{ key() }}",
            "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
            "{% set x = 'x' * 1000000000 %}{{ x }}",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        ] {
            let error = render(text).unwrap_err();
            assert!(
                error.contains("entry") || error.contains("entries"),
                "{text}: {error}"
            );
            assert!(!error.contains("CANARY"), "{text}: {error}");
        }
    }

    #[test]
    fn what_fuel_does_not_bound_is_refused() {
        let doubled = |what: &str, times: usize| format!("{{% set x=x{what}x %}}").repeat(times);
        for text in [
            format!("{{% set x=[key] %}}{}{{{{ x[-1] }}}}", doubled("+", 40)),
            format!("{{% set x=[key] %}}{}{{% set a,b=x %}}", doubled("+", 40)),
            format!("{{% set x=key %}}{}{{{{ x }}}}", doubled("~", 60)),
            format!("{{{{ {}key }}}}", "-".repeat(16_000)),
            format!("{{{{ key{} }}}}", "~id".repeat(5_000)),
        ] {
            let error = render(&text).unwrap_err();
            assert!(error.contains("entry"), "{error}");
        }
    }

    #[test]
    fn the_bound_on_work_is_one_for_all_entries() {
        let text = "{% if key %}{% endif %}".repeat(700);
        let one = object(&serde_json::json!({ "a": text }));
        assert_eq!(Templates::of(&one, &[]).try_out().templates, Ok(()));
        let many = (0..30).map(|n| (format!("e{n}"), text.clone().into()));
        let many = object(&serde_json::Value::Object(many.collect()));
        let refused = Templates::of(&many, &[]).try_out().templates.unwrap_err();
        assert!(refused.contains("fuel"), "{refused}");
    }

    #[test]
    fn templates_are_tried_again_only_for_another_generation() {
        let renderings = Renderings::default();
        let mut object = object(&serde_json::json!({"a": "b"}));
        object.metadata.uid = Some("uid".to_owned());
        object.metadata.generation = Some(1);
        let first = renderings.of(&object);
        object
            .spec
            .secret
            .data
            .insert("a".to_owned(), "{{".to_owned());
        assert_eq!(renderings.of(&object), first);
        object.metadata.generation = Some(2);
        assert!(renderings.of(&object).templates.is_err());
    }

    #[test]
    fn a_previous_key_is_kept_only_as_it_can_be() {
        let worth = |data: serde_json::Value, keep: bool| {
            let mut object = object(&data);
            object.spec.secret.keep_previous = keep;
            Templates::of(&object, &[]).try_out().templates
        };
        let both = serde_json::json!({"key": "{{ key }}", "old": "{{ previous }}"});
        assert_eq!(worth(both.clone(), true), Ok(()));
        for (data, keep, why) in [
            (both, false, "keepPrevious is not set"),
            (
                serde_json::json!({"a": "k={{ key }}", "b": "{{ previous }}"}),
                true,
                "nothing but",
            ),
            (
                serde_json::json!({"a": "{{ key }}", "PREVIOUS_a": "b"}),
                true,
                "has a name",
            ),
        ] {
            let refused = worth(data, keep).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn entries_of_a_server_are_no_wish_of_an_author() {
        let defaults: &[_] = &[("OCTOPUS_URL", "{{ url }}")];
        let bare = object(&serde_json::json!({}));
        assert!(
            Templates::of(&bare, defaults)
                .entries
                .contains_key("OCTOPUS_URL")
        );
        assert_eq!(
            Templates::of(&bare, defaults).try_out(),
            Templates::of(&bare, &[]).try_out()
        );
        let own = object(&serde_json::json!({"a": "b"}));
        assert_ne!(
            Templates::of(&own, defaults).try_out().shape,
            Templates::of(&bare, &[]).try_out().shape
        );
        let own = Templates::of(&own, defaults);
        assert!(own.entries.into_keys().eq(["a"]));
    }
}
