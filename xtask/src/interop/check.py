"""The Python side of `cargo xtask interop`: what transformers and PEFT make of adapters and models.

    check.py CASES WORK

CASES/<base>/ is a base model with a batch in `io.safetensors`. In WORK/<base>/, every folder in
`to_peft` holds an adapter and every folder in `merged` a model; both are loaded here. Adapters made
here are saved to folders in `from_peft`. Each folder gets a file `logits.safetensors`, or, where
something went wrong, `error.txt`.
"""

import platform
import sys
import warnings
from pathlib import Path

import peft
import safetensors
import torch
import transformers
from peft import AdaLoraConfig, LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

LEARNING_RATE = 1e-2


def main(cases: Path, work: Path) -> None:
    print(f"Python {platform.python_version()}", end="")
    for package in torch, transformers, peft, safetensors:
        print(f", {package.__name__} {package.__version__}", end="")
    transformers.utils.logging.disable_progress_bar()
    # PEFT only warns of adapter tensors that a file lacks.
    warnings.filterwarnings("error", message="Found missing adapter keys")
    torch.manual_seed(0)
    for base in sorted(work.iterdir()):
        check_base(cases / base.name, base)


def check_base(base: Path, work: Path) -> None:
    batch = load_file(base / "io.safetensors")
    for folder in sorted((work / "to_peft").iterdir()):
        attempt(folder, adapter_logits, base, folder, batch)
    for folder in sorted((work / "merged").iterdir()):
        attempt(folder, model_logits, folder, batch)
    for name, config in adapter_configs(load(base).config).items():
        folder = work / "from_peft" / name
        folder.mkdir(parents=True)
        attempt(folder, made_adapter_logits, base, folder, config, batch)


def attempt(folder: Path, work, *args) -> None:
    try:
        save_file(work(*args), folder / "logits.safetensors")
    except Exception as error:
        (folder / "error.txt").write_text(f"{type(error).__name__}: {error}")


def load(folder: Path):
    """The model in a folder, which must hold its weights and no others."""
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    if problems := {what: keys for what, keys in info.items() if keys}:
        raise ValueError(f"{folder.name}: {problems}")
    return model


@torch.no_grad()
def logits(model, batch) -> torch.Tensor:
    return model.eval()(input_ids=batch["input_ids"]).logits.contiguous()


def model_logits(folder: Path, batch) -> dict[str, torch.Tensor]:
    return {"logits": logits(load(folder), batch)}


def adapter_logits(base: Path, folder: Path, batch) -> dict[str, torch.Tensor]:
    model = PeftModel.from_pretrained(load(base), folder)
    check_tensors(model, folder)
    adapted = logits(model, batch)
    return {"logits": adapted, "merged_logits": logits(model.merge_and_unload(), batch)}


def check_tensors(model: PeftModel, folder: Path) -> None:
    """PEFT ignores what it does not know, so ask what it would save."""
    stored = load_file(folder / "adapter_model.safetensors")
    loaded = get_peft_model_state_dict(model)
    ignored = [name for name in stored if name not in loaded]
    changed = [name for name in stored if name in loaded and not stored[name].equal(loaded[name])]
    if ignored or changed:
        raise ValueError(f"PEFT ignores {ignored}, and changes {changed}")


def adapter_configs(base) -> dict[str, LoraConfig]:
    """One of each kind, by name."""
    common = {"task_type": "CAUSAL_LM", "target_modules": "all-linear"}
    lora = common | {"r": 4, "lora_alpha": 8}
    patterns = {
        "rank_pattern": {"q_proj": 6, r"layers\.1\.mlp\..*": 2},
        "alpha_pattern": {"v_proj": 12, "model.layers.0.mlp.up_proj": 3},
    }
    # A name is the end of a path at any letter: this takes all norms.
    saved = ["norm"] if base.tie_word_embeddings else ["norm", "lm_head"]
    budget = {"init_r": 4, "target_r": 1, "tinit": 2, "tfinal": 4, "deltaT": 1, "total_step": 12}
    return {
        "adalora": AdaLoraConfig(**common, **budget),
        "dora": LoraConfig(**lora, use_dora=True),
        "lora": LoraConfig(**lora),
        "modules_to_save": LoraConfig(**lora, modules_to_save=saved),
        "patterns": LoraConfig(**lora, **patterns),
        "rslora": LoraConfig(**lora, use_rslora=True, **patterns),
    }


def made_adapter_logits(base: Path, folder: Path, config, batch) -> dict[str, torch.Tensor]:
    model = get_peft_model(load(base), config)
    if isinstance(config, AdaLoraConfig):
        train_adalora(model, batch, config.total_step)
    else:
        disturb(model)
    model.save_pretrained(folder)
    return adapter_logits(base, folder, batch)


@torch.no_grad()
def disturb(model: PeftModel) -> None:
    """Moves what would train: adapters start without effect."""
    for param in model.parameters():
        if param.requires_grad:
            param.add_(torch.randn_like(param), alpha=0.1)


def train_adalora(model: PeftModel, batch, steps: int) -> None:
    """Ranks are allocated by training only."""
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE)
    for step in range(steps):
        model(input_ids=batch["input_ids"], labels=batch["labels"]).loss.backward()
        optimizer.step()
        model.base_model.update_and_allocate(step)
        optimizer.zero_grad()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
