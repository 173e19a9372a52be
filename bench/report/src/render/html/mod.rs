//! One page that needs nothing else: no script, no font, no other file.

mod axis;
mod bars;
mod chart;
mod condense;
mod page;
mod percentiles;
mod search;
mod table;
mod timeline;

pub use page::html;
