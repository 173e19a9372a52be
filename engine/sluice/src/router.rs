//! A running router, asked over its control socket.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use engine::api::Reply;
use serde::Serialize;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which router.
#[derive(Args)]
pub(crate) struct Router {
    /// The name of the router, as its configuration has it.
    #[arg(id = "router", long = "name", global = true, default_value = "sluice", value_name = "NAME")]
    name: String,
    /// The control socket, if it is not /run/sluice/NAME.sock.
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl Router {
    /// Asks it; gives the line of JSON that it answers, and what it says. An error is one sentence.
    pub(crate) fn ask(&self, request: &impl Serialize) -> Result<(String, Reply), String> {
        let socket = self.socket.clone().unwrap_or_else(|| format!("/run/sluice/{}.sock", self.name).into());
        let exchange = || {
            let mut stream = UnixStream::connect(&socket)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let mut text = serde_json::to_string(request)?;
            text.push('\n');
            stream.write_all(text.as_bytes())?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line)?;
            Ok(line)
        };
        let line = exchange().map_err(|error: std::io::Error| {
            let hint = match error.kind() {
                ErrorKind::WouldBlock => {
                    "it does not answer: it is busy, or others hold all connections to it"
                }
                _ => "is the router running? (`--name` or `--socket` choose another)",
            };
            format!("{}: {error}; {hint}", socket.display())
        })?;
        match serde_json::from_str(&line) {
            Ok(Reply::Error(error)) => Err(format!("the router answers: {error}")),
            Ok(reply) => Ok((line, reply)),
            Err(error) => Err(format!("the router's answer was not understood: {error}")),
        }
    }
}
