//! Files that were made to do harm, or that were harmed: each is an error that says what is wrong, soon and in little memory,
//! whatever the format.

#[path = "../support/mod.rs"]
mod support;

mod config;
mod damage;
mod flax;
mod pytorch;
mod tensorflow;
mod tokenizer;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bert_layers::{DeviceChoice, Encoder, Error, LoadOptions};
use peak_alloc::PeakAlloc;
use support::fixture;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Memory is measured for the whole process: every test begins with this, and nothing of another's is counted as a model's.
fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

static ALONE: Mutex<()> = Mutex::new(());

/// What reading a file may take beside its own size four times.
const ALLOWANCE: usize = 32 << 20;

/// A copy of a fixture that a test may damage; removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn copy(fixture_name: &str, test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("bert-layers-hostile-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        copy(&fixture(fixture_name), &folder);
        Self(folder)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).expect(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.join(name), bytes).expect("writable");
    }

    fn cut(&self, name: &str, length: usize) {
        let file = std::fs::OpenOptions::new().write(true).open(self.0.join(name)).expect(name);
        file.set_len(length as u64).expect("cut");
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.0.join(name)).expect("removable");
    }

    /// Loads the model, in bounded memory.
    fn load(&self) -> Result<Encoder, Error> {
        assert!(ALONE.try_lock().is_err(), "a test begins with alone()");
        let input = size(&self.0);
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let options = LoadOptions { device: DeviceChoice::Cpu, threads: Some(1), ..LoadOptions::default() };
        let result = Encoder::from_pretrained(&self.0.to_string_lossy(), &options);
        let taken = MEMORY.peak_usage().saturating_sub(before);
        assert!(taken <= 4 * input + ALLOWANCE, "{taken} bytes of memory for {input} bytes of input");
        result
    }

    /// The message of the error that there must be.
    fn refused(&self, code: &str, says: &[&str]) -> String {
        let error = self.load().err().unwrap_or_else(|| panic!("loaded, though {says:?}"));
        assert_eq!(error.code(), code, "{error}");
        let message = error.to_string();
        assert!(message.len() < 2000, "a message of {} bytes", message.len());
        for part in says {
            assert!(message.contains(part), "'{part}' is not in: {message}");
        }
        message
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

fn size(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    entries
        .map(
            |entry| {
                if entry.path().is_dir() {
                    size(&entry.path())
                } else {
                    entry.metadata().map_or(0, |m| m.len() as usize)
                }
            },
        )
        .sum()
}
