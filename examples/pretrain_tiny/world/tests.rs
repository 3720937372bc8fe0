//! Properties of the whole world; answers are worked out again from the rendered text.

use std::collections::{HashMap, HashSet};

use super::lists::KNOWN;
use super::novel::LISTS;
use super::words::{PEOPLE, WORDS};
use super::*;

const DOCUMENTS: usize = 20_000;

fn corpus(world: &World, seed: u64, n: usize) -> Vec<Document> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| world.corpus_document(&mut rng)).collect()
}

fn instructions(world: &World) -> Vec<Example> {
    let documents = corpus(world, 1, DOCUMENTS).into_iter();
    documents
        .filter_map(|document| match document {
            Document::Instruction(example) => Some(example),
            Document::Text(_) => None,
        })
        .collect()
}

/// The words of a text without its punctuation and possessives.
fn bare_words(text: &str) -> Vec<&str> {
    text.split_whitespace()
        .map(|word| word.trim_end_matches(['.', ',', '?']).trim_end_matches("'s"))
        .collect()
}

/// The words and people of an item that the splits divide between them.
fn operands(example: &Example) -> HashSet<&str> {
    let divided = |word: &&str| WORDS.contains(word) || PEOPLE.contains(word);
    let both = [example.instruction.as_str(), example.input.as_str()];
    both.into_iter().flat_map(bare_words).filter(divided).collect()
}

/// The answer to a list or look-up task, from its text alone.
fn answer(example: &Example) -> String {
    let list: Vec<&str> = example.input.split(' ').collect();
    let asked = bare_words(&example.instruction);
    let found = list.iter().position(|word| asked.contains(word));
    let mut turned = list.clone();
    let n = list.len();
    match example.task {
        "copy" => return example.input.clone(),
        "twice" => turned.extend(&list),
        "there and back" => turned.extend(list.iter().rev()),
        "reverse" => turned.reverse(),
        "first" => turned.truncate(1),
        "second" => turned = vec![list[1]],
        "third" => turned = vec![list[2]],
        "last" => turned = vec![list[n - 1]],
        "after" => turned = vec![list[found.unwrap() + 1]],
        "before" => turned = vec![list[found.unwrap() - 1]],
        "from" => turned = list[found.unwrap()..].to_vec(),
        "count" => return n.to_string(),
        "drop last" => turned.truncate(n - 1),
        "drop first" => drop(turned.remove(0)),
        "ends" => turned = vec![list[0], list[n - 1]],
        "last then first" => turned = vec![list[n - 1], list[0]],
        "rotate right" => turned.rotate_right(1),
        "swap ends" => turned.swap(0, n - 1),
        "rotate left" => turned.rotate_left(1),
        "member" => return if found.is_some() { "yes" } else { "no" }.to_owned(),
        "lookups" => {
            let people = asked.iter().filter(|word| PEOPLE.contains(word));
            let found = people.map(|p| format!("{p} {}", partner(&example.input, &[p])));
            return found.collect::<Vec<_>>().join(", ");
        }
        "lookup" => return partner(&example.input, &asked).to_owned(),
        other => panic!("no check for {other}"),
    }
    turned.join(" ")
}

/// The other half of the `person thing` pair that one of the asked words belongs to.
fn partner<'a>(input: &'a str, asked: &[&str]) -> &'a str {
    let pairs = input.split(", ").map(|pair| pair.split_once(' ').unwrap());
    let mut halves = pairs.flat_map(|(person, thing)| [(person, thing), (thing, person)]);
    halves.find(|(half, _)| asked.contains(half)).unwrap().1
}

/// The answer to an arithmetic task, or nothing for another task.
fn sum(example: &Example) -> Option<String> {
    let numbers: Vec<i64> =
        bare_words(&example.instruction).iter().filter_map(|word| word.parse().ok()).collect();
    let result = match example.task {
        "plus" => numbers[0] + numbers[1],
        "minus" => (numbers[0] - numbers[1]).abs(),
        "larger" => *numbers.iter().max()?,
        _ => return None,
    };
    Some(result.to_string())
}

#[test]
fn everything_follows_from_the_seed() {
    let (world, again, other) = (World::new(1), World::new(1), World::new(2));
    assert_eq!(world, again);
    assert_ne!(world, other);
    assert_eq!(corpus(&world, 3, 200), corpus(&again, 3, 200));
    assert_ne!(corpus(&world, 3, 200), corpus(&world, 4, 200));
    assert_eq!(world.known_tasks(5, 50), again.known_tasks(5, 50));
    assert_eq!(world.finetune(6, Split::Train, 50), again.finetune(6, Split::Train, 50));
}

