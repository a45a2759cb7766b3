//! From text to commands.

use std::sync::Arc;

/// A word before expansion.
pub(super) type Word = Vec<Part>;

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    /// `$name` or `${name}`; split at white space unless quoted.
    Variable {
        name: String,
        quoted: bool,
    },
}

/// Where output goes or input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// `>` and `>>` of descriptor 1 or 2.
    File { descriptor: u8, path: Word, append: bool },
    /// `>&2`, `2>&1`.
    Copy { descriptor: u8, of: u8 },
    /// `<`.
    Input { path: Word },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Simple {
        assignments: Vec<(String, Word)>,
        words: Vec<Word>,
        redirects: Vec<Redirect>,
    },
    Sequence(Vec<Command>),
    And(Box<Command>, Box<Command>),
    Or(Box<Command>, Box<Command>),
    Not(Box<Command>),
    /// `command &`.
    Background(Arc<Command>),
    While {
        condition: Box<Command>,
        body: Box<Command>,
        until: bool,
    },
    For {
        variable: String,
        words: Vec<Word>,
        body: Box<Command>,
    },
    If {
        condition: Box<Command>,
        then: Box<Command>,
        otherwise: Option<Box<Command>>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word { word: Word, quoted: bool },
    Operator(&'static str),
    Redirect(u8, &'static str),
}

/// How deep commands may be nested: deeper ones would use up the stack.
const DEPTH_MAX: usize = 64;

/// Parses a whole script. The error is a reason for a person.
pub(super) fn parse(script: &str) -> Result<Command, String> {
    let mut parser = Parser { tokens: tokens(script)?, position: 0, depth: 0 };
    let command = parser.sequence(&[])?;
    match parser.peek() {
        None => Ok(command),
        Some(token) => Err(format!("unexpected {token:?}")),
    }
}

fn tokens(script: &str) -> Result<Vec<Token>, String> {
    let characters: Vec<char> = script.chars().collect();
    let at = |index: usize| characters.get(index).copied();
    let mut found = Vec::new();
    let mut index = 0;
    while let Some(c) = at(index) {
        let next = at(index + 1);
        let (token, length) = match (c, next) {
            (' ' | '\t', _) => {
                index += 1;
                continue;
            }
            ('#', _) => {
                while at(index).is_some_and(|c| c != '\n') {
                    index += 1;
                }
                continue;
            }
            ('\\', Some('\n')) => {
                index += 2;
                continue;
            }
            ('\n' | ';', _) => (Token::Operator(";"), 1),
            ('&', Some('&')) => (Token::Operator("&&"), 2),
            ('|', Some('|')) => (Token::Operator("||"), 2),
            ('&', _) => (Token::Operator("&"), 1),
            ('|' | '(' | ')' | '`', _) => return Err(format!("{c:?} is not simulated")),
            ('1' | '2', Some('>')) => {
                let descriptor = if c == '1' { 1 } else { 2 };
                index += 1;
                redirect(descriptor, &characters, index)
            }
            ('>', _) => redirect(1, &characters, index),
            ('<', _) => (Token::Redirect(0, "<"), 1),
            _ => {
                let (word, quoted, end) = word(&characters, index)?;
                index = end;
                found.push(Token::Word { word, quoted });
                continue;
            }
        };
        found.push(token);
        index += length;
    }
    Ok(found)
}

fn redirect(descriptor: u8, characters: &[char], index: usize) -> (Token, usize) {
    match characters.get(index + 1) {
        Some('>') => (Token::Redirect(descriptor, ">>"), 2),
        Some('&') => (Token::Redirect(descriptor, ">&"), 2),
        _ => (Token::Redirect(descriptor, ">"), 1),
    }
}

fn word(characters: &[char], mut index: usize) -> Result<(Word, bool, usize), String> {
    let at = |index: usize| characters.get(index).copied();
    let mut parts: Word = Vec::new();
    let mut any_quote = false;
    let mut quoted = false;
    let push = |parts: &mut Word, c: char| match parts.last_mut() {
        Some(Part::Text(text)) => text.push(c),
        _ => parts.push(Part::Text(c.to_string())),
    };
    while let Some(c) = at(index) {
        match c {
            '"' => {
                quoted = !quoted;
                any_quote = true;
                if !matches!(parts.last(), Some(Part::Text(_))) {
                    parts.push(Part::Text(String::new()));
                }
                index += 1;
            }
            '\'' if !quoted => {
                any_quote = true;
                index += 1;
                parts.push(Part::Text(String::new()));
                loop {
                    match at(index) {
                        None => return Err("a quote is not closed".to_owned()),
                        Some('\'') => break,
                        Some(c) => push(&mut parts, c),
                    }
                    index += 1;
                }
                index += 1;
            }
            '\\' => {
                index += 1;
                match at(index) {
                    // Inside of double quotes a backslash stays before all but a few characters.
                    Some(c) if quoted && !matches!(c, '"' | '\\' | '$' | '`') => {
                        push(&mut parts, '\\');
                        push(&mut parts, c);
                    }
                    Some(c) => push(&mut parts, c),
                    None => push(&mut parts, '\\'),
                }
                index += 1;
            }
            '$' => {
                let (name, end) = variable(characters, index + 1)?;
                match name {
                    Some(name) => parts.push(Part::Variable { name, quoted }),
                    None => push(&mut parts, '$'),
                }
                index = end;
            }
            '`' => return Err("command substitution is not simulated".to_owned()),
            ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')' if !quoted => break,
            c => {
                push(&mut parts, c);
                index += 1;
            }
        }
    }
    if quoted {
        return Err("a quote is not closed".to_owned());
    }
    Ok((parts, any_quote, index))
}

/// The variable that begins after a `$`; none when the `$` stands for itself.
fn variable(characters: &[char], index: usize) -> Result<(Option<String>, usize), String> {
    let tail = characters.get(index..).unwrap_or_default();
    match tail.first() {
        Some('{') => match tail.iter().position(|c| *c == '}') {
            Some(end) => {
                let name: String = tail.get(1..end).unwrap_or_default().iter().collect();
                if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                    return Err(format!("${{{name}}} is not simulated"));
                }
                Ok((Some(name), index + end + 1))
            }
            None => Err("${ is not closed".to_owned()),
        },
        Some('(') => Err("command substitution is not simulated".to_owned()),
        Some(c) if matches!(c, '?' | '$' | '@' | '*' | '#') || c.is_ascii_digit() => {
            Ok((Some(c.to_string()), index + 1))
        }
        Some(c) if c.is_ascii_alphabetic() || *c == '_' => {
            let name: String = tail.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
            let end = index + name.len();
            Ok((Some(name), end))
        }
        _ => Ok((None, index)),
    }
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.position)
    }

    fn is_operator(&self, operator: &str) -> bool {
        matches!(self.peek(), Some(Token::Operator(found)) if *found == operator)
    }

    /// The next token as a reserved word, which must not be quoted.
    fn reserved(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word { word, quoted: false }) => match word.as_slice() {
                [Part::Text(text)] => Some(text),
                _ => None,
            },
            _ => None,
        }
    }

    fn expect(&mut self, reserved: &str) -> Result<(), String> {
        if self.reserved() == Some(reserved) {
            self.position += 1;
            Ok(())
        } else {
            Err(format!("{reserved:?} is missing"))
        }
    }

    /// Commands until one of the words `ends` stands where a command should.
    fn sequence(&mut self, ends: &[&str]) -> Result<Command, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("nested too deeply".to_owned());
        }
        let mut commands = Vec::new();
        loop {
            while self.is_operator(";") {
                self.position += 1;
            }
            if self.peek().is_none() || self.reserved().is_some_and(|word| ends.contains(&word)) {
                break;
            }
            let command = self.list()?;
            if self.is_operator("&") {
                self.position += 1;
                commands.push(Command::Background(Arc::new(command)));
                continue;
            }
            commands.push(command);
            if self.peek().is_some() && !self.is_operator(";") {
                break;
            }
        }
        self.depth -= 1;
        Ok(Command::Sequence(commands))
    }

    fn list(&mut self) -> Result<Command, String> {
        let mut left = self.negated()?;
        loop {
            let and = self.is_operator("&&");
            if !and && !self.is_operator("||") {
                return Ok(left);
            }
            self.position += 1;
            while self.is_operator(";") {
                self.position += 1;
            }
            let right = Box::new(self.negated()?);
            left = if and { Command::And(Box::new(left), right) } else { Command::Or(Box::new(left), right) };
        }
    }

    fn negated(&mut self) -> Result<Command, String> {
        if self.reserved() == Some("!") {
            self.position += 1;
            return Ok(Command::Not(Box::new(self.command()?)));
        }
        self.command()
    }

    fn command(&mut self) -> Result<Command, String> {
        match self.reserved() {
            Some(word @ ("while" | "until")) => {
                let until = word == "until";
                self.position += 1;
                let condition = Box::new(self.sequence(&["do"])?);
                let body = self.body()?;
                Ok(Command::While { condition, body, until })
            }
            Some("for") => {
                self.position += 1;
                let variable = self.reserved().ok_or("a name is missing after for")?.to_owned();
                self.position += 1;
                self.expect("in")?;
                let mut words = Vec::new();
                while let Some(Token::Word { word, .. }) = self.peek() {
                    words.push(word.clone());
                    self.position += 1;
                }
                while self.is_operator(";") {
                    self.position += 1;
                }
                Ok(Command::For { variable, words, body: self.body()? })
            }
            Some("if") => self.condition(),
            Some("{") => {
                self.position += 1;
                let body = self.sequence(&["}"])?;
                self.expect("}")?;
                Ok(body)
            }
            Some(word @ ("do" | "done" | "then" | "elif" | "else" | "fi" | "}")) => Err(format!("unexpected {word:?}")),
            _ => self.simple(),
        }
    }

    fn body(&mut self) -> Result<Box<Command>, String> {
        self.expect("do")?;
        let body = self.sequence(&["done"])?;
        self.expect("done")?;
        Ok(Box::new(body))
    }

    /// From `if` or `elif` to `fi`.
    fn condition(&mut self) -> Result<Command, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("nested too deeply".to_owned());
        }
        self.position += 1;
        let condition = Box::new(self.sequence(&["then"])?);
        self.expect("then")?;
        let then = Box::new(self.sequence(&["elif", "else", "fi"])?);
        let otherwise = match self.reserved() {
            Some("elif") => Some(Box::new(self.condition()?)),
            Some("else") => {
                self.position += 1;
                let otherwise = Box::new(self.sequence(&["fi"])?);
                self.expect("fi")?;
                Some(otherwise)
            }
            _ => {
                self.expect("fi")?;
                None
            }
        };
        self.depth -= 1;
        Ok(Command::If { condition, then, otherwise })
    }

    fn simple(&mut self) -> Result<Command, String> {
        let (mut assignments, mut words, mut redirects) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            match self.peek().cloned() {
                Some(Token::Word { word, .. }) => {
                    self.position += 1;
                    match assignment(&word) {
                        Some(assignment) if words.is_empty() => assignments.push(assignment),
                        _ => words.push(word),
                    }
                }
                Some(Token::Redirect(descriptor, operator)) => {
                    self.position += 1;
                    let Some(Token::Word { word: path, .. }) = self.peek().cloned() else {
                        return Err(format!("nothing after {operator}"));
                    };
                    self.position += 1;
                    redirects.push(match operator {
                        "<" => Redirect::Input { path },
                        ">&" => match path.as_slice() {
                            [Part::Text(text)] if text == "1" || text == "2" => {
                                Redirect::Copy { descriptor, of: if text == "1" { 1 } else { 2 } }
                            }
                            _ => return Err("only descriptors 1 and 2 are simulated".to_owned()),
                        },
                        operator => Redirect::File { descriptor, path, append: operator == ">>" },
                    });
                }
                _ => break,
            }
        }
        if assignments.is_empty() && words.is_empty() && redirects.is_empty() {
            return Err(format!("a command is missing before {:?}", self.peek()));
        }
        Ok(Command::Simple { assignments, words, redirects })
    }
}

