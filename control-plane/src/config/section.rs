//! Reads typed values out of a TOML table, noting every fault and every key that nobody asked for.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Report, nearest};

/// A table that is being read. [`finish`](Self::finish) reports the keys that were not.
pub(super) struct Section<'d> {
    table: &'d DeTable<'d>,
    report: &'d Report<'d>,
    path: String,
    span: Range<usize>,
    known: Vec<&'static str>,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
    pub(super) path: String,
}

/// Where something stands in the file: octets and path.
pub(super) type Place = Found<()>;

impl<'d> Section<'d> {
    /// The whole document.
    pub(super) fn root(table: &'d DeTable<'d>, report: &'d Report<'d>) -> Self {
        Self { table, report, path: String::new(), span: 0..0, known: Vec::new() }
    }

    /// Where the section stands, and its path.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Path of the section itself.
    pub(super) fn own_path(&self) -> &str {
        &self.path
    }

    /// Path of a field of this section.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// How many faults the file has so far.
    pub(super) fn faults(&self) -> usize {
        self.report.len()
    }

    /// Notes a fault of the section itself.
    pub(super) fn fault(&self, key: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        self.report.add(&self.span, &self.path(key), problem, remedy);
    }

    /// Notes a fault of a value that was read.
    pub(super) fn fault_at<T>(&self, found: &Found<T>, problem: impl Into<String>, remedy: impl Into<String>) {
        self.report.add(&found.span, &found.path, problem, remedy);
    }

    /// Notes that a value is no fault, but not what is advised.
    pub(super) fn warn_at<T>(&self, found: &Found<T>, problem: String, remedy: String) {
        self.report.warn(&found.span, &found.path, problem, remedy);
    }

    /// Notes that the section itself is no fault, but not what is advised.
    pub(super) fn warn(&self, problem: String, remedy: String) {
        self.report.warn(&self.span, &self.path, problem, remedy);
    }

    /// Whether a field is there, whatever it holds.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Notes that a field is not there, unless it is there with a fault of its own.
    pub(super) fn missing(&self, key: &str, remedy: impl Into<String>) {
        if !self.table.contains_key(key) {
            self.fault(key, "this is missing", remedy);
        }
    }

    /// Notes that a list has no entries, unless they had faults of their own.
    pub(super) fn empty(&self, key: &str, remedy: impl Into<String>) {
        if let Some(value) = self.table.get(key)
            && value.get_ref().as_array().is_some_and(|entries| entries.is_empty())
        {
            self.report.add(&value.span(), &self.path(key), "this list is empty", remedy);
        }
    }

    /// Whether `key` holds exactly `text`.
    pub(super) fn text_is(&self, key: &str, text: &str) -> bool {
        self.table.get(key).and_then(|value| value.get_ref().as_str()) == Some(text)
    }

    /// Whether `key` holds a list of exactly `text`.
    pub(super) fn list_is(&self, key: &str, text: &str) -> bool {
        let entries = self.table.get(key).and_then(|value| value.get_ref().as_array());
        entries.is_some_and(|entries| entries.len() == 1 && entries.iter().all(|entry| entry.get_ref().as_str() == Some(text)))
    }

