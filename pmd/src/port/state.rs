//! A port's state: its phase, and which queues are given out.

use super::config::PortInfo;
use crate::mempool::Mempool;

/// What changes in a port's life.
#[derive(Default, Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) info: Option<PortInfo>,
    pub(super) promiscuous: bool,
    /// See [`PortConfig::vlans`](super::PortConfig::vlans).
    pub(super) vlans: Vec<u16>,
    /// What the receive queues fill.
    pub(super) pools: Vec<Mempool>,
    /// Queues that are given out.
    pub(super) rx_taken: Vec<bool>,
    pub(super) tx_taken: Vec<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Phase {
    #[default]
    Open,
    Stopped,
    Started,
}

impl Phase {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Phase::Open => "not configured",
            Phase::Stopped => "stopped",
            Phase::Started => "started",
        }
    }
}

/// Which way frames go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Receive,
    Transmit,
}

impl Direction {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Direction::Receive => "receive",
            Direction::Transmit => "transmit",
        }
    }
}

impl State {
    /// Which queues are given out.
    pub(super) fn taken(&mut self, direction: Direction) -> &mut Vec<bool> {
        match direction {
            Direction::Receive => &mut self.rx_taken,
            Direction::Transmit => &mut self.tx_taken,
        }
    }
}
