//! Reading TOML so that all errors are found in one pass.
//!
//! One idea: **the keys that are asked for are the keys that exist.** A [`Table`] remembers what was
//! asked of it; what is in the file and was never asked for is an unknown key. A value of the wrong
//! kind is reported where it stands, and reading goes on as if it were absent.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diag::Errors;
use crate::suggest::{did_you_mean, nearest};

/// One table of the file; one that is absent reads as an empty one.
pub(crate) struct Table<'a> {
    /// As the file writes it: `[dpdk]`, `[[port]]`.
    title: &'static str,
    span: Range<usize>,
    content: Option<&'a DeTable<'a>>,
    asked: RefCell<Vec<&'static str>>,
    errors: &'a Errors,
}

/// One value of the file, with the key it stands under.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    key: &'static str,
    value: &'a Spanned<DeValue<'a>>,
    errors: &'a Errors,
}

/// Parses a file; `None` if it is not TOML.
pub(crate) fn parse<'a>(text: &'a str, errors: &Errors) -> Option<Spanned<DeTable<'a>>> {
    let (root, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let message = format!("this is not TOML: {}", error.message().replace('\n', "; "));
        errors.add(errors.at(error.span().unwrap_or(0..0), message, "here"));
    }
    // What is left of a broken file would only give errors that follow from these.
    syntax.is_empty().then_some(root)
}

/// Reads the file's top level by `fields`, then reports the keys nobody asked for.
pub(crate) fn read_root<'a, T>(
    root: &'a Spanned<DeTable<'a>>,
    errors: &'a Errors,
    fields: impl FnOnce(&Table<'a>) -> T,
) -> T {
    Table::new("the file", 0..0, Some(root.get_ref()), errors).read(fields)
}

impl<'a> Table<'a> {
    fn new(
        title: &'static str,
        span: Range<usize>,
        content: Option<&'a DeTable<'a>>,
        errors: &'a Errors,
    ) -> Self {
        Table { title, span, content, asked: RefCell::default(), errors }
    }

    fn read<T>(self, fields: impl FnOnce(&Table<'a>) -> T) -> T {
        let read = fields(&self);
        let asked = self.asked.borrow();
        for key in self.content.iter().flat_map(|table| table.keys()) {
            let name = key.get_ref().as_ref();
            if !asked.contains(&name) {
                let message = format!("unknown key `{}` in {}", name.escape_debug(), self.title);
                let help = did_you_mean(name, asked.iter().copied(), "keys");
                self.errors.add(self.errors.at(key.span(), message, "nothing has this name").help(help));
            }
        }
        read
    }

    /// Where the table begins.
    pub(crate) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value under `key` as `read` understands it; `None` when it is absent or wrong.
    pub(crate) fn get<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Option<Spanned<T>> {
        self.asked.borrow_mut().push(key);
        let value = self.content?.get(key)?;
        read(Value { key, value, errors: self.errors }).map(|read| Spanned::new(value.span(), read))
    }

    /// The same, for a key that must be there.
    pub(crate) fn require<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Option<Spanned<T>> {
        let present = self.content.is_some_and(|table| table.contains_key(key));
        if !present {
            self.errors.add(self.errors.at(self.span(), format!("{} lacks `{key}`", self.title), "in here"));
        }
        self.get(key, read)
    }

    /// The table `[key]`.
    pub(crate) fn table<T>(
        &self,
        key: &'static str,
        title: &'static str,
        fields: impl FnOnce(&Table<'a>) -> T,
    ) -> T {
        let content = self.get(key, |value| match value.value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => value.wrong(&format!("a table, written {title}")),
        });
        let span = content.as_ref().map_or(0..0, Spanned::span);
        Table::new(title, span, content.map(Spanned::into_inner), self.errors).read(fields)
    }

    /// The tables `[[key]]`, in order.
    pub(crate) fn tables<T>(
        &self,
        key: &'static str,
        title: &'static str,
        fields: impl Fn(&Table<'a>) -> T,
    ) -> Vec<T> {
        let read_one = |value: Value<'a>| match value.value.get_ref() {
            DeValue::Table(table) => {
                Some(Table::new(title, value.span(), Some(table), value.errors).read(&fields))
            }
            _ => value.wrong(&format!("a list of tables, each written {title}")),
        };
        let list = self.get(key, |value| match value.value.get_ref() {
            DeValue::Array(_) => value.list(read_one),
            _ => value.wrong(&format!("a list of tables, each written {title}")),
        });
        list.map_or(Vec::new(), |list| list.into_inner().into_iter().map(Spanned::into_inner).collect())
    }
}

impl<'a> Value<'a> {
    fn span(&self) -> Range<usize> {
        self.value.span()
    }

