//! `sluice echo` and `sluice http`: one server on one device, without a configuration file.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use config::{Config, ServiceKind};

use crate::{check, run};

/// Where a server runs.
#[derive(Args)]
struct Place {
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
    /// The control socket, if it is not to be /run/sluice/NAME.sock.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// An echo server.
#[derive(Args)]
pub(crate) struct Echo {
    #[command(flatten)]
    place: Place,
    /// The port to listen on.
    #[arg(long, default_value_t = ServiceKind::Echo.default_port())]
    port: u16,
    /// A name, by which `sluice show --name` finds it.
    #[arg(long, default_value = "echo")]
    name: String,
}

/// An HTTP server.
#[derive(Args)]
pub(crate) struct Http {
    #[command(flatten)]
    place: Place,
    /// The port to listen on.
    #[arg(long, default_value_t = ServiceKind::Http.default_port())]
    port: u16,
    /// The folder whose files are served. They are read once, at the start.
    #[arg(long, value_name = "FOLDER")]
    root: PathBuf,
    /// The path of a status page, for instance `/status`.
    #[arg(long, value_name = "PATH")]
    status: Option<String>,
    /// A name, by which `sluice show --name` finds it.
    #[arg(long, default_value = "http")]
    name: String,
}

/// Runs an echo server until SIGINT or SIGTERM.
pub(crate) fn echo(echo: &Echo) -> ExitCode {
    let Echo { place, port, name } = echo;
    serve(&place.configuration(name, &format!("kind = \"echo\"\nport = {port}\n")))
}

/// Runs an HTTP server until SIGINT or SIGTERM.
pub(crate) fn http(http: &Http) -> ExitCode {
    let Http { place, port, root, status, name } = http;
    // A relative folder is one of where the command is given.
    let root = std::path::absolute(root).unwrap_or_else(|_| root.clone()).display().to_string();
    let status = status.as_ref().map_or_else(String::new, |path| format!("status = {path:?}\n"));
    serve(&place.configuration(name, &format!("kind = \"http\"\nport = {port}\nroot = {root:?}\n{status}")))
}

fn serve(configuration: &str) -> ExitCode {
    match Config::from_str("the command line", configuration, &check::machine()) {
        Ok(config) => run::run_config(config),
        Err(errors) => {
            for error in errors.iter() {
                eprintln!("sluice: {}", error.one_line());
            }
            ExitCode::FAILURE
        }
    }
}

impl Place {
    /// The configuration file that says the same. `service` is what its one service has.
    fn configuration(&self, name: &str, service: &str) -> String {
        let Place { device, address, gateway, cores, socket } = self;
        let mut text = format!(
            "name = {name:?}\n[[port]]\nname = \"port\"\ndevice = {device:?}\naddresses = [{address:?}]\n\
             [[service]]\n{service}"
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
