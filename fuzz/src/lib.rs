//! A model's folder of which one file is what the fuzzer makes.

use std::path::{Path, PathBuf};

use bert_layers::{DeviceChoice, EncodeOptions, Encoder, Input, LoadOptions};

/// A copy of a fixture in memory-backed storage, where there is one.
pub struct Model(PathBuf);

impl Model {
    /// Copies a folder of test/fixtures, less the file that will be written.
    pub fn of(fixture: &str, less: &[&str]) -> Self {
        // The tokenizers library answers some damage with a panic, which the engine catches: only one that comes out is a finding.
        std::panic::set_hook(Box::new(|_| {}));
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = parent.join(format!("bert-layers-fuzz-{}", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../test/fixtures").join(fixture);
        std::fs::create_dir_all(&folder).expect("a folder");
        for entry in std::fs::read_dir(source).expect("a fixture").flatten().filter(|entry| entry.path().is_file()) {
            if !less.iter().any(|name| entry.file_name() == *name) {
                std::fs::copy(entry.path(), folder.join(entry.file_name())).expect("copied");
            }
        }
        Self(folder)
    }

    /// Writes a file of the folder.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.join(name), bytes).expect("writable");
    }

    /// Loads the model with a file as the fuzzer made it, and encodes with it. Whatever the file, the answer is a model or an
    /// error, and never a defect of ours.
    pub fn try_with(&self, name: &str, bytes: &[u8]) {
        self.write(name, bytes);
        let options = LoadOptions { device: DeviceChoice::Cpu, threads: Some(1), ..LoadOptions::default() };
        let encode = |encoder: Encoder| {
            let ids = Input::Ids { ids: vec![1, 2], type_ids: None, attention_mask: None };
            encoder.encode(&[ids], &EncodeOptions::default())?;
            match encoder.tokenizer() {
                Some(_) => encoder.encode(&["Hello 世界 a<mask>".into()], &EncodeOptions::default()).map(drop),
                None => Ok(()),
            }
        };
        if let Err(error) = Encoder::from_pretrained(&self.0.to_string_lossy(), &options).and_then(encode) {
            assert_ne!(error.code(), "ERR_INTERNAL", "{error}");
        }
    }
}

/// The index of a TensorFlow checkpoint with the checksums of its blocks made right, as far as its blocks can be found: behind
/// wrong ones nothing would be read.
pub fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    fix(&mut file);
    file
}

fn fix(file: &mut [u8]) -> Option<()> {
    let footer = file[file.len().checked_sub(48)?..].to_vec();
    let mut footer = &footer[..];
    let mut handle = || Some((varint(&mut footer)?, varint(&mut footer)?));
    let (meta, index) = (handle()?, handle()?);
    for (start, size) in [(0, meta.0.checked_sub(5)?), meta, index] {
        let end = start.checked_add(size)?.checked_add(1)?;
        let crc = crc32c::crc32c(file.get(start..end)?).rotate_right(15).wrapping_add(0xa282_ead8);
        file.get_mut(end..end + 4)?.copy_from_slice(&crc.to_le_bytes());
    }
    Some(())
}

fn varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
