//! Files of every format cut at any byte, and with random damage.

use proptest::prelude::{Strategy, any};
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::tensorflow::with_checksums;
use super::{Folder, alone};

/// Of each format the file that says what the tensors are, and one of their values where that is another.
const FILES: [(&str, &str); 10] = [
    ("goldens-extra/weights-masked-lm", "model.safetensors"),
    ("formats/pytorch-zip", "pytorch_model.bin"),
    ("formats/pytorch-legacy", "pytorch_model.bin"),
    ("formats/pytorch-views", "pytorch_model.bin"),
    ("formats/pytorch-sharded", "pytorch_model-00002-of-00003.bin"),
    ("formats/flax", "flax_model.msgpack"),
    ("formats/flax-chunked", "flax_model.msgpack"),
    ("formats/tensorflow", "bert_model.ckpt.index"),
    ("formats/tensorflow", "bert_model.ckpt.data-00000-of-00001"),
    ("formats/tensorflow-keras", "variables/variables.index"),
];

/// `npm run verify` runs everything at full counts.
fn full() -> bool {
    std::env::var("BERT_LAYERS_VERIFY").is_ok_and(|value| value == "1")
}

fn name_of(test: &str, format: &str, file: &str) -> String {
    format!("{test}-{format}-{file}").replace('/', "-")
}

#[test]
fn cut_at_any_byte() {
    let _alone = alone();
    for (format, file) in FILES {
        let folder = Folder::copy(format, &name_of("cut", format, file));
        let whole = folder.read(file);
        // Every length near the ends, where the headers are, and steps through the rest; backwards, so that each is a cut.
        let edge = 4096.min(whole.len() / 2);
        let (near, far) = if full() { (1, 1) } else { (7, 211) };
        let lengths = (0..edge).step_by(near).chain((edge..whole.len() - edge).step_by(far));
        let lengths: Vec<usize> = lengths.chain((whole.len() - edge..whole.len()).step_by(near)).collect();
        for &length in lengths.iter().rev() {
            folder.cut(file, length);
            folder.refused("ERR_MODEL_INVALID", &[file.rsplit('/').next().unwrap_or(file)]);
        }
    }
}

/// A few bytes changed, taken out, doubled or cut off.
#[derive(Debug, Clone)]
enum Damage {
    Set(Index, u8),
    Remove(Index, usize),
    Double(Index, usize),
    Cut(Index),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let one = proptest::prop_oneof![
        6 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => (any::<Index>(), 1..9usize).prop_map(|(at, count)| Damage::Remove(at, count)),
        1 => (any::<Index>(), 1..9usize).prop_map(|(at, count)| Damage::Double(at, count)),
        1 => any::<Index>().prop_map(Damage::Cut),
    ];
    proptest::collection::vec(one, 1..4)
}

#[test]
fn random_damage() {
    let _alone = alone();
    for (format, file) in FILES {
        let folder = Folder::copy(format, &name_of("random", format, file));
        let whole = folder.read(file);
        // Where the tensors are described: elsewhere damage only changes a value.
        let described = described(file, &whole);
        let mut runner =
            TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
        let (mut loaded, mut refused) = (0, 0);
        for _ in 0..if full() { 2000 } else { 150 } {
            let changes = damage().new_tree(&mut runner).expect("a strategy").current();
            let mut bytes = whole.clone();
            for change in changes {
                apply(&change, &mut bytes, &described);
            }
            // A checksum would hide what is behind it.
            let bytes = if file.ends_with(".index") { with_checksums(bytes) } else { bytes };
            folder.write(file, &bytes);
            match folder.load() {
                Ok(_) => loaded += 1,
                Err(error) => {
                    let code = error.code();
                    assert!(["ERR_MODEL_INVALID", "ERR_MODEL_UNSUPPORTED"].contains(&code), "{code}: {error}");
                    refused += 1;
                }
            }
        }
        // Otherwise the damage was too tame to say anything.
        assert!(refused > 0, "{format}: {loaded} loaded");
    }
}

fn described(file: &str, whole: &[u8]) -> std::ops::Range<usize> {
    let find = |bytes: &[u8]| whole.windows(bytes.len()).position(|window| window == bytes);
    match file.rsplit('.').next() {
        Some("safetensors") => 0..8 + u64::from_le_bytes(whole[..8].try_into().expect("8 bytes")) as usize,
        Some("bin") if whole.starts_with(b"PK") => 0..find(b"data/0").unwrap_or(whole.len()),
        Some("bin") => 0..8192,
        _ => 0..whole.len(),
    }
}

fn apply(damage: &Damage, bytes: &mut Vec<u8>, described: &std::ops::Range<usize>) {
    let end = described.end.min(bytes.len());
    if end == 0 {
        return;
    }
    match damage {
        Damage::Set(at, byte) => bytes[at.index(end)] = *byte,
        Damage::Remove(at, count) => {
            let at = at.index(end);
            bytes.drain(at..(at + count).min(end));
        }
        Damage::Double(at, count) => {
            let at = at.index(end);
            let doubled = bytes[at..(at + count).min(end)].to_vec();
            bytes.splice(at..at, doubled);
        }
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
    }
}
