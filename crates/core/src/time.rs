//! Points in time as the API shows them: RFC 3339, UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// A point in time, with nanoseconds. JSON and `Display` are RFC 3339 in UTC, for example `2026-11-21T06:50:42.5Z`.
///
/// Engines write times with offsets, with nine digits of fraction, and `0001-01-01T00:00:00Z` for "never"; all parse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// The name that a serializer is told of the text that it is.
    pub const NAME: &'static str = "Timestamp";

    /// This moment by the system's clock.
    #[must_use]
    pub fn now() -> Self {
        Timestamp(jiff::Timestamp::now())
    }

    /// Seconds since 1970-01-01T00:00:00Z; `None` when outside of the years −9999 to 9999.
    #[must_use]
    pub fn from_unix_seconds(seconds: i64) -> Option<Self> {
        jiff::Timestamp::from_second(seconds).ok().map(Timestamp)
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z; `None` when out of range.
    #[must_use]
    pub fn from_unix_nanos(nanos: i128) -> Option<Self> {
        jiff::Timestamp::from_nanosecond(nanos).ok().map(Timestamp)
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn unix_nanos(self) -> i128 {
        self.0.as_nanosecond()
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded towards zero.
    #[must_use]
    pub fn unix_seconds(self) -> i64 {
        self.0.as_second()
    }

    /// The time that passed from `earlier` to this; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        u128::try_from(self.unix_nanos() - earlier.unix_nanos())
            .ok()
            .and_then(|nanos| u64::try_from(nanos).ok())
            .map_or(Duration::ZERO, Duration::from_nanos)
    }

    /// This point moved forward; the latest possible time when that would be out of range.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Timestamp(
            self.0
                .saturating_add(jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX))
                .unwrap_or(self.0),
        )
    }

    /// Engines write the year 1 for "never happened"; this tells such a time from a real one.
    #[must_use]
    pub fn is_never(self) -> bool {
        self.unix_seconds() <= 0
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Timestamp(jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.parse()
            .map(Timestamp)
            .map_err(|error| Error::invalid("timestamp", format!("{text:?} is not RFC 3339: {error}")))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // JSON does not show the name; a format that has moments of its own knows one by it.
        serializer.serialize_newtype_struct(Self::NAME, &self.to_string())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // The text is not repeated: a caller may have put anything there.
        text.parse().map_err(|_| {
            serde::de::Error::custom("must be a time of RFC 3339 before 9999-12-30T22:00:01Z, as 2026-11-21T06:50:42Z")
        })
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .format(Some(utoipa::openapi::SchemaFormat::KnownFormat(utoipa::openapi::KnownFormat::DateTime)))
            .description(Some("A point in time, RFC 3339 in UTC"))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Timestamp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_spellings_parse_and_come_out_as_utc() {
        for (text, shown) in [
            ("2026-11-21T06:50:42.123456789Z", "2026-11-21T06:50:42.123456789Z"),
            ("2026-11-21T08:50:42+02:00", "2026-11-21T06:50:42Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), shown);
        }
        assert!("0001-01-01T00:00:00Z".parse::<Timestamp>().unwrap().is_never());
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn differences_do_not_go_below_zero() {
        let early = Timestamp::from_unix_seconds(10).unwrap();
        let late = early.saturating_add(Duration::from_millis(1500));
        assert_eq!(late.since(early), Duration::from_millis(1500));
        assert_eq!(early.since(late), Duration::ZERO);
    }
}
