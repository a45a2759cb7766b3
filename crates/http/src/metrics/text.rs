//! The text form of OpenMetrics 1.0: families of samples with their labels, as Prometheus and others scrape them.
//!
//! ```text
//! # TYPE roadstead_node_up gauge
//! # HELP roadstead_node_up Whether the node answered.
//! roadstead_node_up{node="sea"} 1
//! # EOF
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Its media type.
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The value of a label is at most so many bytes long.
const VALUE_MAX: usize = 128;

/// What the samples of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows.
    Counter,
    /// Is always one: its labels are what it tells.
    Info,
}

impl Kind {
    /// The word for it, and what stands behind the name of each sample.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Kind::Gauge => ("gauge", ""),
            Kind::Counter => ("counter", "_total"),
            Kind::Info => ("info", "_info"),
        }
    }
}

/// Samples of one meaning.
#[derive(Debug)]
pub(super) struct Family {
    /// Its name; where it has a unit, that is its end. Samples of counters have `_total` after it, those of infos `_info`.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The unit: one without a prefix.
    pub(super) unit: Option<&'static str>,
    /// What it is, in a line.
    pub(super) help: &'static str,
}

/// A number, as exact as it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Number::Whole(value)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Number::Real(value)
    }
}

/// One number with its labels.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) family: &'static Family,
    /// As they are written, without braces.
    pub(super) labels: String,
    value: Number,
}

impl Sample {
    pub(super) fn new(family: &'static Family, labels: &[(&str, &str)], value: impl Into<Number>) -> Self {
        let mut text = String::new();
        for (name, value) in labels {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(name);
            text.push_str("=\"");
            escape(&mut text, value);
            text.push('"');
        }
        Sample { family, labels: text, value: value.into() }
    }
}

fn escape(into: &mut String, value: &str) {
    for letter in cut(value).chars() {
        match letter {
            '\\' => into.push_str("\\\\"),
            '"' => into.push_str("\\\""),
            '\n' => into.push_str("\\n"),
            letter => into.push(letter),
        }
    }
}

/// The beginning of a value that is too long; no letter is cut in two.
fn cut(value: &str) -> &str {
    let mut end = VALUE_MAX.min(value.len());
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.get(..end).unwrap_or_default()
}

/// Writes samples, those of a family together.
pub(super) fn write(samples: impl IntoIterator<Item = Sample>) -> String {
    let mut families: BTreeMap<&str, (&Family, String)> = BTreeMap::new();
    for Sample { family, labels, value } in samples {
        let (_, lines) = families.entry(family.name).or_insert_with(|| (family, String::new()));
        lines.push_str(family.name);
        lines.push_str(family.kind.words().1);
        if !labels.is_empty() {
            lines.push('{');
            lines.push_str(&labels);
            lines.push('}');
        }
        // Writing to a string cannot fail.
        let _ = match value {
            Number::Whole(value) => writeln!(lines, " {value}"),
            Number::Real(value) if value.is_nan() => writeln!(lines, " NaN"),
            Number::Real(value) if value.is_infinite() => {
                writeln!(lines, " {}", if value > 0.0 { "+Inf" } else { "-Inf" })
            }
            Number::Real(value) => writeln!(lines, " {value}"),
        };
    }
    let mut text = String::new();
    for (name, (family, lines)) in families {
        let _ = writeln!(text, "# TYPE {name} {}", family.kind.words().0);
        if let Some(unit) = family.unit {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(text, "# HELP {name} {}", family.help);
        text.push_str(&lines);
    }
    text.push_str("# EOF\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: Family = Family { name: "x_bytes", kind: Kind::Counter, unit: Some("bytes"), help: "Bytes." };
    const ON: Family = Family { name: "on", kind: Kind::Info, unit: None, help: "Where." };
    const UP: Family = Family { name: "a_up", kind: Kind::Gauge, unit: None, help: "Up." };

    #[test]
    fn families_stand_together() {
        let samples = [
            Sample::new(&BYTES, &[("node", "a")], u64::MAX),
            Sample::new(&UP, &[], 0.5),
            Sample::new(&BYTES, &[("node", "b"), ("name", "c")], 1_u64),
        ];
        let text = "# TYPE a_up gauge\n# HELP a_up Up.\na_up 0.5\n# TYPE x_bytes counter\n# UNIT x_bytes bytes\n# HELP x_bytes Bytes.\n\
                    x_bytes_total{node=\"a\"} 18446744073709551615\nx_bytes_total{node=\"b\",name=\"c\"} 1\n# EOF\n";
        assert_eq!(write(samples), text);
        assert_eq!(write([]), "# EOF\n");
        let info = write([Sample::new(&ON, &[("node", "a")], 1_u64)]);
        assert_eq!(info, "# TYPE on info\n# HELP on Where.\non_info{node=\"a\"} 1\n# EOF\n");
    }

    #[test]
    fn values_are_escaped_and_cut() {
        let line = |value: &str| write([Sample::new(&UP, &[("v", value)], 1_u64)]).lines().nth(2).unwrap().to_owned();
        assert_eq!(line("a\\b\"c\nd"), "a_up{v=\"a\\\\b\\\"c\\nd\"} 1");
        assert_eq!(line(&"x".repeat(1000)).len(), "a_up{v=\"\"} 1".len() + 128);
        // The 128th byte is within a letter.
        assert_eq!(line(&format!("x{}", "ü".repeat(100))).len(), "a_up{v=\"\"} 1".len() + 127);
    }

    #[test]
    fn numbers_that_are_none() {
        let value = |value: f64| write([Sample::new(&UP, &[], value)]).lines().nth(2).unwrap().to_owned();
        assert_eq!(
            [value(f64::NAN), value(f64::INFINITY), value(f64::NEG_INFINITY), value(2.0)],
            ["a_up NaN", "a_up +Inf", "a_up -Inf", "a_up 2"]
        );
    }
}
