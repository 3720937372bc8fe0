"""Records what transformers renders the templates in chat_templates/*.jinja to.

Usage: python generate_chat_templates.py    writes chat_templates/expected.json beside this file

The templates were written for this repository. llama2, gemma, chatml and llama3 behave as those
published with the checkpoints of that name; constructs uses what later ones use; generation marks
its answers. Token ids and masks are those of the tokenizer in assets/tiny-llama.
"""

import json
from datetime import datetime
from pathlib import Path
from unittest import mock

import transformers
from jinja2.exceptions import TemplateError
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

HERE = Path(__file__).resolve().parent / "chat_templates"
TOKENIZER = Path(__file__).resolve().parents[2] / "assets" / "tiny-llama"
NOW = datetime(2024, 7, 26)

CONVERSATIONS = {
    "question": [("user", "What is 1 + 2?")],
    "answer": [("user", "What is 1 + 2?"), ("assistant", "3")],
    "white space": [("user", "  two\nlines \n"), ("assistant", "\n\tan answer\n\n ")],
    "system": [("system", "Be brief."), ("user", "Hi!"), ("assistant", "Hello.")],
    "several turns": [
        ("user", "one"),
        ("assistant", "two"),
        ("user", "three"),
        ("assistant", "four"),
        ("user", "five"),
    ],
    "symbols": [
        ("user", "<b>\"it's\" & {{ more }}</b> {% x %} é 日本 🦀"),
        ("assistant", "a---b\t---  c ---stop---d"),
    ],
    "wrong order": [("assistant", "first"), ("user", "second")],
    "two users": [("user", "one"), ("user", "two")],
    "other role": [("user", "one"), ("tool", "two"), ("assistant", "three")],
}


def messages(turns):
    return [{"role": role, "content": content} for role, content in turns]


def render(tokenizer, template, turns, prompt):
    try:
        text = tokenizer.apply_chat_template(
            messages(turns), chat_template=template, tokenize=False, add_generation_prompt=prompt
        )
    except TemplateError as error:
        return {"error": str(error)}
    return {"text": text}


def record(tokenizer, template):
    return {
        name: {
            "whole": render(tokenizer, template, turns, False),
            "prompt": render(tokenizer, template, turns, True),
        }
        for name, turns in CONVERSATIONS.items()
    }


def tokens(tokenizer, template):
    def encode(turns):
        encoded = tokenizer.apply_chat_template(
            messages(turns),
            chat_template=template,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        return {"input_ids": encoded["input_ids"], "assistant_masks": encoded["assistant_masks"]}

    return {name: encode(turns) for name, turns in CONVERSATIONS.items()}


def main():
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    templates = {path.stem: path.read_text() for path in sorted(HERE.glob("*.jinja"))}
    with mock.patch.object(chat_template_utils, "datetime") as clock:
        clock.now.return_value = NOW
        rendered = {name: record(tokenizer, text) for name, text in templates.items()}
    expected = {
        "transformers": transformers.__version__,
        "conversations": {name: messages(turns) for name, turns in CONVERSATIONS.items()},
        "rendered": rendered,
        "tokens": tokens(tokenizer, templates["generation"]),
    }
    text = json.dumps(expected, ensure_ascii=False, indent=1)
    (HERE / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
