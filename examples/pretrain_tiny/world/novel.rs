//! The fine-tuning tasks: operations and wordings that no pre-training document holds.
//!
//! Each is a short step from what the model knows: it moves the last word to the front, but has
//! never moved the first to the end. That is what makes a few hundred steps enough. All are
//! operations on positions, which a small model learns long before it finds a word by its content.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Example;
use super::lists::ListTask;
use super::pool::Pool;

/// The new operations. Each wording names a person, since the splits divide those too.
pub const LISTS: &[ListTask] = &[
    ListTask {
        name: "second",
        wordings: &["What is second on {name}'s list?", "Give the second word of {name}."],
        answer: |list, _| list[1].to_owned(),
    },
    ListTask {
        name: "drop first",
        wordings: &[
            "Leave out the first word of {name}'s list.",
            "Say {name}'s list from the second word on.",
        ],
        answer: |list, _| list[1..].join(" "),
    },
    ListTask {
        name: "rotate left",
        wordings: &["Move {name}'s first word to the end.", "Turn {name}'s list left."],
        answer: |list, _| [&list[1..], &list[..1]].concat().join(" "),
    },
    ListTask {
        name: "last then first",
        wordings: &[
            "Give the last word, then the first, for {name}.",
            "Name the ends of {name}'s list, last before first.",
        ],
        answer: |list, _| [list[list.len() - 1], list[0]].join(" "),
    },
    ListTask {
        name: "swap ends",
        wordings: &[
            "Turn around the ends of {name}'s list.",
            "Move {name}'s first word to the end and the last to the front.",
        ],
        answer: |list, _| {
            let mut swapped = list.to_vec();
            swapped.swap(0, list.len() - 1);
            swapped.join(" ")
        },
    },
];

/// A random fine-tuning item, on a list of 4 or 5 words.
pub fn example(pool: &Pool, rng: &mut ChaCha8Rng) -> Example {
    LISTS[rng.random_range(0..LISTS.len())].example(pool, 4..=5, rng)
}
