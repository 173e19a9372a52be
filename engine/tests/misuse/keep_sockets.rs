use engine::app::{App, Event, Sockets, StartError};
use sim::SimFrame;

struct Keeper<'a>(Option<&'a mut Sockets<'a, SimFrame>>);

impl<'a> App<SimFrame> for Keeper<'a> {
    fn start(&mut self, sockets: &mut Sockets<'_, SimFrame>) -> Result<(), StartError> {
        self.0 = Some(sockets);
        Ok(())
    }

    fn handle_events(&mut self, _: &mut Sockets<'_, SimFrame>, _: &[Event]) {}
}

fn main() {}
