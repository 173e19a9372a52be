//! An echo server by events: the interface below the tasks, without any of its own.

use std::process::ExitCode;

use sluice::{App, Event, Mbuf, News, Payload, Received, SendError, Sockets, StartError};

fn main() -> ExitCode {
    sluice::main(|_| vec![Box::new(Echo)])
}

struct Echo;

impl App<Mbuf> for Echo {
    fn start(&mut self, sockets: &mut Sockets) -> Result<(), StartError> {
        sockets.listen(sluice::any(7), 1024).map(drop).map_err(|error| StartError(format!("{error:?}")))
    }

    fn handle_events(&mut self, sockets: &mut Sockets, events: &[Event]) {
        for event in events {
            let Event::Connection(id, news) = *event else { continue };
            if news.has(News::CLOSED) {
                sockets.close(id);
                continue;
            }
            loop {
                let bytes = match sockets.receive(id) {
                    Received::Bytes(bytes) => bytes,
                    Received::Nothing => break,
                    Received::End | Received::Closed(_) => break sockets.close(id),
                };
                let len = bytes.len() as u32;
                match sockets.send(id, bytes) {
                    Ok(()) => sockets.credit(id, 1, len),
                    // This one keeps nothing: a peer that sends more than it reads is cut off.
                    Err(SendError::Full(_) | SendError::Closed(_)) => break sockets.abort(id),
                }
            }
        }
    }
}
