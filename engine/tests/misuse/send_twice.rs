use engine::app::Sockets;
use sim::SimFrame;
use tcp::shard::ConnectionId;

fn misuse(sockets: &mut Sockets<SimFrame>, id: ConnectionId) {
    let bytes = sockets.alloc().unwrap().freeze();
    sockets.send(id, bytes).unwrap();
    sockets.send(id, bytes).unwrap();
}

fn main() {}
