//! Character generator: characters without end, by TCP (RFC 864). Something to measure bulk receiving by: they
//! are made in the frames as they are sent.
//!
//! Not by UDP: answers that are larger than what asks for them are used to flood others.

use std::net::SocketAddrV4;
use std::sync::Arc;

use tcp::connection::News;
use tcp::shard::{ConnectionId, SendError};
use tcp::{Produce, Pulled};
use wire::Frame;

use super::{App, Event, Sockets, StartError};

/// Connections that may wait for this worker to look.
const BACKLOG: u32 = 1024;
/// Characters that can be printed, from the space on.
const CHARACTERS: usize = 95;
/// A line: 72 characters and its end.
const LINE: usize = 72 + 2;
/// After so many lines they come again.
const PERIOD: usize = CHARACTERS * LINE;

/// A character generator at one address.
pub struct Chargen {
    address: SocketAddrV4,
    lines: Arc<Lines>,
}

/// What is sent, again and again.
struct Lines([u8; PERIOD]);

impl Lines {
    /// A line begins with the character after the one that the last began with.
    fn new() -> Self {
        let character = |at: usize| match (at / LINE, at % LINE) {
            (_, 72) => b'\r',
            (_, 73) => b'\n',
            (line, column) => b' ' + ((line + column) % CHARACTERS) as u8,
        };
        Lines(std::array::from_fn(character))
    }
}

impl Produce for Lines {
    fn fill(&self, offset: u64, out: &mut [u8]) {
        let mut start = (offset % PERIOD as u64) as usize;
        let mut out = out;
        while !out.is_empty() {
            let (now, rest) = out.split_at_mut(out.len().min(PERIOD - start));
            now.copy_from_slice(&self.0[start..start + now.len()]);
            (start, out) = (0, rest);
        }
    }
}

impl Chargen {
    /// A server at `address`; the unspecified one stands for all of ours.
    pub fn new(address: SocketAddrV4) -> Self {
        Chargen { address, lines: Arc::new(Lines::new()) }
    }

    /// Queues as much as there is room for. The connection's token is where in the lines it stands.
    fn pump<F: Frame>(&self, sockets: &mut Sockets<'_, F>, id: ConnectionId) {
        let start = u64::from(sockets.token(id));
        let endless = Pulled::new(self.lines.clone(), start..u64::MAX);
        // The end would be reached after centuries; one that is closed is about to be told of.
        if let Err(SendError::Full(rest)) = sockets.send(id, endless) {
            let next = u64::MAX - rest.len();
            sockets.set_token(id, (next % PERIOD as u64) as u32);
        }
    }
}

impl<F: Frame> App<F> for Chargen {
    fn start(&mut self, sockets: &mut Sockets<'_, F>) -> Result<(), StartError> {
        let address = self.address;
        sockets.listen(address, BACKLOG).map_err(|error| StartError(format!("tcp {address}: {error:?}")))?;
        Ok(())
    }

    fn handle_events(&mut self, sockets: &mut Sockets<'_, F>, events: &[Event]) {
        for event in events {
            match *event {
                Event::Accepted(_, id) => self.pump(sockets, id),
                Event::Connection(id, news) if news.has(News::CLOSED) => sockets.close(id),
                Event::Connection(id, news) => {
                    //= RFC 864: what is received is thrown away, and the user ends the connection.
                    drop(sockets.drop_received(id));
                    if news.has(News::WRITABLE) {
                        self.pump(sockets, id);
                    }
                }
                Event::Datagrams(_) => {}
            }
        }
    }

    /// There is no end that could be waited for.
    fn stop_connection(&mut self, sockets: &mut Sockets<'_, F>, id: ConnectionId) {
        sockets.abort(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let lines = Lines::new();
        let mut all = vec![0; 3 * PERIOD];
        lines.fill(5 * PERIOD as u64, &mut all);
        let text = String::from_utf8(all.clone()).unwrap();
        let line = |at: usize| text.split("\r\n").nth(at).unwrap();
        assert_eq!(line(0), &(' '..='g').collect::<String>());
        assert_eq!(line(1), &('!'..='h').collect::<String>());
        assert!(line(94).starts_with("~ !") && line(95) == line(0));
        assert!(text.split_terminator("\r\n").all(|line| line.len() == 72));
        // Whatever is asked for, it is the same.
        for (start, len) in [(0, 1), (7029, 2), (7030, 7030), (123, 1448), (1, 9000)] {
            let mut part = vec![0; len];
            lines.fill(start as u64, &mut part);
            assert!(part == all[start..start + len], "{start} {len}");
        }
    }
}
