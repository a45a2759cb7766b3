//! Outcomes as lines of a file, and the table of engines and clauses that is made of them.

use std::collections::BTreeMap;
use std::fmt;

use super::{Outcome, clauses};

/// The outcome of one clause on one engine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Name of the engine, layers included.
    pub engine: String,
    /// Number of the clause.
    pub clause: String,
    /// What trying it gave.
    pub outcome: Outcome,
}

impl Record {
    /// The outcome of `clause` on `engine`.
    #[must_use]
    pub fn new(engine: impl Into<String>, clause: impl Into<String>, outcome: Outcome) -> Self {
        Record { engine: engine.into(), clause: clause.into(), outcome }
    }

    /// Reads a line written by `Display`; none when it is not one.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.trim_end().splitn(4, '\t');
        let (engine, clause, word) = (fields.next()?, fields.next()?, fields.next()?);
        let reason = fields.next().unwrap_or_default().to_owned();
        let outcome = match word {
            "passed" => Outcome::Passed,
            "gated" => Outcome::Gated(reason),
            "FAILED" => Outcome::Failed(reason),
            _ => return None,
        };
        Some(Record::new(engine, clause, outcome))
    }
}

/// One line: engine, clause, outcome, reason.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, reason) = match &self.outcome {
            Outcome::Passed => ("passed", ""),
            Outcome::Gated(reason) => ("gated", reason.as_str()),
            Outcome::Failed(reason) => ("FAILED", reason.as_str()),
        };
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        write!(f, "{}\t{}\t{word}\t{reason}", self.engine, self.clause)
    }
}

/// Clauses by engines. `Display` shows it as text with one row per clause.
#[derive(Clone, Debug, Default)]
pub struct Table {
    engines: Vec<String>,
    outcomes: BTreeMap<(String, String), Outcome>,
}

impl Table {
    /// The table of these records; of several for one engine and clause the last counts.
    #[must_use]
    pub fn new(records: impl IntoIterator<Item = Record>) -> Self {
        let mut table = Table::default();
        for record in records {
            if !table.engines.contains(&record.engine) {
                table.engines.push(record.engine.clone());
            }
            table.outcomes.insert((record.engine, record.clause), record.outcome);
        }
        table
    }

    /// How many clauses passed, were gated, failed, and were not tried, on one engine.
    fn count(&self, engine: &str) -> (usize, usize, usize, usize) {
        let mut counts = (0, 0, 0, 0);
        for clause in clauses() {
            match self.outcomes.get(&(engine.to_owned(), clause.number().to_owned())) {
                Some(Outcome::Passed) => counts.0 += 1,
                Some(Outcome::Gated(_)) => counts.1 += 1,
                Some(Outcome::Failed(_)) => counts.2 += 1,
                None => counts.3 += 1,
            }
        }
        counts
    }

    /// Whether any clause failed or was not tried.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        self.engines.iter().any(|engine| {
            let (_, _, failed, missing) = self.count(engine);
            failed + missing > 0
        })
    }

    fn cell(&self, engine: &str, clause: &str) -> String {
        match self.outcomes.get(&(engine.to_owned(), clause.to_owned())) {
            Some(Outcome::Passed) => "passed".to_owned(),
            Some(Outcome::Gated(reason)) => format!("gated ({reason})"),
            Some(Outcome::Failed(_)) => "FAILED".to_owned(),
            None => "not tried".to_owned(),
        }
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let head = ["clause".to_owned(), String::new()].into_iter().chain(self.engines.iter().cloned()).collect();
        let mut rows = vec![head];
        for clause in clauses() {
            let cells = self.engines.iter().map(|engine| self.cell(engine, clause.number()));
            rows.push([clause.number().to_owned(), clause.title().to_owned()].into_iter().chain(cells).collect());
        }
        for (word, pick) in SUMS {
            let cells = self.engines.iter().map(|engine| pick(self.count(engine)).to_string());
            rows.push([word.to_owned(), String::new()].into_iter().chain(cells).collect());
        }
        rows
    }
}

type Pick = fn((usize, usize, usize, usize)) -> usize;
const SUMS: [(&str, Pick); 4] = [
    ("passed", |counts| counts.0),
    ("gated", |counts| counts.1),
    ("FAILED", |counts| counts.2),
    ("not tried", |counts| counts.3),
];

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.engines.len() + 2).map(width).collect();
        for row in &rows {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        for outcome in [
            Outcome::Passed,
            Outcome::Gated("health_check".to_owned()),
            Outcome::Failed("the state is Running, expected Stopped".to_owned()),
        ] {
            let record = Record::new("memory+retry", "C20", outcome);
            assert_eq!(Record::parse(&record.to_string()), Some(record));
        }
        let long = Record::new("docker", "C1", Outcome::Failed("two\nlines\tand more".to_owned()));
        assert_eq!(long.to_string().lines().count(), 1);
        assert_eq!(Record::parse("nonsense"), None);
    }

    #[test]
    fn the_table_has_a_row_per_clause_and_a_column_per_engine() {
        let table = Table::new([
            Record::new("memory", "C20", Outcome::Passed),
            Record::new("podman", "N39", Outcome::Gated("health_check".to_owned())),
            Record::new("podman", "C20", Outcome::Failed("why".to_owned())),
        ]);
        let text = table.to_string();
        assert_eq!(text.lines().count(), 1 + clauses().count() + SUMS.len());
        let row = |number: &str| text.lines().find(|line| line.split_whitespace().next() == Some(number)).unwrap();
        assert!(text.lines().next().unwrap().trim_end().ends_with("memory     podman") || text.starts_with("clause"));
        assert!(row("C20").contains("passed") && row("C20").ends_with("FAILED"));
        assert!(row("N39").contains("not tried") && row("N39").ends_with("gated (health_check)"));
        assert!(table.has_gaps());
    }
}
