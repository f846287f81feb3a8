//! On the CPU a text's numbers are bit-equal whatever shares its batch, whichever layers are asked for, however many threads run.

mod support;

use bert_layers::{DeviceChoice, EncodeOptions, Encoder, Input, Layers, LoadOptions};
use proptest::prelude::*;
use support::{FAMILIES, fixture};

fn encoder(family: &str, threads: usize) -> Encoder {
    let options = LoadOptions { device: DeviceChoice::Cpu, threads: Some(threads), ..LoadOptions::default() };
    Encoder::from_pretrained(&fixture(&format!("goldens/{family}")).to_string_lossy(), &options)
        .expect("a sound fixture")
}

/// Of as many tokens as all families take, some of them with the padding id of some.
fn text() -> impl Strategy<Value = Input> {
    (1usize..=78, any::<u64>(), any::<bool>()).prop_map(|(length, seed, masked)| {
        let number = |i: usize| {
            seed.wrapping_mul(6364136223846793005).wrapping_add((i as u64).wrapping_mul(1442695040888963407)) >> 33
        };
        Input::Ids {
            ids: (0..length).map(|i| (number(i) % 211) as u32).collect(),
            type_ids: Some((0..length).map(|i| (number(i + 100) % 2) as u32).collect()), // for those that have them
            attention_mask: masked.then(|| (0..length).map(|i| i == 0 || number(i + 200) % 3 > 0).collect()),
        }
    })
}

fn with_types(text: Input, has_types: bool) -> Input {
    match text {
        Input::Ids { ids, attention_mask, .. } if !has_types => Input::Ids { ids, type_ids: None, attention_mask },
        text => text,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_text_alone_equals_the_text_in_any_batch(
        texts in prop::collection::vec(text(), 1..24),
        threads in 1usize..4,
        layers in prop::sample::subsequence(vec![0i64, 1, 2, 3, 4], 1..=5),
        family in prop::sample::select(["bert"].into_iter().chain(FAMILIES).collect::<Vec<_>>()),
    ) {
        let alone = encoder(family, 1);
        let pooler = alone.has_pooler();
        let texts: Vec<Input> = texts.into_iter().map(|text| with_types(text, alone.config().type_vocab_size() > 1)).collect();
        let options = EncodeOptions { layers: Layers::List(layers), pooler, ..EncodeOptions::default() };
        let together = encoder(family, threads).encode(&texts, &options).expect("sound inputs");
        for (i, text) in texts.iter().enumerate() {
            let one = alone.encode(std::slice::from_ref(text), &EncodeOptions { pooler, ..EncodeOptions::default() }).expect("sound inputs");
            for &layer in together.layers() {
                let bits = |row: Option<&[f32]>| -> Vec<u32> { row.expect("kept").iter().map(|x| x.to_bits()).collect() };
                prop_assert_eq!(bits(one.get(layer, 0)), bits(together.get(layer, i)), "{} layer {}, text {}", family, layer, i);
            }
            if pooler {
                prop_assert_eq!(one.pooler_output().expect("asked for"), &together.pooler_output().expect("asked for")[i * 48..(i + 1) * 48]);
            }
        }
    }
}
