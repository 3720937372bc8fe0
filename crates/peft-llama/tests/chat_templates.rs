//! Chat templates against what transformers made of them, recorded in `tests/cases/chat_templates`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use peft_llama::{ChatMessage, ChatTemplate, Checkpoint, Error, Tokenizer};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    conversations: BTreeMap<String, Vec<ChatMessage>>,
    /// By template and conversation.
    rendered: BTreeMap<String, BTreeMap<String, Rendered>>,
    tokens: BTreeMap<String, Tokens>,
}

#[derive(Deserialize)]
struct Rendered {
    whole: Outcome,
    prompt: Outcome,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Text(String),
    Error(String),
}

#[derive(Deserialize)]
struct Tokens {
    input_ids: Vec<u32>,
    assistant_masks: Vec<u8>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn expected() -> Expected {
    let json = std::fs::read(root().join("tests/cases/chat_templates/expected.json")).unwrap();
    serde_json::from_slice(&json).unwrap()
}

fn tokenizer(template: &str) -> Tokenizer {
    let path = root().join(format!("tests/cases/chat_templates/{template}.jinja"));
    let template = ChatTemplate::from_file(path).unwrap();
    let dir = root().join("assets/tiny-llama");
    let checkpoint = Checkpoint::open(&dir).unwrap();
    Tokenizer::from_dir(dir, checkpoint.config()).unwrap().with_chat_template(template)
}

fn check(got: Result<String, Error>, want: &Outcome, case: &str) {
    match (got, want) {
        (Ok(got), Outcome::Text(want)) => assert_eq!(got, *want, "{case}"),
        (Err(error), Outcome::Error(want)) => {
            assert!(error.to_string().ends_with(want), "{case}: {error}");
        }
        (got, want) => panic!("{case}: {got:?}, expected {want:?}"),
    }
}

#[test]
fn conversations_are_rendered_as_transformers_renders_them() {
    let Expected { conversations, rendered, .. } = expected();
    assert_eq!(rendered.len(), 6);
    for (template, cases) in &rendered {
        let tokenizer = tokenizer(template);
        for (name, want) in cases {
            let messages = &conversations[name];
            let case = format!("{template}, {name}");
            check(tokenizer.apply_chat_template(messages, false), &want.whole, &case);
            check(tokenizer.apply_chat_template(messages, true), &want.prompt, &case);
        }
    }
}

#[test]
fn answers_are_marked_as_transformers_marks_them() {
    let Expected { conversations, tokens, .. } = expected();
    let tokenizer = tokenizer("generation");
    for (name, want) in &tokens {
        let got = tokenizer.encode_chat(&conversations[name]).unwrap();
        assert_eq!(got.input_ids, want.input_ids, "{name}");
        let mask: Vec<u8> = got.assistant_mask.into_iter().map(u8::from).collect();
        assert_eq!(mask, want.assistant_masks, "{name}");
    }
}

#[test]
fn answers_are_told_from_prompts_without_marks() {
    let conversation = &expected().conversations["several turns"];
    let ends = [("llama2", ""), ("gemma", "<end_of_turn>\n"), ("chatml", "<|im_end|>\n")];
    for (template, end) in ends.into_iter().chain([("llama3", "<|eot_id|>")]) {
        let tokenizer = tokenizer(template);
        let encoded = tokenizer.encode_chat(conversation).unwrap();
        let said = encoded.input_ids.iter().zip(&encoded.assistant_mask);
        let said: Vec<u32> = said.filter(|(_, said)| **said).map(|(id, _)| *id).collect();
        let text = tokenizer.decode(&said).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        let want = format!("two{end}four{end}");
        match end {
            // `</s>` ends an answer here, and is no text.
            "" => {
                let ends = said.iter().filter(|id| Some(**id) == tokenizer.eos_token_id()).count();
                assert_eq!((&words[..], ends), (&["two", "four"][..], 2), "{template}");
            }
            _ => assert_eq!(text, want, "{template}"),
        }
    }
}

#[test]
fn a_saved_template_goes_before_the_others() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tokenizer_config.json"), r#"{"chat_template": "old"}"#)
        .unwrap();
    let given = tokenizer("chatml");
    given.chat_template().unwrap().save(&dir).unwrap();
    let saved = ChatTemplate::from_dir(&dir, None).unwrap();
    let saved = tokenizer("llama2").with_chat_template(saved);
    let conversation = [ChatMessage::new("user", "Hi")];
    assert_eq!(
        saved.apply_chat_template(&conversation, true).unwrap(),
        given.apply_chat_template(&conversation, true).unwrap()
    );
    let error = given.chat_template().unwrap().save(dir.path().join("absent")).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn a_prompt_ends_where_the_answer_begins() {
    let conversation = &expected().conversations["answer"];
    for template in ["llama2", "gemma", "chatml", "llama3", "generation"] {
        let tokenizer = tokenizer(template);
        let prompt = tokenizer.encode_chat_prompt(&conversation[..1]).unwrap();
        let whole = tokenizer.encode_chat(conversation).unwrap();
        let first = whole.assistant_mask.iter().position(|said| *said).unwrap();
        assert_eq!(whole.input_ids[..first], prompt, "{template}");
    }
}

#[test]
fn a_tokenizer_without_a_template_says_so() {
    let dir = root().join("assets/tiny-llama");
    let checkpoint = Checkpoint::open(&dir).unwrap();
    let tokenizer = Tokenizer::from_dir(&dir, checkpoint.config()).unwrap();
    let error = tokenizer.encode_chat(&[ChatMessage::new("user", "Hi")]).unwrap_err();
    assert!(matches!(error, Error::ChatTemplateUnset));
    assert!(error.hint().unwrap().contains("`chat_template`"));
    assert!(matches!(ChatTemplate::from_dir(dir, None), Err(Error::NoChatTemplate { .. })));
}
