//! JavaScript's inputs → the engine's. Typed arrays are copied: JavaScript may write to them while we compute.

use bert_layers::{Error, Input, Result};
use napi::bindgen_prelude::{Uint8Array, Uint32Array};
use napi_derive::napi;

/// One input; TypeScript has made sure that exactly one of text, words and ids is there.
#[napi(object, object_to_js = false)]
pub struct NativeInput {
    pub text: Option<String>,
    pub pair: Option<String>,
    pub words: Option<Vec<String>>,
    pub ids: Option<Uint32Array>,
    pub type_ids: Option<Uint32Array>,
    pub attention_mask: Option<Uint8Array>,
    /// Starts and ends, by turns; for embed only.
    pub spans: Option<Uint32Array>,
}

/// All inputs of a call.
pub fn inputs(inputs: Vec<NativeInput>) -> Result<Vec<Input>> {
    inputs.into_iter().map(Input::try_from).collect()
}

impl TryFrom<NativeInput> for Input {
    type Error = Error;

    fn try_from(input: NativeInput) -> Result<Self> {
        match input {
            NativeInput { text: Some(text), pair: Some(pair), .. } => Ok(Input::Pair { text, pair }),
            NativeInput { text: Some(text), .. } => Ok(Input::Text(text)),
            NativeInput { words: Some(words), .. } => Ok(Input::Words(words)),
            NativeInput { ids: Some(ids), type_ids, attention_mask, .. } => Ok(Input::Ids {
                ids: ids.to_vec(),
                type_ids: type_ids.map(|ids| ids.to_vec()),
                attention_mask: attention_mask.map(|mask| mask.iter().map(|&seen| seen != 0).collect()),
            }),
            _ => Err(Error::InvalidInput("an input has none of text, words and ids".into())),
        }
    }
}
