//! LLaMA and Gemma decoders for Burn, read from and written to Hugging Face checkpoints.
//!
//! [`Checkpoint::open`] reads `config.json` and the headers of the safetensors files,
//! [`Checkpoint::load`] builds the [`CausalLm`], [`save`] writes one back. The [`Tokenizer`] comes
//! from the same folder. Parameter paths equal the tensor names of the checkpoint, so adapters and
//! deltas name what they change as the rest of the ecosystem does.
//!
//! There is one decoder. `config.json` says which family it belongs to ([`ModelType`]): LLaMA 2 and
//! 3, Gemma or Gemma 2.
//!
//! The decoder knows no fine-tuning method, no dataset and no training loop.

mod checkpoint;
mod config;
mod error;
mod generate;
mod json;
mod loss;
mod model;
mod tokenizer;

pub use checkpoint::{
    Checkpoint, LoadDType, LoadReport, MAX_SHARD_BYTES, Progress, TensorHeader,
    copy_tokenizer_files, save, save_sharded,
};
pub use config::{DecoderConfig, LayerType, Llama3Scaling, ModelType, Rope, RopeScaling};
pub use error::Error;
pub use generate::{Completion, Finish, Sampling, TextOptions};
pub use loss::{IGNORE_INDEX, cross_entropy_sum};
pub use model::{Attention, CausalLm, Decoder, KvCache, Layer, Mlp, RmsNorm, Rotary};
pub use tokenizer::{ChatMessage, ChatTemplate, EncodedChat, Tokenizer};
