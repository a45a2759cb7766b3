//! The main process: its command as `lxc.init.cmd`.
//!
//! The library below the server splits that line at white space and knows no quotes. So words that have none stand there
//! as they are; all others go through the shell of the image, as one word without white space that the shell turns into
//! the command again: `eval${IFS}"$(printf${IFS}%b${IFS}'exec\0040…')"`. The process is the command's own in the end, and
//! nothing of this is left in its environment.

use std::fmt::Write as _;

const SHELL: &str = r#"/bin/sh -c eval${IFS}"$(printf${IFS}%b${IFS}'"#;
const END: &str = r#"')""#;

/// The line for these words, and for variables that the server itself would not pass as they are.
pub(super) fn line(words: &[String], exports: &[(&str, &str)]) -> String {
    if exports.is_empty() && words.iter().all(|word| !word.is_empty() && word.bytes().all(plain)) {
        return words.join(" ");
    }
    let mut script = String::new();
    for (name, value) in exports {
        let _ = write!(script, "export {name}={};", quote(value));
    }
    script.push_str("exec");
    for word in words {
        script.push(' ');
        script.push_str(&quote(word));
    }
    let mut line = SHELL.to_owned();
    for byte in script.bytes() {
        if plain(byte) {
            line.push(char::from(byte));
        } else {
            let _ = write!(line, "\\0{byte:03o}");
        }
    }
    line.push_str(END);
    line
}

/// The words of a line, whoever wrote it.
pub(super) fn words(line: &str) -> Vec<String> {
    let ours = line.strip_prefix(SHELL).and_then(|rest| rest.strip_suffix(END)).and_then(unescape);
    match ours.as_deref().and_then(unquote) {
        Some(words) => words,
        None => line.split_ascii_whitespace().map(str::to_owned).collect(),
    }
}

/// What neither the line nor a shell takes for anything else.
fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_./:,@%+-".contains(&byte)
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(4)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// The words after `exec` of a script as [`line`] writes it.
fn unquote(script: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut letters = script.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            _ if quoted => word.get_or_insert_default().push(letter),
            '\\' => word.get_or_insert_default().push(letters.next()?),
            ' ' => words.extend(word.take()),
            // The end of an export.
            ';' => {
                word = None;
                words.clear();
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    (words.first().map(String::as_str) == Some("exec") && words.len() > 1).then(|| words.split_off(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn plain_words_stand_as_they_are() {
        assert_eq!(line(&owned(&["sleep", "300"]), &[]), "sleep 300");
        assert_eq!(words("sleep  300"), ["sleep", "300"]);
        assert!(line(&owned(&["sleep", ""]), &[]).starts_with("/bin/sh"));
        // A line that begins and ends with the same quote would lose both.
        assert!(line(&owned(&["'a'"]), &[]).starts_with("/bin/sh"));
    }

    #[test]
    fn a_shell_makes_the_words_of_the_line_again() {
        let asked = owned(&["printf", "<%s>\n", "two  words", "", "'end", "$HOME *", "a\nb\n", "ü\\0", "-n", "#;\""]);
        let line = line(&asked, &[("A", " x\\y' ")]);
        assert_eq!(line.split(' ').count(), 3, "{line}");
        let arguments: Vec<_> = line.split(' ').skip(1).collect();
        let output = std::process::Command::new("/bin/sh").args(arguments).env("HOME", "/h").output().unwrap();
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            "<two  words>\n<>\n<'end>\n<$HOME *>\n<a\nb\n>\n<ü\\0>\n<-n>\n<#;\">\n"
        );
        let show = super::line(&owned(&["sh", "-c", "echo \"$A|\""]), &[("A", " x\\y' ")]);
        let output = std::process::Command::new("/bin/sh").args(show.split(' ').skip(1)).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), " x\\y' |\n");
        assert_eq!(words(&line), asked);
    }

    #[test]
    fn lines_of_others_are_split_as_the_library_does() {
        for strange in [SHELL, "/bin/sh -c eval${IFS}\"$(printf${IFS}%b${IFS}'\\09')\"", "init \"a b\"", ""] {
            assert_eq!(words(strange), strange.split_ascii_whitespace().collect::<Vec<_>>(), "{strange}");
        }
    }

    proptest! {
        #[test]
        fn any_words_come_back(words in prop::collection::vec("\\PC{0,9}|[ '\\\\\n;$=]{1,5}", 1..5), value in "\\PC{0,5}[ '\n;]{0,3}") {
            prop_assume!(words.iter().all(|word| !word.contains('\0')));
            let line = line(&words, &[("K", &value)]);
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(super::words(&line), words);
        }
    }
}
