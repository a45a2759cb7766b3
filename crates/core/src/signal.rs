//! Signals, by name or by number, as every engine and caller writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// A Linux signal. Written as `SIGTERM`, `TERM`, `term` or `15`; shown as `SIGTERM`; real-time signals are shown as
/// `SIGRTMIN+3`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(u8);

/// Numbers as on x86_64 and aarch64 Linux: signal(7).
const NAMES: [(&str, u8); 35] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGSTKFLT", 16),
    ("SIGCHLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
    // Second names, after the first ones so that the first is shown.
    ("SIGIOT", 6),
    ("SIGCLD", 17),
    ("SIGPOLL", 29),
    ("SIGUNUSED", 31),
];

/// The first and last real-time signal as the C library counts them.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

impl Signal {
    /// Ends at once; cannot be caught.
    pub const KILL: Signal = Signal(9);
    /// Asks to end.
    pub const TERM: Signal = Signal(15);
    /// Interrupt, as Ctrl-C sends it.
    pub const INT: Signal = Signal(2);
    /// Hang-up.
    pub const HUP: Signal = Signal(1);
    /// For the application's own use.
    pub const USR1: Signal = Signal(10);

    /// The signal with this number, 1 to 64.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Signal> {
        if number >= 1 && number <= RTMAX { Some(Signal(number)) } else { None }
    }

    /// The number, 1 to 64.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl FromStr for Signal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || {
            Error::invalid(
                "signal",
                format!("{text:?} is not a signal name such as SIGTERM, nor a number from 1 to 64"),
            )
        };
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return text.parse().ok().and_then(Signal::from_number).ok_or_else(refuse);
        }
        let upper = text.to_ascii_uppercase();
        let short = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some((_, number)) = NAMES.iter().find(|(name, _)| name.strip_prefix("SIG") == Some(short)) {
            return Ok(Signal(*number));
        }
        let offset = |rest: &str| {
            if rest.is_empty() { Some(0) } else { rest.get(1..).and_then(|digits| digits.parse::<u8>().ok()) }
        };
        let number = if let Some(rest) =
            short.strip_prefix("RTMIN").filter(|rest| rest.is_empty() || rest.starts_with('+'))
        {
            offset(rest).and_then(|n| RTMIN.checked_add(n))
        } else if let Some(rest) = short.strip_prefix("RTMAX").filter(|rest| rest.is_empty() || rest.starts_with('-')) {
            offset(rest).and_then(|n| RTMAX.checked_sub(n))
        } else {
            None
        };
        number.filter(|number| (RTMIN..=RTMAX).contains(number)).map(Signal).ok_or_else(refuse)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None if self.0 > RTMIN => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
            None if self.0 == RTMIN => f.write_str("SIGRTMIN"),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum NameOrNumber {
            Number(u8),
            Name(String),
        }
        let signal = match NameOrNumber::deserialize(deserializer)? {
            NameOrNumber::Number(number) => number.to_string().parse(),
            NameOrNumber::Name(name) => name.parse(),
        };
        signal.map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Signal {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("A signal by name (SIGTERM, TERM) or by number (\"15\")"))
            .examples(["SIGTERM"])
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Signal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_real_time_signals_parse() {
        for (text, number, shown) in [
            ("SIGTERM", 15, "SIGTERM"),
            ("kill", 9, "SIGKILL"),
            ("sigcld", 17, "SIGCHLD"),
            ("10", 10, "SIGUSR1"),
            ("SIGRTMIN", 34, "SIGRTMIN"),
            ("RTMIN+3", 37, "SIGRTMIN+3"),
            ("SIGRTMAX-1", 63, "SIGRTMIN+29"),
            ("32", 32, "32"),
        ] {
            let signal: Signal = text.parse().unwrap();
            assert_eq!((signal.number(), signal.to_string().as_str()), (number, shown), "{text}");
        }
        for bad in [
            "", "0", "65", "SIG", "SIGNOPE", "-9", "9x", "RTMIN3", "RTMIN+", "RTMIN+99", "RTMAX-99", "é", "RTMIN+é",
            "٩",
        ] {
            assert!(bad.parse::<Signal>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn json_takes_both_forms() {
        assert_eq!(serde_json::from_str::<Signal>("9").unwrap(), Signal::KILL);
        assert_eq!(serde_json::from_str::<Signal>("\"HUP\"").unwrap(), Signal::HUP);
        assert!(serde_json::from_str::<Signal>("300").is_err());
        assert_eq!(serde_json::to_string(&Signal::TERM).unwrap(), "\"SIGTERM\"");
    }
}
