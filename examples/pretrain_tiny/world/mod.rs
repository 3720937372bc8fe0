//! A small made-up world to pre-train on from scratch and to fine-tune in.
//!
//! Everything is a pure function of a seed. The corpus teaches operations on lists of words,
//! look-ups, small sums and a fixed set of facts; the fine-tuning tasks ask, in the same
//! [`prompt`] form, for operations that the corpus never shows. Words and names are one token
//! each, so that an operation on a list is an operation on tokens.

use std::collections::HashSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

mod facts;
mod lists;
mod lookup;
mod novel;
mod pool;
pub mod prompt;
mod sums;
#[cfg(test)]
mod tests;
mod tokenizer;
mod words;

pub use self::tokenizer::{save_tokenizer, train_tokenizer};

use self::facts::Facts;
use self::pool::Pool;

/// One in this many prompts is kept out of the corpus, for [`World::known_tasks`].
const HELD_OUT_OF: u64 = 8;

/// One instruction with its answer; serialises to a line of an Alpaca file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Example {
    /// What kind of task this is, for accuracy by task.
    #[serde(skip)]
    pub task: &'static str,
    /// What to do.
    pub instruction: String,
    /// What to do it with; may be empty.
    pub input: String,
    /// The one right answer.
    pub output: String,
}

impl Example {
    fn new(
        task: &'static str,
        instruction: impl Into<String>,
        input: impl Into<String>,
        output: impl Into<String>,
    ) -> Self {
        Self { task, instruction: instruction.into(), input: input.into(), output: output.into() }
    }

    /// Everything up to the answer, in the form of [`prompt::render`].
    pub fn prompt(&self) -> String {
        prompt::render(&self.instruction, &self.input)
    }
}

/// A document of the pre-training corpus: `<s>`, prompt, completion, `</s>`.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// Plain sentences.
    Text(String),
    /// An instruction with its answer.
    Instruction(Example),
}

impl Document {
    /// What is read without being learnt: the prompt, or nothing before plain sentences.
    ///
    /// Half of a list prompt's tokens are random words. Learning to predict them teaches nothing,
    /// and their gradients keep a small model from learning to copy.
    pub fn prompt(&self) -> String {
        match self {
            Self::Text(_) => String::new(),
            Self::Instruction(example) => example.prompt(),
        }
    }

    /// The text to learn, which `</s>` follows.
    pub fn completion(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Instruction(example) => &example.output,
        }
    }
}

/// Which part of the fine-tuning items: they share neither words nor people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// To train on.
    Train,
    /// To measure with.
    HeldBack,
}

/// The facts of one world and its division of words and people between the splits.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    facts: Facts,
    all: Pool,
    train: Pool,
    held_back: Pool,
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let facts = Facts::new(&mut rng);
        let (train, held_back) = Pool::all().split(&mut rng);
        Self { facts, all: Pool::all(), train, held_back }
    }

    /// The next document of an endless pre-training corpus.
    pub fn corpus_document(&self, rng: &mut ChaCha8Rng) -> Document {
        loop {
            match self.document(rng) {
                Document::Instruction(example) if is_held_out(&example) => {}
                document => return document,
            }
        }
    }

    /// `n` different instances of the corpus's tasks that [`World::corpus_document`] never gives.
    ///
    /// The facts asked for are all in the corpus, in other wordings.
    pub fn known_tasks(&self, seed: u64, n: usize) -> Vec<Example> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        distinct(n, || {
            loop {
                match self.document(&mut rng) {
                    Document::Instruction(example) if is_held_out(&example) => return example,
                    _ => {}
                }
            }
        })
    }

    /// `n` different items of the fine-tuning tasks, mixed.
    pub fn finetune(&self, seed: u64, split: Split, n: usize) -> Vec<Example> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let pool = match split {
            Split::Train => &self.train,
            Split::HeldBack => &self.held_back,
        };
        distinct(n, || novel::example(pool, &mut rng))
    }

    /// A document of any prompt: mostly list tasks, since copying takes the longest to learn.
    fn document(&self, rng: &mut ChaCha8Rng) -> Document {
        let example = match rng.random_range(0..100) {
            0..57 => self.list_task(rng),
            57..62 => lists::member(&self.all, rng),
            62..70 => lookup::belonging(&self.all, rng),
            70..80 => lookup::belongings(&self.all, rng),
            80..88 => sums::example(&self.all, rng),
            88..95 => self.facts.question(rng),
            _ => return Document::Text(self.facts.portrait(rng)),
        };
        Document::Instruction(example)
    }

    fn list_task(&self, rng: &mut ChaCha8Rng) -> Example {
        let index = rng.random_range(0..lists::KNOWN.len());
        lists::KNOWN[index].example(&self.all, 3..=6, rng)
    }
}

/// Whether a prompt is kept out of the corpus: a property of its text, so no list is needed.
fn is_held_out(example: &Example) -> bool {
    let fnv1a = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = example.prompt().bytes().fold(0xcbf2_9ce4_8422_2325, fnv1a);
    // The low bits of this hash follow the text's last bytes, which are the same for all prompts.
    (hash >> 32).is_multiple_of(HELD_OUT_OF)
}

fn distinct(n: usize, draw: impl FnMut() -> Example) -> Vec<Example> {
    let mut seen = HashSet::new();
    std::iter::repeat_with(draw).filter(|example| seen.insert(example.prompt())).take(n).collect()
}
