//! `embed` against its definition: the same reduction, done naively in f64, of the states that `encode` gives.

mod support;

use bert_layers::{
    Combine, DeviceChoice, EmbedInput, EmbedOptions, EncodeOptions, Encoder, Input, Layers, LoadOptions, Merge,
    Overflow, Pool, Precision, Vectors, Window,
};
use proptest::prelude::*;
use support::fixture;

const HIDDEN: usize = 48;

fn encoder(threads: usize) -> Encoder {
    let options = LoadOptions { device: DeviceChoice::Cpu, threads: Some(threads), ..LoadOptions::default() };
    Encoder::from_pretrained(&fixture("goldens/bert").to_string_lossy(), &options).expect("a sound fixture")
}

/// Tokens that may be masked, as many as the model takes and more.
fn text() -> impl Strategy<Value = (Vec<u32>, Vec<bool>)> {
    prop::collection::vec((0u32..211, prop::bool::weighted(0.9)), 1..200).prop_map(|tokens| {
        let (ids, mut mask): (Vec<_>, Vec<_>) = tokens.into_iter().unzip();
        // In every window somebody is there.
        mask.iter_mut().step_by(5).for_each(|seen| *seen = true);
        (ids, mask)
    })
}

fn combine(layers: usize) -> impl Strategy<Value = Combine> {
    let weights = || prop::collection::vec(-2.0f32..2.0, layers);
    prop_oneof![
        Just(Combine::Mean),
        Just(Combine::Sum),
        Just(Combine::Max),
        Just(Combine::Concat),
        Just(Combine::None),
        weights().prop_map(Combine::Weights),
        (weights(), -2.0f32..2.0).prop_map(|(scalars, gamma)| Combine::ScalarMix { scalars, gamma }),
    ]
}

fn pools() -> impl Strategy<Value = Pool> {
    prop::sample::select(vec![Pool::Mean, Pool::Cls, Pool::Max, Pool::Last, Pool::WeightedMean])
}

/// Layers [layer][token][hidden] → vectors [slot][hidden].
fn mixed(layers: &[Vec<Vec<f64>>], combine: &Combine) -> Vec<Vec<Vec<f64>>> {
    let each = |of: &dyn Fn(&[f64]) -> f64| -> Vec<Vec<f64>> {
        let token =
            |t: usize| (0..HIDDEN).map(|h| of(&layers.iter().map(|layer| layer[t][h]).collect::<Vec<_>>())).collect();
        (0..layers[0].len()).map(token).collect()
    };
    let dot = |weights: &[f64], values: &[f64]| weights.iter().zip(values).map(|(w, v)| w * v).sum::<f64>();
    match combine {
        Combine::None => layers.to_vec(),
        Combine::Concat => {
            let token = |t: usize| layers.iter().flat_map(|layer| layer[t].clone()).collect();
            vec![(0..layers[0].len()).map(token).collect()]
        }
        Combine::Mean => vec![each(&|values| values.iter().sum::<f64>() / values.len() as f64)],
        Combine::Sum => vec![each(&|values| values.iter().sum())],
        Combine::Max => vec![each(&|values| values.iter().copied().fold(f64::NEG_INFINITY, f64::max))],
        Combine::Weights(weights) => {
            let weights: Vec<f64> = weights.iter().map(|&w| w.into()).collect();
            vec![each(&|values| dot(&weights, values))]
        }
        Combine::ScalarMix { scalars, gamma } => {
            let exp: Vec<f64> = scalars.iter().map(|&s| f64::from(s).exp()).collect();
            let sum: f64 = exp.iter().sum();
            let weights: Vec<f64> = exp.iter().map(|e| f64::from(*gamma) * e / sum).collect();
            vec![each(&|values| dot(&weights, values))]
        }
    }
}

fn pooled(tokens: &[Vec<f64>], mask: &[bool], pool: Pool) -> Vec<f64> {
    let seen: Vec<usize> = (0..mask.len()).filter(|&t| mask[t]).collect();
    let weighted = |weight: &dyn Fn(usize) -> f64| -> Vec<f64> {
        let sum: f64 = seen.iter().map(|&t| weight(t)).sum();
        (0..tokens[0].len()).map(|h| seen.iter().map(|&t| weight(t) * tokens[t][h]).sum::<f64>() / sum).collect()
    };
    match pool {
        Pool::Cls => tokens[seen[0]].clone(),
        Pool::Last => tokens[seen[seen.len() - 1]].clone(),
        Pool::Mean => weighted(&|_| 1.0),
        Pool::WeightedMean => weighted(&|t| (t - seen[0] + 1) as f64),
        Pool::Max => {
            (0..tokens[0].len()).map(|h| seen.iter().map(|&t| tokens[t][h]).fold(f64::NEG_INFINITY, f64::max)).collect()
        }
        Pool::Pooler => unreachable!("not of tokens"),
    }
}

fn input((ids, mask): &(Vec<u32>, Vec<bool>)) -> Input {
    Input::Ids { ids: ids.clone(), type_ids: None, attention_mask: Some(mask.clone()) }
}

