//! `sluice bench report`: a result in another form.

use std::path::PathBuf;

use clap::Args;
use report::Document;
use report::render::{csv, hlog, html, text};

use super::Error;

/// Which result, and in which form.
#[derive(Args)]
pub(crate) struct Render {
    /// The result.
    file: PathBuf,
    /// Write a web page that needs no other file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    print: Print,
}

/// What to print; a summary, if nothing is named.
#[derive(Args)]
#[group(multiple = false)]
struct Print {
    /// Print a summary.
    #[arg(long)]
    text: bool,
    /// Print all numbers, one a line.
    #[arg(long)]
    csv: bool,
    /// Print the histograms as HdrHistogram's tools read them (interval log, V2).
    #[arg(long)]
    hlog: bool,
}

/// Writes and prints what is asked for.
pub(super) fn run(render: &Render) -> Result<(), Error> {
    let document = super::read(&render.file)?;
    if let Some(file) = &render.html {
        std::fs::write(file, html(&document)).map_err(|why| format!("{}: {why}", file.display()))?;
    }
    if let Some(text) = printed(render, &document)? {
        crate::print(&text)?;
    }
    Ok(())
}

fn printed(render: &Render, document: &Document) -> Result<Option<String>, Error> {
    let Print { text: as_text, csv: as_csv, hlog: as_hlog } = render.print;
    if as_csv {
        return Ok(Some(csv(document)));
    }
    if as_hlog {
        let none = || format!("{}: it has no histogram", render.file.display());
        return Ok(Some(hlog(document).ok_or_else(none)?));
    }
    Ok((as_text || render.html.is_none()).then(|| text(document)))
}
