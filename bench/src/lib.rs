//! What the comparisons share: route tables from a seed.

pub mod rng;
pub mod routes;
