//! Keys: names with slashes between them, such as `nodes/web-1`.

use std::fmt;

use super::KEY_MAX;
use crate::error::{Error, Result};

/// A key: one to 512 bytes of names with slashes between them, none of them empty; names are letters, digits, `.`, `_`, `-`, `:`, `@`,
/// `%` and `~`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// The beginning of keys: some names with a slash behind each, or nothing, which all keys begin with.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(String);

impl Key {
    /// # Errors
    /// `InvalidInput` that names `key`.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        names("key", &text)?;
        Ok(Key(text))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is behind a prefix; nothing when it does not begin so.
    #[must_use]
    pub fn behind(&self, prefix: &Prefix) -> Option<&str> {
        self.0.strip_prefix(&prefix.0)
    }
}

impl Prefix {
    /// # Errors
    /// `InvalidInput` that names `prefix`.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        if !text.is_empty() {
            let without = text.strip_suffix('/').ok_or_else(|| Error::invalid("prefix", "must end with a slash"))?;
            names("prefix", without)?;
        }
        Ok(Prefix(text))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key that has these names behind it.
    ///
    /// # Errors
    /// As for [`Key::new`].
    pub fn key(&self, names: &str) -> Result<Key> {
        Key::new(format!("{}{names}", self.0))
    }
}

fn names(field: &str, text: &str) -> Result<()> {
    if text.len() > KEY_MAX {
        return Err(Error::invalid(field, format!("has {} bytes, at most {KEY_MAX} are allowed", text.len())));
    }
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:@%~".contains(&byte))
    };
    if text.split('/').all(is_name) {
        return Ok(());
    }
    Err(Error::invalid(
        field,
        format!("{text:?} must be names of letters, digits and ._-:@%~ with a slash between them"),
    ))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_names_with_slashes_between_them() {
        for good in ["a", "nodes/web-1", "a/b/c:d@e%2F~._"] {
            assert_eq!(Key::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "/", "/a", "a/", "a//b", "a b", "ä", "a\0", &"a".repeat(KEY_MAX + 1)] {
            let error = Key::new(bad).unwrap_err();
            assert!(error.to_string().contains("key"), "{bad:?}: {error}");
        }
        assert_eq!(Key::new("a".repeat(KEY_MAX)).unwrap().as_str().len(), KEY_MAX);
    }

    #[test]
    fn prefixes_end_with_a_slash_so_that_no_name_is_cut() {
        let prefix = Prefix::new("nodes/").unwrap();
        assert_eq!(prefix.key("a").unwrap().behind(&prefix), Some("a"));
        assert_eq!(Key::new("nodes-old/a").unwrap().behind(&prefix), None);
        assert_eq!(Key::new("a").unwrap().behind(&Prefix::default()), Some("a"));
        for bad in ["nodes", "/", "a//"] {
            assert!(Prefix::new(bad).unwrap_err().to_string().contains("prefix"), "{bad:?}");
        }
    }
}
