use engine::app::Sockets;
use sim::SimFrame;
use tcp::shard::{ConnectionId, Received};

fn misuse(sockets: &mut Sockets<SimFrame>, id: ConnectionId) {
    let Received::Bytes(bytes) = sockets.receive(id) else { return };
    sockets.send(id, bytes).unwrap();
    wire::Payload::len(&bytes);
}

fn main() {}
