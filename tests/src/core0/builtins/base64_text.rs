//! Base64 as Go's `StdEncoding` decodes it: line breaks are skipped, and an error names the byte at which Go gave up.

/// Decodes; the error is the position that Go reports.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, usize> {
    let input = text.as_bytes();
    let mut decoded = Vec::with_capacity(input.len() / 4 * 3);
    let mut quantum = [0u8; 4];
    let (mut at, mut filled) = (0, 0);
    let skip = |mut at: usize| {
        while matches!(input.get(at), Some(b'\n' | b'\r')) {
            at += 1;
        }
        at
    };
    loop {
        at = skip(at);
        let Some(&byte) = input.get(at) else {
            return if filled == 0 { Ok(decoded) } else { Err(at - filled) };
        };
        at += 1;
        if byte == b'=' {
            match filled {
                0 | 1 => return Err(at - 1),
                2 => {
                    at = skip(at);
                    match input.get(at) {
                        None => return Err(input.len()),
                        Some(b'=') => at += 1,
                        Some(_) => return Err(at - 1),
                    }
                }
                _ => {}
            }
            at = skip(at);
            if at < input.len() {
                return Err(at);
            }
            quantum[filled..].fill(0);
            decoded.extend_from_slice(&bytes(quantum)[..filled - 1]);
            return Ok(decoded);
        }
        let Some(value) = value(byte) else { return Err(at - 1) };
        quantum[filled] = value;
        filled += 1;
        if filled == 4 {
            decoded.extend_from_slice(&bytes(quantum));
            filled = 0;
        }
    }
}

fn value(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

fn bytes([a, b, c, d]: [u8; 4]) -> [u8; 3] {
    [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_go() {
        assert_eq!(decode("YWJjAP8="), Ok(vec![b'a', b'b', b'c', 0, 255]));
        assert_eq!(decode("YWJj\r\nAP8="), Ok(vec![b'a', b'b', b'c', 0, 255]));
        assert_eq!(decode(""), Ok(vec![]));
        assert_eq!(decode("***"), Err(0));
        assert_eq!(decode("YW*j"), Err(2));
        assert_eq!(decode("YWJ"), Err(0), "a quantum that is not full is told at its start");
        assert_eq!(decode("YW="), Err(3));
        assert_eq!(decode("YQ==x"), Err(4));
    }
}
