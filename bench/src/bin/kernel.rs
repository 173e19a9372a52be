//! The Linux kernel's TCP as a peer: an epoll echo server, and a client that measures one.
//!
//! ```text
//! kernel serve 10.0.0.1:7
//! kernel echo 10.0.0.1:7 --connections 64 --seconds 2
//! ```

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

type Error = Box<dyn std::error::Error>;

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Sends back what comes, until it is killed: one thread, and epoll.
    Serve { address: SocketAddrV4 },
    /// Sends a message on each connection, again as soon as it is back. Prints exchanges a second, and the
    /// 50th, 99th and 99.9th percentile of an exchange in microseconds.
    Echo {
        address: SocketAddrV4,
        /// Connections, each with one message under way. With one, the client never sleeps.
        #[arg(long, default_value_t = 1)]
        connections: usize,
        /// How long is measured.
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
    },
}

/// Bytes of a message.
const MESSAGE: usize = 64;
/// Not measured, at the start.
const WARM_UP: Duration = Duration::from_millis(200);
/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> Result<(), Error> {
    match Options::parse().what {
        What::Serve { address } => serve(address),
        What::Echo { address, connections, seconds } => {
            let times = echo(address, connections.max(1), Duration::from_secs_f64(seconds))?;
            let micros = |quantile| times.value_at_quantile(quantile) as f64 / 1000.0;
            let rate = times.len() as f64 / seconds;
            println!("{rate:.0} {:.2} {:.2} {:.2}", micros(0.5), micros(0.99), micros(0.999));
            Ok(())
        }
    }
}

fn serve(address: SocketAddrV4) -> Result<(), Error> {
    const LISTENER: u64 = u64::MAX;
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut streams: Vec<Option<TcpStream>> = Vec::new();
    let (mut events, mut buffer) = (Vec::with_capacity(256), vec![0; 64 << 10]);
    loop {
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), None)?;
        for event in &events {
            let id = event.data.u64();
            if id == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    epoll::add(&poll, &stream, EventData::new_u64(streams.len() as u64), EventFlags::IN)?;
                    streams.push(Some(stream));
                }
                continue;
            }
            let Some(place) = streams.get_mut(id as usize) else { continue };
            let Some(stream) = place else { continue };
            match stream.read(&mut buffer) {
                Ok(count @ 1..) if stream.write_all(&buffer[..count]).is_ok() => {}
                // Closed, or broken: the descriptor leaves the poll with it.
                _ => *place = None,
            }
        }
    }
}

/// The times of all exchanges that ended within `time`, in nanoseconds.
fn echo(address: SocketAddrV4, connections: usize, time: Duration) -> Result<Histogram<u64>, Error> {
    let mut streams = (0..connections).map(|_| connect(address)).collect::<Result<Vec<_>, _>>()?;
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    for (id, stream) in streams.iter().enumerate() {
        epoll::add(&poll, stream, EventData::new_u64(id as u64), EventFlags::IN)?;
    }
    let mut times = Histogram::new(3)?;
    let begin = Instant::now() + WARM_UP;
    let mut sent = vec![Instant::now(); connections];
    for (stream, sent) in streams.iter_mut().zip(&mut sent) {
        *sent = Instant::now();
        stream.write_all(&[0x55; MESSAGE])?;
    }
    let mut events = Vec::with_capacity(connections);
    loop {
        events.clear();
        if connections > 1 {
            epoll::wait(&poll, spare_capacity(&mut events), Some(&PATIENCE.try_into()?))?;
        }
        let ready: Vec<usize> = match connections {
            1 => vec![0],
            _ => events.iter().map(|event: &epoll::Event| event.data.u64() as usize).collect(),
        };
        if ready.is_empty() {
            return Err("the server has stopped answering".into());
        }
        for id in ready {
            finish(&mut streams[id])?;
            let now = Instant::now();
            if now >= begin + time {
                return Ok(times);
            }
            if now >= begin {
                times.record((now - sent[id]).as_nanos() as u64)?;
            }
            sent[id] = now;
            streams[id].write_all(&[0x55; MESSAGE])?;
        }
    }
}

fn connect(address: SocketAddrV4) -> Result<TcpStream, Error> {
    let stream = TcpStream::connect_timeout(&address.into(), PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Reads a message to its end, without sleeping.
fn finish(stream: &mut TcpStream) -> Result<(), Error> {
    let (mut buffer, mut count) = ([0; MESSAGE], 0);
    let start = Instant::now();
    while count < MESSAGE {
        match stream.read(&mut buffer[count..]) {
            Ok(0) => return Err("the server has closed".into()),
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if start.elapsed() > PATIENCE {
                    return Err("the server has stopped answering".into());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