fn floats(vectors: &Vectors) -> &[f32] {
    match vectors {
        Vectors::Float32(data) => data,
        other => panic!("not float32: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_reduction_of_the_states(
        texts in prop::collection::vec(text(), 1..6),
        (layers, combine) in prop::sample::subsequence(vec![0i64, 1, 2, 3, 4], 1..=5).prop_shuffle()
            .prop_flat_map(|layers| { let combine = combine(layers.len()); (Just(layers), combine) }),
        pool in pools(),
        normalize in any::<bool>(),
        mean in any::<bool>(),
        stride in 1usize..=40,
        threads in 1usize..4,
    ) {
        let merge = if mean || matches!(pool, Pool::Cls | Pool::Last) { Merge::Mean } else { Merge::Center };
        let overflow = Overflow::Window(Window { size: None, stride: Some(stride), merge });
        let inputs: Vec<Input> = texts.iter().map(input).collect();
        let options = EmbedOptions {
            layers: Some(Layers::List(layers.clone())), combine: combine.clone(), pool: Some(pool),
            normalize: Some(normalize), overflow: overflow.clone(), ..EmbedOptions::default()
        };
        let bert = encoder(threads);
        let to_embed: Vec<EmbedInput> = inputs.iter().cloned().map(EmbedInput::from).collect();
        let embeddings = bert.embed(&to_embed, &options).expect("sound inputs");

        let states = bert
            .encode(&inputs, &EncodeOptions { layers: Layers::List(layers.clone()), overflow, ..EncodeOptions::default() })
            .expect("sound inputs");
        for (text, (_, mask)) in texts.iter().enumerate() {
            let layer = |layer: &i64| -> Vec<Vec<f64>> {
                let rows = states.get(*layer as usize, text).expect("kept");
                rows.chunks(HIDDEN).map(|row| row.iter().map(|&x| x.into()).collect()).collect()
            };
            let slots = mixed(&layers.iter().map(layer).collect::<Vec<_>>(), &combine);
            for (slot, tokens) in slots.iter().enumerate() {
                let mut expected = pooled(tokens, mask, pool);
                if normalize {
                    let length = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
                    expected.iter_mut().for_each(|x| *x /= length);
                }
                let (dim, count) = (embeddings.dim, texts.len());
                prop_assert_eq!(dim, expected.len());
                let actual = &floats(&embeddings.vectors)[(slot * count + text) * dim..][..dim];
                for (ours, theirs) in actual.iter().zip(&expected) {
                    prop_assert!((f64::from(*ours) - theirs).abs() <= 1e-5, "{ours} {theirs}");
                }
            }
        }

        // Bit by bit the same whatever shares the call and however many threads run.
        let alone = encoder(1);
        for (text, input) in to_embed.iter().enumerate() {
            let one = alone.embed(std::slice::from_ref(input), &options).expect("sound inputs");
            for (slot, vector) in floats(&one.vectors).chunks(one.dim).enumerate() {
                let among = &floats(&embeddings.vectors)[(slot * texts.len() + text) * one.dim..][..one.dim];
                prop_assert_eq!(vector.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), among.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn precisions_are_near_the_numbers(text in text(), dim in 1usize..=HIDDEN, normalize in any::<bool>()) {
        let bert = encoder(1);
        let long = Overflow::Window(Window::default());
        let embed = |precision| {
            let options = EmbedOptions {
                precision, truncate_dim: Some(dim), normalize: Some(normalize), overflow: long.clone(), ..EmbedOptions::default()
            };
            bert.embed(&[input(&text).into()], &options).expect("sound inputs").vectors
        };
        let exact = floats(&embed(Precision::Float32)).to_vec();
        prop_assert_eq!(exact.len(), dim);
        let whole = bert.embed(&[input(&text).into()], &EmbedOptions { overflow: long.clone(), ..EmbedOptions::default() });
        let whole = floats(&whole.expect("sound inputs").vectors).to_vec();
        let length = whole[..dim].iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        for (x, whole) in exact.iter().zip(&whole) {
            let expected = if normalize { f64::from(*whole) / length } else { f64::from(*whole) };
            prop_assert!((f64::from(*x) - expected).abs() <= 1e-6, "the first numbers, made unit length after");
        }
        let most = exact.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let Vectors::Float16(half) = embed(Precision::Float16) else { panic!("float16") };
        for (bits, x) in half.iter().zip(&exact) {
            prop_assert!((half::f16::from_bits(*bits).to_f32() - x).abs() <= x.abs() / 2048.0 + 1e-7);
        }
        let Vectors::Int8 { data, scales } = embed(Precision::Int8) else { panic!("int8") };
        prop_assert_eq!(scales.len(), 1);
        for (q, x) in data.iter().zip(&exact) {
            prop_assert!((f32::from(*q) * scales[0] - x).abs() <= most / 127.0 * 0.501);
        }
        let Vectors::Binary(bytes) = embed(Precision::Binary) else { panic!("binary") };
        prop_assert_eq!(bytes.len(), dim.div_ceil(8));
        for bit in 0..bytes.len() * 8 {
            let set = bytes[bit / 8] >> (7 - bit % 8) & 1 == 1;
            prop_assert_eq!(set, exact.get(bit).is_some_and(|&x| x > 0.0));
        }
    }
}

#[test]
fn the_reference_gives_the_same() {
    let inputs: Vec<EmbedInput> =
        [1, 7, 80, 150].map(|n| input(&((0..n).collect(), vec![true; n as usize])).into()).to_vec();
    let options = EmbedOptions {
        layers: Some(Layers::All),
        combine: Combine::Max,
        overflow: Overflow::Window(Window { merge: Merge::Mean, ..Window::default() }),
        ..EmbedOptions::default()
    };
    let [ours, theirs] = support::DEVICES
        .map(|device| support::load("goldens/bert", device).embed(&inputs, &options).expect("sound inputs").vectors);
    for (ours, theirs) in floats(&ours).iter().zip(floats(&theirs)) {
        assert!((ours - theirs).abs() <= 1e-4, "{ours} {theirs}");
    }
}

#[test]
fn the_pooler_is_that_of_encode() {
    let bert = encoder(2);
    let inputs: Vec<Input> = (1..6).map(|n| input(&((0..n * 31).collect(), vec![true; n as usize * 31]))).collect();
    let overflow = Overflow::Window(Window { merge: Merge::Mean, ..Window::default() });
    let options = EmbedOptions { pool: Some(Pool::Pooler), overflow: overflow.clone(), ..EmbedOptions::default() };
    let to_embed: Vec<EmbedInput> = inputs.iter().cloned().map(EmbedInput::from).collect();
    let embeddings = bert.embed(&to_embed, &options).expect("sound inputs");
    let options = EncodeOptions { pooler: true, layers: Layers::List(vec![0]), overflow, ..EncodeOptions::default() };
    let states = bert.encode(&inputs, &options).expect("sound inputs");
    assert_eq!(floats(&embeddings.vectors), states.pooler_output().expect("asked for"));
    // Averaged over the windows: of 155 tokens they begin at 0, 40 and 75.
    let Input::Ids { ids, .. } = &inputs[4] else { panic!("ids") };
    let windows: Vec<Input> =
        [0, 40, 75].map(|start| input(&(ids[start..start + 80].to_vec(), vec![true; 80]))).to_vec();
    let options = EncodeOptions { pooler: true, layers: Layers::List(vec![0]), ..EncodeOptions::default() };
    let each = bert.encode(&windows, &options).expect("sound inputs");
    let each = each.pooler_output().expect("asked for");
    for h in 0..HIDDEN {
        let mean = (0..3).map(|w| each[w * HIDDEN + h]).sum::<f32>() / 3.0;
        assert!((floats(&embeddings.vectors)[4 * HIDDEN + h] - mean).abs() <= 1e-6);
    }
}

#[test]
fn what_makes_no_sense_is_an_error() {
    let bert = encoder(1);
    let short: EmbedInput = input(&(vec![1, 2, 3], vec![true; 3])).into();
    let long: EmbedInput = input(&(vec![1; 200], vec![true; 200])).into();
    let options = EmbedOptions::default;
    let window = Overflow::Window(Window::default());
    let three = Some(Layers::List(vec![1, 2, 3]));
    for (input, options, says) in [
        (
            &short,
            EmbedOptions { combine: Combine::Weights(vec![1.0; 2]), layers: three.clone(), ..options() },
            "2 weights for 3",
        ),
        (&short, EmbedOptions { combine: Combine::Weights(vec![f32::NAN]), ..options() }, "finite"),
        (&short, EmbedOptions { truncate_dim: Some(49), ..options() }, "1 to 48"),
        (&short, EmbedOptions { truncate_dim: Some(0), ..options() }, "1 to 48"),
        (&short, EmbedOptions { max_tokens: Some(81), ..options() }, "1 to 80"),
        (&short, EmbedOptions { max_tokens: Some(2), ..options() }, "3 tokens, 2 is the most"),
        (&long, EmbedOptions { ..options() }, "80 is the most this model takes"),
        (&long, EmbedOptions { pool: Some(Pool::Cls), overflow: window.clone(), ..options() }, "windows"),
        (&long, EmbedOptions { pool: Some(Pool::Last), overflow: window.clone(), ..options() }, "windows"),
        (&long, EmbedOptions { pool: Some(Pool::Pooler), overflow: window.clone(), ..options() }, "windows"),
        (&short, EmbedOptions { pool: Some(Pool::Pooler), layers: three, ..options() }, "last layer"),
        (&short, EmbedOptions { pool: Some(Pool::Cls), exclude_special_tokens: true, ..options() }, "special"),
        (
            &short,
            EmbedOptions { prompt: Some(bert_layers::Prompt::Named("query".into())), ..options() },
            "no prompt 'query'",
        ),
        (
            &short,
            EmbedOptions { prompt: Some(bert_layers::Prompt::Text("a: ".into())), ..options() },
            "before a text only",
        ),
        (&EmbedInput { spans: Some(vec![(0, 1)]), ..short.clone() }, options(), "spans are of a single text"),
    ] {
        let error = bert.embed(std::slice::from_ref(input), &options).expect_err(says).to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
}
