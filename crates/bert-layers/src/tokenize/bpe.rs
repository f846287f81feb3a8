//! `vocab.json` + `merges.txt` → the tokenizer that `RobertaTokenizer` of Transformers makes of them, or its `DebertaTokenizer`:
//! byte-level BPE.

use std::path::Path;

use ahash::AHashMap;
use serde_json::{Map, json};
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

use super::caught;
use super::config::Config;
use super::vocab::add_tokens;
use crate::{Error, Result};

/// What the special tokens are where no file says: bos, eos, unk, sep, pad, cls, mask.
const ROBERTA: [&str; 7] = ["<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"];
const DEBERTA: [&str; 7] = ["[CLS]", "[SEP]", "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"];

/// Reads `folder/vocab.json`, ids by token, and `folder/merges.txt`, a pair a line.
pub(super) fn load(folder: &Path, config: &Config) -> Result<Tokenizer> {
    let (vocab_json, merges_txt) = (folder.join("vocab.json"), folder.join("merges.txt"));
    let bytes = std::fs::read(&vocab_json).map_err(|e| Error::invalid_file(&vocab_json, e))?;
    let vocab: AHashMap<String, u32> = serde_json::from_slice(&bytes)
        .map_err(|e| Error::invalid_file(&vocab_json, format!("must give each token its id: {e}")))?;
    let merges = std::fs::read_to_string(&merges_txt).map_err(|e| Error::invalid_file(&merges_txt, e))?;
    let merges = merges
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("#version"))
        .map(|line| match line.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => Ok((left.to_owned(), right.to_owned())),
            _ => Err(Error::invalid_file(&merges_txt, format!("the line '{line}' must be two pieces"))),
        })
        .collect::<Result<Vec<_>>>()?;

    let deberta = is_deberta(config, &vocab)?;
    let special = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"]
        .into_iter()
        .zip(if deberta { DEBERTA } else { ROBERTA })
        .map(|(role, default)| config.special_token_or(role, default))
        .collect::<Result<Vec<AddedToken>>>()?;
    let with_id = |token: &AddedToken| match vocab.get(&token.content) {
        Some(&id) => Ok((token.content.clone(), id)),
        None => Err(Error::invalid_file(
            &vocab_json,
            format!(
                "lacks the token '{}'; if this model calls it otherwise, tokenizer_config.json must say so",
                token.content
            ),
        )),
    };
    let (sep, cls) = (with_id(&special[3])?, with_id(&special[5])?);
    let add_prefix_space = config.flag("add_prefix_space")?.unwrap_or(false);
    let trim_offsets = config.flag("trim_offsets")?.unwrap_or(true);

    let builder = BPE::builder().vocab_and_merges(vocab, merges).cache_capacity(0); // as `forget_words` says
    // The library answers some contradictions of the two files with a panic.
    let model = caught(|| builder.build()).map_err(|e| Error::invalid_file(&merges_txt, e))?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(add_prefix_space)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    if deberta {
        tokenizer.with_post_processor(Some(template(&sep, &cls).map_err(|e| config.invalid(e))?));
    } else {
        let processor = RobertaProcessing::new(sep, cls).trim_offsets(trim_offsets).add_prefix_space(add_prefix_space);
        tokenizer.with_post_processor(Some(processor));
    }
    add_tokens(&mut tokenizer, config, special)?;
    Ok(tokenizer)
}

/// Keeps BPE from remembering the words it has split. The library's memory of them belongs to the thread, not to the tokenizer, and
/// outlives it: up to 10,000 words of the user's texts, 4 MB, per thread and per model ever loaded. Splitting words anew costs a fifth
/// of BPE's speed, which is a hundred times the encoder's. (An empty table of 73 bytes stays behind all the same.)
pub(super) fn forget_words(tokenizer: &mut Tokenizer) {
    if let ModelWrapper::BPE(bpe) = tokenizer.get_model() {
        let mut bpe = bpe.clone();
        bpe.resize_cache(0);
        tokenizer.with_model(bpe);
    }
}

/// Whether it is DeBERTa's: the class says so, or, as microsoft/deberta-base names none, the vocabulary's own special tokens.
fn is_deberta(config: &Config, vocab: &AHashMap<String, u32>) -> Result<bool> {
    Ok(match config.text("tokenizer_class")? {
        Some(class) => class.starts_with("Deberta"),
        None => vocab.contains_key("[CLS]") && !vocab.contains_key("<s>"),
    })
}

/// How DeBERTa's special tokens stand around texts. Transformers 5 puts two [SEP] between the texts of a pair, of one token type;
/// 4 had one, and the second text's type was 1.
fn template(sep: &(String, u32), cls: &(String, u32)) -> serde_json::Result<TemplateProcessing> {
    // As a tokenizer.json has it: the library's own pieces are text, in which a token with a colon would be read wrongly.
    let special = |(token, _): &(String, u32)| json!({ "SpecialToken": { "id": token, "type_id": 0 } });
    let text = |id: &str| json!({ "Sequence": { "id": id, "type_id": 0 } });
    let known = |(token, id): &(String, u32)| (token.clone(), json!({ "id": token, "ids": [id], "tokens": [token] }));
    serde_json::from_value(json!({
        "type": "TemplateProcessing",
        "single": [special(cls), text("A"), special(sep)],
        "pair": [special(cls), text("A"), special(sep), special(sep), text("B"), special(sep)],
        "special_tokens": Map::from_iter([known(cls), known(sep)]),
    }))
}
