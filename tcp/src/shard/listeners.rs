//! Listeners and their accept queues.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use hashbrown::HashMap;

use super::{ConnectionId, ListenerId};
use crate::connection::Settings;

/// Why nobody can listen there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListenError {
    /// Somebody does.
    InUse,
    /// There are as many listeners as there may be.
    TooMany,
}

/// One listener.
pub(super) struct Listener {
    pub(super) address: SocketAddrV4,
    pub(super) backlog: u32,
    /// What its connections start with.
    pub(super) settings: Settings,
    /// Established connections that the application has not taken.
    pub(super) accept: VecDeque<ConnectionId>,
    generation: u32,
    open: bool,
    /// Whether it waits in the list of those with news.
    told: bool,
}

impl Listener {
    /// Whether no more connections may wait.
    pub(super) fn is_full(&self) -> bool {
        self.accept.len() >= self.backlog as usize
    }
}

/// All listeners of a shard.
pub(super) struct Listeners {
    all: Vec<Listener>,
    by_address: HashMap<SocketAddrV4, u32>,
    news: VecDeque<u32>,
    limit: u32,
}

impl Listeners {
    pub(super) fn new(limit: u32) -> Self {
        Listeners { all: Vec::new(), by_address: HashMap::new(), news: VecDeque::new(), limit }
    }

    pub(super) fn open(&mut self, address: SocketAddrV4, backlog: u32) -> Result<ListenerId, ListenError> {
        if self.by_address.contains_key(&address) {
            return Err(ListenError::InUse);
        }
        let index = self.all.iter().position(|listener| !listener.open).unwrap_or(self.all.len());
        if index == self.limit as usize {
            return Err(ListenError::TooMany);
        }
        let backlog = backlog.max(1);
        let accept = VecDeque::with_capacity(backlog as usize);
        let generation = self.all.get(index).map_or(0, |old| old.generation + 1);
        let settings = Settings::default();
        let listener = Listener { address, backlog, settings, accept, generation, open: true, told: false };
        match self.all.get_mut(index) {
            Some(old) => *old = listener,
            None => self.all.push(listener),
        }
        self.by_address.insert(address, index as u32);
        // Each waits for the application once at most.
        self.news.reserve(self.all.len());
        Ok(ListenerId { index: index as u32, generation })
    }

    /// The listener of an address: its own, or that of all addresses.
    pub(super) fn find(&self, address: SocketAddrV4) -> Option<u32> {
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, address.port());
        self.by_address.get(&address).or_else(|| self.by_address.get(&any)).copied()
    }

    pub(super) fn at(&mut self, index: u32) -> Option<&mut Listener> {
        self.all.get_mut(index as usize).filter(|listener| listener.open)
    }

    pub(super) fn get(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.at(id.index).filter(|listener| listener.generation == id.generation)
    }

    /// Connections that wait to be accepted.
    pub(super) fn waiting(&self, id: ListenerId) -> usize {
        let listener = self.all.get(id.index as usize).filter(|listener| listener.open);
        listener.filter(|listener| listener.generation == id.generation).map_or(0, |l| l.accept.len())
    }

    /// Takes the listener away; gives the connections nobody took.
    pub(super) fn close(&mut self, id: ListenerId) -> VecDeque<ConnectionId> {
        let Some(listener) = self.get(id) else { return VecDeque::new() };
        listener.open = false;
        let (address, waiting) = (listener.address, std::mem::take(&mut listener.accept));
        self.by_address.remove(&address);
        waiting
    }

    /// The application is to be told that a connection waits.
    pub(super) fn announce(&mut self, index: u32) {
        if let Some(listener) = self.at(index)
            && !std::mem::replace(&mut listener.told, true)
        {
            self.news.push_back(index);
        }
    }

    /// A listener with connections that the application was not told of.
    pub(super) fn pop_news(&mut self) -> Option<ListenerId> {
        while let Some(index) = self.news.pop_front() {
            if let Some(listener) = self.at(index) {
                listener.told = false;
                if !listener.accept.is_empty() {
                    return Some(ListenerId { index, generation: listener.generation });
                }
            }
        }
        None
    }

    /// Those that are open.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Listener> {
        self.all.iter().filter(|listener| listener.open)
    }

    /// Whether the application is to be told of a listener.
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }
}
