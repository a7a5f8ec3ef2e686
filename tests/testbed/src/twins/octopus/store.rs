//! A collection of documents, in the order in which they were made; and how names compare.

use super::answer::Problem;

/// Something with an id.
pub(super) trait Document {
    /// The prefix of new ids, such as `Users-`.
    const PREFIX: &'static str;

    fn id(&self) -> &str;
}

/// The documents of one kind, and the number of the last one.
#[derive(Debug, Clone)]
pub(super) struct Store<D> {
    items: Vec<D>,
    last: u64,
}

impl<D> Default for Store<D> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            last: 0,
        }
    }
}

impl<D: Document> Store<D> {
    /// The id for the next document. Numbers are never used twice, deleted or not.
    pub(super) fn next_id(&mut self) -> String {
        self.last += 1;
        format!("{}{}", D::PREFIX, self.last)
    }

    pub(super) fn add(&mut self, document: D) {
        self.items.push(document);
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &D> {
        self.items.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut D> {
        self.items.iter_mut()
    }

    pub(super) fn find(&self, id: &str) -> Option<&D> {
        self.items.iter().find(|document| document.id() == id)
    }

    pub(super) fn find_mut(&mut self, id: &str) -> Option<&mut D> {
        self.items.iter_mut().find(|document| document.id() == id)
    }

    /// The document, or the 404 that the server answers.
    pub(super) fn get(&self, id: &str) -> Result<&D, Problem> {
        self.find(id).ok_or_else(|| Problem::not_found(id))
    }

    /// The document to change, or the 404 that the server answers.
    pub(super) fn get_mut(&mut self, id: &str) -> Result<&mut D, Problem> {
        self.find_mut(id).ok_or_else(|| Problem::not_found(id))
    }

    /// Puts a document in the place of the one with the same id.
    pub(super) fn replace(&mut self, document: D) {
        if let Some(place) = self.items.iter_mut().find(|old| old.id() == document.id()) {
            *place = document;
        }
    }

    pub(super) fn retain(&mut self, keep: impl FnMut(&D) -> bool) {
        self.items.retain(keep);
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.retain(|document| document.id() != id);
    }
}

/// Names are compared without regard to case.
pub(super) fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
