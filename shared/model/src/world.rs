//! The World: a snapshot of objects, indexed. The only door from I/O to logic.

use crate::object::{Kind, Object};

/// Something that is assumed in an answer because it could not be known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Assumption {
    /// Stable, kebab-case; each is explained in `docs/`.
    pub code: &'static str,
    /// What was assumed and about what, as a sentence.
    pub text: String,
}

/// A list that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The kind that could not be listed.
    pub kind: Kind,
    /// The only namespaces in which it could be listed after all; usually none.
    pub readable: Vec<String>,
    /// Why, in the server's words.
    pub reason: String,
}

/// What was read, before it is understood.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// All objects read.
    pub objects: Vec<Object>,
    /// All lists that could not be read.
    pub gaps: Vec<Gap>,
    /// Istio's version if the user stated it (`--istio-version 1.27.3`).
    pub istio_version: Option<String>,
}

/// A snapshot of objects, indexed for questions.
#[derive(Clone, Debug)]
pub struct World {
    snapshot: Snapshot,
}

impl World {
    /// Understands a snapshot. Never fails: what is malformed is kept and treated as a proxy would.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self { snapshot }
    }

    /// This World as if `objects` had been applied to it: an object with the kind, namespace and
    /// name of an existing one replaces it.
    #[must_use]
    pub fn with(&self, objects: Vec<Object>) -> Self {
        let mut snapshot = self.snapshot.clone();
        snapshot.objects.retain(|old| {
            !objects
                .iter()
                .any(|new| (new.kind, &new.namespace, &new.name) == (old.kind, &old.namespace, &old.name))
        });
        snapshot.objects.extend(objects);
        Self::new(snapshot)
    }

    /// The objects, as read.
    #[must_use]
    pub fn objects(&self) -> &[Object] {
        &self.snapshot.objects
    }
}
