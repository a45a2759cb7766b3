//! Stores by their URIs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use roadstead_core::store::Store;
use roadstead_core::{Error, Result};

#[cfg(feature = "etcd")]
use super::etcd;
#[cfg(feature = "sqlite")]
use super::sqlite;

/// Where a store is, of which kind: `sqlite:/path/to/file` for a file of this machine, or that of
/// [`etcd::EtcdOptions::from_uri`], `etcd+https://…`, for several. It is shown without secrets.
#[derive(Clone)]
#[non_exhaustive]
pub enum StoreUri {
    /// A file.
    #[cfg(feature = "sqlite")]
    Sqlite(std::path::PathBuf),
    /// A cluster.
    #[cfg(feature = "etcd")]
    Etcd(Box<etcd::EtcdOptions>),
}

impl FromStr for StoreUri {
    type Err = Error;

    /// Reads files that the URI names, such as that of a password.
    ///
    /// # Errors
    /// `InvalidInput` that names the part of the URI that makes no sense.
    fn from_str(uri: &str) -> Result<Self> {
        // The text itself is not repeated in errors: it may hold a password.
        match uri.split_once(':').map_or("", |(scheme, _)| scheme) {
            #[cfg(feature = "sqlite")]
            "sqlite" => sqlite_path(uri).map(StoreUri::Sqlite),
            #[cfg(feature = "etcd")]
            "etcd" | "etcd+http" | "etcd+https" => {
                etcd::EtcdOptions::from_uri(uri).map(|options| StoreUri::Etcd(Box::new(options)))
            }
            _ => Err(Error::invalid("uri", "is not that of a store: sqlite:/path/to/file or etcd+https://host/prefix")),
        }
    }
}

impl fmt::Display for StoreUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "sqlite")]
            StoreUri::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            #[cfg(feature = "etcd")]
            StoreUri::Etcd(options) => options.fmt(f),
        }
    }
}

impl fmt::Debug for StoreUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StoreUri {
    /// Whether several servers may use it at once.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            StoreUri::Sqlite(_) => false,
            #[cfg(feature = "etcd")]
            StoreUri::Etcd(_) => true,
        }
    }

    /// Opens it, and makes what is not there.
    ///
    /// # Errors
    /// Those of the stores' own `open`.
    pub async fn open(&self) -> Result<Arc<dyn Store>> {
        match self {
            #[cfg(feature = "sqlite")]
            StoreUri::Sqlite(path) => Ok(Arc::new(sqlite::SqliteStore::open(path).await?)),
            #[cfg(feature = "etcd")]
            StoreUri::Etcd(options) => Ok(Arc::new(etcd::EtcdStore::open(options).await?)),
        }
    }

    /// Opens it to be read, also while others use it; `None` when it is not there. Nothing is made.
    ///
    /// # Errors
    /// Those of the stores' own `open`.
    pub async fn open_to_read(&self) -> Result<Option<Arc<dyn Store>>> {
        match self {
            #[cfg(feature = "sqlite")]
            StoreUri::Sqlite(path) => {
                let store = sqlite::SqliteStore::read_only(path).await?;
                Ok(store.map(|store| Arc::new(store) as Arc<dyn Store>))
            }
            #[cfg(feature = "etcd")]
            StoreUri::Etcd(options) => Ok(Some(Arc::new(etcd::EtcdStore::open(options).await?))),
        }
    }
}

/// Opens the store at `uri`, a [`StoreUri`].
///
/// # Errors
/// `InvalidInput` that names the part of the URI that makes no sense, and as the stores' own `open`.
pub async fn open(uri: &str) -> Result<Arc<dyn Store>> {
    uri.parse::<StoreUri>()?.open().await
}

/// The same, for one that must be there already: a file that is missing is not made.
///
/// # Errors
/// As [`open`]; `NotFound` when there is no such file.
pub async fn open_existing(uri: &str) -> Result<Arc<dyn Store>> {
    #[cfg(feature = "sqlite")]
    if uri.starts_with("sqlite:") {
        let path = sqlite_path(uri)?;
        if !tokio::fs::try_exists(&path).await.unwrap_or(true) {
            return Err(Error::not_found("file", &path.display().to_string()));
        }
    }
    open(uri).await
}

#[cfg(feature = "sqlite")]
fn sqlite_path(uri: &str) -> Result<std::path::PathBuf> {
    let refuse = || Error::invalid("uri", "must be like sqlite:/path/to/file, with special characters as %XX");
    let parts: roadstead_core::NodeUri = uri.parse().map_err(|_| refuse())?;
    let bare = parts.host().is_none() && parts.user().is_none() && parts.query().is_empty();
    if !bare || !parts.path().starts_with('/') || parts.path().ends_with('/') {
        return Err(refuse());
    }
    Ok(parts.path().into())
}

#[cfg(all(test, feature = "sqlite", feature = "etcd"))]
mod tests {
    use roadstead_core::store::{Key, Transaction};

    use super::*;

    #[tokio::test]
    async fn a_file_by_its_uri() {
        let directory = tempfile::tempdir().unwrap();
        for (name, uri) in [("a.db", "a.db"), ("b c.db", "b%20c.db")] {
            let store = open(&format!("sqlite:{}/{uri}", directory.path().display())).await.unwrap();
            store.commit(&Transaction::new().put(Key::new("a").unwrap(), "1")).await.unwrap();
            assert!(directory.path().join(name).exists());
            store.close().await.unwrap();
            open_existing(&format!("sqlite:{}/{uri}", directory.path().display())).await.unwrap();
        }
        let missing = format!("sqlite:{}/missing.db", directory.path().display());
        assert_eq!(open_existing(&missing).await.unwrap_err().kind(), roadstead_core::ErrorKind::NotFound);
        assert!(!directory.path().join("missing.db").exists());
    }

    #[tokio::test]
    async fn uris_that_are_none() {
        for uri in [
            "",
            "/var/lib/store.db",
            "sqlite",
            "sqlite:",
            "sqlite:store.db",
            "sqlite:/var/lib/",
            "sqlite://host/store.db",
            "sqlite:/store.db?mode=ro",
            "memory:",
            "etcd:",
            "etcd://one",
            "etcdx://one:hunter2@two",
        ] {
            let error = open(uri).await.unwrap_err();
            assert!(error.field() == Some("uri") && !error.to_string().contains("hunter2"), "{uri}: {error}");
        }
    }
}
