//! A wish in the store: what any server may want of work that one of them does, such as that it ends. Whoever works waits for it, and
//! whoever takes the work up sees it.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use roadstead_core::store::{Key, Prefix, Store, Transaction, Watched, read_document, write_document};
use roadstead_core::{Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Between two attempts to follow the store.
const PAUSE: Duration = Duration::from_secs(1);
/// What one is called in errors.
const NOUN: &str = "wish";
/// Its name.
const NAME: &str = "cancel";

/// A wish for one piece of work. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Wish<T> {
    store: Arc<dyn Store>,
    /// Below which everything of the work is.
    below: Prefix,
    key: Key,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Wish<T> {
    /// That work ends whose parts are below `below`.
    ///
    /// # Errors
    /// None, unless this program is wrong.
    pub(crate) fn to_end(store: &Arc<dyn Store>, below: Prefix) -> Result<Self> {
        let key = below.key(NAME)?;
        Ok(Wish { store: Arc::clone(store), below, key, of: PhantomData })
    }

    /// Its key.
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Writes it down. The first counts.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn make(&self, wish: &T) -> Result<()> {
        let make = Transaction::new().create(self.key.clone(), write_document(NOUN, wish)?);
        match self.store.commit(&make).await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            made => made.map(drop),
        }
    }

    /// What is wished, if anything is.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn made(&self) -> Result<Option<T>> {
        self.store.get(&self.key).await?.map(|entry| read_document(NOUN, &entry)).transpose()
    }

    /// It is fulfilled, or void.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn forget(&self) -> Result<()> {
        self.store.commit(&Transaction::new().delete(self.key.clone())).await.map(drop)
    }

    /// Waits until it is made. What goes wrong is tried again.
    pub(crate) async fn comes(&self) -> T {
        loop {
            match self.look().await {
                Ok(wish) => return wish,
                Err(error) => tracing::debug!(key = self.key.as_str(), %error, "a wish is asked for again"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn look(&self) -> Result<T> {
        let mut watch = self.store.watch(&self.below, self.store.revision().await?).await?;
        loop {
            if let Some(wish) = self.made().await? {
                return Ok(wish);
            }
            // What else is written of the work comes by, too.
            loop {
                match watch.next().await.transpose()? {
                    Some(Watched::Changes { changes, .. }) => {
                        if changes.iter().any(|change| *change.key() == self.key) {
                            break;
                        }
                    }
                    _ => return Err(Error::new(ErrorKind::Unavailable, "the watch of the work ended")),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_core::store::MemoryStore;

    #[tokio::test(start_paused = true)]
    async fn a_wish_comes_once_and_the_first_counts() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::remembering(2));
        let wish = Wish::<u32>::to_end(&store, Prefix::new("work/a/").unwrap()).unwrap();
        let waiting = tokio::spawn({
            let wish = wish.clone();
            async move { wish.comes().await }
        });
        // More than is remembered, so that the watch ends on the way.
        for number in 0..20 {
            store.commit(&Transaction::new().put(Key::new("work/a/part").unwrap(), number.to_string())).await.unwrap();
        }
        assert_eq!(wish.made().await.unwrap(), None);
        wish.make(&1).await.unwrap();
        wish.make(&2).await.unwrap();
        assert_eq!(waiting.await.unwrap(), 1);
        assert_eq!((wish.made().await.unwrap(), wish.comes().await), (Some(1), 1));
        wish.forget().await.unwrap();
        wish.forget().await.unwrap();
        assert_eq!(wish.made().await.unwrap(), None);
    }
}
