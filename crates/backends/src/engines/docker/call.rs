//! What every call on a node begins with: the capability it needs, and what its errors carry.

use roadstead_core::{Capability, Error, Result};

use super::client::Client;

impl Client {
    /// `Unsupported` when the engine lacks `capability`; otherwise what names operation, node and resource (none when
    /// empty) in an error.
    pub(super) fn call<'a>(
        &'a self,
        operation: &'static str,
        capability: Capability,
        resource: &'a str,
    ) -> Result<impl Fn(Error) -> Error + 'a> {
        let name = move |error: Error| {
            let error = error.with_operation(operation).with_node(&self.name);
            if resource.is_empty() { error } else { error.with_resource(resource) }
        };
        self.capabilities.require(capability).map_err(name)?;
        Ok(name)
    }
}
