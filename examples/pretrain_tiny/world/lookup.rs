//! Looking up what a person has among several people's belongings.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Example;
use super::pool::{Pool, pick};

/// Asks what one of two to four people has.
pub fn belonging(pool: &Pool, rng: &mut ChaCha8Rng) -> Example {
    let belongings = pool.belongings(rng.random_range(2..=4), rng);
    let (person, thing) = pick(&belongings, rng);
    let instruction = pick(&["What does {name} have?", "What is there for {name}?"], rng);
    let instruction = instruction.replace("{name}", person);
    Example::new("lookup", instruction, box_of(&belongings), thing)
}

/// Asks for several people's belongings in another order, names and all.
pub fn belongings(pool: &Pool, rng: &mut ChaCha8Rng) -> Example {
    let mut belongings = pool.belongings(rng.random_range(2..=4), rng);
    let input = box_of(&belongings);
    belongings.shuffle(rng);
    belongings.truncate(rng.random_range(2..=belongings.len()));
    let people: Vec<_> = belongings.iter().map(|(person, _)| *person).collect();
    let instruction = format!("Look up {}.", people.join(", "));
    Example::new("lookups", instruction, input, box_of(&belongings))
}

/// `Ada ant, Bob bee`.
fn box_of(belongings: &[(&str, &str)]) -> String {
    let pairs: Vec<_> =
        belongings.iter().map(|(person, thing)| format!("{person} {thing}")).collect();
    pairs.join(", ")
}
