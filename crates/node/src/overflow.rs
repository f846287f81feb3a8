//! What to do with texts that are too long, as TypeScript says it.

use bert_layers::{Cuts, Error, Merge, Overflow, Result, Truncate, Window};
use napi::bindgen_prelude::Uint32Array;
use napi_derive::napi;

/// One of the overflows; see ts/binding.ts.
#[napi(object, object_to_js = false)]
pub struct NativeOverflow {
    pub kind: String,
    pub head: Option<u32>,
    pub size: Option<u32>,
    pub stride: Option<u32>,
    pub mean: Option<bool>,
    pub windows: Option<u32>,
    /// A whole number of 0 to 2⁵³ − 1.
    pub seed: Option<i64>,
}

impl TryFrom<NativeOverflow> for Overflow {
    type Error = Error;

    fn try_from(overflow: NativeOverflow) -> Result<Self> {
        let number = |number: Option<u32>| number.map(|number| number as usize);
        Ok(match overflow.kind.as_str() {
            "error" => Overflow::Error,
            "head" => Overflow::Truncate(Truncate::Head),
            "tail" => Overflow::Truncate(Truncate::Tail),
            "head+tail" => Overflow::Truncate(Truncate::HeadTail { head: number(overflow.head) }),
            "window" => Overflow::Window(Window {
                size: number(overflow.size),
                stride: number(overflow.stride),
                merge: if overflow.mean == Some(true) { Merge::Mean } else { Merge::Center },
            }),
            "sample" => Overflow::Sample {
                windows: number(overflow.windows).unwrap_or(0),
                seed: overflow.seed.unwrap_or(0) as u64,
            },
            other => return Err(Error::InvalidInput(format!("there is no overflow '{other}'"))),
        })
    }
}

/// What an overflow left out.
#[napi(object, object_from_js = false)]
pub struct NativeCuts {
    pub truncated: Uint32Array,
    pub sampled: Vec<Option<Uint32Array>>,
}

impl From<Cuts> for NativeCuts {
    fn from(Cuts { truncated, sampled }: Cuts) -> Self {
        let flat = |ranges: Vec<std::ops::Range<usize>>| {
            Uint32Array::new(ranges.into_iter().flat_map(|range| [range.start as u32, range.end as u32]).collect())
        };
        Self {
            truncated: Uint32Array::new(truncated.into_iter().map(|count| count as u32).collect()),
            sampled: sampled.into_iter().map(|ranges| ranges.map(flat)).collect(),
        }
    }
}
