//! How arguments are written: what is not asked for is left out, and secrets are shown to the node alone.

use roadstead_core::Secret;
use serde::Serializer;

/// Whether a member says nothing more than its absence does.
pub(super) fn plain<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A secret as its text, where there is one.
pub(super) fn exposed_if_any<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_str(secret.expose()),
        None => serializer.serialize_none(),
    }
}
