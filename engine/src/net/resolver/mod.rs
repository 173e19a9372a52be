//! Names of hosts: a stub resolver (RFC 1034 section 5.3.1) over UDP, and TCP for what is too long for that.

mod message;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::time::Duration;

use wire::{Frame, Instant, Payload};

use super::{Net, TcpStream, UdpSocket};
use crate::chance::Chance;
use message::Reply;

/// How often each server is asked.
const ATTEMPTS: u32 = 3;
/// How long a server has for its first answer; twice as long each time after that.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Names that a name may lead to, one after another.
const MOST_ALIASES: usize = 8;
/// Names that are kept.
const MOST_KEPT: usize = 1024;
/// How long they are kept at most, seconds (RFC 8767 section 4 has a week as the most).
const KEPT_FOR: u32 = 86_400;
/// The port of DNS.
pub const DNS_PORT: u16 = 53;

/// Looks names up, and keeps what it has found as long as that is good.
pub struct Resolver<F: Frame> {
    net: Net<F>,
    servers: Box<[SocketAddrV4]>,
    chance: RefCell<Chance>,
    kept: RefCell<HashMap<String, Kept>>,
}

/// Addresses, and how long they are good.
struct Kept {
    addresses: Rc<[Ipv4Addr]>,
    until: Instant,
}

/// Why a name leads to no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LookupError {
    /// It is not what a host may be called.
    #[error("it is no host's name")]
    BadName,
    /// NXDOMAIN.
    #[error("there is no such name")]
    NoSuchName,
    /// The name exists.
    #[error("the name has no IPv4 address")]
    NoAddress,
    /// An alias of an alias, and so on.
    #[error("the name leads to too many other names, or in a circle")]
    TooManyAliases,
    /// None was given, or none is reachable.
    #[error("there is no DNS server to ask")]
    NoServer,
    /// Nothing came back, however often they were asked.
    #[error("no DNS server answers")]
    TimedOut,
    /// SERVFAIL, REFUSED and the like.
    #[error("the DNS server cannot or does not want to say")]
    Failed,
    /// What came back is no DNS message.
    #[error("the DNS server's answer is malformed")]
    Malformed,
}

impl<F: Frame> Resolver<F> {
    /// Asks `servers`, in this order. `seed` is secret: from it come the ids of questions.
    pub fn new(net: &Net<F>, servers: impl Into<Box<[SocketAddrV4]>>, seed: u64) -> Self {
        let (servers, chance) = (servers.into(), RefCell::new(Chance::new(seed, 0)));
        Resolver { net: net.clone(), servers, chance, kept: RefCell::default() }
    }

    /// The IPv4 addresses of a host; at least one. Names are absolute: nothing is appended.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn lookup(&self, name: &str) -> Result<Rc<[Ipv4Addr]>, LookupError> {
        let name = message::canonical(name).ok_or(LookupError::BadName)?;
        if let Some(kept) = self.kept.borrow().get(&name).filter(|kept| self.net.now() < kept.until) {
            return Ok(kept.addresses.clone());
        }
        let (mut at, mut ttl) = (name.clone(), KEPT_FOR);
        for _ in 0..=MOST_ALIASES {
            match self.ask(&at).await? {
                Reply::Addresses(addresses, of) => return Ok(self.keep(name, addresses.into(), ttl.min(of))),
                Reply::Alias(to, of) => (at, ttl) = (to, ttl.min(of)),
                _ => return Err(LookupError::Malformed),
            }
        }
        Err(LookupError::TooManyAliases)
    }

    fn keep(&self, name: String, addresses: Rc<[Ipv4Addr]>, seconds: u32) -> Rc<[Ipv4Addr]> {
        let (now, mut kept) = (self.net.now(), self.kept.borrow_mut());
        if kept.len() >= MOST_KEPT {
            kept.retain(|_, kept| now < kept.until);
        }
        if seconds > 0 && kept.len() < MOST_KEPT {
            let until = now + Duration::from_secs(seconds.into());
            kept.insert(name, Kept { addresses: addresses.clone(), until });
        }
        addresses
    }

    /// Asks one server after another, until one has an answer.
    async fn ask(&self, name: &str) -> Result<Reply, LookupError> {
        let mut error = LookupError::NoServer;
        for attempt in 0..ATTEMPTS {
            for server in &self.servers {
                let wait = FIRST_WAIT * 2_u32.pow(attempt);
                error = match self.net.timeout(wait, self.ask_server(*server, name)).await {
                    Ok(Ok(Reply::NoSuchName)) => return Err(LookupError::NoSuchName),
                    Ok(Ok(Reply::NoAddress)) => return Err(LookupError::NoAddress),
                    Ok(Ok(Reply::Failed) | Err(_)) => LookupError::Failed,
                    Ok(Ok(Reply::Malformed | Reply::Truncated)) => LookupError::Malformed,
                    Ok(Ok(reply)) => return Ok(reply),
                    // Somebody else may have said more.
                    Err(_) if error != LookupError::NoServer => error,
                    Err(_) => LookupError::TimedOut,
                };
            }
        }
        Err(error)
    }

    async fn ask_server(&self, server: SocketAddrV4, name: &str) -> io::Result<Reply> {
        //= RFC 5452 section 9.2: ids and ports that cannot be guessed, new ones for each question.
        let id = self.chance.borrow_mut().next() as u16;
        let question = message::question(id, name).ok_or(ErrorKind::InvalidInput)?;
        let reply = self.ask_by_udp(server, &question, id, name).await?;
        if reply != Reply::Truncated {
            return Ok(reply);
        }
        //= RFC 7766 section 5: what is truncated is asked for again over TCP.
        let bytes = self.ask_by_tcp(server, &question).await?;
        Ok(message::read(&bytes, id, name).unwrap_or(Reply::Malformed))
    }

    async fn ask_by_udp(
        &self,
        server: SocketAddrV4,
        question: &[u8],
        id: u16,
        name: &str,
    ) -> io::Result<Reply> {
        let socket = UdpSocket::bind_towards(&self.net, server).await?;
        let mut buffer = self.net.alloc().await;
        buffer.write_all(question)?;
        socket.send_to(buffer.freeze(), server, None).await?;
        loop {
            let datagram = socket.recv_from().await?;
            let mut bytes = vec![0; datagram.payload.len()];
            datagram.payload.copy_out(0, &mut bytes);
            //= RFC 5452 section 9.1: only what comes from where the question went to is an answer.
            if let Some(reply) = message::read(&bytes, id, name).filter(|_| datagram.source == server) {
                return Ok(reply);
            }
        }
    }

    //= RFC 1035 section 4.2.2: over TCP a message has its length before it.
    async fn ask_by_tcp(&self, server: SocketAddrV4, question: &[u8]) -> io::Result<Vec<u8>> {
        let stream = TcpStream::connect(&self.net, server).await?;
        let mut buffer = self.net.alloc().await;
        buffer.write_all(&(question.len() as u16).to_be_bytes())?;
        buffer.write_all(question)?;
        stream.send(buffer).await?;
        let mut bytes = Vec::new();
        while let Some(more) = stream.recv().await? {
            let begin = bytes.len();
            bytes.resize(begin + more.len(), 0);
            more.copy_out(0, &mut bytes[begin..]);
            if let Some((length, message)) = bytes.split_first_chunk::<2>()
                && let Some(message) = message.get(..usize::from(u16::from_be_bytes(*length)))
            {
                return Ok(message.to_vec());
            }
        }
        Err(ErrorKind::UnexpectedEof.into())
    }
}
