"""Records the case gemma2_tiny: forward and backward of a very small Gemma 2 in transformers.

Usage: python generate_gemma2.py [OUT]    OUT defaults to gemma2_tiny beside this file

Besides recording, it checks that the case can fail: the logits change when the sliding window,
either soft cap or the attention scale is left out, and the tolerances are far above rounding noise.
"""

import json
import sys
from pathlib import Path
from unittest import mock

import torch
import transformers
from safetensors.torch import save_file
from transformers import Gemma2Config, Gemma2ForCausalLM

BATCH, SEQ = 2, 14
PAD_ROW, PAD_TOKENS = 1, 4
TOLERANCE = {"logits": 2e-4, "hidden": 2e-4, "loss": 5e-5, "grads": 3e-5, "inv_freq": 1e-6}
SETTINGS = {
    "architectures": ["Gemma2ForCausalLM"],
    "attn_logit_softcapping": 1.5,
    "dtype": "float32",
    "final_logit_softcapping": 3.0,
    "head_dim": 16,
    "hidden_size": 32,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "query_pre_attn_scalar": 24,
    "sliding_window": 5,
    "use_cache": False,
    "vocab_size": 96,
}
# What each feature is replaced with to see that it matters.
LEFT_OUT = {
    "sliding_window": SEQ,
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
    "query_pre_attn_scalar": SETTINGS["head_dim"],
}
EXPECT = (
    "Four norms per layer (norm weight used as (1+w)), layers 0 and 2 see the last 5 tokens "
    "(themselves included), scores and logits soft-capped, scores scaled by "
    "query_pre_attn_scalar^-0.5, grouped queries, head_dim 16 differs from hidden/heads, "
    "embeddings multiplied by sqrt(hidden), GELU tanh, tied embeddings: model.embed_tokens.weight "
    "is the only entry and its gradient is embedding plus head part."
)


def build(weights=None, **overrides):
    """The model in evaluation mode, with `weights` or with random ones."""
    config = Gemma2Config(**{**SETTINGS, **overrides})
    config._attn_implementation = "eager"
    model = Gemma2ForCausalLM(config).eval()
    if weights is not None:
        model.load_state_dict(weights)
        return model
    for name, parameter in model.named_parameters():
        # Large enough for scores and logits to reach their caps.
        spread = 0.1 if "norm" in name else 0.25
        torch.nn.init.normal_(parameter, 0.0, spread)
    return model


def batch():
    """Ids, labels with some targets left out, and the mask and labels of the padded batch."""
    ids = torch.randint(3, SETTINGS["vocab_size"], (BATCH, SEQ))
    labels = ids.clone()
    labels[0, :3] = labels[1, 5] = -100
    mask = torch.ones_like(ids)
    mask[PAD_ROW, -PAD_TOKENS:] = 0
    return ids, labels, mask, ids.masked_fill(mask == 0, -100)


def run(model, ids, labels, mask=None):
    """Logits, loss, hidden states and gradients of one forward and backward pass."""
    model.zero_grad()
    out = model(ids, attention_mask=mask, labels=labels, output_hidden_states=True)
    out.loss.backward()
    result = {"logits": out.logits, "loss": out.loss.reshape(1)}
    result |= {f"hidden.{i}": state for i, state in enumerate(out.hidden_states)}
    result |= {f"grads.{name}": p.grad for name, p in model.named_parameters()}
    return {name: tensor.detach().clone() for name, tensor in result.items()}


def run_in_float64(model, ids, labels):
    """As `run`, in float64 also where the model asks for float32 (norms, softmax, angles)."""
    wide = [mock.patch.object(torch, name, torch.float64) for name in ("float", "float32")]
    wide.append(mock.patch.object(torch.Tensor, "float", torch.Tensor.double))
    with wide[0], wide[1], wide[2]:
        return run(model.double(), ids, labels)


def difference(a, b, kind):
    """Largest difference of the tensors whose name begins with `kind`."""
    names = [name for name in a if name.split(".")[0] == kind]
    return max((a[name].double() - b[name].double()).abs().max().item() for name in names)


def legacy(config):
    """The configuration in the keys of published Gemma 2 checkpoints."""
    new = ("dtype", "layer_types", "rope_parameters", "tie_word_embeddings")
    old = {key: value for key, value in config.items() if key not in new}
    return old | {
        "hidden_act": "gelu_pytorch_tanh",
        "rope_theta": config["rope_parameters"]["rope_theta"],
        "torch_dtype": config["dtype"],
    }


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "gemma2_tiny"
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(2)

    model = build()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    ids, labels, mask, pad_labels = batch()
    plain = run(model, ids, labels)
    padded = run(model, ids, pad_labels, mask)

    for key, value in LEFT_OUT.items():
        changed = run(build(weights, **{key: value}), ids, labels)
        assert difference(plain, changed, "logits") > 100 * TOLERANCE["logits"], key
    exact = run_in_float64(build(weights), ids, labels)
    noise = {kind: difference(plain, exact, kind) for kind in ("logits", "loss", "hidden", "grads")}
    for kind, value in noise.items():
        assert 20 * value < TOLERANCE[kind], kind

    model.config.save_pretrained(out)
    config = json.loads((out / "config.json").read_text())
    write_json(out / "config.legacy.json", legacy(config))
    reread = Gemma2Config.from_pretrained(out, _configuration_file="config.legacy.json")
    assert difference(plain, run(build(weights, **reread.to_dict()), ids, labels), "logits") == 0

    del weights["lm_head.weight"]  # the embedding
    save_file(weights, out / "model.safetensors", {"format": "pt"})
    grads = {name.removeprefix("grads."): t for name, t in plain.items() if "grads." in name}
    save_file(grads, out / "grads.safetensors")
    io = {name: tensor for name, tensor in plain.items() if "grads." not in name}
    io |= {"input_ids": ids, "labels": labels, "rope.inv_freq": model.model.rotary_emb.inv_freq}
    io |= {"pad.attention_mask": mask, "pad.labels": pad_labels}
    io |= {f"pad.{name}": padded[name] for name in ("logits", "loss")}
    save_file(io, out / "io.safetensors")
    write_json(out / "case.json", {
        "format": 1,
        "name": out.name,
        "kind": "model",
        "base": None,
        "config": {
            "model_type": "gemma2",
            "batch": BATCH,
            "seq": SEQ,
            "dtype": "float32",
            "mode": "eval",
            "pad_row": PAD_ROW,
            "pad_tokens": PAD_TOKENS,
        },
        "files": {
            "config": "config.json",
            "config_legacy": "config.legacy.json",
            "weights": "model.safetensors",
            "io": "io.safetensors",
            "grads": "grads.safetensors",
        },
        "tolerance": TOLERANCE,
        "expect": [EXPECT],
        "noise": {f"f64.{kind}": float(f"{value:.3g}") for kind, value in noise.items()},
        "generated_with": {
            "torch": torch.__version__.split("+")[0],
            "transformers": transformers.__version__,
        },
    })


if __name__ == "__main__":
    main()
