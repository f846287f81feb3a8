//! MessagePack of the wrong shape.

use super::{Folder, alone};

const FILE: &str = "flax_model.msgpack";
const INVALID: &str = "ERR_MODEL_INVALID";

/// {"w": extension}
fn with_array(extension: &[u8]) -> Vec<u8> {
    [b"\x81\xa1w", extension].concat()
}

/// An extension of kind 1 with what is inside.
fn array(inside: &[u8]) -> Vec<u8> {
    [&[0xc7, inside.len() as u8, 1], inside].concat()
}

#[test]
fn is_a_map_of_arrays() {
    let _alone = alone();
    let folder = Folder::copy("formats/flax", "flax-shape");
    let sound = with_array(&array(b"\x93\x92\x02\x01\xa7float32\xc4\x08\0\0\0\0\0\0\0\0"));
    folder.write(FILE, &sound);
    folder.refused(INVALID, &["word_embeddings"]);
    for (bytes, says) in [
        (b"".to_vec(), "cut short"),
        (b"\x93\x01\x02\x03".to_vec(), "must be a map of parameters, is a list of 3"),
        (b"\xa5hello".to_vec(), "is the text 'hello'"),
        (b"\x81\x01\x02".to_vec(), "has the number 1 where a name should be"),
        (b"\x81\xa1w\x05".to_vec(), "'w' must be an array, is the number 5"),
        (b"\x81\xa1w\xc0".to_vec(), "'w' must be an array, is nothing"),
        (b"\x81\xa1w\x92\x01\x02".to_vec(), "is a list of 2"),
        (b"\x81\xa1w\xc1".to_vec(), "0xc1"),
        ([&sound[..], b"\xc0"].concat(), "goes on behind its parameters"),
        ([b"\x82", &sound[1..], &sound[1..]].concat(), "two tensors named 'w'"),
        (with_array(b"\xc7\x00\x02"), "extension of kind 2"),
        (with_array(&array(b"\x93\x91\x02\xa7complex\xc4\x00")), "type 'complex'"),
        (with_array(&array(b"\x93\x91\x03\xa7float32\xc4\x08\0\0\0\0\0\0\0\0")), "needs 12 bytes, 8 are stored"),
        (with_array(&array(b"\x93\x91\xff\xa7float32\xc4\x00")), "size -1"),
        (
            with_array(&array(b"\x93\x92\xcf\x7f\xff\xff\xff\xff\xff\xff\xff\x08\xa7float32\xc4\x00")),
            "impossible shape",
        ),
        (with_array(&array(b"\x93\x9f\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01")), "15 dimensions"),
        (with_array(&array(b"\x92\x90\xa7float32")), "damaged array"),
        // What is inside goes beyond the extension, and ends before it.
        (
            with_array(&[b"\xc7\x05\x01".as_slice(), b"\x93\x91\x02\xa7float32\xc4\x08\0\0\0\0\0\0\0\0"].concat()),
            "damaged array",
        ),
        (with_array(&array(b"\x93\x91\x00\xa7float32\xc4\x00\xc0")), "damaged array"),
    ] {
        folder.write(FILE, &bytes);
        folder.refused(INVALID, &[says]);
    }
}

#[test]
fn declares_no_more_than_it_has() {
    let _alone = alone();
    let folder = Folder::copy("formats/flax", "flax-sizes");
    for bytes in [
        b"\xdf\xff\xff\xff\xff".to_vec(),                                   // a map of 4 billion
        b"\x81\xdb\xff\xff\xff\xff".to_vec(),                               // a name of 4 GB
        with_array(b"\xc9\xff\xff\xff\xff\x01"),                            // an array of 4 GB
        with_array(&array(b"\x93\xdd\xff\xff\xff\xff")),                    // of 4 billion dimensions
        with_array(&array(b"\x93\x91\x01\xa7float32\xc6\xff\xff\xff\xff")), // whose values have 4 GB
    ] {
        folder.write(FILE, &bytes);
        let message = folder.refused(INVALID, &[FILE]);
        assert!(message.contains("cut short") || message.contains("4294967295"), "{message}");
    }
    // A million maps, one in the other.
    folder.write(FILE, &b"\x81\xa1m".repeat(1_000_000));
    folder.refused(INVALID, &["nests modules deeper"]);
    // 300,000 empty arrays.
    let mut bytes = b"\xdf\x00\x04\x93\xe0".to_vec();
    for i in 0..300_000 {
        bytes.extend(format!("\u{a6}{i:06}").chars().map(|c| c as u8));
        bytes.extend(array(b"\x93\x91\x00\xa7float32\xc4\x00"));
    }
    folder.write(FILE, &bytes);
    folder.refused(INVALID, &["more than 10000 tensors"]);
    // Names that grow with each module.
    let module = [b"\x81\xd9\xff".as_slice(), &[b'm'; 255]].concat();
    let inner = with_array(&array(b"\x93\x91\x00\xa7float32\xc4\x00"));
    folder.write(FILE, &[module.repeat(20), inner].concat());
    folder.refused(INVALID, &["bytes long"]);
}

#[test]
fn chunks_are_those_of_one_array() {
    let _alone = alone();
    let folder = Folder::copy("formats/flax", "flax-chunks");
    let chunk = array(b"\x93\x91\x01\xa7float32\xc4\x04\0\0\0\0");
    let other = array(b"\x93\x91\x01\xa7float16\xc4\x02\0\0");
    let mark = b"\x81\xa1w\x83\xb9__msgpack_chunked_array__\xc3\xa5shape".as_slice();
    let one = b"\x81\xa10\x02\xa6chunks".as_slice();
    folder.write(FILE, &[mark, one, b"\x82\xa10", &chunk, b"\xa11", &chunk].concat());
    folder.refused(INVALID, &["word_embeddings"]);
    for (bytes, says) in [
        ([mark, one, b"\x82\xa10", &chunk, b"\xa11", &other].concat(), "differ in type"),
        ([mark, one, b"\x82\xa10", &chunk, b"\xa12", &chunk].concat(), "'2' where '1' should be"),
        ([mark, one, b"\x81\xa10", &chunk].concat(), "needs 8 bytes, 4 are stored"),
        ([mark, one, b"\x80"].concat(), "damaged chunked array"),
        ([mark, b"\x81\xa10\x02\xa5shape\x80"].concat(), "damaged chunked array"),
        ([mark, b"\x05"].concat(), "shape must be a map"),
        (b"\x81\xa1w\x81\xb9__msgpack_chunked_array__\xc3".to_vec(), "damaged chunked array"),
    ] {
        folder.write(FILE, &bytes);
        folder.refused(INVALID, &[says]);
    }
}
