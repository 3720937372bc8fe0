//! The estimate of memory against what the allocator counts.

use std::fs;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Int, Tensor};
use peak_alloc::PeakAlloc;
use peft_core::{Tuner, TunerConfig, device_by_name};
use peft_llama::{Checkpoint, DecoderConfig, copy_tokenizer_files, cross_entropy_sum, save};
use peft_train::config::{MethodName, TypedConfig};
use peft_train::plan::{MethodSettings, Plan};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const ROWS: usize = 8;
const TOKENS: usize = 96;
const VOCABULARY: usize = 800;

fn decoder(family: Value) -> Value {
    let mut config = json!({
        "vocab_size": VOCABULARY, "hidden_size": 128, "intermediate_size": 344,
        "num_hidden_layers": 3, "num_attention_heads": 8, "num_key_value_heads": 4,
        "head_dim": 16, "max_position_embeddings": 256, "bos_token_id": 1, "eos_token_id": 2,
    });
    let keys = family.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(keys);
    config
}

/// A folder with a random model of that configuration, the repository's tokenizer, and samples that
/// are all longer than the sequences trained on.
fn folder(config: &Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let device = device_by_name("flex").unwrap();
    let config = DecoderConfig::parse(&config.to_string(), "config.json").unwrap();
    save(&config.init(&device), &config, dir.path().join("model"), None).unwrap();
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/tiny-llama");
    copy_tokenizer_files(tokenizer, dir.path().join("model")).unwrap();
    let text = "fox cup pen hat drum ".repeat(TOKENS);
    let line = json!({ "text": text }).to_string();
    fs::write(dir.path().join("data.jsonl"), vec![line; ROWS].join("\n")).unwrap();
    dir
}

fn typed(dir: &Path, method: MethodName, more: &str) -> TypedConfig {
    let toml = format!(
        "base_model = {:?}\nmethod = \"{method}\"\ndatasets = [{{ path = {:?} }}]\n\
         output_dir = {:?}\ndevice = \"flex\"\nmicro_batch_size = {ROWS}\n\
         sequence_len = {TOKENS}\n{more}",
        dir.join("model"),
        dir.join("data.jsonl"),
        dir.join("out"),
    );
    TypedConfig::parse(&toml, "run.toml", &[]).unwrap()
}

/// Bytes alive after a forward pass, beside the model, and what the backward pass of the loss will
/// need at once: the exponentials and the gradient of the logits.
fn measured(dir: &Path, typed: &TypedConfig) -> usize {
    let device = device_by_name("flex").unwrap().autodiff();
    let mut config = typed.config.clone();
    let dtype = config.dtype.map(Into::into);
    let (model, _) =
        Checkpoint::open(dir.join("model")).unwrap().load(&device, dtype, |_| ()).unwrap();
    let method = MethodSettings::resolve(&mut config, 1, model.output_head_name()).build().unwrap();
    let (_tuner, model) = Tuner::attach(method, TunerConfig::default(), model.train()).unwrap();
    let ids = Tensor::<1, Int>::arange(0..(ROWS * TOKENS) as i64, &device)
        .remainder_scalar(VOCABULARY as i64)
        .reshape([ROWS, TOKENS]);
    let forward = || cross_entropy_sum(model.forward(ids.clone(), None), ids.clone()).0;
    drop(forward()); // first use allocates scratch space
    let before = ALLOCATOR.current_usage();
    let loss = forward();
    let kept = ALLOCATOR.current_usage().saturating_sub(before);
    drop(loss);
    kept + 8 * ROWS * TOKENS * VOCABULARY
}

#[test]
fn activations_are_what_the_allocator_counts() {
    let llama = json!({ "model_type": "llama" });
    let gemma = json!({ "model_type": "gemma" });
    let gemma2 = json!({
        "model_type": "gemma2", "query_pre_attn_scalar": 16, "sliding_window": 64,
        "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
    });
    let cases = [
        (&llama, MethodName::LosiaPro, ""),
        (&llama, MethodName::LosiaPro, "update_type = \"synchronous\""),
        (&llama, MethodName::Losia, ""),
        (&llama, MethodName::Lora, ""),
        (&llama, MethodName::Lora, "lora_dropout = 0.1"),
        (&llama, MethodName::Lora, "dtype = \"bf16\""),
        (&llama, MethodName::Dora, ""),
        (&llama, MethodName::Adalora, ""),
        (&llama, MethodName::Full, ""),
        (&gemma, MethodName::LosiaPro, ""),
        (&gemma2, MethodName::Lora, ""),
    ];
    for (family, method, more) in cases {
        let dir = folder(&decoder(family.clone()));
        let typed = typed(dir.path(), method, more);
        let estimate = Plan::new(&typed).unwrap().memory().0.activations;
        let measured = measured(dir.path(), &typed);
        let ratio = estimate as f64 / measured as f64;
        println!("{} {method} {more}: {estimate} / {measured} = {ratio:.3}", family["model_type"]);
        assert!((0.95..1.05).contains(&ratio), "{family} {method} {more}: {estimate}, {measured}");
    }
}
