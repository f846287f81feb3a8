//! What DeBERTa promises beside its numbers (`goldens.rs`): bits that depend on the text alone, closeness in lower precisions, and
//! errors for checkpoints that hold something else than the config says.

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;

use bert_layers::{DeviceChoice, Dtype, EncodeOptions, Encoder, Error, HiddenStates, Input, LoadOptions};
use proptest::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use support::{Case, Goldens, cosine, fixture, load};

const DTYPES: [Dtype; 3] = [Dtype::Float32, Dtype::Bfloat16, Dtype::Int8];

/// The model of each kind: both versions, and the one with a convolution along the text.
const MODELS: [&str; 3] = ["goldens/deberta-v2", "goldens-families/deberta-v2-conv", "goldens-families/deberta"];

fn encoder(name: &str, dtype: Dtype, threads: usize) -> Encoder {
    let options = LoadOptions { device: DeviceChoice::Cpu, dtype, threads: Some(threads), ..LoadOptions::default() };
    Encoder::from_pretrained(&fixture(name).to_string_lossy(), &options).expect("a sound fixture")
}

fn encode(encoder: &Encoder, texts: &[Input]) -> HiddenStates {
    encoder.encode(texts, &EncodeOptions::default()).expect("sound inputs")
}

fn bits(row: Option<&[f32]>) -> Vec<u32> {
    row.expect("kept").iter().map(|x| x.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_text_alone_equals_the_text_in_any_batch(
        texts in prop::collection::vec((1usize..=24, any::<u32>(), any::<bool>()), 1..12), threads in 1usize..4,
        model in 0..MODELS.len(), dtype in 0..DTYPES.len(),
    ) {
        let texts: Vec<Input> = texts
            .into_iter()
            .map(|(length, seed, masked)| {
                let number = |i: usize| seed.wrapping_mul(2654435761).wrapping_add(i as u32 * 40503) >> 7;
                Input::Ids {
                    ids: (0..length).map(|i| number(i) % 40).collect(),
                    type_ids: None,
                    attention_mask: masked.then(|| (0..length).map(|i| i == 0 || number(i + 99) % 3 > 0).collect()),
                }
            })
            .collect();
        let (name, dtype) = (MODELS[model], DTYPES[dtype]);
        let together = encode(&encoder(name, dtype, threads), &texts);
        let alone = encoder(name, dtype, 1);
        for (i, text) in texts.iter().enumerate() {
            let one = encode(&alone, std::slice::from_ref(text));
            for &layer in together.layers() {
                prop_assert_eq!(bits(one.get(layer, 0)), bits(together.get(layer, i)), "{} {} layer {}", name, dtype, layer);
            }
        }
    }
}

/// What follows a text changes nothing, to the bit: not in its attention, and not in what a convolution sees at its end.
#[test]
fn padding_changes_nothing() {
    for name in MODELS {
        let case = Case::read(&Goldens::read(name), "short");
        for dtype in DTYPES {
            let encoder = encoder(name, dtype, 2);
            let (packed, padded) = (encode(&encoder, &case.packed()), encode(&encoder, &case.padded()));
            for &layer in packed.layers() {
                for text in 0..case.ids.len() {
                    let (packed, padded) = (bits(packed.get(layer, text)), bits(padded.get(layer, text)));
                    assert_eq!(packed[..], padded[..packed.len()], "{name} {dtype} layer {layer} of text {text}");
                }
            }
        }
    }
}

/// Tiny random models quantize worse than trained ones.
#[test]
fn lower_precisions_are_close_to_transformers() {
    for (dtype, mean, worst) in [(Dtype::Bfloat16, 0.9998, 0.999), (Dtype::Int8, 0.998, 0.98)] {
        for (name, which) in [(MODELS[0], "long"), (MODELS[1], "short"), (MODELS[2], "short")] {
            let case = Case::read(&Goldens::read(name), which);
            let states = encode(&encoder(name, dtype, 2), &case.packed());
            for &layer in states.layers() {
                let cosines: Vec<f64> = case
                    .tokens(layer)
                    .map(|(text, token, theirs)| cosine(states.token(layer, text, token).expect("kept"), theirs))
                    .collect();
                let average = cosines.iter().sum::<f64>() / cosines.len() as f64;
                let lowest = cosines.iter().copied().fold(1.0, f64::min);
                let what = format!("{name} {dtype} layer {layer}: {average} on average, {lowest} at worst");
                assert!(average >= mean && lowest >= worst, "{what}");
            }
        }
    }
}

#[test]
fn the_embedding_of_positions_that_is_not_used_is_left_aside() {
    // v2-xlarge's checkpoint has one.
    let copy = Copy::of("goldens/deberta-v2", "positions", |tensors| {
        tensors.insert("embeddings.position_embeddings.weight".into(), (vec![80, 48], vec![1.0; 80 * 48]));
    });
    let case = Case::read(&Goldens::read("goldens/deberta-v2"), "short");
    case.check(&encode(&copy.load().expect("sound"), &case.packed()), "with unused positions");
}

#[test]
fn a_checkpoint_that_holds_something_else_is_refused_by_name() {
    for (name, code, says) in [
        ("-encoder.rel_embeddings.weight", "ERR_MODEL_INVALID", "'encoder.rel_embeddings.weight'"),
        ("-encoder.LayerNorm.bias", "ERR_MODEL_INVALID", "'encoder.LayerNorm.bias'"),
        (
            "-encoder.layer.2.attention.self.key_proj.weight",
            "ERR_MODEL_INVALID",
            "layer.2.attention.self.key_proj.weight",
        ),
        ("+encoder.layer.1.attention.self.pos_key_proj.weight", "ERR_MODEL_UNSUPPORTED", "pos_key_proj"),
        ("+encoder.conv.conv.weight", "ERR_MODEL_UNSUPPORTED", "encoder.conv.conv.weight"),
        ("+embeddings.token_type_embeddings.weight", "ERR_MODEL_UNSUPPORTED", "token_type_embeddings"),
    ] {
        let copy = Copy::of("goldens/deberta-v2", "other", |tensors| match name.split_at(1) {
            ("-", name) => drop(tensors.remove(name).expect("in the checkpoint")),
            (_, name) => drop(tensors.insert(name.into(), (vec![1], vec![0.0]))),
        });
        let error = copy.load().expect_err(name);
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
}

/// Its pooler is a head's, not the encoder's.
#[test]
fn there_is_no_pooler() {
    assert!(!load("goldens-families/deberta-v2-sequence-classification", DeviceChoice::Cpu).has_pooler());
}

/// Name → shape and values.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A fixture whose weights a test changed; removed at the end.
struct Copy(PathBuf);

impl Copy {
    fn of(name: &str, test: &str, change: impl FnOnce(&mut Tensors)) -> Self {
        let folder = std::env::temp_dir().join(format!("bert-layers-deberta-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let bytes = std::fs::read(fixture(name).join("model.safetensors")).expect("weights");
        let file = SafeTensors::deserialize(&bytes).expect("sound weights");
        let values = |view: TensorView| view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let mut tensors: Tensors =
            file.iter().map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), values(view)))).collect();
        change(&mut tensors);
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
            .into_iter()
            .map(|(name, (shape, values))| (name, shape, values.into_iter().flat_map(f32::to_le_bytes).collect()))
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            (name, TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).expect("as many values"))
        });
        safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).expect("writable");
        std::fs::copy(fixture(name).join("config.json"), folder.join("config.json")).expect("copied");
        Self(folder)
    }

    fn load(&self) -> Result<Encoder, Error> {
        Encoder::from_pretrained(&self.0.to_string_lossy(), &LoadOptions::default())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
