//! What a flist is made of: the arguments of `corex.flist.create`, which the reference knows from the server's source only.

use serde::Serialize;
use serde_json::Value;

use roadstead_core::Secret;

use super::super::writing::{exposed_if_any, plain};

/// How a flist is made of a container's files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FlistArguments {
    /// Its name.
    pub flist: String,
    /// Where the contents of its files go.
    #[serde(skip_serializing_if = "plain")]
    pub storage: String,
    /// Which directory of the container it is made of.
    #[serde(skip_serializing_if = "plain")]
    pub src: String,
    /// Proves to the hub who uploads it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed_if_any")]
    pub token: Option<Secret>,
    /// The hub that it is uploaded to; it stays on the node when empty.
    #[serde(skip_serializing_if = "plain")]
    pub hub: String,
}

impl FlistArguments {
    pub(super) fn with(&self, container: u64) -> Value {
        let mut arguments = serde_json::json!(self);
        if let Some(members) = arguments.as_object_mut() {
            members.insert("container".to_owned(), container.into());
        }
        arguments
    }
}
