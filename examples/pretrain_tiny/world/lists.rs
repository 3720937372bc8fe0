//! Tasks on a list of words: the operation, and the sentences that ask for it.

use std::ops::RangeInclusive;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Example;
use super::pool::{Pool, pick};

/// An operation on a list. The wordings may name a person (`{name}`), whose list it is, and the
/// operand (`{word}`), an element that is neither first nor last.
pub struct ListTask {
    /// Label of the examples.
    pub name: &'static str,
    /// Sentences that ask for the operation.
    pub wordings: &'static [&'static str],
    /// The answer, from the list and the operand's position.
    pub answer: fn(&[&'static str], usize) -> String,
}

/// The list operations of the pre-training corpus.
pub const KNOWN: &[ListTask] = &[
    ListTask {
        name: "copy",
        wordings: &["Repeat the list.", "Say {name}'s list again."],
        answer: |list, _| list.join(" "),
    },
    ListTask {
        name: "reverse",
        wordings: &["Reverse the list.", "Say {name}'s list backwards."],
        answer: |list, _| reversed(list).join(" "),
    },
    // Long answers whose tokens all follow from earlier ones: the quickest teachers of copying.
    ListTask {
        name: "twice",
        wordings: &["Repeat the list twice.", "Say {name}'s list two times."],
        answer: |list, _| [list, list].concat().join(" "),
    },
    ListTask {
        name: "there and back",
        wordings: &["Say the list there and back.", "Say {name}'s list and turn around."],
        answer: |list, _| [list, &reversed(list)].concat().join(" "),
    },
    ListTask {
        name: "first",
        wordings: &["Give the first word.", "What comes first in {name}'s list?"],
        answer: |list, _| list[0].to_owned(),
    },
    ListTask {
        name: "last",
        wordings: &["Give the last word.", "What is at the end of {name}'s list?"],
        answer: |list, _| list[list.len() - 1].to_owned(),
    },
    ListTask {
        name: "third",
        wordings: &["Give the third word.", "What is third on {name}'s list?"],
        answer: |list, _| list[2].to_owned(),
    },
    ListTask {
        name: "after",
        wordings: &["What comes after {word}?", "What follows {word} in {name}'s list?"],
        answer: |list, at| list[at + 1].to_owned(),
    },
    ListTask {
        name: "before",
        wordings: &["What comes before {word}?", "What leads to {word} in {name}'s list?"],
        answer: |list, at| list[at - 1].to_owned(),
    },
    ListTask {
        name: "from",
        wordings: &["Say the list from {word} on.", "Start {name}'s list at {word}."],
        answer: |list, at| list[at..].join(" "),
    },
    ListTask {
        name: "count",
        wordings: &["How many words are there?", "Count {name}'s list."],
        answer: |list, _| list.len().to_string(),
    },
    ListTask {
        name: "drop last",
        wordings: &["Leave out the last word.", "Say {name}'s list without its end."],
        answer: |list, _| list[..list.len() - 1].join(" "),
    },
    ListTask {
        name: "ends",
        wordings: &["Give the first word, then the last.", "Name both ends of {name}'s list."],
        answer: |list, _| [list[0], list[list.len() - 1]].join(" "),
    },
    ListTask {
        name: "rotate right",
        wordings: &["Move the last word to the front.", "Turn {name}'s list right."],
        answer: |list, _| [&list[list.len() - 1..], &list[..list.len() - 1]].concat().join(" "),
    },
];

impl ListTask {
    /// A random instance on a list whose length lies in `lengths` (at least 3).
    pub fn example(
        &self,
        pool: &Pool,
        lengths: RangeInclusive<usize>,
        rng: &mut ChaCha8Rng,
    ) -> Example {
        let list = pool.list(rng.random_range(lengths), rng);
        let at = rng.random_range(1..list.len() - 1);
        let instruction = pick(self.wordings, rng)
            .replace("{name}", pool.person(rng))
            .replace("{word}", list[at]);
        Example::new(self.name, instruction, list.join(" "), (self.answer)(&list, at))
    }
}

/// Asks whether a word is in the list: "yes" half of the time.
pub fn member(pool: &Pool, rng: &mut ChaCha8Rng) -> Example {
    let mut list = pool.list(rng.random_range(4..=7), rng);
    let absent = list.swap_remove(0);
    let (word, answer) = match rng.random_bool(0.5) {
        true => (pick(&list, rng), "yes"),
        false => (absent, "no"),
    };
    let wordings = ["Is {word} in the list?", "Does {name} have {word}?"];
    let instruction =
        pick(&wordings, rng).replace("{name}", pool.person(rng)).replace("{word}", word);
    Example::new("member", instruction, list.join(" "), answer)
}

fn reversed(list: &[&'static str]) -> Vec<&'static str> {
    list.iter().rev().copied().collect()
}
