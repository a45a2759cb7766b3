//! How far a copy is, from the servers' words: `web/first: 56.07MB (28.01MB/s)`.

use roadstead_core::CopyProgress;
use serde_json::Value;

/// Sums what is told of one file system after the other: of each snapshot, then of the container.
#[derive(Debug, Default)]
pub(super) struct Progress {
    done: u64,
    current: (String, u64),
    told: Option<CopyProgress>,
}

impl Progress {
    /// Bytes in all, as far as it is known.
    pub(super) fn total(&self, carried: Option<u64>) -> Option<u64> {
        carried.or(Some(self.done + self.current.1)).filter(|bytes| *bytes > 0)
    }

    /// News of an operation; nothing when they tell nothing new. `carried` is what passed through our own hands, which
    /// is exact.
    pub(super) fn news(&mut self, metadata: &Value, carried: Option<u64>) -> Option<CopyProgress> {
        let members = metadata.as_object()?;
        let file_system = members.get("fs_progress").and_then(Value::as_str);
        let words = file_system.or_else(|| {
            let other = members.iter().find(|(key, value)| key.ends_with("_progress") && value.is_string());
            other.and_then(|(_, value)| value.as_str())
        })?;
        let mut progress = CopyProgress::new(words);
        if let Some((name, bytes)) = file_system.and_then(parse) {
            if name != self.current.0 {
                self.done += std::mem::replace(&mut self.current, (name.to_owned(), 0)).1;
            }
            self.current.1 = self.current.1.max(bytes);
        }
        progress.current_bytes = self.total(carried);
        if self.told.as_ref() == Some(&progress) {
            return None;
        }
        self.told = Some(progress.clone());
        Some(progress)
    }
}

/// Name and bytes. Servers round to two places of a decimal unit.
fn parse(words: &str) -> Option<(&str, u64)> {
    let (name, rest) = words.rsplit_once(": ")?;
    let amount = rest.split(' ').next()?;
    let digits = amount.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(amount.len());
    let (number, unit) = amount.split_at(digits);
    let factor: u64 = match unit {
        "B" | "" => 1,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "PB" => 1_000_000_000_000_000,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let hundredths: u64 = format!("{part:0<2}").get(..2)?.parse().ok()?;
    let whole: u64 = whole.parse().ok()?;
    Some((name, whole.checked_mul(factor)?.checked_add(hundredths * factor / 100)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts() {
        assert_eq!(parse("c1: 56.07MB (28.01MB/s)"), Some(("c1", 56_070_000)));
        assert_eq!(parse("c1/s: 1: 512B (3B/s)"), Some(("c1/s: 1", 512)));
        assert_eq!(parse("c1: 7kB (1kB/s)"), Some(("c1", 7_000)));
        for nonsense in ["", "c1", "c1: ", "c1: x", "c1: 5XB", "c1: .5MB", "c1: 99999999999999999999PB"] {
            assert_eq!(parse(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn one_file_system_after_the_other() {
        let mut progress = Progress::default();
        let mut tell = |words: &str| {
            let metadata = json!({"create_unpack_progress": "Unpack: 5%", "fs_progress": words});
            progress.news(&metadata, None).map(|told| told.current_bytes)
        };
        assert_eq!(tell("c/s1: 2.00MB (1MB/s)"), Some(Some(2_000_000)));
        assert_eq!(tell("c/s1: 2.00MB (1MB/s)"), None);
        assert_eq!(tell("c: 1.00MB (1MB/s)"), Some(Some(3_000_000)));
        assert_eq!(tell("strange"), Some(Some(3_000_000)));
        let unpacking = progress.news(&json!({"create_unpack_progress": "Unpack: 5%"}), Some(7)).unwrap();
        assert_eq!((unpacking.status.as_str(), unpacking.current_bytes), ("Unpack: 5%", Some(7)));
        assert!(progress.news(&json!({"control": "secret"}), None).is_none());
        assert!(progress.news(&Value::Null, None).is_none());
    }
}
