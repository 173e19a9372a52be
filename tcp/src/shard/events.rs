//! Handles, and what the application is told.

use crate::connection::News;

/// A connection, as the application names it. A stale handle is told from a live one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnectionId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// A listener, as the application names it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ListenerId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// What the application is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShardEvent {
    /// [`accept`](super::Shard::accept) has a connection for this listener.
    Acceptable(ListenerId),
    /// Something happened to a connection.
    Connection(ConnectionId, News),
}
