use engine::app::Sockets;
use sim::SimFrame;
use tcp::shard::ConnectionId;

fn misuse(sockets: &mut Sockets<SimFrame>, id: ConnectionId) {
    let mut buffer = sockets.alloc().unwrap();
    sockets.send(id, buffer.freeze()).unwrap();
    buffer.bytes_mut()[0] = 1;
}

fn main() {}
