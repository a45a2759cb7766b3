//! Errors in Go's words: the text of an error number, and the errors of its `os` package, which name the call and the path.

use std::io;
use std::path::Path;

use super::Failure;

/// The text that Go has for an error of the system: the C library's, in small letters.
pub(super) fn text(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(_) => text.split(" (os error").next().unwrap_or_default().to_lowercase(),
        None => text,
    }
}

/// The text of an error number.
pub(super) fn errno(number: i32) -> String {
    text(&io::Error::from_raw_os_error(number))
}

/// Go's `PathError`: `open /x: no such file or directory`, with code 500.
pub(super) fn at(call: &str, path: impl AsRef<Path>) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::new(500, format!("{call} {}: {}", path.as_ref().display(), text(&error)))
}

/// Reads a text file; bytes that are not UTF-8 are replaced.
pub(super) fn read(path: impl AsRef<Path>) -> Result<String, Failure> {
    let bytes = std::fs::read(path.as_ref()).map_err(at("open", path.as_ref()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_words_of_go() {
        let error = read("/no/such").expect_err("missing");
        assert_eq!((error.code, error.message.as_str()), (500, "open /no/such: no such file or directory"));
        assert_eq!(errno(17), "file exists");
        assert_eq!(errno(3), "no such process");
        assert_eq!(errno(18), "invalid cross-device link");
    }
}
