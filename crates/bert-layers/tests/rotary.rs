//! ModernBERT and NomicBERT: equal to Transformers in every form that their checkpoints come in, and the promises of every family.

mod support;

use std::path::{Path, PathBuf};

use bert_layers::{
    DeviceChoice, Dtype, EncodeOptions, Encoder, Error, HiddenStates, Input, LastLayer, Layers, LoadOptions,
};
use proptest::prelude::*;
use support::{Case, DEVICES, Goldens, close, cosine, fixture};

const BOTH: [&str; 2] = ["goldens/modernbert", "goldens/nomic_bert"];

/// Biases in each place, windows, names of either kind, heads of their own width, and task checkpoints.
const FORMS: [&str; 9] = [
    "modernbert-biases",
    "modernbert-masked-lm",
    "modernbert-token-classification",
    "modernbert-sequence-classification",
    "nomic_bert-own-names",
    "nomic_bert-masked-lm",
    "nomic_bert-token-classification",
    "nomic_bert-sequence-classification",
    "nomic_bert-remote",
];

fn cpu(name: &str, dtype: Dtype, threads: usize) -> Encoder {
    let device = DeviceChoice::Cpu;
    load(&fixture(name), &LoadOptions { device, dtype, threads: Some(threads), ..LoadOptions::default() })
        .expect("a sound fixture")
}

fn load(folder: &Path, options: &LoadOptions) -> Result<Encoder, Error> {
    Encoder::from_pretrained(&folder.to_string_lossy(), options)
}

fn cases(goldens: &Goldens) -> Vec<&'static str> {
    ["short", "long"].into_iter().filter(|case| goldens.find(&format!("{case}.input_ids")).is_some()).collect()
}

/// Every layer, packed and padded, on the fast kernels and on candle; a text alone bit for bit as in the batch; the weights of attention;
/// and the pooler of those that have one.
#[test]
fn equal_transformers() {
    let forms = FORMS.map(|form| format!("goldens-rotary/{form}"));
    for name in BOTH.into_iter().chain(forms.iter().map(String::as_str)) {
        let goldens = Goldens::read(name);
        let cases = cases(&goldens);
        assert!(!cases.is_empty(), "{name}");
        for device in DEVICES {
            let encoder = support::load(name, device);
            for case_name in &cases {
                let what = format!("{name} {case_name} {device:?}");
                let case = Case::read(&goldens, case_name);
                let attentions = goldens.find(&format!("{case_name}.attentions"));
                assert_eq!(case.pooler_output.is_some(), encoder.has_pooler(), "{what}");
                let options = EncodeOptions {
                    pooler: encoder.has_pooler(),
                    attentions: attentions.is_some(),
                    ..EncodeOptions::default()
                };
                for inputs in [case.packed(), case.padded()] {
                    let states = encoder.encode(&inputs, &options).expect("sound inputs");
                    case.check(&states, &what);
                    if let (Some(ours), Some(theirs)) = (states.pooler_output(), &case.pooler_output) {
                        close(ours, theirs, &format!("{what}, pooler"));
                    }
                    if let Some((shape, theirs)) = attentions {
                        check_attentions(&states, &inputs, &case, shape, theirs, &what);
                    }
                    for (text, input) in inputs.iter().enumerate() {
                        let alone = encoder.encode(std::slice::from_ref(input), &EncodeOptions::default());
                        let alone = alone.expect("a sound input");
                        for &layer in states.layers() {
                            let (alone, together) = (alone.get(layer, 0), states.get(layer, text));
                            assert_eq!(bits(alone), bits(together), "{what} layer {layer}, text {text}");
                        }
                    }
                }
            }
        }
    }
}

fn check_attentions(states: &HiddenStates, inputs: &[Input], case: &Case, shape: &[usize], theirs: &[f64], what: &str) {
    let &[blocks, texts, heads, longest, _] = shape else { panic!("five dimensions") };
    let ours = states.attentions().expect("asked for");
    for layer in 1..=blocks {
        for (text, input) in inputs.iter().enumerate() {
            let Input::Ids { ids, .. } = input else { panic!("ids") };
            for head in 0..heads {
                let rows = ours.get(layer, head, text).expect("kept").chunks(ids.len());
                for (query, row) in rows.enumerate().filter(|(query, _)| case.mask[text][*query]) {
                    for (key, &p) in row.iter().enumerate() {
                        let at = (((layer - 1) * texts + text) * heads + head) * longest + query;
                        let (p, theirs) = (f64::from(p), theirs[at * longest + key]);
                        assert!(
                            (p - theirs).abs() <= 1e-5,
                            "{what} {layer} {text} {head} {query} {key}: {p}, {theirs}"
                        );
                        // Outside the window and masked.
                        assert!(theirs > 0.0 || p == 0.0, "{what} {layer} {text} {head} {query} {key}: {p}");
                    }
                }
            }
        }
    }
}

fn bits(row: Option<&[f32]>) -> Vec<u32> {
    row.expect("kept").iter().map(|x| x.to_bits()).collect()
}

