//! What the node's language does to texts and errors, and what its clients therefore see: how bytes that are no UTF-8 are
//! written, the words of system errors, and those of broken JSON.

use std::io;

use nix::errno::Errno;

/// Bytes as `encoding/json` writes them: each byte that is not part of valid UTF-8 becomes U+FFFD.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                return text;
            }
            Err(error) => {
                let (valid, broken) = rest.split_at(error.valid_up_to());
                text.push_str(&String::from_utf8_lossy(valid));
                text.push('\u{fffd}');
                rest = &broken[1..];
            }
        }
    }
}

/// A system error in the words of Go, which are the C library's in lower case.
pub(crate) fn errno(error: &io::Error) -> String {
    let Some(code) = error.raw_os_error() else { return error.to_string() };
    let words = Errno::from_raw(code).desc();
    // An abbreviation stays one.
    if words.chars().nth(1).is_some_and(char::is_uppercase) {
        return words.to_owned();
    }
    let mut letters = words.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// Why `encoding/json` refuses a document, or where in it its first value ends.
///
/// # Errors
/// In its words.
pub(crate) fn json_value(document: &[u8]) -> Result<usize, String> {
    let mut scanner = Scanner { document, at: 0 };
    scanner.space();
    if scanner.at == document.len() {
        return Err("EOF".to_owned());
    }
    scanner.value("looking for beginning of value")?;
    Ok(scanner.at)
}

struct Scanner<'a> {
    document: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.document.get(self.at).copied()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| b" \t\r\n".contains(&byte)) {
            self.at += 1;
        }
    }

    fn refused(&self, place: &str) -> String {
        match self.peek() {
            None => "unexpected EOF".to_owned(),
            Some(b'\'') => format!("invalid character '\\'' {place}"),
            Some(b'"') => format!("invalid character '\"' {place}"),
            Some(byte) => format!("invalid character {:?} {place}", char::from(byte)),
        }
    }

    fn value(&mut self, place: &str) -> Result<(), String> {
        self.space();
        match self.peek() {
            Some(b'{') => self.members(),
            Some(b'[') => self.elements(),
            Some(b'"') => self.string(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.refused(place)),
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), String> {
        for letter in word.chars() {
            if self.peek().map(char::from) != Some(letter) {
                return Err(self.refused(&format!("in literal {word} (expecting {letter:?})")));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn digits(&mut self, place: &str) -> Result<(), String> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.refused(place));
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), String> {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"') => self.at += 1,
                        Some(b'u') => {
                            self.at += 1;
                            for _ in 0..4 {
                                if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                                    return Err(self.refused("in \\u hexadecimal character escape"));
                                }
                                self.at += 1;
                            }
                        }
                        _ => return Err(self.refused("in string escape code")),
                    }
                }
                Some(0..0x20) | None => return Err(self.refused("in string literal")),
                Some(_) => self.at += 1,
            }
        }
    }

    fn members(&mut self) -> Result<(), String> {
        self.at += 1;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.refused("looking for beginning of object key string"));
            }
            self.string()?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.refused("after object key"));
            }
            self.at += 1;
            self.value("looking for beginning of value")?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.refused("after object key:value pair")),
            }
        }
    }

    fn elements(&mut self) -> Result<(), String> {
        self.at += 1;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value("looking for beginning of value")?;
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.refused("after array element")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_broken_byte_is_replaced() {
        assert_eq!(text(b"a\xe2\x98z\xff"), "a\u{fffd}\u{fffd}z\u{fffd}");
        assert_eq!(text("☃".as_bytes()), "☃");
    }

    #[test]
    fn broken_json_is_refused_in_the_words_of_go() {
        for (document, words) in [
            ("{\"sync\": tru}", "invalid character '}' in literal true (expecting 'e')"),
            ("", "EOF"),
            ("{", "unexpected EOF"),
            ("{a", "invalid character 'a' looking for beginning of object key string"),
            ("{\"a\" 1", "invalid character '1' after object key"),
            ("{\"a\":1 2", "invalid character '2' after object key:value pair"),
            ("[1 2", "invalid character '2' after array element"),
            ("-x", "invalid character 'x' in numeric literal"),
        ] {
            assert_eq!(json_value(document.as_bytes()), Err(words.to_owned()), "{document}");
        }
        assert_eq!(json_value(b" {\"a\":[1,true,\"\\u0041\"]} x"), Ok(24));
    }

    #[test]
    fn system_errors_are_in_lower_case() {
        assert_eq!(errno(&io::Error::from_raw_os_error(2)), "no such file or directory");
        assert_eq!(errno(&io::Error::from_raw_os_error(13)), "permission denied");
    }
}
