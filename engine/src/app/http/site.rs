//! What a server serves: loaded once, before the workers run, and shared by them.

use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hashbrown::HashMap;
use http1::date::HttpDate;
use http1::response::CONTINUE;
use http1::target::{self, PathError, canonical};
use http1::{media, range::Extent};

use super::walk::{self, File};
use crate::app::StartError;

/// Bytes of a resource's path, percent-encoded, at most. A response's head has room for one.
pub(super) const MAX_PATH: usize = 1024;
/// Contents begin at multiples of this: no two share a cache line.
const ALIGN: usize = 64;

/// All resources of a server.
#[derive(Debug, Default)]
pub struct Site {
    /// By canonical path.
    table: HashMap<Box<[u8]>, Resource>,
    contents: Vec<Content>,
    /// The Cache-Control field of all responses that caches may keep, or nothing.
    cache_control: Box<[u8]>,
    /// Where redirects lead.
    locations: Vec<Box<[u8]>>,
    /// The interim response, where devices can read it.
    interim: &'static [u8],
}

/// What is at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resource {
    /// A file or a page, by its number.
    Content(u32),
    /// A folder without its slash: the number of the location that has it.
    Folder(u32),
    /// The status page.
    Status,
}

/// A file or a page.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) body: &'static [u8],
    /// A strong entity tag, with its quotes.
    pub(super) etag: Box<[u8]>,
    /// When the file was changed, in whole seconds.
    pub(super) modified: Option<SystemTime>,
    /// Fields of every response that carries some of it.
    pub(super) fields: Box<[u8]>,
    /// All fields of a response that carries all of it, but for Date and Connection.
    pub(super) whole: Box<[u8]>,
}

/// A content before it is loaded.
struct Source<'a> {
    bytes: Bytes<'a>,
    len: usize,
    content_type: String,
    modified: Option<SystemTime>,
}

enum Bytes<'a> {
    File(PathBuf),
    Page(&'a str),
}

impl Site {
    /// Bytes of memory that a server's files and pages will take.
    ///
    /// # Errors
    /// [`StartError`]: the root cannot be read, or a bound is passed.
    pub fn measure(http: &config::Http) -> Result<u64, StartError> {
        let files = http.root.as_ref().map(|root| walk::files(root, http.limits.files as usize));
        let files = files.transpose()?.unwrap_or_default();
        let sources = files.into_iter().map(Source::file).chain(http.pages.iter().map(Source::page));
        Ok(room(http, sources.map(|source| source.room()))? as u64)
    }

    /// Loads files and pages. `immortal` gives memory that stays, as [`Env::immortal`] does.
    ///
    /// # Errors
    /// [`StartError`]: a file cannot be read, lies outside of the root, or a bound is passed.
    ///
    /// [`Env::immortal`]: crate::device::Env::immortal
    pub fn load(
        http: &config::Http,
        immortal: impl FnOnce(usize, &mut dyn FnMut(&mut [u8]) -> io::Result<()>) -> Result<&'static [u8], String>,
    ) -> Result<Site, StartError> {
        let cache_control = http.cache_control.as_ref().map(|value| format!("Cache-Control: {value}\r\n"));
        let cache_control = cache_control.unwrap_or_default();
        let mut site = Site { cache_control: cache_control.as_bytes().into(), ..Site::default() };
        let mut sources = Vec::new();
        if let Some(root) = &http.root {
            for file in walk::files(root, http.limits.files as usize)? {
                site.add_file(&file, &http.index, sources.len())?;
                sources.push(Source::file(file));
            }
        }
        for page in &http.pages {
            site.add(encoded(&page.path)?, Resource::Content(sources.len() as u32));
            sources.push(Source::page(page));
        }
        if let Some(path) = &http.status {
            site.add(encoded(path)?, Resource::Status);
        }
        let bytes = room(http, sources.iter().map(Source::room))?;
        let memory = immortal(bytes, &mut |memory| fill(&sources, memory)).map_err(StartError)?;
        let (interim, mut memory) = memory.split_at(ALIGN);
        site.interim = &interim[..CONTINUE.len()];
        for source in sources {
            let (bytes, rest) = memory.split_at(source.room());
            memory = rest;
            site.contents.push(source.content(&bytes[..source.len], &cache_control));
        }
        Ok(site)
    }

    /// A file by its own path; an index also by its folder's, to which the one without a slash leads.
    fn add_file(&mut self, file: &File, index: &str, number: usize) -> Result<(), StartError> {
        let path = encoded(&file.path)?;
        if let Some(folder) = file.path.strip_suffix(index).filter(|folder| folder.ends_with('/')) {
            let folder = encoded(folder)?;
            if let Some(bare) = folder.strip_suffix(b"/").filter(|bare| !bare.is_empty()) {
                self.add(bare.into(), Resource::Folder(self.locations.len() as u32));
                self.locations.push(folder.clone());
            }
            self.add(folder, Resource::Content(number as u32));
        }
        self.add(path, Resource::Content(number as u32));
        Ok(())
    }

    /// What is added later takes the place of what was there: pages that of files.
    fn add(&mut self, path: Box<[u8]>, resource: Resource) {
        self.table.insert(path, resource);
    }

