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
    /// Its address, with the length of its network.
    #[arg(long, value_name = "ADDRESS/LENGTH")]
    address: String,
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
        let mut text = format!("name = {name:?}\n");
        // Writing to a string cannot fail.
        if let Some(socket) = socket {
            let _ok = writeln!(text, "control.socket = {:?}", socket.display().to_string());
        }
        if !cores.is_empty() {
            let _ok = writeln!(text, "workers.cores = {cores:?}");
        }
        let _ok = write!(text, "[[port]]\nname = \"port\"\ndevice = {device:?}\naddresses = [{address:?}]\n");
        if let Some(gateway) = gateway {
            let _ok = write!(text, "[[route]]\nprefix = \"0.0.0.0/0\"\nvia = \"{gateway}\"\n");
        }
        text
    }
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
