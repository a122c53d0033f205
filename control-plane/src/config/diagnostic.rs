//! What is wrong with a file, where, and what to do about it.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One fault of a configuration: `file:line:column: field: problem; remedy`. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Line and column, from 1; `None` where the fault is the file itself.
    pub position: Option<(usize, usize)>,
    /// Path of the field, such as `connections.site-b.proposals[0]`; empty where the fault has none.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some((line, column)) = self.position {
            write!(f, "{line}:{column}:")?;
        }
        if !self.field.is_empty() {
            write!(f, " {}:", self.field)?;
        }
        write!(f, " {}; {}", self.problem, self.remedy)
    }
}

/// Collects the faults of one file.
#[derive(Debug)]
pub(super) struct Report<'t> {
    file: &'t Path,
    text: &'t str,
    faults: RefCell<Vec<Diagnostic>>,
    warnings: RefCell<Vec<Diagnostic>>,
}

impl<'t> Report<'t> {
    pub(super) fn new(file: &'t Path, text: &'t str) -> Self {
        Self { file, text, faults: RefCell::default(), warnings: RefCell::default() }
    }

    /// Adds a fault at the octets `span`.
    pub(super) fn add(&self, span: &Range<usize>, field: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        let fault = self.diagnostic(span, field, problem.into(), remedy.into());
        self.faults.borrow_mut().push(fault);
    }

    /// Adds what is no fault, but hardly meant.
    pub(super) fn warn(&self, span: &Range<usize>, field: &str, problem: String, remedy: String) {
        let warning = self.diagnostic(span, field, problem, remedy);
        self.warnings.borrow_mut().push(warning);
    }

    fn diagnostic(&self, span: &Range<usize>, field: &str, problem: String, remedy: String) -> Diagnostic {
        Diagnostic {
            file: self.file.to_path_buf(),
            position: Some(position(self.text, span.start)),
            field: field.to_owned(),
            problem,
            remedy,
        }
    }

    /// The warnings so far, in the order of the file.
    pub(super) fn take_warnings(&self) -> Vec<Diagnostic> {
        let mut warnings = self.warnings.take();
        warnings.sort_by_key(|warning| warning.position);
        warnings
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.faults.borrow().len()
    }

    /// Whether one is about this field, or about one below it.
    pub(super) fn is_about(&self, field: &str) -> bool {
        let below = |fault: &Diagnostic| fault.field.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.faults.borrow().iter().any(below)
    }

    /// The faults in the order of the file.
    pub(super) fn into_faults(self) -> Vec<Diagnostic> {
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|fault| fault.position);
        faults
    }
}

/// Line and column of an octet, from 1; columns count characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before.get(line_start..).map_or(0, |line| line.chars().count()) + 1)
}

/// The candidate that `word` was probably meant to be: at most a third of its letters wrong.
pub(super) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates.into_iter().map(|c| (distance(word, c), c)).filter(|&(d, _)| d <= limit).min_by_key(|&(d, _)| d).map(|(_, c)| c)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut previous = i + 1;
        let mut next = vec![previous];
        for (y, pair) in b.iter().zip(row.windows(2)) {
            let (diagonal, above) = (pair[0], pair[1]);
            previous = (diagonal + usize::from(x != *y)).min(above + 1).min(previous + 1);
            next.push(previous);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters() {
        let text = "a = 1\nbü = 2\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 6), (2, 1));
        assert_eq!(position(text, text.find('2').unwrap()), (2, 6));
        assert_eq!(position(text, text.len()), (3, 1));
    }

    #[test]
    fn a_typo_finds_its_word_and_another_word_finds_none() {
        assert_eq!(nearest("propsals", ["proposals", "local_addrs"]), Some("proposals"));
        assert_eq!(nearest("local", ["version", "remote_addrs"]), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
