//! Which part of a rendered conversation the assistant said.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::{ChatMessage, ChatTemplate, Surroundings};
use crate::Error;

/// Stand in a rendering where a `generation` block begins and ends. Unicode keeps these two for
/// internal use: no text holds them.
const BEGIN: char = '\u{fdd0}';
const END: char = '\u{fdd1}';

/// A rendering.
#[derive(Debug, Default, PartialEq)]
pub struct Marked {
    /// The text.
    pub text: String,
    /// What `generation` blocks enclosed, in bytes of the text.
    pub blocks: Vec<Range<usize>>,
}

/// Replaces the tags of `generation` blocks, an extension of transformers, by marks in the output.
/// The mark is put into a block of its own, so that white space around the tag is trimmed as
/// around any other.
pub fn mark(source: &str) -> String {
    static TAG: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").ok());
    let Some(tag) = &*TAG else { return source.into() };
    let replacement = |captures: &regex::Captures<'_>| {
        let mark = if captures.get(2).is_some() { END } else { BEGIN };
        format!("{{%{} if true %}}{mark}{{% endif {}%}}", &captures[1], &captures[3])
    };
    tag.replace_all(source, replacement).into_owned()
}

/// Takes the marks out of a rendering; `None` where they do not pair up.
pub fn unmark(rendered: &str) -> Option<Marked> {
    let mut marked = Marked::default();
    let mut begun = None;
    for piece in rendered.split_inclusive([BEGIN, END]) {
        let mark = piece.chars().next_back().filter(|last| [BEGIN, END].contains(last));
        marked.text.push_str(&piece[..piece.len() - mark.map_or(0, char::len_utf8)]);
        let end = marked.text.len();
        match (mark, begun) {
            (Some(BEGIN), None) => begun = Some(end),
            (Some(END), Some(begin)) => {
                marked.blocks.push(begin..end);
                begun = None;
            }
            (None, _) => {} // the last piece
            _ => return None,
        }
    }
    begun.is_none().then_some(marked)
}

impl ChatTemplate {
    /// The text of a conversation, up to where the assistant is to speak if asked for.
    pub(in crate::tokenizer) fn text(
        &self,
        messages: &[ChatMessage],
        surroundings: Surroundings<'_>,
    ) -> Result<String, Error> {
        Ok(self.render(messages, surroundings)?.text)
    }

    /// The text of a conversation, and the bytes of it that the assistant said: its `generation`
    /// blocks, or for a template without them, what each of the assistant's messages adds to the
    /// text before it that asks for an answer.
    pub(in crate::tokenizer) fn answers(
        &self,
        messages: &[ChatMessage],
        surroundings: Surroundings<'_>,
    ) -> Result<Marked, Error> {
        let mut whole = self.render(messages, surroundings)?;
        if !whole.blocks.is_empty() {
            return Ok(whole);
        }
        for (index, _) in messages.iter().enumerate().filter(|(_, message)| message.is_answer()) {
            let prompt = Surroundings { add_generation_prompt: true, ..surroundings };
            let before = self.text(&messages[..index], prompt)?;
            let after = self.text(&messages[..=index], surroundings)?;
            if !(after.starts_with(&before) && whole.text.starts_with(&after)) {
                return Err(self.unstable(index));
            }
            whole.blocks.push(before.len()..after.len());
        }
        Ok(whole)
    }

    fn unstable(&self, index: usize) -> Error {
        Error::UnstableChatTemplate { path: self.path.clone(), message: index + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SURROUNDINGS: Surroundings<'_> = Surroundings {
        bos_token: Some("<s>"),
        eos_token: Some("</s>"),
        add_generation_prompt: false,
    };

    fn conversation() -> Vec<ChatMessage> {
        [("user", "a"), ("assistant", "bé"), ("user", "c"), ("assistant", "d")]
            .map(|(role, content)| ChatMessage::new(role, content))
            .into()
    }

    /// The parts of the conversation's text that are answers.
    fn answers(source: &str) -> Result<(String, Vec<String>), Error> {
        let template = ChatTemplate::new(source, "t.jinja")?;
        let Marked { text, blocks } = template.answers(&conversation(), SURROUNDINGS)?;
        let parts = blocks.into_iter().map(|block| text[block].to_string()).collect();
        Ok((text, parts))
    }

    #[test]
    fn an_answer_is_what_its_message_adds() {
        let source = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}\
                      {% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}";
        let (text, parts) = answers(source).unwrap();
        assert_eq!(text, "<s>[user]a</s>[assistant]bé</s>[user]c</s>[assistant]d</s>");
        assert_eq!(parts, ["bé</s>", "d</s>"]);
    }

    #[test]
    fn generation_blocks_say_it_themselves_and_leave_no_trace() {
        let block = "{% generation %}\n{{ m.content }}\n{%- endgeneration %}\n";
        let source = format!(
            "{{% for m in messages %}}\n{{{{ m.role[0] }}}}:\n  {{% if m.role == 'user' %}}\n\
             {{{{ m.content }}}}\n  {{% else %}}\n  {block}.\n  {{% endif %}}\n{{% endfor %}}"
        );
        let (text, parts) = answers(&source).unwrap();
        assert_eq!(text, "u:\na\na:\nbé.\nu:\nc\na:\nd.\n");
        assert_eq!(parts, ["bé", "d"]);
    }

    #[test]
    fn a_template_that_rewrites_what_it_said_is_refused() {
        let last_only = "{% for m in messages %}{{ m.content if loop.last else '-' }}{% endfor %}";
        let error = answers(last_only).unwrap_err();
        assert_eq!(
            error.to_string(),
            "t.jinja: rendering message 2 changes the text before it, so answers cannot be told \
             from prompts"
        );
        assert!(error.hint().unwrap().contains("{% generation %}"));
    }

    #[test]
    fn unpaired_generation_blocks_are_refused() {
        for source in [
            "{% generation %}{% generation %}{% endgeneration %}{% endgeneration %}",
            "{% generation %}",
            "{% endgeneration %}",
        ] {
            let error = answers(source).unwrap_err().to_string();
            assert_eq!(
                error,
                "t.jinja: chat template: its `generation` blocks are nested or left open"
            );
        }
    }
}
