//! What an answer told of a key.

/// How much of a key was observed. Validation depends on no more than that.
#[derive(Clone, Debug)]
pub(crate) enum Seen<V> {
    /// Whether it exists.
    Existence(bool),
    /// Its value, `None` if it does not exist.
    Value(Option<V>),
}

impl<V> Seen<V> {
    pub(crate) fn exists(&self) -> bool {
        match self {
            Seen::Existence(exists) => *exists,
            Seen::Value(value) => value.is_some(),
        }
    }
}
