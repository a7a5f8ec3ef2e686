//! Rules in CEL (`x-kubernetes-validations`), those about a change (`oldSelf`) included.

use std::sync::Arc;

use anyhow::{Result, bail};
use kube_cel::{CompiledSchema, Validator, compile_schema};
use serde_json::Value;

use super::refusal::{Cause, Fault};

/// The rules of one schema.
#[derive(Clone)]
pub(super) struct Rules(Option<(Arc<CompiledSchema>, Reach)>);

/// What the rules are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The spec alone.
    Spec,
    /// More than that.
    Whole,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Rules")
    }
}

impl Rules {
    /// Compiles the rules of a schema.
    ///
    /// # Errors
    /// When one of them is no CEL.
    pub(super) fn of(schema: &Value) -> Result<Self> {
        if !has_rules(schema) {
            return Ok(Self(None));
        }
        let compiled = compile_schema(schema);
        check(&compiled)?;
        let mut rest = schema.clone();
        rest["properties"]["spec"].take();
        let reach = if has_rules(&rest) {
            Reach::Whole
        } else {
            Reach::Spec
        };
        Ok(Self(Some((Arc::new(compiled), reach))))
    }

    /// What the rules say to an object, or why they were not asked.
    pub(super) fn judge(&self, object: &Value, old: Option<&Value>, found: &[Cause]) -> Vec<Cause> {
        let Some((rules, reach)) = &self.0 else {
            return Vec::new();
        };
        // What has not changed is not asked again (validation ratcheting).
        if *reach == Reach::Spec && old.is_some_and(|old| old["spec"] == object["spec"]) {
            return Vec::new();
        }
        if found.iter().any(|cause| cause.reason.blocks()) {
            let message = "some validation rules were not checked because the object was invalid; \
                           correct the existing errors to complete validation";
            return vec![Cause::of("<nil>", Fault::Invalid, &Value::Null, message)];
        }
        let Err(errors) = Validator::new().validate_compiled(rules, object, old) else {
            return Vec::new();
        };
        errors
            .into_vec()
            .into_iter()
            .map(|error| {
                let pointer = format!("/{}", error.field_path.replace('.', "/"));
                match object.pointer(&pointer) {
                    Some(Value::Array(_) | Value::Object(_)) | None => {
                        Cause::new(error.field_path, Fault::Invalid, error.message)
                    }
                    Some(value) => {
                        Cause::of(error.field_path, Fault::Invalid, value, error.message)
                    }
                }
            })
            .collect()
    }
}

fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            fields.contains_key("x-kubernetes-validations") || fields.values().any(has_rules)
        }
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}

fn check(schema: &CompiledSchema) -> Result<()> {
    if let Some(error) = schema.compilation_errors().first() {
        bail!("a rule is no CEL: {error}");
    }
    let inner = schema.properties.values();
    let inner = inner
        .chain(schema.items.as_deref())
        .chain(schema.additional_properties.as_deref());
    inner.into_iter().try_for_each(check)
}
