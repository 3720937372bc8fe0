//! The one form of every instruction: Stanford Alpaca's blocks without its opening sentence.

/// Opens the instruction.
pub const INSTRUCTION: &str = "### Instruction:\n";
/// Opens the input; left out together with an empty input.
pub const INPUT: &str = "\n\n### Input:\n";
/// Opens the answer, which follows at once and is ended by `</s>`.
pub const RESPONSE: &str = "\n\n### Response:\n";

/// Everything up to the answer:
/// `### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n`.
///
/// The tokenizer holds each of the three markers as one token, so the prompt and the answer may be
/// encoded apart or together with the same result.
pub fn render(instruction: &str, input: &str) -> String {
    match input {
        "" => format!("{INSTRUCTION}{instruction}{RESPONSE}"),
        _ => format!("{INSTRUCTION}{instruction}{INPUT}{input}{RESPONSE}"),
    }
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn an_empty_input_leaves_its_block_out() {
        assert_eq!(render("Add 1 and 2.", ""), "### Instruction:\nAdd 1 and 2.\n\n### Response:\n");
        assert_eq!(
            render("Reverse the list.", "ant bee"),
            "### Instruction:\nReverse the list.\n\n### Input:\nant bee\n\n### Response:\n"
        );
    }
}
