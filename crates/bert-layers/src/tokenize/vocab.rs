//! `vocab.txt` + `tokenizer_config.json` → the tokenizer that `BertTokenizer` of Transformers makes of them.

use std::path::Path;

use ahash::AHashMap;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{AddedToken, Tokenizer};

use super::config::Config;
use super::{caught, limits};
use crate::{Error, Result};

/// The classes of Transformers that do with a vocab.txt what `BertTokenizer` does. Others that have one split texts differently:
/// `BertJapaneseTokenizer` by grammar, `BertweetTokenizer` and `PhobertTokenizer` by bpe.codes.
const LIKE_BERT: [&str; 9] = [
    "BertTokenizer",
    "ConvBertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "LayoutLMTokenizer",
    "LxmertTokenizer",
    "MobileBertTokenizer",
    "RetriBertTokenizer",
    "SqueezeBertTokenizer",
];

/// BERT's pieces between RoBERTa's special tokens.
const MPNET: &str = "MPNetTokenizer";

/// Reads `folder/vocab.txt`, one token a line, its id the number of the line.
pub(super) fn load(folder: &Path, config: &Config) -> Result<Tokenizer> {
    let path = folder.join("vocab.txt");
    let invalid = |reason: String| Error::invalid_file(&path, reason);
    let refused = |e: tokenizers::Error| invalid(e.to_string());
    if config.flag("do_basic_tokenize")? == Some(false) {
        return Err(config.unsupported("do_basic_tokenize false is not supported: give a tokenizer.json"));
    }
    if let Some(class) = config.class().filter(|class| !LIKE_BERT.contains(class) && *class != MPNET) {
        return Err(config.unsupported(format!(
            "vocab.txt is not read as {class} reads it: AutoTokenizer.from_pretrained(folder).save_pretrained(folder) in Python writes \
             tokenizer.json where Transformers has a fast tokenizer for it"
        )));
    }
    let is_mpnet = config.class() == Some(MPNET);
    let bytes = std::fs::read(&path).map_err(|e| invalid(e.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|e| invalid(format!("is not UTF-8: {e}")))?;
    let vocab = parse(&text);
    let special = if is_mpnet { mpnet_tokens(config)? } else { bert_tokens(config)? };
    let with_id = |token: &AddedToken| match vocab.get(&token.content) {
        Some(&id) => Ok((token.content.clone(), id)),
        None => Err(invalid(format!(
            "lacks the token '{}'; if this model calls it otherwise, tokenizer_config.json must say so",
            token.content
        ))),
    };
    let [(unk, _), sep, cls] = [with_id(&special[0])?, with_id(&special[1])?, with_id(&special[3])?];
    let normalizer = BertNormalizer::new(
        true,
        config.flag("tokenize_chinese_chars")?.unwrap_or(true),
        config.flag("strip_accents")?, // left out: as do_lower_case says
        config.flag("do_lower_case")?.unwrap_or_else(|| lower_cases_by_default(folder)),
    );
    let known: Vec<AddedToken> = special.into_iter().filter(|token| vocab.contains_key(&token.content)).collect();
    let model = WordPiece::builder()
        .vocab(vocab)
        .unk_token(unk)
        .continuing_subword_prefix("##".into())
        .max_input_chars_per_word(100)
        .build()
        .map_err(refused)?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_normalizer(Some(normalizer)).map_err(refused)?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    match is_mpnet {
        true => tokenizer.with_post_processor(Some(RobertaProcessing::new(sep, cls).add_prefix_space(false))),
        false => tokenizer.with_post_processor(Some(BertProcessing::new(sep, cls))),
    };
    tokenizer.with_decoder(Some(tokenizers::decoders::wordpiece::WordPiece::default()));
    add_tokens(&mut tokenizer, config, known)?;
    Ok(tokenizer)
}

/// The special tokens of BERT, by role: unknown, separator, padding, class, mask.
fn bert_tokens(config: &Config) -> Result<Vec<AddedToken>> {
    ["unk", "sep", "pad", "cls", "mask"].into_iter().map(|role| config.special_token(role)).collect()
}

/// Those of MPNet, whose mask takes the blanks before it.
fn mpnet_tokens(config: &Config) -> Result<Vec<AddedToken>> {
    [("unk", "[UNK]"), ("sep", "</s>"), ("pad", "<pad>"), ("cls", "<s>"), ("mask", "<mask>")]
        .into_iter()
        .map(|(role, default)| {
            let token = config.special_token_or(role, default)?;
            Ok(if role == "mask" { token.lstrip(true) } else { token })
        })
        .collect()
}

/// Adds the tokens that stand beside a vocabulary, in the order in which Transformers numbers them.
pub(super) fn add_tokens(tokenizer: &mut Tokenizer, config: &Config, special: Vec<AddedToken>) -> Result<()> {
    let mut add = |tokens: Vec<AddedToken>| -> Result<()> {
        limits::check_added(&tokens).map_err(|e| config.invalid(e))?;
        // All at once: with each call the library builds the search for all of them again.
        caught(|| tokenizer.add_tokens(tokens)).map(drop).map_err(|e| config.invalid(e))
    };
    let known = config.added_tokens()?;
    add(known.iter().map(|(_, token)| token.clone()).collect())?;
    add(special)?;
    add(config.additional_special_tokens()?)?;
    match known.iter().find(|(id, token)| tokenizer.token_to_id(&token.content) != Some(*id)) {
        None => Ok(()),
        Some((id, AddedToken { content, .. })) => Err(config
            .invalid(format!("added_tokens_decoder gives '{content}' the id {id}, which the vocabulary contradicts"))),
    }
}

/// Whether texts are lower-cased where no file says so. Transformers does it; but Google's releases, which have no
/// tokenizer_config.json, come in both kinds, and one whose pieces have capital letters is of the other.
pub(crate) fn lower_cases_by_default(folder: &Path) -> bool {
    let is_release = !folder.join("config.json").is_file() && !folder.join("tokenizer_config.json").is_file();
    let has_capitals = |piece: &str| !piece.starts_with(['[', '<']) && piece.contains(|c: char| c.is_ascii_uppercase());
    let read = || std::fs::read_to_string(folder.join("vocab.txt")).unwrap_or_default();
    !(is_release && read().lines().any(has_capitals))
}

/// As Python reads the file: lines end at \n, \r\n or \r, nothing else is trimmed, and the last of two equal tokens counts.
fn parse(text: &str) -> AHashMap<String, u32> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let text = text.strip_suffix('\n').unwrap_or(&text);
    text.split('\n').zip(0..).map(|(token, id)| (token.to_owned(), id)).collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_id_is_the_line() {
        let vocab = parse("[PAD]\r\n[UNK]\n\n a \nx\n[UNK]\n");
        let mut entries: Vec<_> = vocab.into_iter().collect();
        entries.sort_by_key(|(_, id)| *id);
        let entries: Vec<(&str, u32)> = entries.iter().map(|(token, id)| (token.as_str(), *id)).collect();
        assert_eq!(entries, [("[PAD]", 0), ("", 2), (" a ", 3), ("x", 4), ("[UNK]", 5)]);
    }
}
