//! `sluice echo` and `sluice http`: one server on one device, without a configuration file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use config::ServiceKind;

use crate::place::Place;
use crate::run::run;

/// An echo server, or another one for bulk.
#[derive(Args)]
pub(crate) struct Echo {
    #[command(flatten)]
    place: Place,
    /// What it does.
    #[arg(long, value_enum, default_value_t = Mode::Echo)]
    mode: Mode,
    /// The port to listen on; without it 7, 9 or 19, as the RFCs have it.
    #[arg(long)]
    port: Option<u16>,
}

/// What becomes of bytes.
#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    /// They come back (RFC 862).
    Echo,
    /// They are dropped (RFC 863).
    Discard,
    /// Others are sent, without end, by TCP only (RFC 864).
    Chargen,
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
}

/// Runs an echo server until SIGINT or SIGTERM.
pub(crate) fn echo(echo: &Echo) -> ExitCode {
    let kind = match echo.mode {
        Mode::Echo => "echo",
        Mode::Discard => "discard",
        Mode::Chargen => "chargen",
    };
    let port = echo.port.map_or_else(String::new, |port| format!("port = {port}\n"));
    serve(&echo.place, kind, &port)
}

/// Runs an HTTP server until SIGINT or SIGTERM.
pub(crate) fn http(http: &Http) -> ExitCode {
    let Http { place, port, root, status } = http;
    // A relative folder is one of where the command is given.
    let root = std::path::absolute(root).unwrap_or_else(|_| root.clone()).display().to_string();
    let status = status.as_ref().map_or_else(String::new, |path| format!("status = {path:?}\n"));
    serve(place, "http", &format!("port = {port}\nroot = {root:?}\n{status}"))
}

/// Runs one service of a kind, by which it is called unless the command line has another name.
fn serve(place: &Place, kind: &str, service: &str) -> ExitCode {
    let service = format!("[[service]]\nkind = {kind:?}\n{service}");
    place.configure(kind, &service).map_or_else(|code| code, run)
}
