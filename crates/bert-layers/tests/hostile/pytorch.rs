//! Pickles that ask for more than tensors, and archives that are not what they say.

use std::io::{Cursor, Write};

use zip::write::{SimpleFileOptions, ZipWriter};

use super::{Folder, alone};

const FILE: &str = "pytorch_model.bin";
const UNSUPPORTED: &str = "ERR_MODEL_UNSUPPORTED";
const INVALID: &str = "ERR_MODEL_INVALID";

fn folder(test: &str) -> Folder {
    Folder::copy("formats/pytorch-zip", &format!("pytorch-{test}"))
}

/// An archive as PyTorch makes it.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in entries {
        zip.start_file(format!("archive/{name}"), options).expect("an entry");
        zip.write_all(bytes).expect("written");
    }
    zip.finish().expect("an archive").into_inner()
}

fn with_pickle(pickle: &[u8]) -> Vec<u8> {
    archive(&[("data.pkl", pickle), ("data/0", &[0; 64])])
}

/// The form before PyTorch 1.6, with this pickle for its state_dict.
fn legacy(pickle: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".as_slice();
    [magic, b"\x80\x02M\xe9\x03.", b"\x80\x02}.", pickle, b"\x80\x02]."].concat()
}

/// A state_dict of one tensor, with parts of one's own.
fn tensor(count: &[u8], offset: &[u8], shape: &[u8], strides: &[u8]) -> Vec<u8> {
    [
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n",
        b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu".as_slice(),
        count,
        b"tQ",
        offset,
        shape,
        strides,
        b"\x89ccollections\nOrderedDict\n)RtRs.",
    ]
    .concat()
}