/// `name=value`, if the word is one.
fn assignment(word: &Word) -> Option<(String, Word)> {
    let Some(Part::Text(first)) = word.first() else { return None };
    let (name, rest) = first.split_once('=')?;
    let good = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    good.then(|| {
        let mut value = vec![Part::Text(rest.to_owned())];
        value.extend(word.iter().skip(1).cloned());
        (name.to_owned(), value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_clauses_use_parses() {
        for script in [
            "echo out; echo err >&2",
            "trap 'echo got; exit 3' TERM; while :; do sleep 0.05; done",
            "touch /x && echo bad || echo \"$A b\" > /f 2>&1",
            "for i in 1 2 3; do echo line $i; done\nexit 4 # note",
            "if test -f /x; then echo a; elif [ -d /y ]; then echo b; else echo c; fi",
            "A=1; { read line; echo \"got ${line}\"; }",
            "! false; printf '\\001\\n' >> /f",
        ] {
            parse(script).unwrap_or_else(|reason| panic!("{script}: {reason}"));
        }
        let Command::Sequence(commands) = parse("echo 'a  b' c\"d $e\"").unwrap() else { panic!() };
        let [Command::Simple { words, .. }] = commands.as_slice() else { panic!() };
        assert_eq!(words[1], [Part::Text("a  b".to_owned())]);
        assert!(words[2].contains(&Part::Variable { name: "e".to_owned(), quoted: true }));
    }

    #[test]
    fn what_is_not_simulated_is_refused() {
        let deep = "if ".repeat(1000);
        for script in ["a | b", "echo $(b)", "echo 'x", "while :; do a", "echo >", "; ; }", "done", deep.as_str()] {
            assert!(parse(script).is_err(), "{script}");
        }
    }
}
