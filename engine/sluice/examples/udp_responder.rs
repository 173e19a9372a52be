//! Answers each datagram with what it says, in capitals, from the address that it was sent to.

use std::io::{self, Write};
use std::process::ExitCode;

use sluice::{Net, Payload, UdpSocket};

fn main() -> ExitCode {
    sluice::main(|worker| vec![worker.tasks(respond)])
}

async fn respond(net: Net) -> io::Result<()> {
    let socket = UdpSocket::bind(&net, sluice::any(7)).await?;
    loop {
        let question = socket.recv_from().await?;
        let mut answer = net.alloc().await;
        // What is longer than a frame is cut off.
        let _written = answer.write(&question.payload.chunk(0).to_ascii_uppercase())?;
        socket.send_to(answer.freeze(), question.source, Some(*question.local.ip())).await?;
    }
}
