//! Limits as keys of the configuration.

use roadstead_core::{Error, Limits, Result};

use super::super::instance::Config;

pub(super) const MEMORY: &str = "limits.memory";
pub(super) const CPU: &str = "limits.cpu";
pub(super) const ALLOWANCE: &str = "limits.cpu.allowance";
pub(super) const PROCESSES: &str = "limits.processes";

/// The keys to set; of absent members, none.
pub(in super::super) fn write(limits: &Limits) -> Result<Config> {
    if limits.swap_bytes.is_some() {
        return Err(Error::unsupported_field("limits.swap_bytes", "a number of bytes as swap limit"));
    }
    if limits.cpu_shares.is_some() {
        // There is a priority from 0 to 10, which is no weight.
        return Err(Error::unsupported_field("limits.cpu_shares", "cpu shares"));
    }
    let mut keys = Config::new();
    let mut set = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            keys.insert(key.to_owned(), value);
        }
    };
    set(MEMORY, limits.memory_bytes.map(|bytes| bytes.to_string()));
    set(ALLOWANCE, limits.cpus.map(allowance));
    set(PROCESSES, limits.pids.map(|count| count.to_string()));
    set(CPU, limits.cpu_set.as_deref().map(cpu_set));
    Ok(keys)
}

/// The limits in effect.
pub(in super::super) fn read(config: &Config) -> Limits {
    let mut limits = Limits::default();
    let get = |key: &str| config.get(key).map(String::as_str).filter(|value| !value.is_empty());
    limits.memory_bytes = get(MEMORY).and_then(bytes);
    limits.pids = get(PROCESSES).and_then(|count| count.parse().ok());
    limits.cpus = get(ALLOWANCE).and_then(cores);
    match get(CPU) {
        // A number is how many cores, whichever these are.
        Some(count) if count.bytes().all(|byte| byte.is_ascii_digit()) => {
            limits.cpus = limits.cpus.or_else(|| count.parse().ok());
        }
        Some(set) => {
            let parts: Vec<_> = set
                .split(',')
                .map(|part| match part.split_once('-') {
                    Some((first, last)) if first == last => first,
                    _ => part,
                })
                .collect();
            limits.cpu_set = Some(parts.join(","));
        }
        None => {}
    }
    limits
}

/// So many milliseconds of so many: of 100 where that is exact, otherwise of 1000.
fn allowance(cpus: f64) -> String {
    let of_hundred = cpus * 100.0;
    if (of_hundred - of_hundred.round()).abs() < 1e-9 {
        format!("{:.0}ms/100ms", of_hundred.round())
    } else {
        format!("{:.0}ms/1000ms", (cpus * 1000.0).round())
    }
}

/// A percentage is a weight when cores are short, and no limit.
pub(super) fn cores(allowance: &str) -> Option<f64> {
    let (quota, period) = allowance.split_once('/')?;
    let millis = |text: &str| text.trim().strip_suffix("ms")?.trim().parse::<f64>().ok().filter(|ms| *ms > 0.0);
    Some(millis(quota)? / millis(period)?)
}

/// A core alone would be taken for a number of cores.
fn cpu_set(set: &str) -> String {
    if set.bytes().all(|byte| byte.is_ascii_digit()) { format!("{set}-{set}") } else { set.to_owned() }
}

/// `67108864`, `64MiB`, `64MB`; a percentage of the machine's memory is not known here.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor: u64 = match text.get(digits.len()..)?.trim() {
        "" | "B" | "bytes" => 1,
        "kB" => 1000,
        "MB" => 1000_u64.pow(2),
        "GB" => 1000_u64.pow(3),
        "TB" => 1000_u64.pow(4),
        "PB" => 1000_u64.pow(5),
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "PiB" => 1 << 50,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use roadstead_core::ErrorKind;

    use super::*;

    fn limits(change: impl FnOnce(&mut Limits)) -> Limits {
        let mut limits = Limits::default();
        change(&mut limits);
        limits
    }

    #[test]
    fn what_is_written_is_read_again() {
        for cpus in [0.01, 0.5, 1.0, 1.25, 0.333, 16.0] {
            for set in ["0", "0-2,4", "1,3"] {
                let asked = limits(|limits| {
                    limits.memory_bytes = Some(67_108_864);
                    limits.cpus = Some(cpus);
                    limits.pids = Some(42);
                    limits.cpu_set = Some(set.to_owned());
                });
                assert_eq!(read(&write(&asked).unwrap()), asked);
            }
        }
        assert!(write(&Limits::default()).unwrap().is_empty());
        assert_eq!(write(&limits(|limits| limits.cpus = Some(0.5))).unwrap()[ALLOWANCE], "50ms/100ms");
    }

    #[test]
    fn what_has_no_key_is_refused() {
        for asked in [limits(|limits| limits.swap_bytes = Some(1)), limits(|limits| limits.cpu_shares = Some(512))] {
            let error = write(&asked).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.field().is_some_and(|field| field.starts_with("limits.")), "{error}");
        }
    }

    #[test]
    fn what_others_wrote_is_read() {
        let config = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let found = read(&config(&[(MEMORY, "1GiB"), (CPU, "2"), (PROCESSES, "")]));
        assert_eq!((found.memory_bytes, found.cpus, found.cpu_set, found.pids), (Some(1 << 30), Some(2.0), None, None));
        let found = read(&config(&[(MEMORY, "50%"), (ALLOWANCE, "20%"), (CPU, "0-3")]));
        assert_eq!((found.memory_bytes, found.cpus, found.cpu_set.as_deref()), (None, None, Some("0-3")));
        for (text, expected) in [("5 MB", Some(5_000_000)), ("7B", Some(7)), ("x", None), ("9EiB", None), ("", None)] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
