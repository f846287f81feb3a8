//! What candle's devices make of rows where they are computed is what the CPU makes of them, for every pool and every mix of layers.

mod support;

use bert_layers::{Combine, DeviceChoice, EmbedInput, EmbedOptions, Encoder, Input, Layers, Overflow, Pool, Window};
use support::load;

fn ids(lengths: &[u32]) -> Vec<Input> {
    let text = |length: u32| Input::Ids {
        ids: (0..length).map(|i| (5 + i * i + 3 * length) % 90).collect(),
        type_ids: None,
        attention_mask: (length == 9).then(|| (0..length).map(|i| i % 4 != 2).collect()),
    };
    lengths.iter().map(|&length| text(length)).collect()
}

fn encoders(name: &str) -> [Encoder; 2] {
    [DeviceChoice::Cpu, DeviceChoice::CandleCpu].map(|device| load(name, device))
}

fn near(ours: &[f32], reference: &[f32], what: &str) {
    assert_eq!(ours.len(), reference.len(), "{what}");
    assert!(ours.iter().any(|&x| x != 0.0), "{what}");
    let off = ours.iter().zip(reference).fold(0.0f32, |off, (a, b)| off.max((a - b).abs()));
    assert!(off <= 1e-4 && ours.iter().all(|x| x.is_finite()), "{what}: |Δ| = {off:e}");
}

#[test]
fn every_pool_of_every_mix() {
    let [cpu, candle] = encoders("goldens/bert");
    let inputs: Vec<EmbedInput> = ids(&[4, 17, 1, 9, 33]).into_iter().map(EmbedInput::from).collect();
    let mixes = [
        Combine::Mean,
        Combine::Sum,
        Combine::Max,
        Combine::Concat,
        Combine::None,
        Combine::Weights(vec![0.5, -2.0]),
        Combine::ScalarMix { scalars: vec![0.1, 0.7], gamma: 1.5 },
    ];
    for (name, pool) in Pool::NAMES.into_iter().filter(|(_, pool)| *pool != Pool::Pooler) {
        for combine in &mixes {
            for layers in [[1, -1], [0, 2]] {
                let what = format!("{name}, {combine:?} of {layers:?}");
                let options = EmbedOptions {
                    layers: Some(Layers::List(layers.to_vec())),
                    combine: combine.clone(),
                    pool: Some(pool),
                    normalize: Some(false),
                    ..EmbedOptions::default()
                };
                let [ours, reference] = [&candle, &cpu].map(|encoder| encoder.embed(&inputs, &options).expect(&what));
                for slot in 0..if combine == &Combine::None { 2 } else { 1 } {
                    let [ours, reference] = [&ours, &reference].map(|vectors| vectors.layer(slot).expect(&what));
                    near(ours, reference, &what);
                }
            }
        }
    }
}

#[test]
fn windows() {
    let [cpu, candle] = encoders("goldens/bert");
    let overflow = Overflow::Window(Window { size: Some(8), stride: Some(3), ..Window::default() });
    let options = EmbedOptions { pool: Some(Pool::Mean), overflow, normalize: Some(false), ..EmbedOptions::default() };
    let inputs: Vec<EmbedInput> = ids(&[4, 30, 17]).into_iter().map(EmbedInput::from).collect();
    let [ours, reference] = [&candle, &cpu].map(|encoder| encoder.embed(&inputs, &options).expect("vectors"));
    near(ours.layer(0).expect("vectors"), reference.layer(0).expect("vectors"), "windows");
}
