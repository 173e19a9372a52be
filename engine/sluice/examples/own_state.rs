//! State that a core keeps for itself: each worker counts its visitors and those who are here, in plain cells. No
//! other thread can reach them.

use std::cell::Cell;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;

use sluice::{Net, TcpListener, TcpStream};

fn main() -> ExitCode {
    sluice::main(|worker| {
        let me = worker.index;
        vec![worker.tasks(move |net| count(net, me))]
    })
}

/// What one core knows.
#[derive(Default)]
struct Visitors {
    ever: Cell<u64>,
    here: Cell<u64>,
}

async fn count(net: Net, me: usize) -> io::Result<()> {
    let visitors = Rc::<Visitors>::default();
    let listener = TcpListener::bind(&net, sluice::any(7)).await?;
    loop {
        let stream = listener.accept().await?;
        let (net, visitors) = (net.clone(), visitors.clone());
        net.clone().spawn_local(async move {
            visitors.ever.set(visitors.ever.get() + 1);
            visitors.here.set(visitors.here.get() + 1);
            let greeted = greet(&net, &stream, me, &visitors).await;
            visitors.here.set(visitors.here.get() - 1);
            greeted
        })?;
    }
}

/// Tells a visitor what this core knows, and waits until it goes.
async fn greet(net: &Net, stream: &TcpStream, me: usize, visitors: &Visitors) -> io::Result<()> {
    let mut greeting = net.alloc().await;
    writeln!(greeting, "worker {me}: visitor {}, {} here", visitors.ever.get(), visitors.here.get())?;
    stream.send(greeting).await?;
    while stream.recv().await?.is_some() {}
    Ok(())
}
