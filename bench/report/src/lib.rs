//! What measurements become: a versioned result document, its renderings, and the comparison of two.
//!
//! ```
//! use report::{Document, Environment, Given, Kind, Run, Snapshot, Span, measure};
//!
//! let before = Snapshot::take("/");
//! let mut document = Document::new(Kind::Forward, "sluice 0.1.0").parameter("frame size", "64 B");
//! for repetition in 0..5 {
//!     let whole = Span::new(f64::from(repetition), 1.0)
//!         .with(measure::SENT, 1_000_000.0)
//!         .with(measure::LOSS, 0.0);
//!     document = document.run(Run::new(whole).dropped("no route", "no route leads there", 3));
//! }
//! let document = document.on(Environment::judge(&before, &Snapshot::take("/"), &Given::new([1])));
//! let text = document.json()?;
//! assert_eq!(Document::parse(&text)?, document);
//! # Ok::<(), report::Error>(())
//! ```

mod diff;
mod document;
mod environment;
mod histogram;
pub mod measure;
pub mod render;
mod run;
mod summary;
mod welch;

pub use diff::{Change, Comparison, NotComparable, Options, Row, compare};
pub use document::{Document, Error, Kind, Parameter, VERSION, Verdict};
pub use environment::{Device, Environment, Fact, Finding, Given, Snapshot, Trust, Weight};
pub use histogram::{Distribution, QUANTILES};
pub use measure::Better;
pub use run::{Counter, Drops, Run, Span};
pub use summary::{Sample, median, range, samples};
