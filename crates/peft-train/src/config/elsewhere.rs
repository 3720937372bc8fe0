//! What axolotl, LLaMA-Factory, PEFT and transformers call settings, and what stands for them here.

/// What stands for a name of another tool.
#[derive(Clone, Copy)]
pub(super) enum Instead {
    /// A setting.
    Key(&'static str),
    /// Something else, in words.
    Words(&'static str),
}

use Instead::{Key, Words};

const F16: Instead = Words("use `dtype = \"f16\"`");
const BF16: Instead = Words("use `dtype = \"bf16\"`");
const UNQUANTISED: Instead =
    Words("a quantised base cannot be trained: use `dtype = \"bf16\"`, which halves f32");
const BIASES: Instead = Words("biases stay frozen unless `modules_to_save` names their modules");
const ADAMW: Instead = Words("what trains is stepped by AdamW");
const VALIDATED: Instead = Words(
    "the validation loss is measured every `eval_steps`, or without it at the end of every epoch",
);
const VALIDATION_BATCH: Instead = Words("validation takes batches of `micro_batch_size`, too");
const SAVED: Instead = Words("a checkpoint is written every `save_steps`");
const LOGGED: Instead = Words("a run always writes `metrics.jsonl`, `run.json` and `report.md`");

/// Names of a run's settings.
pub(super) const RUN: &[(&str, Instead)] = &[
    ("adapter", Key("method")),
    ("alpha", Key("lora_alpha")),
    ("base_model_config", Key("base_model")),
    ("batch_size", Key("micro_batch_size")),
    ("bf16", BF16),
    ("bias", BIASES),
    ("clip_grad_norm", Key("max_grad_norm")),
    ("cutoff_len", Key("sequence_len")),
    ("data", Key("datasets")),
    ("dataset", Key("datasets")),
    ("dataset_path", Key("datasets")),
    ("delta_t", Key("deltaT")),
    ("dropout", Key("lora_dropout")),
    ("early_stop", Key("early_stopping_patience")),
    ("early_stopping_steps", Key("early_stopping_patience")),
    ("epochs", Key("num_epochs")),
    ("eval_batch_size", VALIDATION_BATCH),
    ("eval_dataset", Key("test_datasets")),
    ("eval_strategy", VALIDATED),
    ("evals_per_epoch", VALIDATED),
    ("evaluation_strategy", VALIDATED),
    ("finetuning_type", Key("method")),
    ("flash_attention", Words("attention is computed in one way, on every device")),
    ("fp16", F16),
    (
        "gradient_checkpointing",
        Words("activations are kept: lower `micro_batch_size` or `sequence_len`"),
    ),
    ("gradient_clipping", Key("max_grad_norm")),
    (
        "hub_model_id",
        Words("nothing is uploaded: `hf upload` takes `final/` or `adapter/` of the run"),
    ),
    (
        "init_lora_weights",
        Words("use `method = \"pissa\"` for PiSSA's; lora and dora have PEFT's default"),
    ),
    (
        "load_best_model_at_end",
        Words(
            "`final/` is the last state; `burn-peft merge` takes the best checkpoint, which is kept, as \
         its `--adapter`",
        ),
    ),
    ("load_in_4bit", UNQUANTISED),
    ("load_in_8bit", UNQUANTISED),
    ("logging_dir", LOGGED),
    ("lora", Words("use `method = \"lora\"`; settings stand in no section")),
    ("lora_bias", BIASES),
    ("lora_modules_to_save", Key("modules_to_save")),
    ("lora_rank", Key("lora_r")),
    ("lora_target", Key("target_modules")),
    ("lora_target_linear", Words("use `target_modules = \"all-linear\"`, the default")),
    ("lora_target_modules", Key("target_modules")),
    ("lr", Key("learning_rate")),
    ("lr_scheduler_type", Key("lr_scheduler")),
    ("max_length", Key("sequence_len")),
    ("max_seq_len", Key("sequence_len")),
    ("max_seq_length", Key("sequence_len")),
    ("model", Key("base_model")),
    ("model_max_length", Key("sequence_len")),
    ("model_name_or_path", Key("base_model")),
    ("num_train_epochs", Key("num_epochs")),
    ("optim", ADAMW),
    ("optimizer", ADAMW),
    ("output", Key("output_dir")),
    (
        "overwrite_cache",
        Words("a change of data, template or settings is noticed: nothing is reused wrongly"),
    ),
    ("packing", Key("sample_packing")),
    (
        "pad_to_sequence_len",
        Words("rows are padded to the longest of their batch; `sample_packing` fills them"),
    ),
    ("per_device_eval_batch_size", VALIDATION_BATCH),
    ("per_device_train_batch_size", Key("micro_batch_size")),
    ("pissa_init", Words("use `method = \"pissa\"`")),
    ("precision", Key("dtype")),
    ("rank", Key("lora_r")),
    ("report_to", LOGGED),
    ("resume", Key("resume_from_checkpoint")),
    ("save_strategy", SAVED),
    ("saves_per_epoch", SAVED),
    ("special_tokens", Words("special tokens are those of the checkpoint's tokenizer")),
    ("stage", Words("what there is is supervised fine-tuning")),
    ("template", Key("chat_template")),
    ("torch_dtype", Key("dtype")),
    ("train_test_split", Key("val_set_size")),
    ("use_dora", Words("use `method = \"dora\"`")),
    ("use_lora", Words("use `method = \"lora\"`")),
    ("use_pissa", Words("use `method = \"pissa\"`")),
    ("val_size", Key("val_set_size")),
    ("validation_split", Key("val_set_size")),
    ("wandb_project", LOGGED),
    ("warmup_steps", Words("use `warmup_ratio`, the share of the steps spent warming up")),
];

/// Names of a dataset's settings.
pub(super) const DATASET: &[(&str, Instead)] = &[
    ("chat_template", Words("it is a setting of the run, outside of `datasets`: a Jinja file")),
    ("data_files", Key("path")),
    ("dataset", Key("path")),
    ("ds_type", Words("a file's extension says what it is: .jsonl, .json, .csv or .parquet")),
    ("field_instruction", Key("columns")),
    ("field_messages", Key("columns")),
    ("field_output", Key("columns")),
    ("file", Key("path")),
    ("file_name", Key("path")),
    ("format", Key("type")),
    ("formatting", Key("type")),
    ("subset", Key("name")),
    ("train_on_split", Key("split")),
];

/// Names of a dataset's formats.
pub(super) const FORMATS: &[(&str, Instead)] = &[
    ("chat", Key("messages")),
    ("chat_template", Key("messages")),
    ("chatml", Key("messages")),
    ("completion", Key("text")),
    ("instruct", Key("alpaca")),
    ("instruction", Key("alpaca")),
    ("openai", Key("messages")),
];
