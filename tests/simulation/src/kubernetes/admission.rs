//! The seam for quotas, webhooks and policies: closures that see a write before it lasts, dry runs
//! included, and may change or refuse it.

use serde_json::Value;

use super::refusal::Refusal;
use super::request::{Durability, Part, Verb};
use super::store::{Asked, Store};

/// One write, as admission sees it.
pub struct Write<'write> {
    /// Create, replace, patch or delete.
    pub verb: Verb,
    /// `plural.group`.
    pub resource: String,
    /// Empty for a kind of the whole cluster.
    pub namespace: &'write str,
    /// Empty while the name is not generated.
    pub name: &'write str,
    /// The part that is written.
    pub part: Part,
    /// Whether it will last.
    pub durability: Durability,
    /// Who writes.
    pub user: &'write str,
    /// The object as it was.
    pub old: Option<&'write Value>,
    /// The object as it shall be; null on delete. May be changed.
    pub object: &'write mut Value,
}

/// Why a write is not admitted, in the words of whoever refuses.
#[derive(Debug, Clone)]
pub struct Denied(pub String);

type Judge = Box<dyn FnMut(&mut Write<'_>) -> Result<(), Denied> + Send>;

pub(super) struct Admission {
    name: String,
    judge: Judge,
}

impl Store {
    /// Lets a closure judge every write, under a name by which it can be lifted.
    pub fn admit(
        &mut self,
        name: &str,
        judge: impl FnMut(&mut Write<'_>) -> Result<(), Denied> + Send + 'static,
    ) {
        self.lift(name);
        self.admissions.push(Admission {
            name: name.to_owned(),
            judge: Box::new(judge),
        });
    }

    /// Takes a closure away.
    pub fn lift(&mut self, name: &str) {
        self.admissions.retain(|admission| admission.name != name);
    }

    pub(super) fn judge(
        &mut self,
        asked: &Asked,
        verb: Verb,
        old: Option<&Value>,
        object: &mut Value,
    ) -> Result<(), Refusal> {
        let name = asked.target.name.clone().unwrap_or_else(|| {
            object["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        });
        for admission in &mut self.admissions {
            let mut write = Write {
                verb,
                resource: asked.kind.resource(),
                namespace: asked.target.namespace.as_deref().unwrap_or_default(),
                name: &name,
                part: asked.target.part,
                durability: asked.options.durability,
                user: &asked.user,
                old,
                object: &mut *object,
            };
            (admission.judge)(&mut write)
                .map_err(|Denied(why)| Refusal::forbidden(&asked.kind, &name, why))?;
        }
        Ok(())
    }
}
