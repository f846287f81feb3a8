//! What is special about the families that are BERT with other names and embeddings.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bert_layers::{DeviceChoice, EncodeOptions, Encoder, Error, Input, LoadOptions, Merge, Overflow, Window};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype as Stored, TensorView};
use support::{FAMILIES, fixture, load};

fn ids(ids: impl IntoIterator<Item = u32>) -> Input {
    Input::Ids { ids: ids.into_iter().collect(), type_ids: None, attention_mask: None }
}

/// No two windows of it alike; every seventh token is the padding id.
fn text(length: u32) -> Vec<u32> {
    (0..length).map(|i| if i % 7 == 5 { 1 } else { 5 + (i * i * 31 + i * 17) % 200 }).collect()
}

fn bits(row: Option<&[f32]>) -> Vec<u32> {
    row.expect("kept").iter().map(|x| x.to_bits()).collect()
}

/// 80 positions; those of RoBERTa and of MPNet start after the padding id, which is 1.
#[test]
fn the_limit_is_what_positions_leave() {
    for family in FAMILIES {
        let encoder = load(&format!("goldens/{family}"), DeviceChoice::Cpu);
        let limit = if ["roberta", "xlm-roberta", "camembert", "mpnet"].contains(&family) { 78 } else { 80 };
        assert_eq!(encoder.config().max_tokens(), limit, "{family}");
        assert_eq!(encoder.config().model_type(), family);
        encoder
            .encode(&[ids((0..limit as u32).map(|i| 5 + i))], &EncodeOptions::default())
            .expect("as many as it takes");
        let error = encoder.encode(&[ids((0..=limit as u32).map(|i| 5 + i))], &EncodeOptions::default());
        match error.expect_err(family) {
            Error::TooManyTokens { tokens, limit: said, .. } => {
                assert_eq!((tokens, said), (limit + 1, limit), "{family}")
            }
            other => panic!("{family}: {other}"),
        }
    }
}

