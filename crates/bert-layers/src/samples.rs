//! Typical texts, for operations that must see some before they can be used: int8 learns from them which input channels of a
//! matrix are large. They are built in and the same always, so that a model is the same always.

use bert_layers_kernels::Crew;

use crate::config::ModelConfig;
use crate::tokenize::{Input, OffsetUnit, Tokenizer, Tokens, tokenize};
use crate::{Cancel, Error, Result};

/// Several languages and scripts, prose and not: what is unknown to a vocabulary is typical too.
const TEXTS: [&str; 16] = [
    "The quick brown fox jumps over the lazy dog.",
    "He deposited the cheque at the bank, then sat on the river bank and watched the boats go by.",
    "In 1998, researchers at the university measured 3.14159 kilograms of the material (about 7 lbs).",
    "What time is it? I don't know; ask her!",
    "A man is playing a guitar.",
    "Two children are running through the grass while their parents watch from the house.",
    "Stocks fell sharply on Tuesday as investors worried about interest rates and the price of oil.",
    "def add(a, b): return a + b  # https://example.org/index.html?q=1&r=2",
    "The committee, which had met twice before, agreed that the report should be published without delay.",
    "Yes.",
    "你好，世界！今天天气很好，我们去公园散步吧。",
    "Der Hund läuft über die Straße, während die Katze schläft.",
    "Le café était fermé, mais la boulangerie d’à côté ouvrait à sept heures.",
    "Это предложение написано по-русски.",
    "東京は日本の首都です。 이것은 한국어 문장입니다.",
    "هذه جملة باللغة العربية. यह हिंदी में एक वाक्य है।",
];

/// The tokens of the samples; without a tokenizer, ids from all over the vocabulary.
pub(crate) fn tokens(tokenizer: Option<&Tokenizer>, config: &ModelConfig) -> Result<Tokens> {
    let crew = Crew::start(1).map_err(|e| Error::Internal(e.to_string()))?;
    let tokenize = |inputs: &[Input]| tokenize(&crew, tokenizer, inputs, true, OffsetUnit::Byte, &Cancel::new());
    let longest = config.max_tokens().min(64);
    let ids: Vec<Vec<u32>> = match tokenizer {
        // One after the other: a tokenizer that replaces much makes long texts of them.
        Some(_) => TEXTS
            .iter()
            .map(|&text| {
                let mut ids = tokenize(&[text.into()])?.ids;
                ids.truncate(longest);
                ids.shrink_to_fit();
                Ok(ids)
            })
            .collect::<Result<_>>()?,
        None => {
            // Steps of a number that shares no divisor with most sizes reach everywhere.
            let id = |i: usize| (i * 7919 % config.vocab_size()) as u32;
            (0..TEXTS.len()).map(|text| (0..longest.min(24)).map(|i| id(24 * text + i)).collect()).collect()
        }
    };
    let inputs: Vec<Input> =
        ids.into_iter().map(|ids| Input::Ids { ids, type_ids: None, attention_mask: None }).collect();
    tokenize(&inputs)
}
