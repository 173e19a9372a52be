//! One device and its address on the command line, instead of a configuration file.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};
use config::Config;

use crate::run::Worker;
use crate::{App, Mbuf, check, run};

/// Where a program runs.
#[derive(Args)]
pub(crate) struct Place {
    /// DPDK's name of the device, for instance `net_tap0,iface=echo` or `0000:01:00.0`.
    #[arg(long)]
    device: String,
    /// Its address, with the length of its network; may be given again. A range stands for all in it:
    /// 10.0.0.2-10.0.0.33/24.
    #[arg(long, value_name = "ADDRESS/LENGTH", required = true, value_parser = addresses)]
    address: Vec<Addresses>,
    /// The router to other networks.
    #[arg(long)]
    gateway: Option<Ipv4Addr>,
    /// The cores to run on; without it, all but the first.
    #[arg(long, value_delimiter = ',')]
    cores: Vec<u16>,
    /// A name, by which `sluice show --name` finds it; without it, the command's.
    #[arg(long)]
    name: Option<String>,
    /// The control socket, if it is not to be /run/sluice/NAME.sock.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Place {
    /// The configuration of what runs here, by custom called `name`. `more` follows in the file that would say the
    /// same. Prints what is wrong.
    pub(crate) fn configure(&self, name: &str, more: &str) -> Result<Config, ExitCode> {
        let text = self.file(name) + more;
        Config::from_str("the command line", &text, &check::machine()).map_err(|errors| {
            errors.iter().for_each(|error| eprintln!("sluice: {}", error.one_line()));
            ExitCode::FAILURE
        })
    }

    /// The configuration file that says the same.
    fn file(&self, default_name: &str) -> String {
        let Place { device, address, gateway, cores, name, socket } = self;
        let name = name.as_deref().unwrap_or(default_name);
        let list: Vec<String> =
            address.iter().flat_map(|Addresses(all)| all).map(|one| format!("{one:?}")).collect();
        let mut text = format!("name = {name:?}\n");
        // Writing to a string cannot fail.
        if let Some(socket) = socket {
            let _ok = writeln!(text, "control.socket = {:?}", socket.display().to_string());
        }
        if !cores.is_empty() {
            let _ok = writeln!(text, "workers.cores = {cores:?}");
        }
        let _ok = write!(
            text,
            "[[port]]\nname = \"port\"\ndevice = {device:?}\naddresses = [{}]\n",
            list.join(", ")
        );
        if let Some(gateway) = gateway {
            let _ok = write!(text, "[[route]]\nprefix = \"0.0.0.0/0\"\nvia = \"{gateway}\"\n");
        }
        text
    }
}

/// One address, or all of a range, each with the length of the network.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Addresses(Vec<String>);

fn addresses(text: &str) -> Result<Addresses, String> {
    /// Addresses of a range.
    const MOST: u32 = 1024;
    let Some((first, rest)) = text.split_once('-') else { return Ok(Addresses(vec![text.into()])) };
    let example = || "a range is written like 10.0.0.2-10.0.0.33/24".to_owned();
    let (last, len) = rest.split_once('/').ok_or_else(example)?;
    let [first, last] = [first, last].map(|end| end.parse::<Ipv4Addr>().map(Ipv4Addr::to_bits));
    let (first, last) = (first.map_err(|_| example())?, last.map_err(|_| example())?);
    if !(first..first.saturating_add(MOST)).contains(&last) {
        return Err(format!("a range is of 1 to {MOST} addresses, the least first"));
    }
    Ok(Addresses((first..=last).map(|bits| format!("{}/{len}", Ipv4Addr::from_bits(bits))).collect()))
}

/// The command line of a program of one's own.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    place: Place,
}

/// The `main` of a program of one's own: runs what `programs` makes for each worker on the device that the
/// command line names, until SIGINT or SIGTERM.
///
/// The command line is `--device`, `--address`, and what `--help` tells. By [`run_with`](crate::run_with) it is any
/// configuration instead.
pub fn main(programs: impl Fn(&Worker<'_>) -> Vec<Box<dyn App<Mbuf>>> + Send + Sync + 'static) -> ExitCode {
    let Arguments { place } = Arguments::parse();
    place.configure("program", "").map_or_else(|code| code, |config| run::run_with(config, programs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_addresses() {
        let list = |text| addresses(text).map(|Addresses(all)| all.join(" "));
        assert_eq!(list("10.0.0.2/24").as_deref(), Ok("10.0.0.2/24"));
        assert_eq!(
            list("10.0.0.254-10.0.1.1/16").as_deref(),
            Ok("10.0.0.254/16 10.0.0.255/16 10.0.1.0/16 10.0.1.1/16")
        );
        assert_eq!(addresses("10.0.0.0-10.0.3.255/16").map(|Addresses(all)| all.len()), Ok(1024));
        for bad in [
            "10.0.0.2-10.0.0.1/24",
            "10.0.0.0-10.0.4.0/16",
            "10.0.0.1-10.0.0.2",
            "10.0.0.1-2/24",
            "255.255.255.255-x/8",
        ] {
            assert!(addresses(bad).is_err(), "{bad}");
        }
    }
}
