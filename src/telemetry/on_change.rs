//! What is logged once, and again when it has changed.

/// What was logged last.
#[derive(Debug)]
pub(crate) struct OnChange<T>(Option<T>);

impl<T> Default for OnChange<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: PartialEq> OnChange<T> {
    /// Whether this is to be logged: it is not what was logged last.
    pub(crate) fn is_new(&mut self, now: &T) -> bool
    where
        T: Clone,
    {
        let is_new = self.0.as_ref() != Some(now);
        if is_new {
            self.0 = Some(now.clone());
        }
        is_new
    }

    /// Whether something was logged that is over now.
    pub(crate) fn clear(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// Whether something was logged that is not over.
    pub(crate) fn is_set(&self) -> bool {
        self.0.is_some()
    }
}
