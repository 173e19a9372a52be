//! Sluice as a library: programs on its own TCP and UDP, in a process of their own.
//!
//! Ten lines are an echo server, as a task for each connection:
//!
//! ```no_run
//! # use std::{io, process::ExitCode};
//! use sluice::{Net, TcpListener};
//!
//! fn main() -> ExitCode {
//!     sluice::main(|worker| vec![worker.tasks(echo)])
//! }
//!
//! async fn echo(net: Net) -> io::Result<()> {
//!     let listener = TcpListener::bind(&net, sluice::any(7)).await?;
//!     loop {
//!         let stream = listener.accept().await?;
//!         net.spawn_local(async move {
//!             while let Some(bytes) = stream.recv().await? {
//!                 stream.send(bytes).await?;
//!             }
//!             io::Result::Ok(())
//!         })?;
//!     }
//! }
//! ```
//!
//! Each worker has an instance of each program on a core of its own, and the connections whose flows it owns.
//! [`Worker::tasks`] makes a program of tasks ([`engine::net`]); what is not one implements [`App`]: it is told of
//! events, and acts by [`Sockets`]. [`main`] takes device and address from the command line,
//! [`run_with`] any configuration. The `examples` folder has more: hyper, TLS, UDP, state that a core keeps.
//!
//! The names here are those of [`engine`] for DPDK's frames, [`Mbuf`].
#![forbid(unsafe_code)]

mod bench;
mod check;
pub mod cli;
mod device;
mod doctor;
mod load;
mod place;
mod port;
mod ports;
mod router;
mod run;
mod serve;
mod show;
mod table;

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;

pub use config::Config;
pub use engine::app::{App, Content, Event, Produce, Pulled, StartError};
pub use engine::net::{Elapsed, JoinHandle, LookupError};
pub use place::main;
pub use pmd::Mbuf;
pub use run::{Worker, run, run_with};
pub use tcp::connection::News;
pub use tcp::shard::{ConnectionId, ListenerId, Received, SendError};
pub use wire::{Instant, Payload};

/// What a program asks of its worker's TCP and UDP.
pub type Sockets<'a> = engine::app::Sockets<'a, Mbuf>;
/// A worker's network, for the tasks on it.
pub type Net = engine::net::Net<Mbuf>;
/// Listens for connections.
pub type TcpListener = engine::net::TcpListener<Mbuf>;
/// A TCP connection.
pub type TcpStream = engine::net::TcpStream<Mbuf>;
/// A UDP socket.
pub type UdpSocket = engine::net::UdpSocket<Mbuf>;
/// Bytes that were received.
pub type RxBuf = engine::net::RxBuf<Mbuf>;
/// A connection with tokio's traits, for crates that want those: it copies.
pub type Copying = engine::net::Copying<Mbuf>;
/// A buffer to be filled and sent.
pub type TxBuf = engine::app::TxBuf<Mbuf>;
/// Looks names of hosts up.
pub type Resolver = engine::net::Resolver<Mbuf>;

/// All our addresses, at `port`.
pub const fn any(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)
}

/// Prints to standard output. Whoever closes the pipe early has read enough; that is no failure.
fn print(text: &str) -> Result<(), String> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
        _ => Ok(()),
    }
}

/// Prints one error, and gives the exit code of failure.
fn fail(what: impl std::fmt::Display) -> ExitCode {
    eprintln!("sluice: {what}");
    ExitCode::FAILURE
}
