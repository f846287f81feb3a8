//! The deepest block computes only the rows that are returned; these are, bit by bit, what they are where all are.

mod support;

use bert_layers::{
    Combine, DeviceChoice, Dtype, EmbedInput, EmbedOptions, EncodeOptions, Encoder, Input, Layers, LoadOptions, Pool,
};
use support::{FAMILIES, fixture};

fn encoder(name: &str, dtype: Dtype, device: DeviceChoice) -> Encoder {
    let options = LoadOptions { device, dtype, threads: Some(2), ..LoadOptions::default() };
    Encoder::from_pretrained(&fixture(name).to_string_lossy(), &options).expect("a sound fixture")
}

fn texts(encoder: &Encoder) -> Vec<Input> {
    let (vocab, most) = (encoder.config().vocab_size() as u32, encoder.config().max_tokens() as u32);
    [20, 3, 64, 41]
        .into_iter()
        .map(|length: u32| length.min(most))
        .map(|length| Input::Ids {
            ids: (0..length).map(|i| (5 + i * i + 3 * length) % vocab).collect(),
            type_ids: None,
            attention_mask: (length == most.min(41)).then(|| (0..length).map(|i| i % 7 != 5).collect()),
        })
        .collect()
}

#[test]
fn have_the_same_bits() {
    let families = FAMILIES.map(|family| format!("goldens/{family}")).into_iter();
    let others = ["bert", "modernbert", "nomic_bert"].map(|family| format!("goldens/{family}"));
    for name in families.chain(others).chain(["goldens-families/deberta-v2-conv".into()]) {
        for dtype in [Dtype::Float32, Dtype::Bfloat16, Dtype::Int8] {
            check(&encoder(&name, dtype, DeviceChoice::Cpu), &format!("{name} {dtype}"));
        }
        check(&encoder(&name, Dtype::Float32, DeviceChoice::CandleCpu), &format!("{name} candle"));
    }
}

fn check(encoder: &Encoder, what: &str) {
    let inputs = texts(encoder);
    let pooler = encoder.has_pooler();
    let states = encoder.encode(&inputs, &EncodeOptions { pooler, ..EncodeOptions::default() }).expect(what);
    // The first layers of what has a convolution in block 1, and the last one.
    for layer in [1, encoder.config().num_layers()] {
        let layers = Some(Layers::List(vec![layer as i64]));
        let options = EmbedOptions {
            layers: layers.clone(),
            pool: Some(Pool::Cls),
            normalize: Some(false),
            ..EmbedOptions::default()
        };
        let embed: Vec<EmbedInput> = inputs.iter().cloned().map(EmbedInput::from).collect();
        let vectors = encoder.embed(&embed, &options).expect(what);
        for text in 0..inputs.len() {
            let row = states.token(layer, text, 0).expect("kept");
            assert_eq!(vectors.get(text).expect("a vector"), row, "{what}, layer {layer}, text {text}");
        }
        // Layers before it are whole.
        let mixed =
            EmbedOptions { layers: Some(Layers::List(vec![0, layer as i64])), combine: Combine::Concat, ..options };
        let vectors = encoder.embed(&embed, &mixed).expect(what);
        for text in 0..inputs.len() {
            let (vector, row) = (vectors.get(text).expect("a vector"), states.token(layer, text, 0).expect("kept"));
            assert_eq!(&vector[row.len()..], row, "{what}, layers 0 and {layer}, text {text}");
        }
    }
    if pooler {
        let layers = Layers::List(vec![0]);
        let alone = encoder.encode(&inputs, &EncodeOptions { pooler, layers, ..EncodeOptions::default() }).expect(what);
        assert_eq!(alone.pooler_output(), states.pooler_output(), "{what}, pooler");
    }
}