/// Only the last layer differs, and everything made of layers uses it as it is delivered. The two are two models to the process.
#[test]
fn the_last_layer_before_the_norm() {
    for name in ["goldens-rotary/modernbert-biases", "goldens-rotary/modernbert-masked-lm"] {
        let goldens = Goldens::read(name);
        for device in DEVICES {
            let options = LoadOptions { device, ..LoadOptions::default() };
            let after = load(&fixture(name), &options).expect("a sound fixture");
            let options = LoadOptions { last_layer: LastLayer::BeforeNorm, ..options };
            let before = load(&fixture(name), &options).expect("a sound fixture");
            assert_ne!(after.fingerprint(), before.fingerprint());
            for case_name in cases(&goldens) {
                let mut case = Case::read(&goldens, case_name);
                let (_, theirs) = goldens.get(&format!("{case_name}.before_norm"));
                let last = case.shape[0] - 1;
                let (before, after) =
                    [&before, &after].map(|encoder| encoder.encode(&case.packed(), &EncodeOptions::default())).into();
                let (before, after) = (before.expect("sound inputs"), after.expect("sound inputs"));
                case.check(&after, name);
                let start = case.hidden_states.len() - theirs.len();
                case.hidden_states[start..].copy_from_slice(theirs);
                case.check(&before, name);
                assert_eq!(before.layer(last - 1), after.layer(last - 1));
                assert_ne!(before.layer(last), after.layer(last));
            }
        }
    }
}

/// embed with its defaults pools the last layer, whichever it is.
#[test]
fn vectors_are_made_of_the_layer_that_is_delivered() {
    use bert_layers::{EmbedInput, EmbedOptions};
    let input = || Input::Ids { ids: vec![7, 8, 9, 10], type_ids: None, attention_mask: None };
    for last_layer in [LastLayer::AfterNorm, LastLayer::BeforeNorm] {
        let options = LoadOptions { device: DeviceChoice::Cpu, last_layer, ..LoadOptions::default() };
        let encoder = load(&fixture("goldens/modernbert"), &options).expect("a sound fixture");
        let states = encoder.encode(&[input()], &EncodeOptions::default()).expect("sound");
        let vectors = encoder.embed(&[EmbedInput::from(input())], &EmbedOptions::default()).expect("sound");
        let last = states.get(states.layers().len() - 1, 0).expect("kept");
        let size = last.len() / 4;
        let mean: Vec<f64> =
            (0..size).map(|i| last.iter().skip(i).step_by(size).map(|&x| f64::from(x)).sum::<f64>() / 4.0).collect();
        close(vectors.get(0).expect("one text"), &mean, "mean of the last layer");
    }
}

#[test]
fn other_families_have_no_layer_before_a_norm() {
    for name in ["goldens/bert", "goldens/nomic_bert"] {
        let options = LoadOptions { last_layer: LastLayer::BeforeNorm, ..LoadOptions::default() };
        let error = load(&fixture(name), &options).expect_err(name);
        assert_eq!(error.code(), "ERR_INVALID_INPUT");
        assert!(
            error.to_string().contains("before-norm") && error.to_string().contains("leave the option out"),
            "{error}"
        );
    }
}

