//! Arithmetic on small numbers, bare and as word problems.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Example;
use super::pool::{Pool, pick};

/// The largest summand, and so the largest difference and subtrahend.
const LARGEST: u32 = 9;

/// A random addition, subtraction or comparison.
pub fn example(pool: &Pool, rng: &mut ChaCha8Rng) -> Example {
    match rng.random_range(0..5) {
        0 | 1 => plus(pool, rng),
        2 | 3 => minus(pool, rng),
        _ => larger(rng),
    }
}

fn plus(pool: &Pool, rng: &mut ChaCha8Rng) -> Example {
    let wordings = [
        "Add {a} and {b}.",
        "What is {a} plus {b}?",
        "{name} has {a} of {word} and finds {b} more. How many now?",
    ];
    let (a, b) = (operand(rng), operand(rng));
    problem("plus", pick(&wordings, rng), [a, b], a + b, pool, rng)
}

fn minus(pool: &Pool, rng: &mut ChaCha8Rng) -> Example {
    let wordings = [
        "Take {b} from {a}.",
        "What is {a} minus {b}?",
        "{name} has {a} of {word} and loses {b}. How many now?",
    ];
    let (left, b) = (operand(rng), operand(rng));
    problem("minus", pick(&wordings, rng), [left + b, b], left, pool, rng)
}

fn larger(rng: &mut ChaCha8Rng) -> Example {
    let a = rng.random_range(10..100);
    let b = (a + rng.random_range(1..90) - 10) % 90 + 10;
    let instruction = format!("Which is larger, {a} or {b}?");
    Example::new("larger", instruction, "", u32::max(a, b).to_string())
}

fn operand(rng: &mut ChaCha8Rng) -> u32 {
    rng.random_range(0..=LARGEST)
}

fn problem(
    task: &'static str,
    wording: &str,
    [a, b]: [u32; 2],
    answer: u32,
    pool: &Pool,
    rng: &mut ChaCha8Rng,
) -> Example {
    let instruction = wording
        .replace("{a}", &a.to_string())
        .replace("{b}", &b.to_string())
        .replace("{name}", pool.person(rng))
        .replace("{word}", pick(&pool.words, rng));
    Example::new(task, instruction, "", answer.to_string())
}
