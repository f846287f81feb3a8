//! On the CPU a text's numbers are bit-equal whatever shares its batch, whichever layers are asked for, however many threads run.

mod support;

use bert_layers::{DeviceChoice, EncodeOptions, Encoder, Input, Layers, LoadOptions};
use proptest::prelude::*;
use support::fixture;

fn encoder(threads: usize) -> Encoder {
    let options = LoadOptions { device: DeviceChoice::Cpu, threads: Some(threads), ..LoadOptions::default() };
    Encoder::from_pretrained(&fixture("goldens/bert").to_string_lossy(), &options).expect("a sound fixture")
}

fn text() -> impl Strategy<Value = Input> {
    (1usize..=80, any::<u64>(), any::<bool>()).prop_map(|(length, seed, masked)| {
        let number = |i: usize| {
            seed.wrapping_mul(6364136223846793005).wrapping_add((i as u64).wrapping_mul(1442695040888963407)) >> 33
        };
        Input::Ids {
            ids: (0..length).map(|i| (number(i) % 211) as u32).collect(),
            type_ids: Some((0..length).map(|i| (number(i + 100) % 2) as u32).collect()),
            attention_mask: masked.then(|| (0..length).map(|i| i == 0 || number(i + 200) % 3 > 0).collect()),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_text_alone_equals_the_text_in_any_batch(
        texts in prop::collection::vec(text(), 1..24),
        threads in 1usize..4,
        layers in prop::sample::subsequence(vec![0i64, 1, 2, 3, 4], 1..=5),
    ) {
        let options = EncodeOptions { layers: Layers::List(layers), pooler: true, ..EncodeOptions::default() };
        let together = encoder(threads).encode(&texts, &options).expect("sound inputs");
        let alone = encoder(1);
        for (i, text) in texts.iter().enumerate() {
            let one = alone.encode(std::slice::from_ref(text), &EncodeOptions { pooler: true, ..EncodeOptions::default() }).expect("sound inputs");
            for &layer in together.layers() {
                let bits = |row: Option<&[f32]>| -> Vec<u32> { row.expect("kept").iter().map(|x| x.to_bits()).collect() };
                prop_assert_eq!(bits(one.get(layer, 0)), bits(together.get(layer, i)), "layer {}, text {}", layer, i);
            }
            prop_assert_eq!(one.pooler_output().expect("asked for"), &together.pooler_output().expect("asked for")[i * 48..(i + 1) * 48]);
        }
    }
}