    /// Text.
    pub(super) fn text(&mut self, key: &'static str, example: &str) -> Option<Found<&'d str>> {
        let (value, found) = self.value(key)?;
        match value {
            DeValue::String(text) => Some(found.with(&**text)),
            other => self.wrong_type(&found, "text", other, example),
        }
    }

    /// Text that means something.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, key: &'static str, example: &str) -> Option<Found<T>> {
        let text = self.text(key, example)?;
        self.parse(text, example)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&'static str, T)]) -> Option<Found<T>> {
        let all = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
        let text = self.text(key, &all)?;
        if let Some(&(_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(text.with(value));
        }
        self.fault_at(&text, format!("'{}' is not known here", text.value), format!("write {all}"));
        None
    }

    /// A list of texts that mean something. Faulty entries are noted and left out.
    pub(super) fn list<T: FromStr<Err: Display>>(&mut self, key: &'static str, example: &str) -> Option<Vec<Found<T>>> {
        self.list_with(key, example, |section, text| section.parse(text, example))
    }

    /// A list of texts, each read by `read`, which notes its faults itself.
    pub(super) fn list_with<T>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl Fn(&Self, Found<&'d str>) -> Option<Found<T>>,
    ) -> Option<Vec<Found<T>>> {
        self.entries(key, example, "texts", |section, at, value| match value {
            DeValue::String(text) => read(section, at.with(&**text)),
            other => section.wrong_type(&at, "text", other, example),
        })
    }

    /// A list of texts or whole numbers that mean something. Faulty entries are noted and left out.
    pub(super) fn list_of_words<T: FromStr<Err: Display>>(&mut self, key: &'static str, example: &str) -> Option<Vec<Found<T>>> {
        self.entries(key, example, "texts or numbers", |section, at, value| match value {
            DeValue::String(text) => section.parse(at.with(&**text), example),
            DeValue::Integer(number) => section.parse(at.with(&*number.to_string()), example),
            other => section.wrong_type(&at, "text or a number", other, example),
        })
    }

    fn entries<T>(
        &mut self,
        key: &'static str,
        example: &str,
        of: &str,
        read: impl Fn(&Self, Found<()>, &'d DeValue<'d>) -> Option<Found<T>>,
    ) -> Option<Vec<Found<T>>> {
        let (value, found) = self.value(key)?;
        let DeValue::Array(entries) = value else {
            return self.wrong_type(&found, &format!("a list of {of}"), value, &format!("[{example}]"));
        };
        let at = |index, entry: &Spanned<_>| Found { value: (), span: entry.span(), path: format!("{}[{index}]", found.path) };
        Some(entries.iter().enumerate().filter_map(|(index, entry)| read(self, at(index, entry), entry.get_ref())).collect())
    }

    /// A whole number.
    pub(super) fn integer(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<Found<u32>> {
        let (value, found) = self.value(key)?;
        let example = format!("a number from {} to {}", range.start(), range.end());
        let DeValue::Integer(number) = value else {
            return self.wrong_type(&found, "a number", value, &example);
        };
        match u32::from_str_radix(number.as_str(), number.radix()).ok().filter(|n| range.contains(n)) {
            Some(n) => Some(found.with(n)),
            None => {
                self.fault_at(&found, format!("{number} is out of range"), format!("write {example}"));
                None
            }
        }
    }

    /// A whole number, or a word that stands for what no number says: then `None`.
    pub(super) fn integer_or(&mut self, key: &'static str, range: RangeInclusive<u32>, word: &str) -> Option<Found<Option<u32>>> {
        if self.text_is(key, word) {
            return self.value(key).map(|(_, found)| found.with(None));
        }
        self.integer(key, range).map(|found| found.with(Some(found.value)))
    }

    /// An amount: a number, or text such as `"500k"`, `"20m"` or `"4g"`, each letter 1024 times the one before.
    pub(super) fn amount(&mut self, key: &'static str) -> Option<Found<u64>> {
        const EXAMPLE: &str = "a number, \"500m\" or \"4g\"";
        let (value, found) = self.value(key)?;
        let number = match value {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(text) => amount(text),
            other => return self.wrong_type(&found, "an amount", other, EXAMPLE),
        };
        if number.is_none() {
            self.fault_at(&found, "this is no amount", format!("write {EXAMPLE}"));
        }
        number.map(|number| found.with(number))
    }

    /// A number with decimals, in hundredths.
    pub(super) fn hundredths(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<Found<u32>> {
        let (value, found) = self.value(key)?;
        let number = match value {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok().and_then(|n| n.checked_mul(100)),
            DeValue::Float(number) => hundredths(number.as_str()),
            other => return self.wrong_type(&found, "a number", other, "1.8"),
        };
        match number.filter(|n| range.contains(n)) {
            Some(n) => Some(found.with(n)),
            None => {
                let (low, high) = (f64::from(*range.start()) / 100.0, f64::from(*range.end()) / 100.0);
                self.fault_at(
                    &found,
                    "this number is out of range",
                    format!("write a number from {low} to {high}, with two decimals at most"),
                );
                None
            }
        }
    }

    /// Yes or no.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<Found<bool>> {
        let (value, found) = self.value(key)?;
        match value {
            DeValue::Boolean(value) => Some(found.with(*value)),
            other => self.wrong_type(&found, "true or false", other, "true or false"),
        }
    }

    /// Yes or no, or a word that says it.
    pub(super) fn boolean_or(&mut self, key: &'static str, words: &[(&'static str, bool)]) -> Option<Found<bool>> {
        match self.table.get(key).map(Spanned::get_ref) {
            Some(DeValue::String(_)) => self.choice(key, words),
            _ => self.boolean(key),
        }
    }

    /// A time: `"500ms"`, `"30s"`, `"5m"`, `"4h"`, `"1d"`, or a number of seconds.
    pub(super) fn duration(&mut self, key: &'static str) -> Option<Found<Duration>> {
        const EXAMPLE: &str = "\"30s\", \"5m\" or \"4h\"";
        let (value, found) = self.value(key)?;
        let duration = match value {
            DeValue::String(text) => duration(text),
            DeValue::Integer(number) => {
                u32::from_str_radix(number.as_str(), number.radix()).ok().map(|seconds| Duration::from_secs(seconds.into()))
            }
            other => return self.wrong_type(&found, "a time", other, EXAMPLE),
        };
        if duration.is_none() {
            self.fault_at(&found, "this is no time", format!("write for example {EXAMPLE}"));
        }
        duration.map(|duration| found.with(duration))
    }

