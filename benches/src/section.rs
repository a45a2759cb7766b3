//! The file of results has a section for each measurement, and each program writes its own: from a line `## TITLE` to the next
//! one. The programs in Python do the same.

/// The head of a file of results.
const HEAD: &str = "# Results\n";

/// `text` with `body` in place of what the section of this title had; at the end when there is none. All other sections stay.
#[must_use]
pub fn replaced(text: &str, title: &str, body: &str) -> String {
    let text = format!("\n{}", if text.trim().is_empty() { HEAD } else { text });
    let section = format!("{title}\n\n{}", body.trim());
    let mut parts: Vec<&str> = text.split("\n## ").collect();
    match parts.iter_mut().skip(1).find(|part| part.lines().next() == Some(title)) {
        Some(part) => *part = &section,
        None => parts.push(&section),
    }
    let trimmed: Vec<_> = parts.iter().map(|part| part.trim_matches('\n')).collect();
    trimmed.join("\n\n## ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_sections_stay() {
        let first = replaced("", "A", "a\n\n| b |\n");
        assert_eq!(first, "# Results\n\n## A\n\na\n\n| b |\n");
        let both = replaced(&first, "A B", "c");
        assert_eq!(both, "# Results\n\n## A\n\na\n\n| b |\n\n## A B\n\nc\n");
        assert_eq!(replaced(&both, "A", "d"), "# Results\n\n## A\n\nd\n\n## A B\n\nc\n");
        assert_eq!(replaced(&both, "A B", "c"), both);
    }
}
