//! A fixed, fictitious geography and its people: what the model can only know by heart.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::Example;
use super::pool::pick;
use super::words::{CITIES, JOBS, LANDS, PEOPLE, WORDS};

/// One fact: sentences that state it, questions that ask for it, and its answer.
#[derive(Debug, Clone, PartialEq)]
struct Fact {
    task: &'static str,
    statements: Vec<String>,
    questions: Vec<String>,
    answer: &'static str,
}

/// What there is to know, by subject (a person or a city).
#[derive(Debug, Clone, PartialEq)]
pub struct Facts(Vec<Vec<Fact>>);

impl Facts {
    /// Gives every person a home, a job and a liking, and every city a land and a river bank.
    pub fn new(rng: &mut ChaCha8Rng) -> Self {
        let people = PEOPLE.iter().map(|name| person(name, rng));
        let mut subjects: Vec<_> = people.collect();
        let mut cities = CITIES;
        cities.shuffle(rng);
        subjects.extend(cities.iter().enumerate().map(|(i, name)| city(i, name, rng)));
        Self(subjects)
    }

    /// All that is known of a random subject, in random order and wording.
    pub fn portrait(&self, rng: &mut ChaCha8Rng) -> String {
        let subject = &self.0[rng.random_range(0..self.0.len())];
        let mut sentences: Vec<&str> = subject
            .iter()
            .map(|fact| fact.statements[rng.random_range(0..fact.statements.len())].as_str())
            .collect();
        sentences.shuffle(rng);
        sentences.join(" ")
    }

    /// A random question about a random fact.
    pub fn question(&self, rng: &mut ChaCha8Rng) -> Example {
        let subject = &self.0[rng.random_range(0..self.0.len())];
        let fact = &subject[rng.random_range(0..subject.len())];
        let question = &fact.questions[rng.random_range(0..fact.questions.len())];
        Example::new(fact.task, question, "", fact.answer)
    }
}

fn person(name: &str, rng: &mut ChaCha8Rng) -> Vec<Fact> {
    let (home, job, liking) = (pick(&CITIES, rng), pick(&JOBS, rng), pick(&WORDS, rng));
    vec![
        Fact {
            task: "home",
            statements: vec![
                format!("{name} lives in {home}."),
                format!("{home} is the home of {name}."),
            ],
            questions: vec![
                format!("Where does {name} live?"),
                format!("Which city is the home of {name}?"),
                format!("In which city does {name} live?"),
            ],
            answer: home,
        },
        Fact {
            task: "job",
            statements: vec![
                format!("{name} works as a {job}."),
                format!("The job of {name} is {job}."),
            ],
            questions: vec![
                format!("What does {name} work as?"),
                format!("What is the job of {name}?"),
                format!("Which job does {name} have?"),
            ],
            answer: job,
        },
        Fact {
            task: "liking",
            statements: vec![
                format!("{name} likes the {liking} best."),
                format!("The {liking} is what {name} likes."),
            ],
            questions: vec![
                format!("What does {name} like?"),
                format!("What does {name} like best?"),
                format!("Which thing does {name} like?"),
            ],
            answer: liking,
        },
    ]
}

fn city(index: usize, name: &'static str, rng: &mut ChaCha8Rng) -> Vec<Fact> {
    let land = LANDS[index % LANDS.len()];
    let rank = ["first", "second", "third"][index / LANDS.len()];
    let bank = pick(&["left", "right"], rng);
    vec![
        Fact {
            task: "city",
            statements: vec![
                format!("{name} is the {rank} city of {land}."),
                format!("The {rank} city of {land} is {name}."),
            ],
            questions: vec![
                format!("What is the {rank} city of {land}?"),
                format!("Which city is the {rank} of {land}?"),
                format!("Name the {rank} city of {land}."),
            ],
            answer: name,
        },
        Fact {
            task: "bank",
            statements: vec![
                format!("{name} is on the {bank} bank."),
                format!("On the {bank} bank is {name}."),
            ],
            questions: vec![
                format!("Which bank is {name} on?"),
                format!("On which bank is {name}?"),
                format!("Is {name} on the left bank or the right?"),
            ],
            answer: bank,
        },
    ]
}
