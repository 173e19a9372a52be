//! An echo server: a task for each connection. No byte is copied.

use std::{io, process::ExitCode};

use sluice::{Net, TcpListener};

fn main() -> ExitCode {
    sluice::main(|worker| vec![worker.tasks(echo)])
}

async fn echo(net: Net) -> io::Result<()> {
    let listener = TcpListener::bind(&net, sluice::any(7)).await?;
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
