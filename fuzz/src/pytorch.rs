//! A pickle alone becomes an archive.

use std::io::{Cursor, Read, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// The entries of a sound archive beside its pickle.
pub struct Beside(Vec<(String, Vec<u8>)>);

impl Beside {
    pub fn of(sound: &[u8]) -> Self {
        let mut archive = ZipArchive::new(Cursor::new(sound)).expect("an archive");
        let mut entries = Vec::new();
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).expect("an entry");
            let name = entry.name().expect("a name").into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("readable");
            entries.push((name, bytes));
        }
        entries.retain(|(name, _)| !name.ends_with("/data.pkl"));
        Self(entries)
    }

    /// An archive with this pickle: a change of its length would else hide all that is behind it.
    pub fn with(&self, pickle: &[u8]) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        let pickle = ("pytorch_model/data.pkl", pickle);
        for (name, bytes) in
            [pickle].into_iter().chain(self.0.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())))
        {
            archive.start_file(name, options).and_then(|()| Ok(archive.write_all(bytes)?)).expect("written");
        }
        archive.finish().expect("an archive").into_inner()
    }
}
