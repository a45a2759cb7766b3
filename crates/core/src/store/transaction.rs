//! Transactions: writes that are done together when what they rely on still holds.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Key, LeaseId, Revision, STEPS_MAX, VALUE_MAX};
use crate::error::{Error, Result};

/// What must hold for a transaction to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guard {
    /// There is no such entry.
    Absent(Key),
    /// The entry is there and was last written by the transaction of this revision.
    Unchanged(Key, Revision),
}

impl Guard {
    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Guard::Absent(key) | Guard::Unchanged(key, _) => key,
        }
    }
}

/// One write.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Write {
    /// Writes an entry, new or not.
    Put {
        /// Its key.
        key: Key,
        /// Its value.
        value: Bytes,
        /// The lease that it hangs on from now on; none, and it hangs on none.
        lease: Option<LeaseId>,
    },
    /// Deletes an entry.
    Delete(Key),
}

impl Write {
    /// The key that it is about.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Write::Put { key, .. } | Write::Delete(key) => key,
        }
    }
}

impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // The value may be a secret.
            Write::Put { key, value, lease } => {
                f.debug_struct("Put").field("key", key).field("bytes", &value.len()).field("lease", lease).finish()
            }
            Write::Delete(key) => f.debug_tuple("Delete").field(key).finish(),
        }
    }
}

/// Writes with guards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    guards: Vec<Guard>,
    writes: Vec<Write>,
    /// Bytes of each value that the caller did not give.
    wrapping: usize,
}

/// The most bytes that a store around another one may add to each value.
pub const WRAPPING_MAX: usize = 64;

impl Transaction {
    /// Without anything yet.
    #[must_use]
    pub fn new() -> Self {
        Transaction::default()
    }

    /// Only when this holds, too.
    #[must_use]
    pub fn when(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    /// Writes an entry.
    #[must_use]
    pub fn put(self, key: Key, value: impl Into<Bytes>) -> Self {
        self.write(Write::Put { key, value: value.into(), lease: None })
    }

    /// Writes an entry that is there as long as the lease is.
    #[must_use]
    pub fn put_with(self, key: Key, value: impl Into<Bytes>, lease: LeaseId) -> Self {
        self.write(Write::Put { key, value: value.into(), lease: Some(lease) })
    }

    /// Writes an entry that is not there yet.
    #[must_use]
    pub fn create(self, key: Key, value: impl Into<Bytes>) -> Self {
        self.when(Guard::Absent(key.clone())).put(key, value)
    }

    /// Writes an entry in place of the one of this revision.
    #[must_use]
    pub fn replace(self, key: Key, before: Revision, value: impl Into<Bytes>) -> Self {
        self.when(Guard::Unchanged(key.clone(), before)).put(key, value)
    }

    /// Deletes an entry.
    #[must_use]
    pub fn delete(self, key: Key) -> Self {
        self.write(Write::Delete(key))
    }

    /// Adds a write.
    #[must_use]
    pub fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    /// Says that so many bytes of each value, at most [`WRAPPING_MAX`], were added by a store around the one that is given this: they
    /// do not count among those that are allowed.
    #[must_use]
    pub fn wrapped(mut self, bytes: usize) -> Self {
        self.wrapping = bytes.min(WRAPPING_MAX);
        self
    }

    /// What must hold.
    #[must_use]
    pub fn guards(&self) -> &[Guard] {
        &self.guards
    }

    /// What is done.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// What every store refuses, so that none takes what another does not.
    ///
    /// * **K25**: `InvalidInput` that names `transaction` when it has more than [`STEPS_MAX`] guards and writes, more than
    ///   [`VALUE_MAX`] bytes in all, or two writes of one key.
    ///
    /// # Errors
    /// As said.
    pub fn validate(&self) -> Result<()> {
        let steps = self.guards.len() + self.writes.len();
        if steps > STEPS_MAX {
            return Err(Error::invalid(
                "transaction",
                format!("has {steps} guards and writes, at most {STEPS_MAX} are allowed"),
            ));
        }
        let mut bytes = 0;
        let mut keys = BTreeSet::new();
        for write in &self.writes {
            bytes += write.key().as_str().len();
            if let Write::Put { value, .. } = write {
                bytes += value.len().saturating_sub(self.wrapping);
            }
            if !keys.insert(write.key()) {
                return Err(Error::invalid("transaction", format!("writes {} twice", write.key())));
            }
        }
        if bytes > VALUE_MAX {
            return Err(Error::invalid("transaction", format!("has {bytes} bytes, at most {VALUE_MAX} are allowed")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_store_takes_is_refused() {
        let key = |number: usize| Key::new(format!("k/{number}")).unwrap();
        let many = |count| (0..count).fold(Transaction::new(), |all, number| all.delete(key(number)));
        assert!(many(STEPS_MAX).validate().is_ok() && many(STEPS_MAX + 1).validate().is_err());
        assert!(many(2).when(Guard::Absent(key(0))).validate().is_ok());
        assert!(many(2).put(key(1), "x").validate().unwrap_err().to_string().contains("twice"));
        let large = |bytes| Transaction::new().put(Key::new("k").unwrap(), vec![0; bytes]);
        assert!(large(VALUE_MAX - 1).validate().is_ok() && large(VALUE_MAX).validate().is_err());
        assert!(large(VALUE_MAX + 9).wrapped(10).validate().is_ok());
        assert!(large(VALUE_MAX + WRAPPING_MAX).wrapped(usize::MAX).validate().is_err(), "no wrapper adds more");
    }

    #[test]
    fn values_are_not_shown() {
        let transaction = Transaction::new().put(Key::new("token").unwrap(), "secret-7");
        assert!(!format!("{transaction:?}").contains("secret-7"));
        let entry = super::super::Entry::new(Key::new("token").unwrap(), Bytes::from("secret-7"), Revision(1));
        assert!(!format!("{entry:?}").contains("secret-7"));
    }
}
