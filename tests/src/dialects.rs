//! What the acceptance cases of dialects showed, and the table dialect × engine × case of the documentation.
//!
//! Each outcome is kept as a file, so that cases may be played in any number of processes. What a case shows on an engine must be
//! what the table says of it. With `ROADSTEAD_BLESS=1` it need not, and the table can be made anew of what was kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What came of a case on an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was shown.
    Shown,
    /// The engine lacks what the case is about, and why.
    NotOffered(String),
}

impl Outcome {
    /// As it stands in the table.
    fn cell(&self) -> String {
        match self {
            Outcome::Shown => "shown".to_owned(),
            Outcome::NotOffered(why) => format!("not offered: {why}"),
        }
    }
}

/// A case of a dialect on an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The dialect.
    pub dialect: &'a str,
    /// The engine, or whatever it is that differs from column to column.
    pub engine: &'a str,
    /// The number of the case, with as many digits as those of all others.
    pub number: &'a str,
    /// What it is about.
    pub words: &'a str,
}

/// The table in the tree.
fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dialects/cases.md")
}

/// Where outcomes are kept.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/dialects")
}

fn is_blessing() -> bool {
    std::env::var("ROADSTEAD_BLESS").as_deref() == Ok("1")
}

/// Notes what came of a case.
///
/// # Panics
/// When the table says something else, unless it is being made anew; and when it cannot be noted.
pub fn played(place: &Place<'_>, outcome: &Outcome) {
    let cell = outcome.cell();
    let kept = directory().join(place.dialect).join(place.engine);
    std::fs::create_dir_all(&kept).expect("a directory for outcomes");
    std::fs::write(kept.join(place.number), format!("{}\t{cell}\n", place.words)).expect("the outcome is kept");
    if is_blessing() {
        return;
    }
    let table = Table::read(&std::fs::read_to_string(file()).unwrap_or_default());
    let written = table.cell(place);
    assert_eq!(
        written,
        Some(cell.as_str()),
        "{place:?}: docs/dialects/cases.md says something else; ROADSTEAD_BLESS=1 makes it anew"
    );
}

/// Looks whether the table has these cases of a dialect on these engines, and no others; makes its part anew of what was kept when
/// that is asked for.
///
/// # Panics
/// When it has not.
pub fn check(dialect: &str, engines: &[&str], cases: &[(&str, &str)]) {
    let mut table = Table::read(&std::fs::read_to_string(file()).unwrap_or_default());
    if is_blessing() {
        let mut part = Part { engines: engines.iter().map(|engine| (*engine).to_owned()).collect(), ..Part::default() };
        for (number, words) in cases {
            let cells = engines.iter().map(|engine| {
                let kept = std::fs::read_to_string(directory().join(dialect).join(engine).join(number));
                let kept = kept.ok().and_then(|text| Some(text.trim_end().split_once('\t')?.1.to_owned()));
                // Of an engine that is not here the table stays as it is.
                let place = Place { dialect, engine, number, words };
                kept.or_else(|| table.cell(&place).map(str::to_owned)).unwrap_or_default()
            });
            part.rows.insert((*number).to_owned(), ((*words).to_owned(), cells.collect()));
        }
        table.parts.insert(dialect.to_owned(), part);
        std::fs::write(file(), table.to_string()).expect("the table is written");
        return;
    }
    let part = table.parts.get(dialect).unwrap_or_else(|| panic!("the table knows no {dialect}"));
    assert_eq!(part.engines, engines, "engines of {dialect}");
    let written: BTreeSet<(&str, &str)> =
        part.rows.iter().map(|(number, (words, _))| (number.as_str(), words.as_str())).collect();
    assert_eq!(written, cases.iter().copied().collect(), "cases of {dialect}");
    for (number, (_, cells)) in &part.rows {
        let whole = cells.iter().all(|cell| cell == "shown" || cell.starts_with("not offered: "));
        assert!(whole && cells.len() == engines.len(), "{dialect} {number}: {cells:?}");
    }
}

/// The table, by dialects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Table {
    parts: BTreeMap<String, Part>,
}

/// The part of a dialect: what each case is about, and a cell for each engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Part {
    engines: Vec<String>,
    rows: BTreeMap<String, (String, Vec<String>)>,
}

const HEAD: &str = "# What dialects were shown to do

The acceptance cases of each dialect, played over HTTP on a listener of its own, on every engine: `shown`, or why the engine does not
offer it. This page is made by the tests (`ROADSTEAD_BLESS=1`), which fail when it is not true.
";

fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    Some(inner.split(" | ").map(|cell| cell.trim().to_owned()).collect())
}

impl Table {
    fn read(text: &str) -> Self {
        let mut table = Table::default();
        let mut of: Option<String> = None;
        for line in text.lines() {
            if let Some(dialect) = line.strip_prefix("## ") {
                of = Some(dialect.to_owned());
                table.parts.entry(dialect.to_owned()).or_default();
            }
            let (Some(part), Some(cells)) = (of.as_ref().and_then(|of| table.parts.get_mut(of)), cells(line)) else {
                continue;
            };
            match cells.as_slice() {
                [case, _, engines @ ..] if case == "case" => part.engines = engines.to_vec(),
                [number, words, cells @ ..] => {
                    part.rows.insert(number.clone(), (words.clone(), cells.to_vec()));
                }
                _ => {}
            }
        }
        table
    }

    fn cell(&self, place: &Place<'_>) -> Option<&str> {
        let part = self.parts.get(place.dialect)?;
        let at = part.engines.iter().position(|engine| engine == place.engine)?;
        let (words, cells) = part.rows.get(place.number)?;
        cells.get(at).filter(|_| words == place.words).map(String::as_str)
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HEAD)?;
        for (dialect, part) in &self.parts {
            let mut text = format!("\n## {dialect}\n\n| case | shows | {} |\n|---|---|", part.engines.join(" | "));
            text.push_str(&"---|".repeat(part.engines.len()));
            for (number, (words, cells)) in &part.rows {
                write!(text, "\n| {number} | {words} | {} |", cells.join(" | "))?;
            }
            writeln!(f, "{text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_it_is_written() {
        let part = Part {
            engines: vec!["docker".to_owned(), "memory".to_owned()],
            rows: BTreeMap::from([
                (
                    "P01".to_owned(),
                    ("no nodes".to_owned(), vec!["shown".to_owned(), "not offered: it is not real".to_owned()]),
                ),
                ("P02".to_owned(), ("a node".to_owned(), vec!["shown".to_owned(), "shown".to_owned()])),
            ]),
        };
        let table = Table { parts: BTreeMap::from([("pharos".to_owned(), part.clone()), ("a".to_owned(), part)]) };
        assert_eq!(Table::read(&table.to_string()), table);
        let place = Place { dialect: "pharos", engine: "memory", number: "P01", words: "no nodes" };
        assert_eq!(table.cell(&place), Some("not offered: it is not real"));
        for other in [
            Place { engine: "lxd", ..place.clone() },
            Place { number: "P03", ..place.clone() },
            Place { dialect: "copa", ..place.clone() },
            Place { words: "something else", ..place },
        ] {
            assert_eq!(table.cell(&other), None);
        }
    }
}