    /// A table inside.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Self> {
        let (value, found) = self.value(key)?;
        match value {
            DeValue::Table(table) => Some(self.inner(table, found.path, found.span)),
            other => self.wrong_type(&found, "a section", other, &format!("[{}]", found.path)),
        }
    }

    /// The named tables inside the table `key`, in the order of the file.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<(String, Self)> {
        let Some(outer) = self.section(key) else { return Vec::new() };
        let mut inner = Vec::new();
        for (name, value) in outer.table.iter() {
            let at = Found { value: (), span: name.span(), path: outer.path(name.get_ref()) };
            match value.get_ref() {
                DeValue::Table(table) => inner.push((name.get_ref().to_string(), self.inner(table, at.path, at.span))),
                other => {
                    let _: Option<()> = self.wrong_type(&at, "a section", other, &format!("[{}.NAME]", outer.path));
                }
            }
        }
        inner.sort_by_key(|(_, section)| section.span.start);
        inner
    }

    /// Reports the keys that nobody read.
    pub(super) fn finish(self) {
        for (key, _) in self.table.iter() {
            let name = key.get_ref();
            if self.known.iter().any(|known| known == name) {
                continue;
            }
            let remedy = match nearest(name, self.known.iter().copied()) {
                Some(known) => format!("did you mean {known}?"),
                None => format!("remove it, or write one of {}", self.known.join(", ")),
            };
            self.report.add(&key.span(), &self.path(name), "unknown key", remedy);
        }
    }

    fn inner(&self, table: &'d DeTable<'d>, path: String, span: Range<usize>) -> Self {
        Self { table, report: self.report, path, span, known: Vec::new() }
    }

    fn value(&mut self, key: &'static str) -> Option<(&'d DeValue<'d>, Found<()>)> {
        self.known.push(key);
        let value: &Spanned<DeValue<'d>> = self.table.get(key)?;
        // A section written as [a.b] has no value of its own to point at: its header is the key.
        let span = match (value.get_ref(), self.table.get_key_value(key)) {
            (DeValue::Table(_), Some((name, _))) => name.span(),
            _ => value.span(),
        };
        Some((value.get_ref(), Found { value: (), span, path: self.path(key) }))
    }

    fn parse<T: FromStr<Err: Display>>(&self, text: Found<&str>, example: &str) -> Option<Found<T>> {
        match text.value.parse() {
            Ok(value) => Some(text.with(value)),
            Err(error) => {
                self.fault_at(&text, error.to_string(), format!("write for example {example}"));
                None
            }
        }
    }

    fn wrong_type<T, F>(&self, found: &Found<F>, wanted: &str, value: &DeValue<'_>, example: &str) -> Option<T> {
        let is = match value {
            DeValue::String(_) => "text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a section",
        };
        self.fault_at(found, format!("expected {wanted}, found {is}"), format!("write for example {example}"));
        None
    }
}

impl<T> Found<T> {
    /// Another value at the same place.
    pub(super) fn with<U>(&self, value: U) -> Found<U> {
        Found { value, span: self.span.clone(), path: self.path.clone() }
    }
}

fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse::<u32>().ok()?.into();
    match unit.trim() {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number * 60)),
        "h" => Some(Duration::from_secs(number * 3600)),
        "d" => Some(Duration::from_secs(number * 86400)),
        _ => None,
    }
}

fn amount(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let unit = match unit.trim() {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// `1.8` is 180: decimals are read as digits, so that nothing is rounded.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.')?;
    let decimals: u32 = match decimals.len() {
        1 => decimals.parse::<u32>().ok()? * 10,
        2 => decimals.parse().ok()?,
        _ => return None,
    };
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("30"), Some(Duration::from_secs(30)));
        assert_eq!(duration("30 s"), Some(Duration::from_secs(30)));
        assert_eq!(duration("2d"), Some(Duration::from_secs(172_800)));
        for text in ["", "s", "-1s", "1.5s", "1w", "99999999999s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_have_units() {
        assert_eq!([amount("7"), amount("2k"), amount("3 M"), amount("4g")], [Some(7), Some(2048), Some(3 << 20), Some(4 << 30)]);
        for text in ["", "k", "-1", "1.5g", "1t", "99999999999g"] {
            assert_eq!(amount(text), None, "{text}");
        }
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!(hundredths("1.8"), Some(180));
        assert_eq!(hundredths("1.85"), Some(185));
        assert_eq!(hundredths("1.855"), None);
        assert_eq!(hundredths("1e3"), None);
    }
}