/// Tiny random models quantize worse than trained ones; a sum that is not normed less so.
#[test]
fn bfloat16_and_int8_are_close() {
    for (dtype, mean, worst) in [(Dtype::Bfloat16, 0.998, 0.99), (Dtype::Int8, 0.995, 0.97)] {
        for name in BOTH {
            let case = Case::read(&Goldens::read(name), "long");
            let states = cpu(name, dtype, 2).encode(&case.packed(), &EncodeOptions::default()).expect("sound inputs");
            for &layer in states.layers() {
                let of = |(text, token, theirs): (usize, usize, &[f64])| {
                    cosine(states.token(layer, text, token).expect("kept"), theirs)
                };
                let cosines: Vec<f64> = case.tokens(layer).map(of).collect();
                let average = cosines.iter().sum::<f64>() / cosines.len() as f64;
                let lowest = cosines.iter().copied().fold(1.0, f64::min);
                assert!(
                    average >= mean && lowest >= worst,
                    "{name} {dtype} layer {layer}: {average} on average, {lowest} at worst"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// In each precision a text's bits depend on nothing but the text: not on its batch, the threads, or the layers asked for.
    #[test]
    fn a_text_alone_equals_the_text_in_any_batch(
        lengths in prop::collection::vec((1usize..=80, any::<bool>()), 1..16),
        threads in 1usize..5,
        dtype in prop::sample::select(vec![Dtype::Float32, Dtype::Bfloat16, Dtype::Int8]),
        name in prop::sample::select(BOTH.to_vec()),
        deepest in 1i64..=4,
        seed in any::<u32>(),
    ) {
        let number = |i: usize| seed.wrapping_mul(2654435761).wrapping_add(i as u32 * 40503) >> 3;
        let texts: Vec<Input> = lengths
            .iter()
            .enumerate()
            .map(|(text, &(length, masked))| Input::Ids {
                ids: (0..length).map(|i| number(100 * text + i) % 211).collect(),
                type_ids: None,
                attention_mask: masked.then(|| (0..length).map(|i| i == 0 || number(i + 7) % 3 > 0).collect()),
            })
            .collect();
        let options = EncodeOptions { layers: Layers::List(vec![deepest, 0]), ..EncodeOptions::default() };
        let together = cpu(name, dtype, threads).encode(&texts, &options).expect("sound inputs");
        let alone = cpu(name, dtype, 1);
        for (i, text) in texts.iter().enumerate() {
            let one = alone.encode(std::slice::from_ref(text), &EncodeOptions::default()).expect("a sound input");
            for &layer in together.layers() {
                prop_assert_eq!(bits(one.get(layer, 0)), bits(together.get(layer, i)), "{} {} layer {}, text {}", name, dtype, layer, i);
            }
        }
    }
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Name, shape and bytes.
type Stored = (String, Vec<usize>, Vec<u8>);

/// A folder like a fixture's with its tensors edited.
fn edited(name: &str, what: &str, edit: impl FnOnce(&mut Vec<Stored>)) -> Folder {
    use safetensors::{Dtype, SafeTensors, tensor::TensorView};
    let folder = std::env::temp_dir().join(format!("bert-layers-rotary-{what}-{}", std::process::id()));
    let folder = Folder(folder);
    std::fs::create_dir_all(&folder.0).expect("a folder");
    let bytes = std::fs::read(fixture(name).join("model.safetensors")).expect("weights");
    let file = SafeTensors::deserialize(&bytes).expect("sound weights");
    let mut tensors: Vec<Stored> =
        file.iter().map(|(name, view)| (name.to_owned(), view.shape().to_vec(), view.data().to_vec())).collect();
    edit(&mut tensors);
    let views = tensors.iter().map(|(name, shape, data)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), data).expect("a sound tensor"))
    });
    std::fs::write(folder.0.join("model.safetensors"), safetensors::serialize(views, None).expect("a file"))
        .expect("written");
    std::fs::copy(fixture(name).join("config.json"), folder.0.join("config.json")).expect("copied");
    folder
}

/// A tensor that a layer might need is never left aside, and one that it does need never made up.
#[test]
fn tensors_are_all_there_and_all_known() {
    for (name, room, needed) in [
        ("goldens/modernbert", "layers.1.attn_norm.bias", "layers.2.mlp.Wo.weight"),
        ("goldens/modernbert", "layers.0.attn_norm.weight", "final_norm.weight"),
        ("goldens-rotary/modernbert-masked-lm", "model.layers.0.attn.Wqkv.bias", "model.layers.1.attn_norm.weight"),
        ("goldens-rotary/modernbert-biases", "layers.0.extra.weight", "layers.3.mlp.Wi.bias"),
        ("goldens/nomic_bert", "encoder.layers.1.mlp.norm.weight", "encoder.layers.3.norm2.bias"),
        ("goldens/nomic_bert", "encoder.layers.0.attn.Wqkv.bias", "emb_ln.weight"),
        ("goldens-rotary/nomic_bert-own-names", "layers.1.mlp.up_proj.bias", "layers.2.self_attn.k_proj.weight"),
        (
            "goldens-rotary/nomic_bert-remote",
            "bert.encoder.layers.1.mlp.router.weight",
            "bert.encoder.layers.0.mlp.fc11.bias",
        ),
    ] {
        let unknown = edited(name, "unknown", |tensors| tensors.push((room.into(), vec![2], vec![0; 8])));
        let error = load(&unknown.0, &LoadOptions::default()).expect_err(room);
        assert_eq!(error.code(), "ERR_MODEL_UNSUPPORTED", "{error}");
        assert!(error.to_string().contains(room), "{error}");

        let lacking = edited(name, "lacking", |tensors| tensors.retain(|(name, ..)| name != needed));
        let error = load(&lacking.0, &LoadOptions::default()).expect_err(needed);
        assert_eq!(error.code(), "ERR_MODEL_INVALID", "{error}");
        assert!(error.to_string().contains(needed), "{error}");
    }
}

/// A text of the model's length works, and the limit is the config's.
#[test]
fn the_longest_text() {
    let ids =
        |count: u32| Input::Ids { ids: (0..count).map(|i| i % 60).collect(), type_ids: None, attention_mask: None };
    for (name, limit) in
        [("goldens/modernbert", 128), ("goldens/nomic_bert", 80), ("goldens-rotary/nomic_bert-remote", 64)]
    {
        let encoder = cpu(name, Dtype::Float32, 1);
        assert_eq!(encoder.config().max_tokens(), limit as usize, "{name}");
        assert!(encoder.encode(&[ids(limit)], &EncodeOptions::default()).is_ok(), "{name}");
        let error = encoder.encode(&[ids(limit + 1)], &EncodeOptions::default()).expect_err(name);
        assert_eq!(error.code(), "ERR_TOO_MANY_TOKENS");
    }
}
