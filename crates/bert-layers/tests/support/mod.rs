//! What Hugging Face Transformers computed (test/fixtures), and how to compare with it.
#![allow(dead_code)] // each test file uses its part

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use bert_layers::{DeviceChoice, Encoder, HiddenStates, Input, LoadOptions};
use bert_layers_kernels::{INSTRUCTION_SET_VARIABLE, Kernels};
use safetensors::{Dtype, SafeTensors};

/// A folder of test/fixtures.
pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../test/fixtures").join(name)
}

/// The families of test/fixtures/goldens beside BERT.
pub const FAMILIES: [&str; 9] =
    ["roberta", "xlm-roberta", "camembert", "distilbert", "electra", "ernie", "albert", "mpnet", "deberta-v2"];

/// The fast kernels, and the reference.
pub const DEVICES: [DeviceChoice; 2] = [DeviceChoice::Cpu, DeviceChoice::CandleCpu];

pub fn load(name: &str, device: DeviceChoice) -> Encoder {
    let options = LoadOptions { device, ..LoadOptions::default() };
    Encoder::from_pretrained(&fixture(name).to_string_lossy(), &options).expect("a sound fixture")
}

/// Runs the other tests of this binary once more for each other instruction set of this processor. A process chooses once, so each
/// gets a process of its own. `this_test` is the caller's name, so that it does not run again.
pub fn with_other_instruction_sets(this_test: &str) {
    let chosen = Kernels::chosen().expect("an instruction set");
    for kernels in Kernels::available().into_iter().filter(|&kernels| kernels != chosen) {
        let output = Command::new(std::env::current_exe().expect("a path"))
            .args(["--skip", this_test])
            .env(INSTRUCTION_SET_VARIABLE, kernels.name())
            .output()
            .expect("the tests start");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && !text.contains(" 0 passed"), "{}: {text}", kernels.name());
    }
}

/// Tensors of one file: shape, and values as f64.
pub struct Goldens(HashMap<String, (Vec<usize>, Vec<f64>)>);

impl Goldens {
    pub fn read(name: &str) -> Self {
        let bytes = std::fs::read(fixture(name).join("goldens.safetensors")).expect("goldens");
        let file = SafeTensors::deserialize(&bytes).expect("sound goldens");
        let tensor = |view: safetensors::tensor::TensorView| {
            let values = match view.dtype() {
                Dtype::F32 => view.data().as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
                Dtype::I64 => view.data().as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
                other => panic!("goldens hold no {other:?}"),
            };
            (view.shape().to_vec(), values)
        };
        Self(file.iter().map(|(name, view)| (name.to_owned(), tensor(view))).collect())
    }

    pub fn find(&self, name: &str) -> Option<&(Vec<usize>, Vec<f64>)> {
        self.0.get(name)
    }

    pub fn get(&self, name: &str) -> &(Vec<usize>, Vec<f64>) {
        self.find(name).expect(name)
    }
}

/// One padded batch of the goldens.
pub struct Case {
    /// [layers, texts, longest, hidden]
    pub shape: [usize; 4],
    pub hidden_states: Vec<f64>,
    pub pooler_output: Option<Vec<f64>>,
    pub ids: Vec<Vec<u32>>,
    pub type_ids: Vec<Vec<u32>>,
    pub mask: Vec<Vec<bool>>,
}

impl Case {
    pub fn read(goldens: &Goldens, case: &str) -> Self {
        let (shape, hidden_states) = goldens.get(&format!("{case}.hidden_states")).clone();
        let rows = |name: &str| -> Vec<Vec<u32>> {
            let (_, values) = goldens.get(&format!("{case}.{name}"));
            values.chunks(shape[2]).map(|row| row.iter().map(|&x| x as u32).collect()).collect()
        };
        Self {
            ids: rows("input_ids"),
            type_ids: match goldens.find(&format!("{case}.token_type_ids")) {
                Some(_) => rows("token_type_ids"),
                None => vec![vec![0; shape[2]]; shape[1]], // the family has none
            },
            mask: rows("attention_mask").into_iter().map(|row| row.into_iter().map(|x| x != 0).collect()).collect(),
            pooler_output: goldens.find(&format!("{case}.pooler_output")).map(|(_, values)| values.clone()),
            shape: shape.try_into().expect("four dimensions"),
            hidden_states,
        }
    }

    /// The texts as they are, without padding.
    pub fn packed(&self) -> Vec<Input> {
        self.inputs(|text| self.mask[text].iter().filter(|&&seen| seen).count(), false)
    }

    /// The texts padded to the longest, with a mask.
    pub fn padded(&self) -> Vec<Input> {
        self.inputs(|_| self.shape[2], true)
    }

    fn inputs(&self, length: impl Fn(usize) -> usize, masked: bool) -> Vec<Input> {
        (0..self.shape[1])
            .map(|text| Input::Ids {
                ids: self.ids[text][..length(text)].to_vec(),
                type_ids: Some(self.type_ids[text][..length(text)].to_vec()),
                attention_mask: masked.then(|| self.mask[text].clone()),
            })
            .collect()
    }

    /// Every unmasked token of a layer: text, position, hidden state.
    pub fn tokens(&self, layer: usize) -> impl Iterator<Item = (usize, usize, &[f64])> {
        let [_, texts, longest, hidden] = self.shape;
        let unmasked = move |&(text, token): &(usize, usize)| self.mask[text][token];
        let all = (0..texts).flat_map(move |text| (0..longest).map(move |token| (text, token)));
        all.filter(unmasked).map(move |(text, token)| {
            let at = ((layer * texts + text) * longest + token) * hidden;
            (text, token, &self.hidden_states[at..at + hidden])
        })
    }

    /// Checks every layer of every unmasked token against the bounds of DESIGN.md.
    pub fn check(&self, states: &HiddenStates, name: &str) {
        assert_eq!(states.layers(), (0..self.shape[0]).collect::<Vec<_>>(), "{name}");
        for &layer in states.layers() {
            for (text, token, theirs) in self.tokens(layer) {
                let ours = states.token(layer, text, token).expect("a kept token");
                close(ours, theirs, &format!("{name}: layer {layer}, text {text}, token {token}"));
            }
        }
    }
}

/// Cosine ≥ 1 − 1e-6 and |Δ| ≤ 2e-4.
pub fn close(ours: &[f32], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (&a, &b) in ours.iter().zip(theirs) {
        let difference = (f64::from(a) - b).abs();
        assert!(difference <= 2e-4, "{what}: |Δ| = {difference:e}"); // NaN fails here too: no comparison with it holds
    }
    let cosine = cosine(ours, theirs);
    assert!(cosine >= 1.0 - 1e-6, "{what}: 1 − cosine = {:e}", 1.0 - cosine);
}

pub fn cosine(a: &[f32], b: &[f64]) -> f64 {
    let (mut dot, mut a2, mut b2) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let a = f64::from(a);
        dot += a * b;
        a2 += a * a;
        b2 += b * b;
    }
    dot / (a2 * b2).sqrt()
}
