//! The files below a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::app::StartError;

/// Folders within each other, at most: links may go round in circles.
const MAX_DEPTH: usize = 64;

/// A file.
#[derive(Debug)]
pub(super) struct File {
    /// Its path below the root, with a slash before each name.
    pub(super) path: String,
    /// Where it is.
    pub(super) file: PathBuf,
    pub(super) len: usize,
    pub(super) modified: SystemTime,
}

/// All files below `root`, at most `limit`, in the order of their names. Names that begin with a dot are left
/// out, but for `.well-known` (RFC 8615); so is what is neither a file nor a folder.
///
/// # Errors
/// [`StartError`]: something cannot be read, a link leads out of the root, a name is no UTF-8, or there are
/// too many files.
pub(super) fn files(root: &Path, limit: usize) -> Result<Vec<File>, StartError> {
    let real = root.canonicalize().map_err(|error| at(root, &error))?;
    let mut walk = Walk { root: real.clone(), limit, files: Vec::new() };
    walk.folder(&real, "/", 0)?;
    Ok(walk.files)
}

struct Walk {
    root: PathBuf,
    limit: usize,
    files: Vec<File>,
}

impl Walk {
    fn folder(&mut self, folder: &Path, path: &str, depth: usize) -> Result<(), StartError> {
        if depth > MAX_DEPTH {
            return Err(at(folder, &"there are too many folders within each other; is a link among them?"));
        }
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = entries.map_err(|error| at(folder, &error))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(at(&entry.path(), &"its name is no UTF-8"));
            };
            if !name.starts_with('.') || name == ".well-known" {
                self.entry(&entry.path(), &format!("{path}{name}"), depth)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, file: &Path, path: &str, depth: usize) -> Result<(), StartError> {
        let real = file.canonicalize().map_err(|error| at(file, &error))?;
        if !real.starts_with(&self.root) {
            return Err(at(file, &format!("this link leads out of the root, to {}", real.display())));
        }
        let is = fs::metadata(&real).map_err(|error| at(file, &error))?;
        if is.is_dir() {
            return self.folder(&real, &format!("{path}/"), depth + 1);
        }
        if !is.is_file() {
            return Ok(());
        }
        if self.files.len() == self.limit {
            return Err(at(
                &self.root,
                &format!("there are more files than `files`, {}, allows", self.limit),
            ));
        }
        let modified = is.modified().map_err(|error| at(file, &error))?;
        self.files.push(File { path: path.to_owned(), file: real, len: is.len() as usize, modified });
        Ok(())
    }
}

fn at(path: &Path, why: &dyn std::fmt::Display) -> StartError {
    StartError(format!("{}: {why}", path.display()))
}