#[test]
fn every_answer_is_right() {
    let world = World::new(0);
    let mut examples = instructions(&world);
    examples.extend(world.finetune(1, Split::Train, 2000));
    let mut checked = HashSet::new();
    for example in &examples {
        let expected = match sum(example) {
            Some(sum) => sum,
            None if example.input.is_empty() => continue, // a fact
            None => answer(example),
        };
        assert_eq!(example.output, expected, "{example:?}");
        checked.insert(example.task);
    }
    // The list tasks, membership, the look-ups and three kinds of sums.
    assert_eq!(checked.len(), KNOWN.len() + LISTS.len() + 6);
}

#[test]
fn each_fact_question_has_one_answer_that_the_texts_state() {
    let world = World::new(0);
    let mut answers = HashMap::new();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let portraits: String = (0..5000).map(|_| world.facts.portrait(&mut rng) + "\n").collect();
    for _ in 0..5000 {
        let fact = world.facts.question(&mut rng);
        let subject = PEOPLE.into_iter().find(|p| bare_words(&fact.instruction).contains(p));
        let stated = |line: &str| {
            let words = bare_words(line);
            words.contains(&fact.output.as_str()) && subject.is_none_or(|s| words.contains(&s))
        };
        assert!(portraits.lines().any(stated), "{fact:?}");
        let earlier = answers.insert(fact.instruction.clone(), fact.output.clone());
        assert!(earlier.is_none_or(|answer| answer == fact.output), "{fact:?}");
    }
}

#[test]
fn known_tasks_never_occur_in_the_corpus_and_cover_it() {
    let world = World::new(0);
    let corpus: HashSet<_> = instructions(&world).iter().map(Example::prompt).collect();
    let known = world.known_tasks(1, 1000);
    assert!(known.iter().all(|example| !corpus.contains(&example.prompt())));
    let tasks = |examples: &[Example]| examples.iter().map(|e| e.task).collect::<HashSet<_>>();
    assert_eq!(tasks(&known), tasks(&instructions(&world)));
    assert_eq!(known.iter().map(Example::prompt).collect::<HashSet<_>>().len(), 1000);
}

#[test]
fn the_splits_share_no_operand_no_person_and_no_item() {
    let world = World::new(0);
    let train = world.finetune(1, Split::Train, 8000);
    let held_back = world.finetune(1, Split::HeldBack, 600);
    let trained: HashSet<_> = train.iter().flat_map(operands).collect();
    let held: HashSet<_> = held_back.iter().flat_map(operands).collect();
    assert!(trained.is_disjoint(&held));
    assert_eq!((trained.len(), held.len()), (96 + 24, 32 + 8));
    let prompts: HashSet<_> = train.iter().chain(&held_back).map(Example::prompt).collect();
    assert_eq!(prompts.len(), 8600);
}

#[test]
fn every_operand_of_the_splits_is_in_the_corpus() {
    let world = World::new(0);
    let instructions = instructions(&world);
    let seen: HashSet<_> = instructions.iter().flat_map(operands).collect();
    assert_eq!(seen.len(), WORDS.len() + PEOPLE.len());
}

#[test]
fn the_corpus_holds_no_new_wording_and_no_new_operation() {
    let world = World::new(0);
    let blank = |example: &Example| {
        let words = bare_words(&example.instruction);
        let kept = words.iter().map(|word| match operands(example).contains(word) {
            true => "_",
            false => word,
        });
        kept.collect::<Vec<_>>().join(" ")
    };
    let known = instructions(&world);
    let wordings: HashSet<_> = known.iter().map(blank).collect();
    for example in world.finetune(1, Split::Train, 1000) {
        assert!(!wordings.contains(&blank(&example)), "{example:?}");
    }
    // Lists as long as fine-tuning's. One-word answers agree by chance, as does the list from its
    // second word on.
    let is_list = |e: &&Example| !e.input.contains(',') && e.input.split(' ').count() >= 4;
    let free = |e: &&Example| e.output.contains(' ') && e.task != "from";
    for example in known.iter().filter(is_list).filter(free) {
        for novel in LISTS {
            let task = novel.name;
            let asked_for = Example { task, ..example.clone() };
            assert_ne!(answer(&asked_for), example.output, "{task}: {example:?}");
        }
    }
}

#[test]
fn an_example_serialises_to_alpaca_keys() {
    let example = Example::new("copy", "Repeat the list.", "ant bee", "ant bee");
    assert_eq!(
        serde_json::to_string(&example).unwrap(),
        r#"{"instruction":"Repeat the list.","input":"ant bee","output":"ant bee"}"#
    );
}
