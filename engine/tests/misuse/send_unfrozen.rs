use engine::app::Sockets;
use sim::SimFrame;
use tcp::shard::ConnectionId;

fn misuse(sockets: &mut Sockets<SimFrame>, id: ConnectionId) {
    let buffer = sockets.alloc().unwrap();
    sockets.send(id, buffer).unwrap();
}

fn main() {}
