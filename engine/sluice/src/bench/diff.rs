//! `sluice bench diff`: is the second result worse than the first?

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use report::{Comparison, Document, Options, compare};

use super::Error;

/// The exit status of what cannot be compared.
const NOT_COMPARABLE: u8 = 2;

/// Which results, and how sure.
#[derive(Args)]
pub(crate) struct Diff {
    /// The result before: a file, or a folder of files that are its repetitions.
    before: PathBuf,
    /// The result after, likewise.
    after: PathBuf,
    /// Changes below this share of the value before are no matter, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = percent)]
    threshold: f64,
    /// The chance of a single false alarm over all measures, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = percent)]
    alarms: f64,
    /// Compare results with other parameters or from other machines, too.
    #[arg(long)]
    force: bool,
}

/// Compares, and gives the exit status.
pub(super) fn run(diff: &Diff) -> ExitCode {
    let printed = |comparison: Comparison| Ok(crate::print(&format!("{comparison}\n")).map(|()| comparison)?);
    match comparison(diff).and_then(printed) {
        Ok(comparison) if comparison.has_regressed() => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(why) => {
            crate::fail(why);
            NOT_COMPARABLE.into()
        }
    }
}

fn comparison(diff: &Diff) -> Result<Comparison, Error> {
    let (before, after) = (read(&diff.before)?, read(&diff.after)?);
    let options =
        Options { alpha: diff.alarms / 100.0, threshold: diff.threshold / 100.0, force: diff.force };
    Ok(compare(&before, &after, &options)?)
}

/// Reads a result; from a folder, all there are, which must be of the same measurement.
fn read(path: &Path) -> Result<Document, Error> {
    if !path.is_dir() {
        return super::read(path);
    }
    let mut files = std::fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>())
        .map_err(|why| format!("{}: {why}", path.display()))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let Some((first, more)) = files.split_first() else {
        return Err(format!("{}: there is no .json file in it", path.display()).into());
    };
    let mut document = super::read(first)?;
    for file in more {
        let differs = |why| format!("{} and {}: {why}", first.display(), file.display());
        document.join(super::read(file)?).map_err(differs)?;
    }
    Ok(document)
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.0..100.0).contains(&percent) => Ok(percent),
        _ => Err("a number from 0 to less than 100 is wanted".to_owned()),
    }
}
