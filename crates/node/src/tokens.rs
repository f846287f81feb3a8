//! The engine's token columns → typed arrays.

use bert_layers::Tokens;
use napi::bindgen_prelude::{Int32Array, Uint8Array, Uint32Array};
use napi_derive::napi;

/// The tokens of all texts end to end; see ts/binding.ts.
#[napi(object, object_from_js = false)]
pub struct NativeTokens {
    pub starts: Uint32Array,
    pub ids: Uint32Array,
    pub type_ids: Uint32Array,
    pub offsets: Uint32Array,
    pub word_ids: Int32Array,
    pub sequence_ids: Int32Array,
    pub special_tokens_mask: Uint8Array,
    pub unknown: Uint8Array,
}

impl From<Tokens> for NativeTokens {
    fn from(tokens: Tokens) -> Self {
        let optional = |column: Vec<Option<u32>>| {
            Int32Array::new(column.into_iter().map(|x| x.map_or(-1, |x| x as i32)).collect())
        };
        let flags = |column: Vec<bool>| Uint8Array::new(column.into_iter().map(u8::from).collect());
        Self {
            starts: Uint32Array::new(tokens.starts.into_iter().map(|start| start as u32).collect()),
            ids: Uint32Array::new(tokens.ids),
            type_ids: Uint32Array::new(tokens.type_ids),
            offsets: Uint32Array::new(tokens.offsets.into_iter().flat_map(|(start, end)| [start, end]).collect()),
            word_ids: optional(tokens.word_ids),
            sequence_ids: optional(tokens.sequence_ids),
            special_tokens_mask: flags(tokens.special_tokens_mask),
            unknown: flags(tokens.unknown),
        }
    }
}
