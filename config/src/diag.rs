//! Errors: what is wrong, where, and what would be right.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

/// At most this many errors of one file are reported.
const MOST: usize = 100;

/// A file's text with its name, shared by the errors that point into it.
pub(crate) type Source = Arc<NamedSource<String>>;

/// One error.
///
/// Its `Display` is the message alone; a [`miette`] report adds the lines of the file.
#[derive(Clone, Debug)]
pub struct ConfigError {
    message: String,
    help: Option<String>,
    labels: Vec<(Range<usize>, String)>,
    source: Source,
}

impl ConfigError {
    /// An error of the file as a whole.
    pub(crate) fn of_file(source: &Source, message: String) -> Self {
        ConfigError { message, help: None, labels: Vec::new(), source: source.clone() }
    }

    /// An error at `span` (in bytes); `label` stands at the mark.
    pub(crate) fn at(source: &Source, span: Range<usize>, message: String, label: &str) -> Self {
        ConfigError { labels: vec![(span, label.to_owned())], ..Self::of_file(source, message) }
    }

    /// The same, with a second place marked.
    pub(crate) fn also(mut self, span: Range<usize>, label: &str) -> Self {
        self.labels.push((span, label.to_owned()));
        self
    }

    /// The same, with what would be right.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What would be right.
    pub fn advice(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The name of the file.
    pub fn file(&self) -> &str {
        self.source.name()
    }

    /// Line and column (in characters), both counted from 1; `None` if the whole file is meant.
    pub fn position(&self) -> Option<(usize, usize)> {
        let (span, _) = self.labels.first()?;
        let before = self.source.inner().get(..span.start)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        Some((line, before[line_start..].chars().count() + 1))
    }

    /// `FILE:LINE:COLUMN: message; help`, on one line, as compilers write it.
    pub fn one_line(&self) -> impl fmt::Display + '_ {
        fmt::from_fn(move |f| {
            write!(f, "{}:", self.file())?;
            if let Some((line, column)) = self.position() {
                write!(f, "{line}:{column}:")?;
            }
            write!(f, " {}", self.message)?;
            self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
        })
    }

    /// Where it is, for sorting.
    fn start(&self) -> usize {
        self.labels.first().map_or(0, |(span, _)| span.start)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

impl Diagnostic for ConfigError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        (!self.labels.is_empty()).then_some(&self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = |at: usize, (span, text): &(Range<usize>, String)| match at {
            0 => LabeledSpan::new_primary_with_span(Some(text.clone()), span.clone()),
            _ => LabeledSpan::new_with_span(Some(text.clone()), span.clone()),
        };
        Some(Box::new(self.labels.iter().enumerate().map(move |(at, marked)| label(at, marked))))
    }
}

/// All errors of a configuration, in the order of the file.
///
/// `Display` says how many; as a [`miette::Diagnostic`] each is a related report with its lines;
/// [`one_line`](ConfigError::one_line) is for logs.
#[derive(Clone, Debug)]
pub struct ConfigErrors {
    file: String,
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// The errors; at least one.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.errors.len() == 1 { "" } else { "s" };
        write!(f, "{} has {} error{plural}", self.file, self.errors.len())
    }
}

impl std::error::Error for ConfigErrors {}

impl Diagnostic for ConfigErrors {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.errors.iter().map(|error| error as &dyn Diagnostic)))
    }
}

/// The errors of one file so far. Whoever finds one adds it and goes on.
pub(crate) struct Errors {
    source: Source,
    found: RefCell<Vec<ConfigError>>,
}

impl Errors {
    /// No errors yet in `text`, which messages call `name`.
    pub(crate) fn new(name: &str, text: &str) -> Self {
        Errors { source: Arc::new(NamedSource::new(name, text.to_owned())), found: RefCell::default() }
    }

    /// The file.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// An error at `span`, to be completed and then [`add`](Self::add)ed.
    pub(crate) fn at(&self, span: Range<usize>, message: String, label: &str) -> ConfigError {
        ConfigError::at(&self.source, span, message, label)
    }

    /// An error of the file as a whole, to be completed and then [`add`](Self::add)ed.
    pub(crate) fn whole(&self, message: String) -> ConfigError {
        ConfigError::of_file(&self.source, message)
    }

    /// Adds the errors of another file.
    pub(crate) fn append(&self, other: Errors) {
        self.found.borrow_mut().append(&mut other.found.into_inner());
    }

    /// Adds an error.
    pub(crate) fn add(&self, error: ConfigError) {
        self.found.borrow_mut().push(error);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// `value`, if there is no error.
    pub(crate) fn into_result<T>(self, value: Option<T>) -> Result<T, ConfigErrors> {
        let mut errors = self.found.into_inner();
        match value {
            Some(value) if errors.is_empty() => Ok(value),
            _ => {
                // This file's own errors come first.
                errors.sort_by_key(|error| (error.file() != self.source.name(), error.start()));
                errors.truncate(MOST);
                Err(ConfigErrors { file: self.source.name().to_owned(), errors })
            }
        }
    }
}
