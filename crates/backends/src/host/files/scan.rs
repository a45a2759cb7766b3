//! How the kernel's text files are read: as bytes, in place, without a copy. What a line or a field should be and is not, is
//! skipped or absent; nothing in a file makes a panic.
//!
//! These files are read thousands of times in a second. A general parser makes a string of each field and a map of each file, which
//! costs more than the kernel takes to write them; `benches` has both side by side.

/// The fields of a line: what stands between blanks.
pub(in crate::host) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace()).filter(|field| !field.is_empty())
}

/// The lines of a file, without their ends.
pub(in crate::host) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// A number, decimal and without a sign; absent for anything else and for what is too large.
pub(in crate::host) fn number(field: &[u8]) -> Option<u64> {
    if field.is_empty() {
        return None;
    }
    field.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// A number that may have a fraction, as percentages and loads do; absent for anything else.
pub(in crate::host) fn fraction(field: &[u8]) -> Option<f64> {
    // The standard library takes signs, exponents and words besides.
    let is_plain = field.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let value: f64 = std::str::from_utf8(field).ok().filter(|_| is_plain)?.parse().ok()?;
    value.is_finite().then_some(value)
}

/// The one number of a file. `max`, which is how the kernel says that there is no limit, is absent.
pub(in crate::host) fn whole(text: &[u8]) -> Option<u64> {
    number(text.trim_ascii())
}

/// Calls `take` with the name and number of each line of two: `name 12`. A colon after the name and a unit after the number are
/// passed over.
pub(in crate::host) fn pairs(text: &[u8], mut take: impl FnMut(&[u8], u64)) {
    for line in lines(text) {
        let mut fields = fields(line);
        if let (Some(name), Some(value)) = (fields.next(), fields.next().and_then(number)) {
            take(name.strip_suffix(b":").unwrap_or(name), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_the_kernel_writes() {
        for (field, value) in [
            (&b"0"[..], Some(0)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"max", None),
            (b"-1", None),
            (b"+1", None),
            (b"", None),
            (b"1.5", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
        assert_eq!((whole(b"12\n"), whole(b"max\n"), whole(b"")), (Some(12), None, None));
        assert_eq!(fraction(b"0.25"), Some(0.25));
        for none in ["nan", "-1", "-0", "inf", "+1", "1e2", ".", ""] {
            assert_eq!(fraction(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn pairs_pass_over_what_is_none() {
        let mut found = Vec::new();
        pairs(b"cache 4096\nMemTotal:  12 kB\nbroken\nname x\n\xff\xfe 3", |name, value| {
            found.push((String::from_utf8_lossy(name).into_owned(), value));
        });
        let expected = [("cache", 4096), ("MemTotal", 12), ("\u{fffd}\u{fffd}", 3)];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value)));
    }
}
