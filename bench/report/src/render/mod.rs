//! The forms of a document.

mod csv;
mod hlog;
mod html;
pub(crate) mod number;
mod text;

pub use csv::csv;
pub use hlog::hlog;
pub use html::html;
pub use text::text;
