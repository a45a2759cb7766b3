//! How fast a disk of a virtual machine may be used: the pairs of `kvm.limit_disk_io`, each a switch and a number.

use serde_json::{Map, Value, json};

use super::Media;

/// A limit, and how far above it for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// What is allowed always, a second.
    pub sustained: Option<u64>,
    /// What is allowed for a while, a second.
    pub burst: Option<u64>,
    /// For how long, in seconds.
    pub burst_seconds: Option<u64>,
}

impl Rate {
    /// This much a second, never more.
    #[must_use]
    pub fn new(sustained: u64) -> Self {
        Rate { sustained: Some(sustained), ..Rate::default() }
    }
}

/// What is limited; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskLimits {
    /// Bytes, read and written.
    pub total_bytes: Rate,
    /// Bytes that are read.
    pub read_bytes: Rate,
    /// Bytes that are written.
    pub write_bytes: Rate,
    /// Operations.
    pub total_operations: Rate,
    /// Operations that read.
    pub read_operations: Rate,
    /// Operations that write.
    pub write_operations: Rate,
    /// An operation of so many bytes counts as one, larger ones as more.
    pub operation_bytes: Option<u64>,
    /// Disks of the same group share their limits.
    pub group: Option<String>,
}

impl DiskLimits {
    pub(super) fn arguments(&self, uuid: &str, media: &Media) -> Value {
        let mut members = Map::new();
        members.insert("uuid".to_owned(), json!(uuid));
        members.insert("media".to_owned(), json!(media));
        let mut set = |name: String, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(format!("{name}set"), Value::Bool(true));
                members.insert(name, value);
            }
        };
        for (name, rate) in [
            ("totalbytessec", &self.total_bytes),
            ("readbytessec", &self.read_bytes),
            ("writebytessec", &self.write_bytes),
            ("totaliopssec", &self.total_operations),
            ("readiopssec", &self.read_operations),
            ("writeiopssec", &self.write_operations),
        ] {
            set(name.to_owned(), rate.sustained.map(Value::from));
            set(format!("{name}max"), rate.burst.map(Value::from));
            set(format!("{name}maxlength"), rate.burst_seconds.map(Value::from));
        }
        set("sizeiopssec".to_owned(), self.operation_bytes.map(Value::from));
        set("groupname".to_owned(), self.group.as_deref().map(Value::from));
        Value::Object(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_a_switch_and_a_number() {
        let limits = DiskLimits {
            read_bytes: Rate { burst: Some(9), ..Rate::new(7) },
            group: Some("g".to_owned()),
            ..DiskLimits::default()
        };
        let media = Media { url: "/x".to_owned(), ..Media::default() };
        assert_eq!(
            limits.arguments("u", &media),
            json!({"uuid": "u", "media": {"url": "/x"}, "readbytessecset": true, "readbytessec": 7,
                "readbytessecmaxset": true, "readbytessecmax": 9, "groupnameset": true, "groupname": "g"})
        );
    }
}
