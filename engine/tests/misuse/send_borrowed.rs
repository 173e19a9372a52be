use engine::app::Sockets;
use sim::SimFrame;
use tcp::shard::ConnectionId;

fn misuse(sockets: &mut Sockets<SimFrame>, id: ConnectionId) {
    let page = vec![0; 100];
    sockets.send(id, tcp::Content::Static(&page)).unwrap();
}

fn main() {}
