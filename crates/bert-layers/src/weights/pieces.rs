//! Tensors piece by piece, on all threads: what is read is still in the cache when it is checked and hashed, and fresh memory, which
//! costs as much as reading, is touched by all.

use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};

use bert_layers_kernels::Crew;

use crate::{Result, threads};

/// Values of a piece, 1 MB: what a core's cache holds. The hash of a tensor is made of its pieces' hashes, so this is part of it.
const PIECE: usize = 1 << 18;

/// `job` of each piece of `values`, with the number of its first value; in order.
pub(super) fn map<T: Send + Sync>(
    crew: &Crew,
    values: &mut [f32],
    job: impl Fn(usize, &mut [f32]) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let pieces: Vec<Mutex<&mut [f32]>> = values.chunks_mut(PIECE).map(Mutex::new).collect();
    threads::map(crew, pieces.len(), |i| {
        // A piece is taken once.
        job(i * PIECE, &mut pieces[i].lock().unwrap_or_else(PoisonError::into_inner))
    })
}

/// Fills `out` from a place in a file, whatever else reads from it.
#[cfg(unix)]
pub(super) fn read_at(file: &File, out: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

/// Fills `out` from a place in a file, whatever else reads from it.
#[cfg(windows)]
pub(super) fn read_at(file: &File, mut out: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !out.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, out, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                out = &mut out[read..];
                offset += read as u64;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{Entry, TensorFile};
    use safetensors::Dtype;

    #[test]
    fn any_number_of_threads_reads_the_same() {
        let values: Vec<f32> =
            (0..2 * PIECE as u32 + 5).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9) >> 2)).collect();
        let path = std::env::temp_dir().join(format!("bert-layers-pieces-{}", std::process::id()));
        std::fs::write(&path, [&[1, 2, 3], bytemuck::cast_slice(&values)].concat()).expect("a file");
        for threads in [1, 3] {
            let mut file = TensorFile::new(&path);
            file.open_data(&path).expect("it is there");
            let bytes = size_of_val(&values[..]) as u64;
            file.add("w".into(), Entry::row_major(Dtype::F32, vec![values.len()], 3, bytes)).expect("it fits");
            let crew = Crew::start(threads).expect("threads");
            let (read, firsts) = file.read_pieces("w", &crew, |piece| (piece[0], piece.len())).expect("it can be read");
            assert!(bytemuck::cast_slice::<_, u32>(&read) == bytemuck::cast_slice::<_, u32>(&values));
            let expected = [(values[0], PIECE), (values[PIECE], PIECE), (values[2 * PIECE], 5)];
            assert_eq!(firsts, expected);
            // Cut short under us: an error, not a signal.
            std::fs::File::options().write(true).open(&path).and_then(|f| f.set_len(bytes)).expect("a shorter file");
            let cut = file.read_pieces("w", &crew, |_| ()).expect_err("three bytes are missing");
            assert!(cut.to_string().contains("'w' is cut short"), "{cut}");
            std::fs::write(&path, [&[1, 2, 3], bytemuck::cast_slice(&values)].concat()).expect("a file");
        }
        std::fs::remove_file(&path).expect("it was there");
    }
}
