use engine::app::Sockets;
use sim::SimFrame;
use tcp::shard::ConnectionId;

fn misuse(sockets: &mut Sockets<SimFrame>, id: ConnectionId) {
    let bytes = sockets.alloc().unwrap().freeze();
    bytes.bytes_mut()[0] = 1;
    sockets.send(id, bytes).unwrap();
}

fn main() {}
