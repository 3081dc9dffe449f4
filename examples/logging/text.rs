//! What is logged: the lines of real files.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// A file that was read.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) lines: Vec<Line>,
}

pub(crate) struct Line {
    pub(crate) text: String,
    /// If a paragraph ends with this line, the line where it began.
    pub(crate) paragraph: Option<u32>,
}

pub(crate) struct Text {
    sources: Vec<Source>,
}

/// A line of a text, by its number, from 0.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) source: u32,
    pub(crate) line: u32,
}

impl Text {
    /// Reads `files`, or if there are none, the sources of the crate that this example belongs to.
    pub(crate) fn read(files: &[PathBuf]) -> Result<Self, String> {
        let sources = match files {
            [] => rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))?,
            _ => files.to_vec(),
        };
        let mut sources =
            sources.iter().map(|path| Source::read(path)).collect::<Result<Vec<_>, _>>()?;
        sources.retain(|source| !source.lines.is_empty());
        if sources.is_empty() {
            Err("the files do not contain a single line".into())
        } else {
            Ok(Self { sources })
        }
    }

    /// The files in the order in which a producer logs them, over and over.
    pub(crate) fn sources_for(&self, producer: usize) -> impl Iterator<Item = u32> + use<> {
        let count = self.sources.len();
        (0..count as u32).cycle().skip(producer % count)
    }

    /// The lines of a file.
    pub(crate) fn places_in(&self, source: u32) -> impl Iterator<Item = Place> + use<> {
        (0..self.source(source).lines.len() as u32).map(move |line| Place { source, line })
    }

    pub(crate) fn source(&self, number: u32) -> &Source {
        &self.sources[number as usize]
    }

    pub(crate) fn line(&self, place: Place) -> &Line {
        &self.source(place.source).lines[place.line as usize]
    }

    /// How many files, and how many lines.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.sources.len(), self.sources.iter().map(|source| source.lines.len()).sum())
    }
}

impl Source {
    fn read(path: &Path) -> Result<Self, String> {
        let bytes = fs::read(path).map_err(|error| cannot_read(path, &error))?;
        let short = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path);
        let name = short.to_string_lossy().replace(char::is_control, "?");
        Ok(Self { name, lines: split(&String::from_utf8_lossy(&bytes)) })
    }
}

/// Splits a text into lines, and finds its paragraphs, which blank lines separate.
fn split(text: &str) -> Vec<Line> {
    let texts: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut begin = 0;
    let mut lines = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        let ends = !text.is_empty() && texts.get(number + 1).is_none_or(|next| next.is_empty());
        if text.is_empty() {
            begin = number as u32 + 1;
        }
        lines.push(Line { text: (*text).into(), paragraph: ends.then_some(begin) });
    }
    lines
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries: Vec<_> =
        entries.map_err(|error| cannot_read(folder, &error))?.iter().map(|e| e.path()).collect();
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension() == Some(OsStr::new("rs")) {
            files.push(path);
        }
    }
    Ok(files)
}

fn cannot_read(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}
