//! Attention weights equal Hugging Face Transformers', with the fast kernels and with candle.

mod support;

use bert_layers::{DeviceChoice, Dtype, EncodeOptions, Encoder, Input, Layers, LoadOptions};
use support::{Case, DEVICES, FAMILIES, Goldens, fixture, load};

fn options(layers: Layers) -> EncodeOptions {
    EncodeOptions { layers, attentions: true, ..EncodeOptions::default() }
}

#[test]
fn equal_transformers() {
    let families = FAMILIES.map(|family| format!("goldens/{family}"));
    let variants = ["mpnet-padding-inside", "albert-groups", "data2vec-text", "rembert", "splinter"]
        .map(|name| format!("goldens-families/{name}"));
    let deberta = [
        "deberta-v2-c2p",
        "deberta-v2-p2c",
        "deberta-v2-own-keys",
        "deberta-v2-no-buckets",
        "deberta-v2-no-relative",
        "deberta",
    ]
    .map(|name| format!("goldens-families/{name}"));
    let berts = ["bert", "bert-relu", "bert-gelu_new"].map(|bert| format!("goldens/{bert}"));
    for name in berts.into_iter().chain(families).chain(variants).chain(deberta) {
        let name = name.as_str();
        let goldens = Goldens::read(name);
        for device in DEVICES {
            let encoder = load(name, device);
            for case_name in
                ["short", "long"].into_iter().filter(|case| goldens.find(&format!("{case}.attentions")).is_some())
            {
                let case = Case::read(&goldens, case_name);
                let (shape, theirs) = goldens.get(&format!("{case_name}.attentions"));
                let &[blocks, texts, heads, longest, _] = &shape[..] else { panic!("five dimensions") };
                for (inputs, padded) in [(case.packed(), false), (case.padded(), true)] {
                    let states = encoder.encode(&inputs, &options(Layers::All)).expect("sound inputs");
                    case.check(&states, name);
                    let ours = states.attentions().expect("asked for");
                    assert_eq!(ours.layers(), (1..=blocks).collect::<Vec<_>>());
                    assert_eq!(ours.data().len(), blocks * heads * inputs.iter().map(|i| len(i).pow(2)).sum::<usize>());
                    for (layer, text, head) in all(blocks, texts, heads) {
                        let size = len(&inputs[text]);
                        let ours = ours.get(layer, head, text).expect("kept");
                        assert_eq!(ours.len(), size * size);
                        for (query, row) in ours.chunks(size).enumerate() {
                            let what = format!("{name} {device:?} {case_name} {padded} {layer} {text} {head} {query}");
                            let total: f64 = row.iter().map(|&p| f64::from(p)).sum();
                            assert!((total - 1.0).abs() < 1e-6, "{what}: adds up to {total}");
                            for (key, &p) in row.iter().enumerate() {
                                if !case.mask[text][key] {
                                    assert_eq!(p, 0.0, "{what}: masked key {key}");
                                }
                                if case.mask[text][query] {
                                    let at = (((layer - 1) * texts + text) * heads + head) * longest + query;
                                    let difference = (f64::from(p) - theirs[at * longest + key]).abs();
                                    assert!(difference <= 1e-5, "{what}, key {key}: off by {difference:e}");
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn all(blocks: usize, texts: usize, heads: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (1..=blocks).flat_map(move |l| (0..texts).flat_map(move |t| (0..heads).map(move |h| (l, t, h))))
}

fn len(input: &Input) -> usize {
    match input {
        Input::Ids { ids, .. } => ids.len(),
        other => panic!("ids, not {other:?}"),
    }
}

/// In each precision: the bits of a text's weights and states depend on nothing but the text, and states not on whether the
/// weights are asked for.
#[test]
fn depend_on_nothing_but_the_text() {
    let inputs: Vec<Input> = (1..40)
        .map(|len| Input::Ids {
            ids: (0..len as u32).map(|i| 5 + (i * 37 + len as u32 * 11) % 200).collect(),
            type_ids: None,
            attention_mask: (len % 3 == 0).then(|| (0..len).map(|i| i == 0 || i % 4 != 1).collect()),
        })
        .collect();
    let dtypes = [Dtype::Float32, Dtype::Bfloat16, Dtype::Int8];
    for (family, dtype) in
        ["bert", "albert", "mpnet"].into_iter().flat_map(|family| dtypes.map(|dtype| (family, dtype)))
    {
        let encoder = |threads| {
            let options =
                LoadOptions { device: DeviceChoice::Cpu, dtype, threads: Some(threads), ..LoadOptions::default() };
            let folder = fixture(&format!("goldens/{family}"));
            Encoder::from_pretrained(&folder.to_string_lossy(), &options).expect("a sound fixture")
        };
        let (one, three) = (encoder(1), encoder(3));
        let together = three.encode(&inputs, &options(Layers::List(vec![3, 0, -1]))).expect("sound inputs");
        let weights = together.attentions().expect("asked for");
        assert_eq!(weights.layers(), [3, 4]);
        let plain = one.encode(&inputs, &EncodeOptions::default()).expect("sound inputs");
        assert_eq!(together.layer(3), plain.layer(3), "{family} {dtype}");
        for (text, input) in inputs.iter().enumerate() {
            let alone = one.encode(std::slice::from_ref(input), &options(Layers::All)).expect("sound inputs");
            let alone = alone.attentions().expect("asked for");
            for layer in [3, 4] {
                for head in 0..4 {
                    assert_eq!(
                        weights.get(layer, head, text),
                        alone.get(layer, head, 0),
                        "{family} {dtype}, text {text}"
                    );
                }
            }
        }
        for (layer, head, text) in [(0, 0, 0), (1, 0, 0), (3, 4, 0), (3, 0, 39)] {
            assert_eq!(weights.get(layer, head, text), None);
        }
    }
}

#[test]
fn the_embedding_output_has_none() {
    let encoder = load("goldens/bert", DeviceChoice::Cpu);
    let input = Input::Ids { ids: vec![5], type_ids: None, attention_mask: None };
    let error = encoder.encode(&[input], &options(Layers::List(vec![0]))).expect_err("no block is kept");
    assert_eq!(error.code(), "ERR_INVALID_INPUT");
    assert!(error.to_string().contains("layer 0"), "{error}");
}
