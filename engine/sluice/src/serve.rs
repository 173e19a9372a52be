//! `sluice echo`: one server on one device, without a configuration file.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use config::Config;

use crate::{check, run};

/// Where a server runs.
#[derive(Args)]
pub(crate) struct Echo {
    /// DPDK's name of the device, for instance `net_tap0,iface=echo` or `0000:01:00.0`.
    #[arg(long)]
    device: String,
    /// Its address, with the length of its network.
    #[arg(long, value_name = "ADDRESS/LENGTH")]
    address: String,
    /// The port to listen on.
    #[arg(long, default_value_t = config::ServiceKind::Echo.default_port())]
    port: u16,
    /// The router to other networks.
    #[arg(long)]
    gateway: Option<Ipv4Addr>,
    /// The cores to run on; without it, all but the first.
    #[arg(long, value_delimiter = ',')]
    cores: Vec<u16>,
    /// A name, by which `sluice show --name` finds it.
    #[arg(long, default_value = "echo")]
    name: String,
    /// The control socket, if it is not to be /run/sluice/NAME.sock.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Runs an echo server until SIGINT or SIGTERM.
pub(crate) fn echo(echo: &Echo) -> ExitCode {
    match Config::from_str("the command line", &echo.configuration(), &check::machine()) {
        Ok(config) => run::run_config(config),
        Err(errors) => {
            for error in errors.iter() {
                eprintln!("sluice: {}", error.one_line());
            }
            ExitCode::FAILURE
        }
    }
}

impl Echo {
    /// The configuration file that says the same.
    fn configuration(&self) -> String {
        let Echo { device, address, port, gateway, cores, name, socket } = self;
        let mut text = format!(
            "name = {name:?}\n[[port]]\nname = \"port\"\ndevice = {device:?}\naddresses = [{address:?}]\n\
             [[service]]\nkind = \"echo\"\nport = {port}\n"
        );
        // Writing to a string cannot fail.
        if let Some(gateway) = gateway {
            let _ok = write!(text, "[[route]]\nprefix = \"0.0.0.0/0\"\nvia = \"{gateway}\"\n");
        }
        if !cores.is_empty() {
            let _ok = write!(text, "[workers]\ncores = {cores:?}\n");
        }
        if let Some(socket) = socket {
            let _ok = write!(text, "[control]\nsocket = {:?}\n", socket.display().to_string());
        }
        text
    }
}
