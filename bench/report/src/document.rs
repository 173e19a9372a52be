//! The result document, and its way to JSON and back.

use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::environment::Environment;
use crate::run::{Run, Span};

/// The name that every document carries.
const SCHEMA: &str = "sluice-bench";

/// The version that is written, and the newest that is read.
pub const VERSION: u32 = 1;

/// What a measurement leaves behind: enough to draw it, to compare it, and to judge whether to believe it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Document {
    schema: Schema,
    /// How it was measured.
    pub kind: Kind,
    /// The program that measured, with its version: `sluice 0.1.0`.
    pub tool: String,
    /// The command line, word by word.
    pub command: Vec<String>,
    /// When it began.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub started: SystemTime,
    /// What was set, in the order in which it is shown. Two documents with other parameters are not comparable.
    pub parameters: Vec<Parameter>,
    /// Where it was measured.
    pub environment: Environment,
    /// The repetitions.
    pub runs: Vec<Run>,
    /// What the program concluded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Schema {
    name: String,
    version: u32,
}

/// How it was measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Trials at a rate through a device under test.
    Forward,
    /// Searches for the highest rate with no more than some loss.
    ThroughputSearch,
    /// The tests of RFC 2544.
    Rfc2544,
    /// Hours at a rate.
    Soak,
    /// Requests to a server.
    Load,
    /// Several programs at the same task, in turn.
    Comparison,
}

/// A setting.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name, such as `frame size`.
    pub name: String,
    /// Its value, with its unit.
    pub value: String,
}

/// What the program concluded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether what was asked for was reached.
    pub passed: bool,
    /// Why, a sentence each.
    pub sentences: Vec<String>,
}

/// Why a document cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no JSON, or lacks what a document has.
    #[error("not a result of sluice: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is another program's.
    #[error("not a result of sluice: its schema is named {0:?}, not {SCHEMA:?}")]
    Foreign(String),
    /// It was written by a later sluice.
    #[error(
        "written by a later sluice: its schema has version {0}, this one reads up to {VERSION}. Use a later sluice"
    )]
    Newer(u32),
    /// A number that JSON has no word for.
    #[error("{0} is not a finite number")]
    NotFinite(String),
}

impl Kind {
    /// For headings.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Forward => "Forwarding",
            Kind::ThroughputSearch => "Throughput search",
            Kind::Rfc2544 => "RFC 2544",
            Kind::Soak => "Soak",
            Kind::Load => "Load",
            Kind::Comparison => "Comparison",
        }
    }
}

impl Document {
    /// A document without runs, of a measurement that begins now and was ordered by this process' command line.
    pub fn new(kind: Kind, tool: impl Into<String>) -> Document {
        Document {
            schema: Schema { name: SCHEMA.to_owned(), version: VERSION },
            kind,
            tool: tool.into(),
            command: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
            started: now(),
            parameters: Vec::new(),
            environment: Environment::default(),
            runs: Vec::new(),
            verdict: None,
        }
    }

    /// With a setting.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl ToString) -> Document {
        self.parameters.push(Parameter { name: name.into(), value: value.to_string() });
        self
    }

    /// With what the machine was; it is known when the last run ends.
    #[must_use]
    pub fn on(self, environment: Environment) -> Document {
        Document { environment, ..self }
    }

    /// With a run.
    #[must_use]
    pub fn run(mut self, run: Run) -> Document {
        self.runs.push(run);
        self
    }

    /// With a conclusion.
    #[must_use]
    pub fn concluded(self, passed: bool, sentences: impl IntoIterator<Item = String>) -> Document {
        Document { verdict: Some(Verdict { passed, sentences: sentences.into_iter().collect() }), ..self }
    }

    /// Reads a document.
    ///
    /// # Errors
    ///
    /// Each is a sentence for the user: no document at all, another program's, or a later version's.
    pub fn parse(text: &str) -> Result<Document, Error> {
        #[derive(Deserialize)]
        struct Cover {
            schema: Schema,
        }
        let Cover { schema } = serde_json::from_str(text)?;
        if schema.name != SCHEMA {
            return Err(Error::Foreign(schema.name));
        }
        if schema.version > VERSION {
            return Err(Error::Newer(schema.version));
        }
        Ok(serde_json::from_str(text)?)
    }

    /// As JSON, for people too.
    ///
    /// # Errors
    ///
    /// A counter that is not finite: a division by zero somewhere is not to pass as a result.
    pub fn json(&self) -> Result<String, Error> {
        for run in &self.runs {
            run.spans().try_for_each(check_finite)?;
        }
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The command line as one would type it.
    pub fn command_line(&self) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+@%".contains(c);
        let quoted = |word: &String| {
            if !word.is_empty() && word.chars().all(is_plain) {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        };
        self.command.iter().map(quoted).collect::<Vec<_>>().join(" ")
    }

    /// When it began, such as `2026-11-25 15:39:02 UTC`.
    pub fn started_text(&self) -> String {
        humantime::format_rfc3339_seconds(self.started).to_string().replace('T', " ").replace('Z', " UTC")
    }
}

fn check_finite(span: &Span) -> Result<(), Error> {
    let time = [("start_s", span.start_s), ("length_s", span.length_s)];
    let counters = span.counters.iter().map(|counter| (&*counter.name, counter.value));
    match time.into_iter().chain(counters).find(|(_, value)| !value.is_finite()) {
        Some((name, _)) => Err(Error::NotFinite(name.to_owned())),
        None => Ok(()),
    }
}

/// In whole milliseconds, which is what is written.
fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(since.as_millis() as u64)
}

fn write_time<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_rfc3339_millis(*time))
}

fn read_time<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_rfc3339(&text).map_err(|why| serde::de::Error::custom(format!("started: {why}")))
}
