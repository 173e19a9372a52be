//! Discard: what is received is dropped, by TCP and UDP (RFC 863). Something to measure bulk sending by.

use std::net::SocketAddrV4;

use tcp::connection::News;
use tcp::shard::Received;
use wire::Frame;

use super::{App, Event, Sockets, StartError};

/// Connections that may wait for this worker to look.
const BACKLOG: u32 = 1024;

/// A discard server at one address.
pub struct Discard {
    address: SocketAddrV4,
}

impl Discard {
    /// A server at `address`; the unspecified one stands for all of ours.
    pub fn new(address: SocketAddrV4) -> Self {
        Discard { address }
    }
}

impl<F: Frame> App<F> for Discard {
    fn start(&mut self, sockets: &mut Sockets<'_, F>) -> Result<(), StartError> {
        let address = self.address;
        sockets.listen(address, BACKLOG).map_err(|error| StartError(format!("tcp {address}: {error:?}")))?;
        sockets.bind(address).map_err(|error| StartError(format!("udp {address}: {error}")))?;
        Ok(())
    }

    fn handle_events(&mut self, sockets: &mut Sockets<'_, F>, events: &[Event]) {
        for event in events {
            match *event {
                Event::Accepted(_, id) => sockets.set_keepalive(id, true),
                Event::Connection(id, news) if news.has(News::CLOSED) => sockets.close(id),
                Event::Connection(id, _) => match sockets.drop_received(id) {
                    Received::End | Received::Closed(_) => sockets.close(id),
                    Received::Nothing | Received::Bytes(_) => {}
                },
                Event::Datagrams(id) => while let Ok(Some(_)) = sockets.recv_from(id) {},
            }
        }
    }
}
