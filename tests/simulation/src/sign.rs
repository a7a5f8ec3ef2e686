//! A value that others wait for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A value that others wait for. They are woken in the order in which they came, where tokio's `watch`
/// wakes in any: a scene must go the same way whenever it is played. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sign<T> {
    inner: Arc<Inner<T>>,
}

#[derive(Debug, Default)]
struct Inner<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T> Sign<T> {
    /// Begins with a value.
    pub(crate) fn new(value: T) -> Self {
        let inner = Inner {
            value: Mutex::new(value),
            changed: Notify::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Looks at it.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.value())
    }

    /// Changes it, and wakes all who wait.
    pub(crate) fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.value());
        self.inner.changed.notify_waiters();
    }

    /// Waits until it is so.
    pub(crate) async fn until(&self, so: impl Fn(&T) -> bool) {
        loop {
            let changed = self.inner.changed.notified();
            if self.look(&so) {
                return;
            }
            changed.await;
        }
    }

    fn value(&self) -> MutexGuard<'_, T> {
        self.inner
            .value
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
