//! The entries of a Secret, rendered from templates.
//!
//! Templates are a tenant's text: they get no loader, no environment, a bound on work and a bound
//! on size, and an error that names the entry and the place but shows no value.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, UndefinedBehavior, context};

use super::facts::{self, Rendering};
use super::standing::Register;
use crate::api::ApiKey;
use crate::plan::marker::digest;
use crate::plan::record::Uid;
use crate::secret::KeyMaterial;

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
    /// The server's URL.
    pub url: &'a str,
    /// The account's user name.
    pub username: &'a str,
    /// Its serial.
    pub serial: u64,
    /// When it ends, as RFC 3339.
    pub expires_at: &'a str,
}

/// The templates of one ApiKey's Secret, by entry.
pub(crate) struct Templates<'a> {
    entries: BTreeMap<&'a str, &'a str>,
    shape: String,
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
        let shape = digest(
            &own.iter()
                .flat_map(|(name, text)| [*name, *text])
                .collect::<Vec<_>>(),
        );
        let entries = if own.is_empty() {
            defaults.iter().copied().collect()
        } else {
            own
        };
        Self { entries, shape }
    }

    /// The names of the entries.
    pub(crate) fn names(&self) -> Vec<&'a str> {
        self.entries.keys().copied().collect()
    }

    /// Whether the templates render, tried with values that are none, and a digest of what its author wrote.
    pub(crate) fn try_out(&self) -> Rendering {
        let dummy = KeyMaterial::new("not-a-key");
        let values = Values {
            key: &dummy,
            id: "not-an-id",
            url: "https://server.invalid",
            username: "nobody",
            serial: 1,
            expires_at: "1970-01-01T00:00:00Z",
        };
        Rendering {
            templates: self.render(&values).map(|_| ()),
            shape: self.shape.clone(),
        }
    }

    /// The entries, rendered. Never logged.
    pub(crate) fn render(
        &self,
        values: &Values<'_>,
    ) -> Result<BTreeMap<String, ByteString>, String> {
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let whole = SyntaxConfig::builder().keep_trailing_newline(true).build();
        environment.set_syntax(whole.map_err(|error| error.to_string())?);
        let context = context! {
            key => values.key.expose(),
            id => values.id,
            url => values.url,
            username => values.username,
            serial => values.serial,
            expiresAt => values.expires_at,
        };
        let mut entries = BTreeMap::new();
        let (mut length, mut fuel) = (0, FUEL);
        for (name, text) in &self.entries {
            environment.set_fuel(Some(fuel));
            let template = environment.template_from_str(text);
            let captured = template.and_then(|template| template.render_captured(&context));
            let captured = captured.map_err(|error| complaint(name, &error))?;
            fuel = captured.state().fuel_levels().map_or(0, |(_, left)| left);
            let rendered = captured.into_output();
            length += rendered.len();
            if length > LONGEST {
                return Err(format!(
                    "The entries of spec.secret.data are longer than {LONGEST} bytes"
                ));
            }
            entries.insert((*name).to_owned(), ByteString(rendered.into_bytes()));
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
            url: "https://octopus.example",
            username: "team-a.ci",
            serial: 3,
            expires_at: "2026-12-23T16:01:07Z",
        };
        let mut entries = Templates::of(&object, &[]).render(&values)?;
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
    fn the_bound_on_work_is_one_for_all_entries() {
        let list = "0, ".repeat(50);
        let text = format!(
            "{{% set l = [{list}] %}}{{% for a in l %}}{{% for b in l %}}{{% endfor %}}{{% endfor %}}"
        );
        let one = object(&serde_json::json!({ "a": text }));
        assert_eq!(Templates::of(&one, &[]).try_out().templates, Ok(()));
        let many = (0..9).map(|n| (format!("e{n}"), text.clone().into()));
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
    fn entries_of_a_server_are_no_wish_of_an_author() {
        let defaults: &[_] = &[("OCTOPUS_URL", "{{ url }}")];
        let bare = object(&serde_json::json!({}));
        assert_eq!(Templates::of(&bare, defaults).names(), ["OCTOPUS_URL"]);
        assert_eq!(
            Templates::of(&bare, defaults).try_out(),
            Templates::of(&bare, &[]).try_out()
        );
        let own = object(&serde_json::json!({"a": "b"}));
        assert_ne!(
            Templates::of(&own, defaults).try_out().shape,
            Templates::of(&bare, &[]).try_out().shape
        );
        assert_eq!(Templates::of(&own, defaults).names(), ["a"]);
    }
}