    /// Reports that the value is not `what` it should be.
    fn wrong<T>(&self, what: &str) -> Option<T> {
        self.wrong_with(what, None)
    }

    fn wrong_with<T>(&self, what: &str, help: Option<String>) -> Option<T> {
        let shown = match self.value.get_ref() {
            DeValue::String(text) if text.chars().count() > 40 => "this text".to_owned(),
            DeValue::String(text) => format!("{text:?}"),
            DeValue::Integer(number) => number.to_string(),
            other => format!("a {}", other.type_str()),
        };
        let error = self.errors.at(self.span(), format!("`{}`: {shown} is not {what}", self.key), "here");
        self.errors.add(match help {
            Some(help) => error.help(help),
            None => error,
        });
        None
    }

    pub(crate) fn text(self) -> Option<String> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(text.clone().into_owned()),
            _ => self.wrong("a text in quotes"),
        }
    }

    /// A text that `parse` understands; the error it gives is what would be right.
    pub(crate) fn parsed<T>(self, what: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match self.value.get_ref() {
            DeValue::String(text) => parse(text).map_or_else(|help| self.wrong_with(what, Some(help)), Some),
            _ => self.wrong(&format!("{what} in quotes")),
        }
    }

    /// One of a few words.
    pub(crate) fn one_of<T: Copy>(self, words: &[(&str, T)]) -> Option<T> {
        let names = words.iter().map(|(name, _)| *name);
        let quoted: Vec<String> = names.clone().map(|name| format!("\"{name}\"")).collect();
        let what = format!("one of {}", quoted.join(", "));
        let DeValue::String(text) = self.value.get_ref() else { return self.wrong(&what) };
        match words.iter().find(|(name, _)| name == text) {
            Some((_, value)) => Some(*value),
            None => {
                self.wrong_with(&what, nearest(text, names).map(|near| format!("did you mean \"{near}\"?")))
            }
        }
    }

    pub(crate) fn boolean(self) -> Option<bool> {
        match self.value.get_ref() {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong("true or false"),
        }
    }

    /// A whole number in `range`.
    pub(crate) fn number<T: TryFrom<u32>>(self, range: RangeInclusive<u32>) -> Option<T> {
        let number = match self.value.get_ref() {
            DeValue::Integer(digits) => u32::from_str_radix(digits.as_str(), digits.radix()).ok(),
            _ => None,
        };
        let number =
            number.filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        number.or_else(|| self.wrong(&format!("a whole number from {} to {}", range.start(), range.end())))
    }

    /// What `read` reads, or the word `"auto"`, which gives `None`.
    pub(crate) fn or_auto<T>(self, read: impl FnOnce(Value<'a>) -> Option<T>) -> Option<Option<T>> {
        match self.value.get_ref() {
            DeValue::String(word) if word == "auto" => Some(None),
            DeValue::String(_) => {
                self.wrong_with("\"auto\"", Some("anything else stands without quotes".to_owned()))
            }
            _ => read(self).map(Some),
        }
    }

    /// A list; elements that are wrong are reported and left out.
    pub(crate) fn list<T>(self, read: impl Fn(Value<'a>) -> Option<T>) -> Option<Vec<Spanned<T>>> {
        let DeValue::Array(values) = self.value.get_ref() else {
            return self.wrong_with("a list", Some(format!("write {} = [ .. ]", self.key)));
        };
        let element = |value: &'a Spanned<DeValue<'a>>| {
            read(Value { value, ..self }).map(|read| Spanned::new(value.span(), read))
        };
        Some(values.iter().filter_map(element).collect())
    }

    /// A list, or one value in place of a list of one.
    pub(crate) fn one_or_list<T>(self, read: impl Fn(Value<'a>) -> Option<T>) -> Option<Vec<Spanned<T>>> {
        match self.value.get_ref() {
            DeValue::Array(_) => self.list(read),
            _ => read(self).map(|one| vec![Spanned::new(self.span(), one)]),
        }
    }
}
