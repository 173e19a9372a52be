//! The TIME-WAIT table.