    /// What is at a path as a client spells it.
    ///
    /// # Errors
    /// The path is none.
    #[inline]
    pub(super) fn find(&self, path: &[u8]) -> Result<Option<Resource>, PathError> {
        match self.table.get(path) {
            Some(found) => Ok(Some(*found)),
            None => self.find_canonical(path),
        }
    }

    #[cold]
    fn find_canonical(&self, path: &[u8]) -> Result<Option<Resource>, PathError> {
        let mut memory = [0; MAX_PATH];
        match canonical(path, &mut memory) {
            Ok(len) => Ok(self.table.get(&memory[..len]).copied()),
            // No resource has a path that long.
            Err(PathError::TooLong) => Ok(None),
            Err(PathError::Bad) => Err(PathError::Bad),
        }
    }

    #[inline]
    pub(super) fn content(&self, number: u32) -> &Content {
        &self.contents[number as usize]
    }

    /// The bytes of a content that an extent is of.
    pub(super) fn bytes(&self, number: u32, extent: Extent) -> &'static [u8] {
        let body = self.content(number).body;
        match extent {
            Extent::Whole => body,
            Extent::Part { start, len } => &body[start as usize..(start + len) as usize],
            Extent::Unsatisfiable => &[],
        }
    }

    /// The interim response that asks for a body.
    pub(super) fn interim(&self) -> &'static [u8] {
        self.interim
    }

    /// The Cache-Control field, with its line end, or nothing.
    pub(super) fn cache_control(&self) -> &[u8] {
        &self.cache_control
    }

    pub(super) fn location(&self, number: u32) -> &[u8] {
        &self.locations[number as usize]
    }

    /// How many contents there are, and their bytes.
    pub fn size(&self) -> (usize, u64) {
        (self.contents.len(), self.contents.iter().map(|content| content.body.len() as u64).sum())
    }
}

/// Bytes of memory for a server's contents, each of which takes so many.
fn room(http: &config::Http, contents: impl Iterator<Item = usize>) -> Result<usize, StartError> {
    let (bytes, limit) = (ALIGN + contents.sum::<usize>(), http.limits.memory_mb);
    if bytes > (limit as usize) << 20 {
        let need = bytes.div_ceil(1 << 20);
        let why = format!("its contents take {need} MiB, more than `memory_mb`, {limit}, allows");
        return Err(StartError(why));
    }
    Ok(bytes)
}

/// The canonical form of a path that is not percent-encoded.
fn encoded(path: &str) -> Result<Box<[u8]>, StartError> {
    let mut memory = [0; MAX_PATH];
    match target::encode(path.as_bytes(), &mut memory) {
        Ok(len) => Ok(memory[..len].into()),
        Err(_) => {
            Err(StartError(format!("the path {path} is longer than {MAX_PATH} bytes, percent-encoded")))
        }
    }
}

fn fill(sources: &[Source<'_>], memory: &mut [u8]) -> io::Result<()> {
    let (interim, mut memory) = memory.split_at_mut(ALIGN);
    interim[..CONTINUE.len()].copy_from_slice(CONTINUE);
    for source in sources {
        let (mine, rest) = memory.split_at_mut(source.room());
        memory = rest;
        let mine = &mut mine[..source.len];
        match &source.bytes {
            Bytes::Page(text) => mine.copy_from_slice(text.as_bytes()),
            // A file that grew since it was found is served as it was then; one that shrank, not at all.
            Bytes::File(path) => std::fs::File::open(path)
                .and_then(|mut file| file.read_exact(mine))
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?,
        }
    }
    Ok(())
}

impl<'a> Source<'a> {
    fn file(file: File) -> Source<'a> {
        // By the name that is served: a link may lead to another.
        let content_type = media::content_type(Path::new(&file.path));
        Source { bytes: Bytes::File(file.file), len: file.len, content_type, modified: Some(file.modified) }
    }

    fn page(page: &'a config::Page) -> Source<'a> {
        let bytes = Bytes::Page(&page.body);
        Source { bytes, len: page.body.len(), content_type: page.content_type.clone(), modified: None }
    }

    fn room(&self) -> usize {
        self.len.next_multiple_of(ALIGN)
    }

    fn content(&self, body: &'static [u8], cache_control: &str) -> Content {
        let mut hash = DefaultHasher::new();
        hash.write(body);
        let etag = format!("\"{:x}-{:016x}\"", body.len(), hash.finish());
        //= RFC 9110 section 8.8.2.1: no date of a change lies in the future.
        let modified = self.modified.map(|time| whole_seconds(time.min(SystemTime::now())));
        let mut fields = format!("Content-Type: {}\r\nETag: {etag}\r\n", self.content_type);
        if let Some(modified) = modified {
            let date = HttpDate::new(modified);
            fields += &format!("Last-Modified: {}\r\n", String::from_utf8_lossy(date.as_bytes()));
        }
        fields += "Accept-Ranges: bytes\r\n";
        fields += cache_control;
        let whole = format!("Content-Length: {}\r\n{fields}", body.len());
        let boxed = |text: String| text.into_bytes().into_boxed_slice();
        Content { body, etag: boxed(etag), modified, fields: boxed(fields), whole: boxed(whole) }
    }
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}
