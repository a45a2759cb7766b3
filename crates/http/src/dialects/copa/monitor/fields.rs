//! What the fields of a measurement are, and which measurements are wanted. What is wrong is told with the field's name.

use roadstead_core::{Error, Result, Timestamp};

use super::super::form::Form;

/// The fields of a form whose presence was looked at before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a Form);

impl<'a> Fields<'a> {
    fn given(self, name: &str) -> &'a str {
        self.0.get(name).unwrap_or_default()
    }

    /// A number that is finite, and small enough for sums of it to be so, too.
    pub(super) fn number(self, name: &str) -> Result<f64> {
        const MAX: f64 = 1e15;
        let number = self.given(name).trim().parse::<f64>().ok().filter(|number| number.abs() <= MAX);
        number.ok_or_else(|| Error::invalid(name, "must be a finite number, of at most 1e15"))
    }

    /// A whole number that is not negative.
    pub(super) fn count(self, name: &str) -> Result<u64> {
        let count = self.given(name).trim().parse::<u64>().ok().filter(|count| i64::try_from(*count).is_ok());
        count.ok_or_else(|| Error::invalid(name, "must be a whole number, and not negative"))
    }

    /// True or false, in the words of Python, JSON, forms and `iw`.
    pub(super) fn truth(self, name: &str) -> Result<bool> {
        match self.given(name).trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err(Error::invalid(name, "must be true or false")),
        }
    }

    /// A text of at most so many characters.
    pub(super) fn text(self, name: &str, most: usize) -> Result<String> {
        let text = self.given(name);
        let length = text.chars().count();
        if length > most {
            return Err(Error::invalid(name, format!("has {length} characters, at most {most} are allowed")));
        }
        Ok(text.to_owned())
    }
}

/// Which measurements are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// The newest so many; all when absent.
    pub(super) last: Option<usize>,
    /// An extension: not before.
    pub(super) since: Option<Timestamp>,
    /// An extension: not after.
    pub(super) until: Option<Timestamp>,
}

impl Window {
    /// As the query says.
    ///
    /// # Errors
    /// `InvalidInput` that names the parameter.
    pub(super) fn of(form: &Form) -> Result<Self> {
        let given = |name: &str| form.get(name).map(str::trim).filter(|text| !text.is_empty());
        let last = given("last").map(|text| {
            let count =
                text.parse::<u64>().map_err(|_| Error::invalid("last", "must be a whole number, and not negative"));
            count.map(|count| usize::try_from(count).unwrap_or(usize::MAX))
        });
        let time = |name: &str| {
            let time =
                |text: &str| text.parse().map_err(|_| Error::invalid(name, "must be a time as RFC 3339 has them"));
            given(name).map(time).transpose()
        };
        Ok(Window { last: last.transpose()?, since: time("since")?, until: time("until")? })
    }
}

/// A time as COPA writes it: ISO 8601 in UTC, always with six digits behind the point, which every client of it can read.
pub(super) fn iso(time: Timestamp) -> String {
    let micros = time.unix_nanos().div_euclid(1000);
    let whole = Timestamp::from_unix_seconds(i64::try_from(micros.div_euclid(1_000_000)).unwrap_or_default());
    let whole = whole.unwrap_or(time).to_string();
    format!("{}.{:06}Z", whole.trim_end_matches('Z'), micros.rem_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_is_named() {
        let form = Form::of_json(json!({
            "f": "1.5", "e": " 1e3 ", "nan": "nan", "inf": "-inf", "empty": "", "n": 7, "neg": -1,
            "yes": "Yes", "true": true, "zero": 0, "long": "ääää",
        }))
        .unwrap();
        let fields = Fields(&form);
        assert_eq!((fields.number("f").unwrap(), fields.number("e").unwrap()), (1.5, 1000.0));
        for bad in ["nan", "inf", "empty", "long"] {
            assert_eq!(fields.number(bad).unwrap_err().field(), Some(bad));
        }
        assert_eq!(fields.count("n").unwrap(), 7);
        for bad in ["neg", "f", "empty"] {
            assert_eq!(fields.count(bad).unwrap_err().field(), Some(bad));
        }
        assert!(fields.truth("yes").unwrap() && fields.truth("true").unwrap() && !fields.truth("zero").unwrap());
        assert_eq!(fields.truth("n").unwrap_err().field(), Some("n"));
        assert_eq!(fields.text("long", 4).unwrap(), "ääää");
        assert_eq!(fields.text("long", 3).unwrap_err().field(), Some("long"));
    }

    #[test]
    fn windows() {
        let window = |value| Window::of(&Form::of_json(value).unwrap());
        assert_eq!(window(json!({})).unwrap(), Window::default());
        assert_eq!(window(json!({"last": "", "since": ""})).unwrap(), Window::default());
        assert_eq!(window(json!({"last": " 3 "})).unwrap().last, Some(3));
        let since = window(json!({"since": "2026-01-02T03:04:05.678901Z"})).unwrap().since.unwrap();
        assert_eq!(iso(since), "2026-01-02T03:04:05.678901Z");
        assert_eq!(iso(Timestamp::from_unix_seconds(0).unwrap()), "1970-01-01T00:00:00.000000Z");
        for (field, bad) in [("last", "x"), ("last", "-1"), ("last", "1.5"), ("since", "yesterday"), ("until", "7")] {
            assert_eq!(window(json!({ field: bad })).unwrap_err().field(), Some(field), "{bad}");
        }
    }
}
