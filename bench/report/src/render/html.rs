//! todo
use crate::document::Document;
/// x
pub fn html(_document: &Document) -> String {
    String::new()
}
