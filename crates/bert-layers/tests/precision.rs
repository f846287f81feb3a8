//! bfloat16 and int8: close to float32 at every layer, and bit-equal in any batch.

mod support;

use bert_layers::{DeviceChoice, Dtype, EncodeOptions, Encoder, Input, LoadOptions};
use proptest::prelude::*;
use support::{Case, FAMILIES, Goldens, cosine, fixture};

fn encoder(name: &str, dtype: Dtype, threads: usize) -> Encoder {
    let options = LoadOptions { device: DeviceChoice::Cpu, dtype, threads: Some(threads), ..LoadOptions::default() };
    Encoder::from_pretrained(&fixture(name).to_string_lossy(), &options).expect("a sound fixture")
}

/// Tiny random models quantize worse than trained ones: 48 channels share a scale, and none of them stands out.
#[test]
fn close_to_transformers() {
    for (dtype, mean, worst) in [(Dtype::Bfloat16, 0.9999, 0.999), (Dtype::Int8, 0.999, 0.995)] {
        for name in ["bert", "bert-relu", "bert-gelu_new"].into_iter().chain(FAMILIES) {
            let name = &format!("goldens/{name}");
            let case = Case::read(&Goldens::read(name), "long");
            let states =
                encoder(name, dtype, 2).encode(&case.packed(), &EncodeOptions::default()).expect("sound inputs");
            for &layer in states.layers() {
                let cosines: Vec<f64> = case
                    .tokens(layer)
                    .map(|(text, token, theirs)| cosine(states.token(layer, text, token).expect("kept"), theirs))
                    .collect();
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

#[test]
fn every_instruction_set() {
    support::with_other_instruction_sets("every_instruction_set");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_text_alone_equals_the_text_in_any_batch(
        lengths in prop::collection::vec(1usize..=78, 1..24),
        threads in 1usize..5,
        int8 in any::<bool>(),
        seed in any::<u32>(),
        family in prop::sample::select(["bert"].into_iter().chain(FAMILIES).collect::<Vec<_>>()),
    ) {
        let name = &format!("goldens/{family}");
        let dtype = if int8 { Dtype::Int8 } else { Dtype::Bfloat16 };
        let id = |i: usize| seed.wrapping_mul(2654435761).wrapping_add(i as u32 * 40503) % 211;
        let texts: Vec<Input> = lengths
            .iter()
            .enumerate()
            .map(|(text, &length)| Input::Ids {
                ids: (0..length).map(|i| id(100 * text + i)).collect(),
                type_ids: None,
                attention_mask: None,
            })
            .collect();
        let together = encoder(name, dtype, threads).encode(&texts, &EncodeOptions::default()).expect("sound inputs");
        let alone = encoder(name, dtype, 1);
        for (i, text) in texts.iter().enumerate() {
            let one = alone.encode(std::slice::from_ref(text), &EncodeOptions::default()).expect("sound inputs");
            for &layer in together.layers() {
                let bits = |row: Option<&[f32]>| -> Vec<u32> { row.expect("kept").iter().map(|x| x.to_bits()).collect() };
                prop_assert_eq!(bits(one.get(layer, 0)), bits(together.get(layer, i)), "{} {} layer {}, text {}", name, dtype, layer, i);
            }
        }
    }
}
