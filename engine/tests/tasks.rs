//! Programs as tasks on whole workers, in virtual time, with a TCP host at the far end of a port.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

mod common;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use common::peer::{Peer, has_flags};
use common::{two_ports, udp_frame};
use engine::host::Gauge;
use engine::net::{Aborted, Copying, Elapsed, Executor, Net, TcpListener, TcpStream, UdpSocket};
use l2l3::forward::Isa;
use sim::SimFrame;
use sim::dissect::Body;
use tcp::connection::{Error, State};
use tcp::shard::{ConnectionId, Received};
use wire::{Payload, TcpFlags};

const LAN: usize = 0;
const A: [u8; 4] = [10, 0, 1, 10];
const US: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const HERE: SocketAddrV4 = SocketAddrV4::new(US, 7);
const PEER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, 10), 700);
/// A service, or there would be room for none.
const SERVICE: &str = "[[service]]\nkind = \"echo\"\nport = 9\n";

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

/// A worker that runs `main`, with room for so many tasks, and a host.
fn world_of<M>(tasks: usize, more: &str, main: impl FnOnce(Net<SimFrame>) -> M + Clone + 'static) -> World
where
    M: Future<Output = io::Result<()>> + 'static,
{
    let text = two_ports("[0]", &format!("{SERVICE}{more}"));
    let mut net =
        common::Net::with_apps(&text, Isa::detect(), || vec![Box::new(Executor::new(tasks, main.clone()))]);
    let mut peer = Peer::new(&mut net, LAN, 10, A, tcp::Config::default());
    peer.settle(&mut net);
    World { net, peer }
}

fn world<M>(main: impl FnOnce(Net<SimFrame>) -> M + Clone + 'static) -> World
where
    M: Future<Output = io::Result<()>> + 'static,
{
    world_of(100, "", main)
}

struct World {
    net: common::Net,
    peer: Peer,
}

impl World {
    fn connected(&mut self) -> ConnectionId {
        let id = self.peer.connect(self.net.now(), HERE);
        self.peer.settle(&mut self.net);
        assert!(self.peer.shard.info(id).unwrap().state.is_synchronized());
        id
    }

    fn give(&mut self, id: ConnectionId, bytes: &[u8]) -> usize {
        let given = self.peer.give(self.net.now(), id, bytes);
        self.peer.settle(&mut self.net);
        given
    }

    /// What the peer has received, and what came after it.
    fn take(&mut self, id: ConnectionId) -> (Vec<u8>, Received<()>) {
        let (bytes, end) = self.peer.take(self.net.now(), id);
        let end = match end {
            Received::Bytes(_) => Received::Bytes(()),
            Received::Nothing => Received::Nothing,
            Received::End => Received::End,
            Received::Closed(error) => Received::Closed(error),
        };
        (bytes, end)
    }

    fn pass(&mut self, time: Duration) {
        self.peer.pass(&mut self.net, time);
    }

    fn gauge(&self, gauge: Gauge) -> u64 {
        self.net.workers[0].host_counters().gauge(gauge)
    }

    /// At the end nothing is held for a connection any more, and no frame is lost.
    fn finish(mut self) {
        self.pass(Duration::from_secs(1));
        for kind in [Gauge::Connections, Gauge::HalfOpen, Gauge::Unacknowledged, Gauge::Unread] {
            assert_eq!(self.gauge(kind), 0, "{kind:?}");
        }
        self.net.finish();
        drop(self.peer.shard);
        assert!(self.peer.pool.is_full());
    }
}

/// What tasks tell the test.
type Told<T> = Rc<RefCell<Vec<T>>>;

async fn echo(net: Net<SimFrame>) -> io::Result<()> {
    let listener = TcpListener::bind(&net, HERE).await?;
    loop {
        let stream = listener.accept().await?;
        net.spawn_local(async move {
            while let Some(bytes) = stream.recv().await? {
                stream.send(bytes).await?;
            }
            io::Result::Ok(())
        })?;
    }
}

#[test]
fn what_is_sent_comes_back_whatever_is_lost() {
    let mut world = world(echo);
    for (lost_of, len) in [(0, 1), (0, 3_000_000), (101, 500_000), (10, 200_000)] {
        let (id, data) = (world.connected(), pattern(len));
        world.peer.lost_of = lost_of;
        let (mut given, mut back) = (0, vec![]);
        for _ in 0..200_000 {
            given += world.give(id, &data[given..]);
            world.net.clock.advance(Duration::from_micros(100));
            world.peer.settle(&mut world.net);
            world.net.take_sent();
            back.extend(world.take(id).0);
            if back.len() >= data.len() {
                break;
            }
        }
        assert!(back == data, "{} of {len} bytes came back", back.len());
        world.peer.lost_of = 0;
        world.peer.shard.shutdown(world.net.now(), id);
        world.pass(ms(50));
        assert!(matches!(world.take(id), (rest, Received::End) if rest.is_empty()));
        world.peer.shard.close(world.net.now(), id);
        world.pass(ms(50));
    }
    assert_eq!(world.net.workers[0].host_counters().copied.get(), 0, "no byte is copied");
    world.finish();
}

#[test]
fn sleepers_wake_in_order_and_never_early() {
    let told = Told::default();
    let tell = told.clone();
    let mut world = world(|net: Net<SimFrame>| async move {
        for time in [30, 10, 2000, 20, 0, 25] {
            let (inner, tell) = (net.clone(), tell.clone());
            net.spawn_local(async move {
                let start = inner.now();
                inner.sleep(ms(time)).await;
                let slept = inner.now().since(start);
                assert!(slept >= ms(time) && slept < ms(time + 1), "{time}: {slept:?}");
                tell.borrow_mut().push(time);
            })?;
        }
        Ok(())
    });
    world.net.pass(ms(100));
    assert_eq!(*told.borrow(), [0, 10, 20, 25, 30]);
    world.net.pass(ms(2000));
    assert_eq!(told.borrow().last(), Some(&2000));
    world.finish();
}

#[test]
fn sleepers_past_the_bound_sleep_too() {
    let told = Rc::new(Cell::new(0));
    let tell = told.clone();
    let mut world = world_of(4, "", |net: Net<SimFrame>| async move {
        let mut sleeps: Vec<_> = (0..9).map(|n| Box::pin(net.sleep(ms(n)))).collect();
        for sleep in &mut sleeps {
            // All are started before the first is over.
            poll_fn(|cx| Poll::Ready(_ = sleep.as_mut().poll(cx))).await;
        }
        for sleep in sleeps {
            sleep.await;
            tell.set(tell.get() + 1);
        }
        Ok(())
    });
    world.peer.pass(&mut world.net, ms(20));
    assert_eq!(told.get(), 9);
    world.finish();
}

#[test]
fn ten_thousand_tasks() {
    let told = Told::default();
    let tell = told.clone();
    let mut world = world_of(10_001, "", |net: Net<SimFrame>| async move {
        for n in 0..10_000_u64 {
            let (inner, tell) = (net.clone(), tell.clone());
            net.spawn_local(async move {
                inner.sleep(ms(1 + n % 50)).await;
                tell.borrow_mut().push(n);
            })?;
        }
        let refused = net.spawn_local(async {}).map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::QuotaExceeded);
        Ok(())
    });
    world.net.pass(ms(60));
    let mut all = told.take();
    assert!(all.is_sorted_by_key(|n| n % 50));
    all.sort_unstable();
    assert!(all.into_iter().eq(0..10_000));
    world.finish();
}

#[test]
fn the_end_of_a_task() {
    let mut world = world(|net: Net<SimFrame>| async move {
        let value = net.spawn_local(async { 7 })?;
        assert_eq!(value.await, Ok(7));
        let inner = net.clone();
        let guard = Rc::new(());
        let held = guard.clone();
        let sleeper = net.spawn_local(async move {
            inner.sleep(Duration::from_secs(1000)).await;
            drop(held);
        })?;
        net.sleep(ms(1)).await;
        assert!(!sleeper.is_finished());
        sleeper.abort();
        assert!(sleeper.is_finished() && Rc::strong_count(&guard) == 1, "it is dropped at once");
        assert_eq!(sleeper.await, Err(Aborted));
        // One that aborts itself ends where it waits next.
        let own = Rc::new(RefCell::new(None));
        let (inner, mine) = (net.clone(), own.clone());
        *own.borrow_mut() = Some(net.spawn_local(async move {
            let handle = mine.take();
            if let Some(handle) = &handle {
                engine::net::JoinHandle::abort(handle);
            }
            mine.replace(handle);
            inner.sleep(ms(1)).await;
            panic!("it goes on");
        })?);
        net.sleep(ms(5)).await;
        let handle = own.take().unwrap();
        assert_eq!(handle.await.map(|()| 0), Err(Aborted));
        Ok(())
    });
    world.net.pass(ms(20));
    world.finish();
}

#[test]
fn another_thread_may_wake_a_task() {
    let place = Arc::<Mutex<Option<Waker>>>::default();
    let done = Arc::new(AtomicBool::new(false));
    let told = Rc::new(Cell::new(false));
    let (in_place, is_done, tell) = (place.clone(), done.clone(), told.clone());
    let mut world = world(|_: Net<SimFrame>| async move {
        poll_fn(|cx| {
            *in_place.lock().unwrap() = Some(cx.waker().clone());
            if is_done.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        tell.set(true);
        Ok(())
    });
    assert!(!told.get());
    std::thread::spawn(move || {
        done.store(true, Ordering::Release);
        place.lock().unwrap().take().unwrap().wake();
    })
    .join()
    .unwrap();
    world.net.step();
    assert!(told.get());
    world.finish();
}

#[test]
fn of_a_dropped_future_nothing_is_lost() {
    let told = Told::default();
    let tell = told.clone();
    let mut world = world(|net: Net<SimFrame>| async move {
        let listener = TcpListener::bind(&net, HERE).await?;
        let stream = loop {
            if let Ok(stream) = net.timeout(ms(3), listener.accept()).await {
                break stream?;
            }
        };
        let mut in_vain = 0;
        loop {
            match net.timeout(ms(1), stream.recv()).await {
                Ok(bytes) => match bytes? {
                    Some(bytes) => tell.borrow_mut().extend_from_slice(bytes.chunk(0)),
                    None => break,
                },
                Err(Elapsed) => in_vain += 1,
            }
            // A future that is dropped before it was polled, and after.
            drop(stream.recv());
            let mut polled = pin!(stream.recv());
            if let Poll::Ready(Ok(Some(bytes))) = poll_fn(|cx| Poll::Ready(polled.as_mut().poll(cx))).await {
                tell.borrow_mut().extend_from_slice(bytes.chunk(0));
            }
        }
        assert!(in_vain > 20, "{in_vain}");
        Ok(())
    });
    let (id, data) = (world.connected(), pattern(100_000));
    for part in data.chunks(2000) {
        world.give(id, part);
        world.pass(ms(5));
    }
    world.peer.shard.close(world.net.now(), id);
    world.pass(ms(50));
    assert!(*told.borrow() == data, "{} bytes", told.borrow().len());
    world.finish();
}

/// Accepts one connection, and gives it to `then`.
fn serve_one<M>(then: impl FnOnce(Net<SimFrame>, TcpStream<SimFrame>) -> M + Clone + 'static) -> World
where
    M: Future<Output = io::Result<()>> + 'static,
{
    world_of(100, "[limits]\ntcp_payloads = 512\n", |net: Net<SimFrame>| async move {
        let listener = TcpListener::bind(&net, HERE).await?;
        let stream = listener.accept().await?;
        then(net, stream).await
    })
}

#[test]
fn dropping_a_stream_closes_it() {
    // What the task reads, and how it ends for the peer that sent three bytes.
    for (reads, end) in [(true, Received::End), (false, Received::Closed(Some(Error::Reset)))] {
        let mut world = serve_one(move |net, stream| async move {
            net.sleep(ms(10)).await;
            if reads {
                let bytes = stream.recv().await?.unwrap();
                // It may outlive its connection.
                drop(stream);
                net.sleep(ms(100)).await;
                assert_eq!(bytes.chunk(0), b"abc");
            }
            Ok(())
        });
        let id = world.connected();
        world.give(id, b"abc");
        world.pass(ms(50));
        assert_eq!(world.take(id).1, end);
        world.peer.shard.close(world.net.now(), id);
        world.pass(ms(200));
        world.finish();
    }
}

#[test]
fn an_aborted_stream_is_reset_and_a_closed_one_waits_for_the_peer() {
    let mut world = serve_one(|net, stream| async move {
        net.sleep(ms(10)).await;
        stream.abort();
        Ok(())
    });
    let id = world.connected();
    world.pass(ms(20));
    assert_eq!(world.take(id).1, Received::Closed(Some(Error::Reset)));
    world.peer.shard.close(world.net.now(), id);
    world.finish();

    let told = Rc::new(Cell::new(false));
    let tell = told.clone();
    let mut world = serve_one(|_, stream| async move {
        stream.close().await?;
        tell.set(true);
        Ok(())
    });
    let id = world.connected();
    assert_eq!(world.take(id).1, Received::End);
    world.give(id, b"it reads what comes, and does not reset");
    world.pass(ms(50));
    assert!(!told.get());
    assert_eq!(world.peer.shard.error(id), None);
    world.peer.shard.close(world.net.now(), id);
    world.pass(ms(50));
    assert!(told.get());
    world.finish();
}

#[test]
fn a_half_closed_connection_goes_on() {
    let told = Told::default();
    let tell = told.clone();
    let mut world = serve_one(|_, stream| async move {
        stream.shutdown();
        let refused = stream.poll_ready(&mut std::task::Context::from_waker(Waker::noop()));
        assert!(matches!(refused, Poll::Ready(Err(error)) if error.kind() == ErrorKind::BrokenPipe));
        while let Some(bytes) = stream.recv().await? {
            tell.borrow_mut().extend_from_slice(bytes.chunk(0));
        }
        Ok(())
    });
    let (id, data) = (world.connected(), pattern(300_000));
    assert_eq!(world.take(id).1, Received::End);
    let mut given = 0;
    while given < data.len() {
        given += world.give(id, &data[given..]);
        world.pass(ms(5));
    }
    world.peer.shard.close(world.net.now(), id);
    world.pass(ms(50));
    assert!(*told.borrow() == data);
    world.finish();
}

#[test]
fn a_task_that_does_not_read_holds_the_sender_back() {
    let told = Told::default();
    let tell = told.clone();
    let mut world = serve_one(|net, stream| async move {
        net.sleep(Duration::from_secs(2)).await;
        while let Some(bytes) = stream.recv().await? {
            tell.borrow_mut().extend_from_slice(bytes.chunk(0));
        }
        Ok(())
    });
    let (id, data) = (world.connected(), pattern(3_000_000));
    let mut given = 0;
    for _ in 0..100 {
        given += world.give(id, &data[given..]);
        world.pass(ms(10));
        world.net.take_sent();
    }
    let held = world.gauge(Gauge::Unread);
    assert!(held > 8 && held <= 512 && told.borrow().is_empty(), "{held}");
    world.pass(Duration::from_secs(2));
    while given < data.len() {
        given += world.give(id, &data[given..]);
        world.pass(ms(10));
        world.net.take_sent();
    }
    world.peer.shard.close(world.net.now(), id);
    world.pass(Duration::from_secs(1));
    assert!(*told.borrow() == data);
    world.finish();
}

#[test]
fn a_peer_that_does_not_read_holds_the_task_back() {
    let told = Rc::new(Cell::new(0));
    let tell = told.clone();
    // The payload that the peer sends comes back a thousand times.
    let mut world = world_of(100, "[limits]\ntcp_payloads = 64\n", |net: Net<SimFrame>| async move {
        let listener = TcpListener::bind(&net, HERE).await?;
        let stream = listener.accept().await?;
        while let Some(bytes) = stream.recv().await? {
            stream.send(bytes).await?;
            tell.set(tell.get() + 1);
        }
        Ok(())
    });
    let (id, data) = (world.connected(), pattern(2_000_000));
    let mut given = 0;
    for _ in 0..100 {
        given += world.give(id, &data[given..]);
        world.pass(ms(10));
        world.net.take_sent();
    }
    let (held, sent) = (world.gauge(Gauge::Unacknowledged), told.get());
    assert!(held <= 64, "{held}");
    world.pass(ms(500));
    assert_eq!(told.get(), sent, "it waits");
    let mut back = vec![];
    for _ in 0..20_000 {
        back.extend(world.take(id).0);
        given += world.give(id, &data[given..]);
        world.pass(ms(5));
        world.net.take_sent();
        if back.len() == data.len() {
            break;
        }
    }
    assert!(back == data, "{} of {} bytes came back", back.len(), data.len());
    world.peer.shard.close(world.net.now(), id);
    world.finish();
}

#[test]
fn connections_that_we_open() {
    let told = Told::default();
    let tell = told.clone();
    let mut world = world(|net: Net<SimFrame>| async move {
        let nobody = SocketAddrV4::new(*PEER.ip(), 1);
        let nowhere = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 1), 1);
        for (to, kind) in [(nobody, ErrorKind::ConnectionRefused), (nowhere, ErrorKind::AddrNotAvailable)] {
            assert_eq!(
                TcpStream::connect(&net, to).await.err().map(|error| error.kind()),
                Some(kind),
                "{to}"
            );
        }
        net.sleep(ms(100)).await;
        let stream = TcpStream::connect(&net, PEER).await?;
        let info = stream.info().await?;
        assert_eq!((info.remote, info.state), (PEER, State::Established));
        while let Some(bytes) = stream.recv().await? {
            tell.borrow_mut().extend_from_slice(bytes.chunk(0));
            stream.send(bytes).await?;
        }
        Ok(())
    });
    let listener = world.peer.shard.listen(PEER, 16).unwrap();
    world.pass(ms(200));
    let id = world.peer.accept(world.net.now(), listener).unwrap();
    world.give(id, b"from whom we connected to");
    world.pass(ms(50));
    assert_eq!(world.take(id).0, b"from whom we connected to");
    world.peer.shard.close(world.net.now(), id);
    world.pass(ms(50));
    assert_eq!(*told.borrow(), b"from whom we connected to");
    world.finish();
}

#[test]
fn a_peer_that_is_silent_ends_a_connect_in_time() {
    let told = Told::default();
    let tell = told.clone();
    let mut world = world(|net: Net<SimFrame>| async move {
        net.sleep(ms(10)).await;
        let start = net.now();
        let lost = net.timeout(ms(700), TcpStream::connect(&net, PEER)).await.map(drop);
        assert_eq!(lost.unwrap_err(), Elapsed);
        assert!((700..=706).contains(&net.now().since(start).as_millis()));
        let error = TcpStream::connect(&net, PEER).await.err().unwrap();
        tell.borrow_mut().push(error.kind());
        Ok(())
    });
    world.peer.lost_of = 1;
    world.pass(Duration::from_secs(300));
    assert_eq!(*told.borrow(), [ErrorKind::TimedOut]);
    world.finish();
}

#[test]
fn a_reset_is_an_error() {
    let told = Told::default();
    let tell = told.clone();
    let mut world = serve_one(|_, stream| async move {
        loop {
            if let Err(error) = stream.recv().await {
                tell.borrow_mut().push(error.kind());
                break;
            }
        }
        let writable = poll_fn(|cx| stream.poll_ready(cx)).await;
        tell.borrow_mut().push(writable.unwrap_err().kind());
        Ok(())
    });
    let id = world.connected();
    world.peer.shard.abort(world.net.now(), id);
    world.pass(ms(10));
    assert_eq!(*told.borrow(), [ErrorKind::ConnectionReset; 2]);
    world.finish();
}

#[test]
fn connections_that_nobody_accepts_are_reset_with_their_listener() {
    let mut world = world(|net: Net<SimFrame>| async move {
        let listener = TcpListener::bind(&net, HERE).await?;
        let taken = TcpListener::bind(&net, HERE).await.err().unwrap();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        net.sleep(ms(50)).await;
        drop(listener);
        net.sleep(ms(50)).await;
        drop(TcpListener::bind(&net, HERE).await?);
        Ok(())
    });
    let id = world.connected();
    world.pass(ms(100));
    assert_eq!(world.take(id).1, Received::Closed(Some(Error::Reset)));
    world.peer.shard.close(world.net.now(), id);
    let refused = world.peer.connect(world.net.now(), HERE);
    world.pass(ms(10));
    assert_eq!(world.peer.shard.error(refused), Some(Error::Refused));
    world.peer.shard.close(world.net.now(), refused);
    world.finish();
}

#[test]
fn a_first_task_that_fails_stops_the_start() {
    let text = two_ports("[0]", SERVICE);
    let main = |net| async move {
        let _first = TcpListener::<SimFrame>::bind(&net, HERE).await?;
        TcpListener::bind(&net, HERE).await.map(drop)
    };
    let error = common::Net::try_with_apps(&text, Isa::detect(), || vec![Box::new(Executor::new(10, main))])
        .err()
        .unwrap();
    assert!(error.to_string().contains("address in use"), "{error}");
}

#[test]
fn datagrams_are_answered() {
    let mut world = world(|net: Net<SimFrame>| async move {
        let all = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 7);
        let socket = UdpSocket::bind(&net, all).await?;
        assert_eq!(UdpSocket::bind(&net, all).await.err().map(|e| e.kind()), Some(ErrorKind::AddrInUse));
        loop {
            let question = socket.recv_from().await?;
            socket.send_to(question.payload, question.source, Some(*question.local.ip())).await?;
        }
    });
    // The neighbour is resolved first.
    world.net.inject(LAN, 0, &udp_frame(LAN, A, US.octets(), (999, 7), b""));
    world.net.settle();
    world.net.take_sent();
    for n in 0..100u16 {
        let question = udp_frame(LAN, A, US.octets(), (1000 + n, 7), &pattern(usize::from(n)));
        world.net.inject(LAN, 0, &question);
    }
    world.net.settle();
    let sent = world.net.take_sent();
    let answers = sent.iter().filter_map(|sent| sent.ipv4()).map(|packet| match packet.body() {
        Ok(Body::Udp { src_port: 7, dst_port, payload }) => (dst_port, payload),
        other => panic!("{other:?}"),
    });
    let want: Vec<_> = (0..100u16).map(|n| (1000 + n, pattern(usize::from(n)))).collect();
    assert_eq!(answers.collect::<Vec<_>>(), want);
    world.finish();
}

#[test]
fn an_answer_carries_the_ack() {
    let mut world = world(echo);
    let id = world.connected();
    world.net.take_sent();
    for round in 0..20 {
        world.give(id, b"ping");
        let sent = world.net.take_sent();
        assert!(sent.len() == 1 && has_flags(&sent[0].bytes, TcpFlags::ACK), "round {round}: {}", sent.len());
        assert_eq!(world.take(id).0, b"ping");
        world.pass(ms(100));
        world.net.take_sent();
    }
    world.peer.shard.close(world.net.now(), id);
    world.finish();
}

#[test]
fn at_the_stop_tasks_read_to_the_end_and_close() {
    let mut world = world(echo);
    let (id, idle, data) = (world.connected(), world.connected(), pattern(100_000));
    let mut given = world.give(id, &data);
    world.net.control.stop(world.net.now());
    let mut back = vec![];
    for _ in 0..1000 {
        let (bytes, end) = world.take(id);
        back.extend(bytes);
        if end == Received::End {
            break;
        }
        given += world.give(id, &data[given..]);
        world.pass(ms(5));
    }
    assert!(!back.is_empty() && back[..] == data[..back.len()]);
    assert_eq!(world.take(idle).1, Received::End);
    assert_eq!((world.peer.shard.error(id), world.peer.shard.error(idle)), (None, None));
    world.peer.shard.close(world.net.now(), id);
    world.peer.shard.close(world.net.now(), idle);
    world.pass(ms(100));
    world.finish();
}

/// What was given to be sent before the stop arrives, whatever the peer still says.
#[test]
fn at_the_stop_no_answer_is_taken_away_by_a_reset() {
    let want: &'static [u8] = pattern(300_000).leak();
    let mut world = serve_one(move |_, stream| async move {
        while stream.recv().await?.is_some() {
            stream.send(want).await?;
        }
        Ok(())
    });
    let id = world.connected();
    world.give(id, b"a request");
    world.pass(ms(1));
    let mut back = world.take(id).0;
    world.net.control.stop(world.net.now());
    for n in 0..2000 {
        // An upload that nobody reads any more.
        world.give(id, &[n as u8; 100]);
        let (bytes, end) = world.take(id);
        back.extend(bytes);
        if end == Received::End {
            break;
        }
        world.pass(ms(2));
    }
    assert!(back == want, "{} bytes", back.len());
    assert_eq!(world.peer.shard.error(id), None);
    world.peer.shard.close(world.net.now(), id);
    world.pass(ms(100));
    world.finish();
}

/// As the name says: bytes by slices, both ways, through tokio's traits.
#[test]
fn an_adapter_copies_and_counts() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut world = serve_one(|_, stream| async move {
        let mut stream = Copying::new(stream);
        let mut chunk = [0; 7001];
        loop {
            let n = stream.read(&mut chunk).await?;
            if n == 0 {
                return stream.shutdown().await;
            }
            stream.write_all(&chunk[..n]).await?;
        }
    });
    let (id, data) = (world.connected(), pattern(400_000));
    let (mut given, mut back) = (0, vec![]);
    for _ in 0..2000 {
        given += world.give(id, &data[given..]);
        world.pass(ms(2));
        world.net.take_sent();
        back.extend(world.take(id).0);
        if back.len() == data.len() {
            break;
        }
    }
    assert!(back == data, "{} bytes", back.len());
    world.peer.shard.close(world.net.now(), id);
    world.pass(ms(300));
    assert_eq!(world.net.workers[0].host_counters().copied.get(), 2 * data.len() as u64);
    world.finish();
}
