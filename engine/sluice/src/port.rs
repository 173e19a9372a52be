//! `sluice port`: has a running router remove, add or reset a port.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use engine::api::{PortRequest, Reply};

use crate::router::Router;

/// What to do with a port, and whose.
#[derive(Args)]
pub(crate) struct Port {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    router: Router,
}

#[derive(Subcommand)]
enum What {
    /// Close the port's device; frames to it are dropped and counted until it is added again.
    Remove {
        /// The port, as the configuration names it.
        #[arg(value_name = "PORT")]
        name: String,
    },
    /// Open the device of a port that was removed.
    Add {
        /// The port, as the configuration names it.
        #[arg(value_name = "PORT")]
        name: String,
        /// Another device than the one that it had, as DPDK names it.
        #[arg(long, value_name = "DEVARGS")]
        device: Option<String>,
    },
    /// Stop the port, have its device reset, and start it again.
    Reset {
        /// The port, as the configuration names it.
        #[arg(value_name = "PORT")]
        name: String,
    },
}

/// Returns once it is done.
pub(crate) fn change(port: Port) -> ExitCode {
    let request = match port.what {
        What::Remove { name } => PortRequest::Remove { name },
        What::Add { name, device } => PortRequest::Add { name, device },
        What::Reset { name } => PortRequest::Reset { name },
    };
    let done = port.router.ask(&request).and_then(|(line, reply)| match reply {
        Reply::Done(sentence) => crate::print(&format!("{sentence}\n")),
        _ => Err(format!("the router answers something else: {line}")),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::fail(error),
    }
}
