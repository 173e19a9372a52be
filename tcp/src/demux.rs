//! From a flow to its connection.
