//! Every encoder layer's hidden state of BERT-family models.
//!
//! Most engines give a model's last layer. This one gives all of them, exactly as Hugging Face Transformers defines
//! `hidden_states`: entry 0 is the embedding output, entry k the output of block k.
//!
//! The way of the data, and the module of each step:
//!
//! | step | module |
//! |---|---|
//! | `config.json` → one description of the architecture | [`config`] |
//! | checkpoint files → named tensors | `weights` |
//! | text → tokens with offsets and words | [`tokenize`](mod@tokenize) |
//! | tokens → one packed batch without padding | `batch` |
//! | the math of each family, written once | `model` |
//! | the operations it is written against | `ops`: with our own kernels (`ops/cpu`), with candle (`ops/candle`) |
//! | one buffer `[layer][token][hidden]`, written by the last step of each layer | [`HiddenStates`] |
//!
//! [`Encoder`] puts them together. [`VectorIndex`] searches vectors made of such states. [`inspect`](fn@inspect) looks at a model
//! without loading it, [`convert`](fn@convert) writes one in Hugging Face layout.

mod attentions;
mod backend;
mod batch;
mod call;
mod cancel;
mod combine;
pub mod config;
mod convert;
mod device;
mod devices;
mod embed;
mod embeddings;
mod encoder;
mod error;
mod fold;
mod groups;
mod hidden_states;
mod inspect;
mod json;
mod last_layer;
mod layers;
mod loaded;
mod locate;
mod memory;
mod model;
mod ops;
mod output;
mod overflow;
mod pool;
mod precision;
mod queue;
mod reduce;
mod result_buffer;
mod samples;
mod schedule;
mod search;
mod sequences;
mod sink;
mod threads;
pub mod tokenize;
mod weights;
mod words;

pub use attentions::Attentions;
pub use call::Call;
pub use cancel::Cancel;
pub use combine::Combine;
pub use config::ModelConfig;
pub use convert::{Conversion, ConvertOptions, convert};
pub use device::{DeviceChoice, Dtype};
pub use devices::{device_kinds, instruction_set, open_device};
pub use embed::{EmbedInput, EmbedOptions, Prompt};
pub use embeddings::{Embeddings, PoolingSource, Used};
pub use encoder::{EncodeOptions, Encoder, LoadOptions};
pub use error::{Error, Result, catch};
pub use hidden_states::{HiddenStates, Parts};
pub use inspect::{Inspection, RemoteFile, TokenizerFound, WeightsFound, disagreements, inspect, inspect_remote};
pub use last_layer::LastLayer;
pub use layers::Layers;
pub use locate::{Search, locate};
pub use overflow::{Merge, Overflow, Truncate, Window};
pub use pool::Pool;
pub use precision::{Precision, Vectors};
pub use queue::{Queue, Task};
pub use result_buffer::ResultBuffer;
pub use search::{IndexOptions, IndexPrecision, Metric, Neighbors, SearchOptions, VectorIndex};
pub use sequences::Cuts;
pub use threads::default_threads;
pub use tokenize::{Input, OffsetUnit, Tokenizer, Tokens};
pub use weights::WeightFormat;
pub use words::{WordPool, Words};
