//! Checkpoints whose index is compressed, corrupt or lies.

use super::{Folder, alone};

const INDEX: &str = "bert_model.ckpt.index";
const DATA: &str = "bert_model.ckpt.data-00000-of-00001";
const INVALID: &str = "ERR_MODEL_INVALID";
const UNSUPPORTED: &str = "ERR_MODEL_UNSUPPORTED";
const MAGIC: [u8; 8] = 0xdb47_7524_8b80_fb57u64.to_le_bytes();

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// The same file, its blocks' checksums made right as far as its blocks can be found.
pub fn with_checksums(mut file: Vec<u8>) -> Vec<u8> {
    fix(&mut file);
    file
}

fn fix(file: &mut [u8]) -> Option<()> {
    let mut footer = &file[file.len().checked_sub(48)?..].to_vec()[..];
    let mut handle = || Some((read_varint(&mut footer)? as usize, read_varint(&mut footer)? as usize));
    let (meta, index) = (handle()?, handle()?);
    // The block of the entries comes first.
    for (start, size) in [(0, meta.0.checked_sub(5)?), meta, index] {
        let end = start.checked_add(size)?.checked_add(1)?;
        let crc = masked(file.get(start..end)?);
        file.get_mut(end..end + 4)?.copy_from_slice(&crc);
    }
    Some(())
}

/// A block of entries, with its trailer.
fn block(entries: &[(&[u8], Vec<u8>)], compression: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in entries {
        bytes.extend([varint(0), varint(key.len() as u64), varint(value.len() as u64)].concat());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
    }
    bytes.extend([0, 0, 0, 0, 1, 0, 0, 0, compression]);
    let crc = masked(&bytes);
    [bytes, crc.to_vec()].concat()
}

/// A table of one block, which its index names `times` times.
fn table(entries: &[(&[u8], Vec<u8>)], compression: u8, times: usize) -> Vec<u8> {
    let data = block(entries, compression);
    let meta = block(&[], 0);
    let handle = |start: usize, block: &[u8]| [varint(start as u64), varint(block.len() as u64 - 5)].concat();
    let index = block(&vec![(b"z".as_slice(), handle(0, &data)); times], 0);
    let starts = (data.len(), data.len() + meta.len());
    let mut footer = [handle(starts.0, &meta), handle(starts.1, &index)].concat();
    footer.resize(40, 0);
    [data, meta, index, footer, MAGIC.to_vec()].concat()
}

/// One data file, little-endian.
fn header() -> (&'static [u8], Vec<u8>) {
    (b"", vec![0x08, 1, 0x1a, 2, 8, 1])
}

/// An entry of f32 values [2, 2] at 0, and fields of one's own behind.
fn entry(shape: &[u8], more: &[u8]) -> Vec<u8> {
    [&[0x08, 1, 0x12, shape.len() as u8], shape, &[0x28, 16], more].concat()
}

const SHAPE: &[u8] = b"\x12\x02\x08\x02\x12\x02\x08\x02";

#[test]
fn an_index_is_a_sound_table() {
    let _alone = alone();
    let folder = Folder::copy("formats/tensorflow", "tf-table");
    let sound = [header(), (b"bert/w", entry(SHAPE, b""))];
    folder.write(INDEX, &table(&sound, 0, 1));
    folder.refused(INVALID, &["word_embeddings"]);
    folder.write(INDEX, &table(&sound, 1, 1));
    folder.refused(UNSUPPORTED, &["compressed (Snappy)"]);
    folder.write(INDEX, &table(&sound, 9, 1));
    folder.refused(UNSUPPORTED, &["compressed (type 9)"]);
    // A block that is named twice, and one that is named ten thousand times.
    folder.write(INDEX, &table(&sound, 0, 2));
    folder.refused(INVALID, &["two"]);
    folder.write(INDEX, &table(&[header()], 0, 10_000));
    folder.refused(INVALID, &["names a block twice"]);
    let mut wrong = table(&sound, 0, 1);
    wrong[4] ^= 1;
    folder.write(INDEX, &wrong);
    folder.refused(INVALID, &["checksum"]);
    let mut no_magic = table(&sound, 0, 1);
    let last = no_magic.len() - 1;
    no_magic[last] = 0;
    folder.write(INDEX, &no_magic);
    folder.refused(INVALID, &["cut short, or no index"]);
    folder.write(INDEX, &table(&sound[1..], 0, 1));
    folder.refused(INVALID, &["lacks its header"]);
}

