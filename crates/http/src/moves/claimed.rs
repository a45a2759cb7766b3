//! That nobody else works at a move: here, and at no other server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use roadstead_core::store::Claim;
use roadstead_core::{Error, ErrorKind, Result};

use super::{Active, lock};

/// That nobody else here works at a move; given up however the work on it ends.
pub(super) struct Place {
    pub(super) id: String,
    pub(super) active: Arc<Mutex<BTreeMap<String, Active>>>,
    pub(super) taken: Arc<Mutex<BTreeSet<String>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.active).remove(&self.id);
        lock(&self.taken).remove(&self.id);
    }
}

/// That nobody else works at a move, at no server; given back however the work under it ends.
pub(super) struct Claimed {
    pub(super) claim: Option<Claim>,
    /// Until the claim is given back: whoever takes the move up next would find it still claimed by this server.
    pub(super) place: Option<Place>,
}

impl Claimed {
    pub(super) fn take(&mut self) -> Self {
        Claimed { claim: self.claim.take(), place: self.place.take() }
    }

    pub(super) fn claim(&self) -> Result<Claim> {
        let none = || Error::new(ErrorKind::Unexpected, "a move is worked at without a claim");
        self.claim.clone().ok_or_else(none)
    }

    pub(super) async fn release(mut self) {
        if let Some(claim) = self.claim.take()
            && let Err(error) = claim.release().await
        {
            tracing::warn!(%error, "a claim on a move is not given back; it is found again, or over with the session");
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if self.claim.is_some()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(self.take().release());
        }
    }
}
