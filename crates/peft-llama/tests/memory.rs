//! What loading a checkpoint takes of the allocator: the model and one tensor.

use burn::module::Module;
use burn::tensor::DType;
use peak_alloc::PeakAlloc;
use peft_core::is_cpu;
use peft_llama::{Checkpoint, DecoderConfig, save};
use peft_testing::device;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const CONFIG: &str = r#"{
    "model_type": "llama", "vocab_size": 4000, "hidden_size": 256, "intermediate_size": 688,
    "num_hidden_layers": 4, "num_attention_heads": 8
}"#;
/// Elements of the embedding and of the head.
const LARGEST: usize = 4000 * 256;
/// What names, shapes and headers may take, in bytes.
const SMALL: usize = 1 << 18;

#[test]
fn loading_takes_the_model_and_one_tensor() {
    let device = device();
    if !is_cpu(&device) {
        return; // its memory is not the allocator's
    }
    let config = DecoderConfig::parse(CONFIG, "config.json").unwrap();
    for stored in [DType::F32, DType::BF16] {
        let dir = tempfile::tempdir().unwrap();
        save(&config.init(&device), &config, dir.path(), Some(stored)).unwrap();
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let (model, _) = checkpoint.load(&device, Some(DType::F32), |_| ()).unwrap();
        let peak = ALLOCATOR.peak_usage() - before;
        let weights = 4 * model.num_params();
        let most = weights + 4 * LARGEST + SMALL;
        assert!((weights..=most).contains(&peak), "{stored:?}: {weights} and {}", peak - weights);
    }
}