#[test]
fn what_is_no_tensor_is_refused_by_its_name() {
    let _alone = alone();
    let folder = folder("names");
    for (asks, name) in [
        (b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R.".as_slice(), "posix.system"),
        (b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.", "builtins.eval"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),
        (b"\x80\x02}(X\x01\x00\x00\x00acnumpy.core.multiarray\n_reconstruct\n", "numpy.core.multiarray._reconstruct"),
        (b"\x80\x02ctorch\nQUInt8Storage\n.", "torch.QUInt8Storage"),
        (b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81.", "torch.nn.modules.linear.Linear"),
        (b"\x80\x02ccollections\nOrderedDict.__reduce__\n.", "collections.OrderedDict.__reduce__"),
    ] {
        for bytes in [with_pickle(asks), legacy(asks)] {
            folder.write(FILE, &bytes);
            folder.refused(UNSUPPORTED, &[FILE, &format!("asks for {name},"), "refused"]);
        }
    }
    // A name is shown as far as it can be read, and never as it is.
    let long = [b"\x80\x02c\x1b[31m".as_slice(), &[b'a'; 100_000], b"\nb\n."].concat();
    folder.write(FILE, &with_pickle(&long));
    let message = folder.refused(UNSUPPORTED, &["\\u{1b}[31maaa"]);
    assert!(!message.contains('\u{1b}'));
}

#[test]
fn nothing_can_be_called_but_what_makes_tensors() {
    let _alone = alone();
    let folder = folder("calls");
    for (pickle, says) in [
        (b"\x80\x02X\x01\x00\x00\x00a)R.".as_slice(), "calls the text 'a'"),
        (b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.", "arguments that are not its own"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "arguments that are not its own"),
        (b"\x80\x02ctorch._utils\n_rebuild_parameter\nNNN\x87R.", "arguments that are not its own"),
        (b"\x80\x02ctorch\nFloatStorage\n)R.", "arguments that are not its own"),
        (b"\x80\x02K\x01}b.", "sets attributes of 1"),
        (b"\x80\x02K\x01Q.", "no storage"),
        (
            b"\x80\x02(X\x06\x00\x00\x00modulectorch\nFloatStorage\nX\x01\x00\x00\x000NK\x01tQ.",
            "refers to the text 'module'",
        ),
        (b"\x80\x02i.", "operation 0x69"),
        (b"cposix\n", "cut short"),
        (b"\x80\x02R.", "has not put"),
        (b"\x80\x02K\x01(0.", "has not put"),
        (b"\x80\x02h\x05.", "recalls 5"),
        (b"\x80\x02}K\x01K\x02e.", "mark"),
        (b"\x80\x02\x8a\xff", "cut short"),
        (b"\x80\x02X\xff\xff\xff\xffabc", "cut short"),
        (b"\x80\x02]q\x00h\x00a.", "no state_dict but a list"),
        (b"\x80\x02K\x01.", "no state_dict but 1"),
        (b"", "cut short"),
    ] {
        folder.write(FILE, &with_pickle(pickle));
        folder.refused(INVALID, &[says]);
    }
}

#[test]
fn a_tensor_is_within_its_storage() {
    let _alone = alone();
    let folder = folder("storage");
    let (count, offset) = (b"K\x10".as_slice(), b"K\x00".as_slice());
    let (shape, strides) = (b"K\x04K\x04\x86".as_slice(), b"K\x04K\x01\x86".as_slice());
    // Sound, but no model: what is asked for first is not there.
    folder.write(FILE, &with_pickle(&tensor(count, offset, shape, strides)));
    folder.refused(INVALID, &["word_embeddings"]);
    let huge = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f".as_slice();
    for (pickle, says) in [
        (tensor(b"K\x11", offset, shape, strides), "should have 17 values"),
        (tensor(huge, offset, shape, strides), "should have 9223372036854775807 values"),
        (tensor(b"J\xff\xff\xff\xff", offset, shape, strides), "-1 values"),
        (tensor(count, b"K\x01", shape, strides), "beyond its storage"),
        (tensor(count, huge, shape, strides), "beyond its storage"),
        (tensor(count, b"J\xff\xff\xff\xff", shape, strides), "before its storage"),
        (tensor(count, offset, b"K\x04K\x05\x86", strides), "beyond its storage"),
        (tensor(count, offset, &[b"K\x04", huge, b"\x86"].concat(), strides), "beyond its storage"),
        (tensor(count, offset, shape, &[b"K\x04", huge, b"\x86"].concat()), "beyond its storage"),
        (tensor(count, offset, shape, b"K\x01\x85"), "beyond its storage"),
        (tensor(count, offset, b"J\xff\xff\xff\xff\x85", b"K\x01\x85"), "without sizes"),
        // Expanded: 1,048,576 values of the one that is stored.
        (tensor(count, offset, b"M\x00\x04M\x00\x04\x86", b"K\x00K\x00\x86"), "needs 4194304 bytes, 4 are stored"),
    ] {
        folder.write(FILE, &with_pickle(&pickle));
        folder.refused(INVALID, &[says]);
    }
}

#[test]
fn cycles_depth_and_length_are_bounded() {
    let _alone = alone();
    let folder = folder("depth");
    // A dictionary that is its own key and value, and a tuple within 100,000 tuples.
    folder.write(FILE, &with_pickle(b"\x80\x02}q\x00h\x00h\x00s."));
    folder.refused(INVALID, &["word_embeddings"]);
    let deep = [b"\x80\x02)".as_slice(), &vec![0x85; 100_000], b"."].concat();
    folder.write(FILE, &with_pickle(&deep));
    folder.refused(INVALID, &["no state_dict but a tuple"]);
    // Each tuple holds the one before twice: 2^1000 elements, were they written out.
    let doubling: Vec<u8> = (0..1000).flat_map(|_| *b"q\x00h\x00\x86").collect();
    folder.write(FILE, &with_pickle(&[b"\x80\x02)".as_slice(), &doubling, b"."].concat()));
    folder.refused(INVALID, &["no state_dict but a tuple"]);
    // Operations that take one byte each, and make something.
    for code in [b')', b'}', b']', b'N', b'('] {
        folder.write(FILE, &with_pickle(&[b"\x80\x04".as_slice(), &vec![code; 7 << 20]].concat()));
        folder.refused(INVALID, &["more than 500000 operations"]);
        let memoized: Vec<u8> = [code, 0x94].repeat(1 << 20);
        folder.write(FILE, &with_pickle(&[b"\x80\x04N".as_slice(), &memoized].concat()));
        folder.refused(INVALID, &["more than 500000 operations"]);
    }
    // One long tuple, named as the sizes of many tensors.
    let sizes = [b"(".as_slice(), &b"K\x01".repeat(200_000), b"tq\x01"].concat();
    let many = [b"\x80\x02".as_slice(), &sizes, &tensor(b"K\x10", b"K\x00", b"h\x01", b"h\x01")[2..]].concat();
    folder.write(FILE, &with_pickle(&many));
    folder.refused(INVALID, &["without sizes"]);
    // One long text, used again and again: looked at each time, it would take hours.
    let text = [b"X".as_slice(), &(6u32 << 20).to_le_bytes(), &vec![b'a'; 6 << 20], b"q\x00"].concat();
    let again =
        [b"\x80\x02}".as_slice(), &text, b"NsX\x01\x00\x00\x00b", b"0", &b"h\x00Ns".repeat(100_000), b"."].concat();
    folder.write(FILE, &with_pickle(&again));
    folder.refused(INVALID, &["word_embeddings"]);
    // Longer than any encoder's.
    folder.write(FILE, &with_pickle(&vec![b'N'; 9 << 20]));
    folder.refused(INVALID, &["a pickle of"]);
}

#[test]
fn an_archive_is_what_pytorch_makes() {
    let _alone = alone();
    let folder = folder("archive");
    let whole = folder.read(FILE);
    // Compressed: method 8 in the local header and in the directory of the entry "data/0".
    let mut bomb = whole.clone();
    for (signature, method, name) in [(b"PK\x03\x04", 8, 30), (b"PK\x01\x02", 10, 46)] {
        let at = (0..bomb.len() - 64)
            .find(|&at| bomb[at..].starts_with(signature) && bomb[at + name..].starts_with(b"pytorch_model/data/0"))
            .expect("an entry");
        bomb[at + method] = 8;
    }
    folder.write(FILE, &bomb);
    folder.refused(INVALID, &["pytorch_model/data/0", "compressed"]);
    folder.write(FILE, &archive(&[("data/0", &[0; 4])]));
    folder.refused(INVALID, &["without data.pkl"]);
    folder.write(FILE, &archive(&[("data.pkl", b"\x80\x02}."), ("byteorder", b"big")]));
    folder.refused(INVALID, &["big-endian"]);
    let pickle = tensor(b"K\x10", b"K\x00", b"K\x04K\x04\x86", b"K\x04K\x01\x86");
    folder.write(FILE, &archive(&[("data.pkl", &pickle)]));
    folder.refused(INVALID, &["lacks the storage of tensor 'w'"]);
    // A directory of 300,000 empty entries.
    let entry = [b"PK\x01\x02".as_slice(), &[0; 24], &[1, 0], &[0; 16], b"a"].concat();
    let mut directory = entry.repeat(300_000);
    for (i, entry) in directory.chunks_mut(entry.len()).enumerate() {
        entry[20..23].copy_from_slice(&i.to_le_bytes()[..3]);
    }
    let start = archive(&[("data.pkl", b"\x80\x02}.")]);
    let mut end = b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff".to_vec();
    end.extend((directory.len() as u32).to_le_bytes());
    end.extend((start.len() as u32).to_le_bytes());
    end.extend([0, 0]);
    folder.write(FILE, &[start, directory, end].concat());
    folder.refused(INVALID, &["archive"]);
}

#[test]
fn what_is_no_checkpoint_is_named() {
    let _alone = alone();
    let folder = folder("other");
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    for (bytes, says) in [
        (b"".as_slice(), "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<html>", "no PyTorch checkpoint"),
        (&tar, "before 0.2"),
    ] {
        folder.write(FILE, bytes);
        folder.refused(INVALID, &[says]);
    }
}

#[test]
fn the_legacy_form_is_read_to_its_end() {
    let _alone = alone();
    let folder = Folder::copy("formats/pytorch-legacy", "legacy-end");
    let whole = folder.read(FILE);
    folder.write(FILE, &[&whole[..], &[0]].concat());
    folder.refused(INVALID, &["should have"]);
    folder.write(FILE, &legacy(b"\x80\x02}."));
    folder.refused(INVALID, &["word_embeddings"]);
    let magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".as_slice();
    folder.write(FILE, &[magic, b"\x80\x02K\x01."].concat());
    folder.refused(INVALID, &["format 1, not 1001"]);
    let big = b"\x80\x02}X\x0d\x00\x00\x00little_endian\x89s.".as_slice();
    folder.write(FILE, &[magic, b"\x80\x02M\xe9\x03.", big, b"\x80\x02}.", b"\x80\x02]."].concat());
    folder.refused(INVALID, &["big-endian"]);
}

#[test]
fn tensors_that_share_their_values_make_no_large_model() {
    let _alone = alone();
    let folder = folder("shared");
    let config = String::from_utf8(folder.read("config.json")).expect("UTF-8");
    let mut config: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    for field in ["hidden_size", "intermediate_size", "max_position_embeddings", "vocab_size"] {
        config[field] = 128.into();
    }
    (config["num_attention_heads"], config["num_hidden_layers"]) = (2.into(), 40.into());
    folder.write("config.json", config.to_string().as_bytes());
    // Every matrix of 40 layers is the same 64 kB, 16 MB in all; each name has some hundred bytes.
    let mut names = vec![("embeddings.LayerNorm.weight".to_owned(), 0), ("embeddings.LayerNorm.bias".to_owned(), 0)];
    for (table, rows) in [("word", 128), ("position", 128), ("token_type", 2)] {
        names.push((format!("embeddings.{table}_embeddings.weight"), rows));
    }
    for layer in 0..40 {
        for part in ["attention.self.query", "attention.self.key", "attention.self.value"] {
            names.push((format!("encoder.layer.{layer}.{part}.weight"), 128));
            names.push((format!("encoder.layer.{layer}.{part}.bias"), 0));
        }
        for part in ["attention.output", "intermediate", "output"] {
            names.push((format!("encoder.layer.{layer}.{part}.dense.weight"), 128));
            names.push((format!("encoder.layer.{layer}.{part}.dense.bias"), 0));
        }
        for part in ["attention.output", "output"] {
            names.push((format!("encoder.layer.{layer}.{part}.LayerNorm.weight"), 0));
            names.push((format!("encoder.layer.{layer}.{part}.LayerNorm.bias"), 0));
        }
    }
    let text = |text: &str| [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let mut pickle = b"\x80\x02(".to_vec();
    pickle.extend([text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text("0"), text("cpu")].concat());
    pickle.extend(b"M\x00\x40tQq\x000ctorch._utils\n_rebuild_tensor_v2\nq\x010ccollections\nOrderedDict\n)Rq\x020}");
    for (name, rows) in names {
        let sizes = match rows {
            0 => b"K\x80\x85K\x01\x85".to_vec(),
            rows => [b"K", [rows].as_slice(), b"K\x80\x86K\x80K\x01\x86"].concat(),
        };
        pickle.extend([text(&name), b"h\x01(h\x00K\x00".to_vec(), sizes, b"\x89h\x02tRs".to_vec()].concat());
    }
    pickle.push(b'.');
    folder.write(FILE, &archive(&[("data.pkl", &pickle), ("data/0", &[0; 128 * 128 * 4])]));
    folder.refused(INVALID, &["share their values"]);
}
