//! A lock between processes, for downloads: Node has none that ends with its process.

use std::fs::{File, OpenOptions, TryLockError};

use napi_derive::napi;

/// An exclusive lock on a file: flock on Unix, LockFileEx on Windows. The system takes it from a process that ends, however it
/// ends, so there are no stale ones. Python's filelock, which huggingface_hub uses, takes the same.
#[napi]
pub struct FileLock {
    path: String,
    file: Option<File>,
}

#[napi]
impl FileLock {
    /// A lock that is not held. The file is made when it is first tried; it stays.
    #[napi(constructor)]
    pub fn new(path: String) -> Self {
        Self { path, file: None }
    }

    /// Tries once: 'held', 'busy' while another process or thread holds it, 'unsupported' where the file system has no locks
    /// or the file cannot be opened.
    #[napi]
    pub fn try_acquire(&mut self) -> &'static str {
        let Ok(file) = open(&self.path) else { return "unsupported" };
        match file.try_lock() {
            Ok(()) if is_unlinked(&file) => "busy", // of a name that another file has by now: try again
            Ok(()) => {
                self.file = Some(file);
                "held"
            }
            Err(TryLockError::WouldBlock) => "busy",
            Err(TryLockError::Error(_)) => "unsupported",
        }
    }

    /// Gives it back, if it is held.
    #[napi]
    pub fn release(&mut self) {
        self.file = None;
    }
}

fn open(path: &str) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o664); // a cache may be a group's
    options.open(path)
}

#[cfg(unix)]
fn is_unlinked(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| std::os::unix::fs::MetadataExt::nlink(&metadata) == 0)
}

#[cfg(not(unix))]
fn is_unlinked(_: &File) -> bool {
    false
}
