//! A port of the tester: its queues, what it sends, what it receives.

use std::net::Ipv4Addr;

use wire::{Frame, FramePool, Instant, MacAddr, RxQueue, TxQueue};

use crate::analyser::Analyser;
use crate::sender::Sender;
use crate::size::MAX_SIZE;
use crate::station::Station;

/// Frames received at once.
const BURST: usize = 64;

/// One port. It sends, or receives, or both; whoever drives it polls.
pub struct Port<T: TxQueue, R, P> {
    tx: T,
    rx: R,
    pool: P,
    /// Who it is to its neighbours.
    pub station: Station,
    /// What it sends, if it does.
    pub sender: Option<Sender<T::Frame>>,
    /// What looks at the frames that it receives, if any are to come.
    pub analyser: Option<Analyser>,
    received: Vec<T::Frame>,
    aside: Vec<T::Frame>,
    scratch: Vec<u8>,
    /// Frames that are not of the trial.
    sent_aside: u64,
}

impl<F, T, R, P> Port<T, R, P>
where
    F: Frame,
    T: TxQueue<Frame = F>,
    R: RxQueue<Frame = F>,
    P: FramePool<Frame = F>,
{
    /// A port that neither sends nor receives yet.
    pub fn new(tx: T, rx: R, pool: P, station: Station) -> Self {
        Port {
            tx,
            rx,
            pool,
            station,
            sender: None,
            analyser: None,
            received: Vec::with_capacity(BURST),
            aside: Vec::with_capacity(1),
            scratch: vec![0; MAX_SIZE],
            sent_aside: 0,
        }
    }

    /// Sends what is due at `now`; gives whether it sent anything.
    #[inline]
    pub fn poll_send(&mut self, now: Instant) -> bool {
        self.sender.as_mut().is_some_and(|sender| sender.poll(now, &mut self.tx, &mut self.pool))
    }

    /// Receives a burst, of which `clock` says when it came; gives whether there was any.
    #[inline]
    pub fn poll_receive(&mut self, clock: impl Fn() -> Instant) -> bool {
        if self.rx.rx_burst(&mut self.received, BURST) == 0 {
            return false;
        }
        let now = clock();
        for at in 0..self.received.len() {
            self.handle(at, now);
        }
        F::free_bulk(&mut self.received);
        true
    }

    #[inline]
    fn handle(&mut self, at: usize, now: Instant) {
        let frame = &self.received[at];
        let bytes = if frame.segments() == 1 {
            frame.data()
        } else {
            let len = frame.copy_out(0, &mut self.scratch);
            &self.scratch[..len]
        };
        if self.analyser.as_mut().is_some_and(|analyser| analyser.handle(bytes, now)) {
            return;
        }
        if let Some(reply) = self.station.handle(bytes) {
            self.send_aside(&reply);
        }
    }

    /// Asks for a router's Ethernet address; [`Station::found`] has the answer when it came.
    pub fn ask(&mut self, router: Ipv4Addr) {
        let request = self.station.ask(router);
        self.send_aside(&request);
    }

    /// Sends its frames to another station from now on.
    pub fn set_destination(&mut self, mac: MacAddr) {
        if let Some(sender) = &mut self.sender {
            sender.source().set_destination(mac);
        }
    }

    /// Sends a frame that is not of the stream. Like any, it is lost if the device has no room.
    fn send_aside(&mut self, bytes: &[u8]) {
        let Some(mut frame) = self.pool.alloc() else { return };
        let Ok(room) = frame.append(bytes.len()) else { return };
        room.copy_from_slice(bytes);
        self.aside.push(frame);
        self.sent_aside += self.tx.tx_burst(&mut self.aside) as u64;
        F::free_bulk(&mut self.aside);
    }

    /// Frames that it sent, ever, which were not of a stream: ARP.
    pub fn sent_aside(&self) -> u64 {
        self.sent_aside
    }
}
