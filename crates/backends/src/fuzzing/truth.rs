//! What is true of whatever is read from a text.

/// Whether this number stands in a text.
pub(crate) fn stands(text: &[u8], number: u64) -> bool {
    numbers(text).any(|found| found == number)
}

/// The numbers in a text, as far as they fit.
pub(crate) fn numbers(text: &[u8]) -> impl Iterator<Item = u64> {
    text.split(|byte| !byte.is_ascii_digit()).filter_map(plain)
}

/// A number as it is read by the standard library, which takes a sign besides.
pub(crate) fn plain(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok().filter(|field| !field.starts_with('+'))?.parse().ok()
}

/// Whether this number with a fraction stands in a text, in digits and a point.
pub(crate) fn stands_as_fraction(text: &[u8], number: f64) -> bool {
    let mut words = text.split(|byte| !(byte.is_ascii_digit() || *byte == b'.'));
    let same = |word: &[u8]| std::str::from_utf8(word).ok()?.parse::<f64>().ok().map(f64::to_bits);
    words.any(|word| same(word) == Some(number.to_bits()))
}

/// Whether these bytes stand in a text.
pub(crate) fn has(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

/// A text, and another one in lines of its own.
pub(crate) fn followed(text: &[u8], by: &[u8]) -> Vec<u8> {
    [text, b"\n", by].concat()
}

/// A line that no parser knows.
pub(crate) const FOREIGN: &[u8] = b"foreign_line 12 34\n";

/// The texts that zero bytes part, of which there may be fewer.
pub(crate) fn parts<const N: usize>(text: &[u8]) -> [Option<&[u8]>; N] {
    let mut parts = text.split(|byte| *byte == 0);
    std::array::from_fn(|_| parts.next())
}
