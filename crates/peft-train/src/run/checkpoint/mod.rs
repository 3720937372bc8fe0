//! Checkpoints of a run: what training changed, not the frozen base.
//!
//! A checkpoint is a folder `checkpoint-STEPS` in the output folder:
//!
//! | file | what it holds |
//! |---|---|
//! | `state.safetensors`, `state.json` | the method's record, and densely trained parameters |
//! | `optimizer.bpk` | moments of densely trained parameters |
//! | `manifest.json` | steps, loss scale, what the run belongs to, size and SHA-256 of the files above |
//! | `manifest.sha256` | SHA-256 of the manifest, in the format of `sha256sum` |
//!
//! It is written beside its place, synced and renamed: whatever stops the program or the machine, a
//! reader finds a whole checkpoint or none, and one that was to be replaced is not lost. What is
//! damaged later shows in the hashes.
//!
//! Nothing else must survive: rates, the order of samples and the device's generator are functions
//! of the seed and the steps counted here.
//!
//! Its size is 12 bytes per trained parameter (the value and two moments, f32): with LoRA of rank
//! 16 on all linear modules of a 7B model about 0.5 GB, with full fine-tuning 80 GB. PiSSA has 16,
//! with the factors taken out of the weight, and AdaLoRA before its last cut 20, with the smoothed
//! importance and its uncertainty. LoSiA adds 4 bytes for every entry that was settled since the
//! run began, and while a layer's importance is gathered 8 bytes per entry of that layer.

mod folder;
mod manifest;
mod read;
mod tensors;
mod write;

pub(crate) use folder::list;
pub(super) use folder::{prune, remove_leftovers};
pub use manifest::{CheckpointManifest, FileDigest, Progress};
pub use read::{LatestCheckpoint, latest_checkpoint};
pub(super) use read::{Restored, read};
pub(crate) use read::{read_record, stored_tensors};
pub(super) use write::write;

/// Files of a checkpoint.
const STATE: &str = "state.safetensors";
const STATE_META: &str = "state.json";
const OPTIMIZER: &str = "optimizer.bpk";
/// All of them but the manifest.
const FILES: [&str; 3] = [STATE, STATE_META, OPTIMIZER];