#[test]
fn entries_fit_their_data() {
    let _alone = alone();
    let folder = Folder::copy("formats/tensorflow", "tf-entries");
    for (name, value, code, says) in [
        ("bert/w", entry(b"\x12\x02\x08\x03", b""), INVALID, "needs 12 bytes, 16 are stored"),
        ("bert/w", entry(SHAPE, b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), INVALID, "is cut short"),
        ("bert/w", entry(b"\x12\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b""), INVALID, "impossible shape"),
        ("bert/w", entry(&b"\x12\x00".repeat(60), b""), INVALID, "damaged entry"),
        ("bert/w", entry(SHAPE, b"\x18\x05"), INVALID, "in no file"),
        ("bert/w", entry(SHAPE, b"\x3a\x00"), UNSUPPORTED, "stored in slices"),
        ("bert/w", entry(SHAPE, b"\x0f"), INVALID, "damaged entry"),
        ("bert/w", b"\x12\x7f".to_vec(), INVALID, "damaged entry"),
        (
            "_CHECKPOINTABLE_OBJECT_GRAPH",
            b"\x08\x07\x12\x00\x28\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec(),
            INVALID,
            "is cut short",
        ),
        ("_CHECKPOINTABLE_OBJECT_GRAPH", b"\x08\x07\x12\x00\x28\x10".to_vec(), INVALID, "object graph"),
    ] {
        folder.write(INDEX, &table(&[header(), (name.as_bytes(), value)], 0, 1));
        folder.refused(code, &[says]);
    }
    for (value, code, says) in [
        (vec![0x08, 0xff, 0xff, 0xff, 0xff, 0x0f], INVALID, "in 4294967295 files"),
        (vec![0x08, 2], INVALID, "data-00000-of-00002"),
        (vec![0x08, 1, 0x10, 1], UNSUPPORTED, "big-endian"),
        (vec![0x08], INVALID, "damaged header"),
    ] {
        folder.write(INDEX, &table(&[(b"", value)], 0, 1));
        folder.refused(code, &[says]);
    }
    // A block of 200,000 entries whose keys share all but a byte of 400.
    let key = [b'k'; 400];
    let mut bytes = [varint(0), varint(400), varint(0), key.to_vec()].concat();
    bytes.extend([varint(399), varint(1), varint(0), vec![b'l']].concat().repeat(200_000));
    bytes.extend([0, 0, 0, 0, 1, 0, 0, 0, 0]);
    let crc = masked(&bytes);
    bytes.extend(crc);
    let index = block(&[(b"z", [varint(0), varint(bytes.len() as u64 - 5)].concat())], 0);
    let start = bytes.len();
    bytes.extend(&index);
    let mut footer = [varint(0), varint(0), varint(start as u64), varint(index.len() as u64 - 5)].concat();
    footer.resize(40, 0);
    folder.write(INDEX, &[bytes, footer, MAGIC.to_vec()].concat());
    folder.refused(INVALID, &["more entries than any"]);
}

#[test]
fn a_tensor_s_checksum_is_checked() {
    let _alone = alone();
    let folder = Folder::copy("formats/tensorflow", "tf-crc");
    let mut data = folder.read(DATA);
    let middle = data.len() / 2;
    data[middle] ^= 1;
    folder.write(DATA, &data);
    folder.refused(INVALID, &[DATA, "checksum"]);
    folder.remove(DATA);
    folder.write("other.txt", b"");
    folder.refused(INVALID, &[DATA, "missing"]);
}
