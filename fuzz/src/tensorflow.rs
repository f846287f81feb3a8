//! Checksums made right: behind wrong ones nothing would be read.

/// The key of the object graph in an index.
const GRAPH: &[u8] = b"_CHECKPOINTABLE_OBJECT_GRAPH";

/// Whether an index is of a checkpoint of objects.
pub fn has_objects(index: &[u8]) -> bool {
    index.windows(GRAPH.len()).any(|window| window == GRAPH)
}

/// The data file of a checkpoint of objects with `graph` in the place of its object graph, cut or filled up to its length.
pub fn with_graph(data: &[u8], graph: &[u8]) -> Vec<u8> {
    let mut file = data.to_vec();
    // It is the last tensor of the file: a length, a checksum, and a text of that length.
    let start = (0..file.len()).find_map(|at| {
        let mut rest = &file[at..];
        let length = varint(&mut rest).filter(|&length| length > 1000 && rest.len().checked_sub(4) == Some(length))?;
        Some(file.len() - length)
    });
    let place = &mut file[start.expect("an object graph")..];
    // With fields number 0 of value 0, which nothing reads.
    place.fill(0);
    let taken = graph.len().min(place.len());
    place[..taken].copy_from_slice(&graph[..taken]);
    file
}

/// The index of a TensorFlow checkpoint with the checksums of its blocks made right, as far as its blocks can be found.
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
        file.get_mut(end..end.checked_add(4)?)?.copy_from_slice(&crc.to_le_bytes());
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
