//! `sluice check`: a configuration's errors, all at once, or its plan.

use std::path::Path;
use std::process::ExitCode;

use config::{Caps, Config, Machine, Plan};
use engine::app::Services;

/// This machine, as far as a configuration cares.
pub(crate) fn machine() -> Machine {
    // All cores there are, not only those allowed to this process: a configuration may be for a service.
    let cores = std::fs::read_to_string("/sys/devices/system/cpu/present").ok();
    let last = cores.as_deref().and_then(|text| text.trim().rsplit(['-', ',']).next()?.parse::<u16>().ok());
    let fallback = || std::thread::available_parallelism().map_or(1, |n| n.get() as u16);
    Machine { cores: last.map_or_else(fallback, |last| last + 1) }
}

/// Reads a configuration, or prints all that is wrong with it.
pub(crate) fn load(file: &Path) -> Result<Config, ExitCode> {
    if let Err(error) = std::fs::File::open(file) {
        return Err(crate::fail(format_args!("{} cannot be read: {error}", file.display())));
    }
    Config::load(file, &machine()).map_err(|errors| {
        eprintln!("{:?}", miette::Report::new(errors));
        ExitCode::FAILURE
    })
}

/// Checks `file`, and prints the plan it leads to.
pub(crate) fn check(file: &Path) -> ExitCode {
    let config = match load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    // The files may be on another machine.
    let contents = Services::measure(&config.services).unwrap_or_else(|error| {
        eprintln!("sluice: warning: {error}");
        0
    });
    match Plan::new(&config, |_| Caps::UNLIMITED) {
        Ok(plan) => {
            print!("{}", plan.with_contents(contents));
            println!("{}: no errors", file.display());
            ExitCode::SUCCESS
        }
        Err(error) => crate::fail(format_args!("{}: {error}", file.display())),
    }
}
