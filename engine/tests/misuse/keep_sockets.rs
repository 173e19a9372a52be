use engine::app::Sockets;
use sim::SimFrame;

struct Keeper(&'static mut Sockets<'static, SimFrame>);

fn misuse(keeper: &mut Keeper, sockets: &mut Sockets<'static, SimFrame>) {
    keeper.0 = sockets;
}

fn main() {}
