//! What a number is: its name, its unit, and which way is better.
//!
//! A unit is a word: `frames`, `frames/s`, `bit/s`, `ratio` (1 is all), `ns`, `cycles/packet`. Rates end in `/s`, so
//! that a renderer can write 14.88 M. Measures are an open set: whoever has another one makes a [`Measure`] of it.

use serde::{Deserialize, Serialize};

/// Which way is better. A number without one is told, and never compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// More is better: a rate.
    Higher,
    /// Less is better: loss, latency.
    Lower,
}

/// A name for numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measure {
    /// Unique within a span.
    pub name: &'static str,
    /// One of the words above.
    pub unit: &'static str,
    /// Which way is better, if the number is for comparing.
    pub better: Option<Better>,
}

impl Measure {
    /// A number to tell.
    pub const fn plain(name: &'static str, unit: &'static str) -> Measure {
        Measure { name, unit, better: None }
    }

    /// A number to compare, of which more is better.
    pub const fn higher(name: &'static str, unit: &'static str) -> Measure {
        Measure { name, unit, better: Some(Better::Higher) }
    }

    /// A number to compare, of which less is better.
    pub const fn lower(name: &'static str, unit: &'static str) -> Measure {
        Measure { name, unit, better: Some(Better::Lower) }
    }
}

/// The rate that was asked for. The throughput search is drawn over it.
pub const OFFERED_RATE: Measure = Measure::plain("offered rate", "frames/s");
/// What came back, over the time in which it was offered.
pub const RECEIVED_RATE: Measure = Measure::higher("received rate", "frames/s");
/// Offered less received, over offered; what could not be sent counts as lost. Drawn beside [`OFFERED_RATE`].
pub const LOSS: Measure = Measure::lower("loss", "ratio");
/// Frames whose time to be sent came.
pub const OFFERED: Measure = Measure::plain("offered", "frames");
/// Frames that the device took.
pub const SENT: Measure = Measure::plain("sent", "frames");
/// Frames that came back, each once.
pub const RECEIVED: Measure = Measure::plain("received", "frames");
/// Frames that never came back.
pub const LOST: Measure = Measure::plain("lost", "frames");
/// Frames that came back again.
pub const DUPLICATED: Measure = Measure::plain("duplicated", "frames");
/// Frames that came back behind a later one of their flow.
pub const REORDERED: Measure = Measure::plain("reordered", "frames");
/// Frames whose content changed on the way.
pub const CORRUPTED: Measure = Measure::plain("corrupted", "frames");