/// Windows, chunks and coalesced texts: each sequence counts its own positions, from the padding in it.
#[test]
fn a_window_is_a_text_of_its_own() {
    for family in FAMILIES {
        let encoder = load(&format!("goldens/{family}"), DeviceChoice::Cpu);
        let window = Window { size: Some(20), stride: Some(20), merge: Merge::Center };
        let options = EncodeOptions { overflow: Overflow::Window(window), ..EncodeOptions::default() };
        let states = encoder.encode(&[ids(text(7)), ids(text(100)), ids(text(33))], &options).expect("sound inputs");
        let all = text(100);
        for (i, window) in all.chunks(20).enumerate() {
            let alone = encoder.encode(&[ids(window.to_vec())], &EncodeOptions::default()).expect("sound inputs");
            for &layer in states.layers() {
                for token in 0..20 {
                    let ours = bits(states.token(layer, 1, 20 * i + token));
                    assert_eq!(
                        ours,
                        bits(alone.token(layer, 0, token)),
                        "{family} layer {layer} window {i} token {token}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_type_that_a_family_lacks_is_an_error() {
    for (family, types) in [("distilbert", 1), ("mpnet", 1), ("roberta", 1), ("electra", 2), ("ernie", 4)] {
        let encoder = load(&format!("goldens/{family}"), DeviceChoice::Cpu);
        assert_eq!(encoder.config().type_vocab_size(), types);
        let input = Input::Ids { ids: vec![5, 6], type_ids: Some(vec![0, types as u32]), attention_mask: None };
        let error = encoder.encode(&[input], &EncodeOptions::default()).expect_err(family);
        assert!(error.to_string().contains(&format!("type id {types} is out of range")), "{error}");
    }
}

/// A copy of a fixture's config.json and some tensors; removed at the end.
struct Folder(PathBuf);

/// Shape and values by name, all f32.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

impl Folder {
    fn of(fixture_name: &str, test: &str) -> (Self, Tensors) {
        let name = fixture_name.replace('/', "-");
        let folder = std::env::temp_dir().join(format!("bert-layers-families-{test}-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        std::fs::copy(fixture(fixture_name).join("config.json"), folder.join("config.json")).expect("copied");
        let file = std::fs::read(fixture(fixture_name).join("model.safetensors")).expect("weights");
        let file = SafeTensors::deserialize(&file).expect("sound weights");
        let floats = |view: TensorView<'_>| view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let tensors: Tensors =
            file.iter().map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), floats(view)))).collect();
        let folder = Self(folder);
        folder.write(&tensors);
        (folder, tensors)
    }

    fn add(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("writable");
    }

    fn write(&self, tensors: &Tensors) {
        let bytes: BTreeMap<&str, Vec<u8>> = tensors
            .iter()
            .map(|(name, (_, values))| (name.as_str(), values.iter().flat_map(|x| x.to_le_bytes()).collect()))
            .collect();
        let views = tensors.iter().map(|(name, (shape, _))| {
            (name, TensorView::new(Stored::F32, shape.clone(), &bytes[name.as_str()]).expect("as long as its shape"))
        });
        let file = safetensors::serialize(views, None).expect("sound tensors");
        std::fs::write(self.0.join("model.safetensors"), file).expect("writable");
    }

    fn load(&self) -> Result<Encoder, Error> {
        Encoder::from_pretrained(&self.0.to_string_lossy(), &LoadOptions::default())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Every tensor of the encoder is needed, but for the pooler's, and none of the head; one in the encoder's rooms that no layer
/// knows may be one that it needs.
#[test]
fn no_tensor_is_missed_or_passed_over() {
    for (family, base) in
        FAMILIES.map(|family| (family, family)).into_iter().chain([("data2vec-text", "data2vec_text")])
    {
        let base = match family {
            "xlm-roberta" | "camembert" => "roberta",
            "deberta-v2" => "deberta",
            _ => base,
        };
        let (folder, all) = Folder::of(&format!("goldens-families/{family}-sequence-classification"), "names");
        let (mut heads, mut rooms) = (0, BTreeSet::new());
        for name in all.keys() {
            let mut some = all.clone();
            some.remove(name);
            folder.write(&some);
            let loaded = folder.load();
            let Some(encoders) = name.strip_prefix(&format!("{base}.")) else {
                loaded.expect("a head is left aside");
                heads += 1;
                continue;
            };
            rooms.insert(encoders.split_once('.').map_or(encoders, |(room, _)| room));
            if encoders == "pooler.weight" || encoders == "pooler.dense.weight" {
                continue; // without it the checkpoint has no pooler, and a bias that nobody knows
            }
            let error = loaded.expect_err(name);
            assert_eq!(error.code(), "ERR_MODEL_INVALID", "{family} without {name}: {error}");
            assert!(error.to_string().contains(encoders), "{family} without {name}: {error}");
        }
        assert!(heads >= 2 && rooms.len() >= 2, "{family}: {heads}, {rooms:?}");
        for room in rooms {
            let (mut more, name) = (all.clone(), format!("{base}.{room}.extra.weight"));
            more.insert(name.clone(), (vec![1], vec![0.0]));
            folder.write(&more);
            let error = folder.load().expect_err(room);
            assert_eq!(error.code(), "ERR_MODEL_UNSUPPORTED", "{family}: {error}");
            assert!(error.to_string().contains(&name), "{family}: {error}");
        }
    }
}

/// A tokenizer's types are not those of a family that has none: as in Transformers, a pair is of type 0 all through.
#[test]
fn a_pair_for_a_family_without_types() {
    let (folder, _) = Folder::of("goldens/distilbert", "pair");
    folder.add("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n");
    folder.add("tokenizer_config.json", r#"{"tokenizer_class":"DistilBertTokenizer"}"#);
    let encoder = folder.load().expect("a sound folder");
    let pair = Input::Pair { text: "a b".into(), pair: "b".into() };
    let states = encoder.encode(&[pair], &EncodeOptions::default()).expect("a pair");
    assert_eq!(states.tokens().ids, [2, 5, 6, 3, 6, 3]);
    assert_eq!(states.tokens().type_ids, [0; 6]);
    let same = encoder.encode(&[ids([2, 5, 6, 3, 6, 3])], &EncodeOptions::default()).expect("ids");
    assert_eq!(bits(Some(states.data())), bits(Some(same.data())));
}

#[test]
fn a_vocabulary_that_is_read_otherwise_is_refused() {
    for (family, class) in [("roberta", "BertweetTokenizer"), ("electra", "BertJapaneseTokenizer")] {
        let (folder, _) = Folder::of(&format!("goldens/{family}"), "class");
        folder.add("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n");
        folder.add("tokenizer_config.json", &format!(r#"{{"tokenizer_class":"{class}"}}"#));
        let error = folder.load().expect_err(class);
        assert_eq!(error.code(), "ERR_MODEL_UNSUPPORTED", "{error}");
        assert!(error.to_string().contains(class) && error.to_string().contains("tokenizer.json"), "{error}");
    }
}

#[test]
fn a_sentencepiece_vocabulary_says_how_to_get_a_tokenizer() {
    for (family, file) in [
        ("xlm-roberta", "sentencepiece.bpe.model"),
        ("camembert", "sentencepiece.bpe.model"),
        ("albert", "spiece.model"),
    ] {
        let (folder, _) = Folder::of(&format!("goldens/{family}"), "sentencepiece");
        folder.add(file, "");
        let encoder = folder.load().expect("ids need no tokenizer");
        encoder.encode(&[ids([5, 6])], &EncodeOptions::default()).expect("ids need no tokenizer");
        let error = encoder.encode(&["a".into()], &EncodeOptions::default()).expect_err(family);
        assert_eq!(error.code(), "ERR_INVALID_INPUT", "{error}");
        assert!(error.to_string().contains(file) && error.to_string().contains("save_pretrained"), "{error}");
    }
}
