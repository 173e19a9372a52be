//! Prints what devices can do: `capabilities DEVARGS...`.

use pmd::{Eal, EalConfig, Error, Port};

fn main() -> Result<(), Error> {
    let mut config = EalConfig { program: "capabilities".into(), ..Default::default() };
    let devices: Vec<String> = std::env::args().skip(1).collect();
    devices.iter().for_each(|devargs| config.add_device(devargs));
    let eal = Eal::init(&config)?;
    eal.warnings().iter().for_each(|warning| eprintln!("warning: {warning}"));
    println!("{}", Eal::version());
    for devargs in &devices {
        let port = Port::open(&eal, devargs)?;
        println!("{}: {:#?}\n{:?}", port.name(), port.capabilities()?, port.link()?);
    }
    Ok(())
}
