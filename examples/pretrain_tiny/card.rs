//! The model card: what the model was trained on, and what it can do.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::Path;

use burn_peft::llama::DecoderConfig;

use super::Args;
use super::common::Refusal;
use super::world::{Example, Split, World};

/// The card's file in the checkpoint's folder.
const FILE_NAME: &str = "README.md";
/// By which a card is known.
const TITLE: &str = "# A small LLaMA for examples and tests";
/// Items of an evaluation, of all its tasks together.
const ITEMS: usize = 1000;

/// Number of items and exact match in percent, by task.
type ByTask = BTreeMap<&'static str, (usize, f64)>;

/// What the model can do.
pub struct Scores {
    known: ByTask,
    novel: ByTask,
}

/// Scores of the tasks of the corpus and of the fine-tuning tasks, both on held-back items.
pub fn scores(
    world: &World,
    exact_match: impl Fn(&[Example]) -> Result<f64, Box<dyn Error>>,
) -> Result<Scores, Box<dyn Error>> {
    let score = |items: Vec<Example>| {
        let score =
            |(task, items): (_, Vec<_>)| Ok((task, (items.len(), 100.0 * exact_match(&items)?)));
        by_task(items).into_iter().map(score).collect::<Result<ByTask, Box<dyn Error>>>()
    };
    Ok(Scores {
        known: score(world.known_tasks(2, ITEMS))?,
        novel: score(world.finetune(1, Split::HeldBack, ITEMS))?,
    })
}

fn by_task(items: Vec<Example>) -> BTreeMap<&'static str, Vec<Example>> {
    let mut tasks: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for item in items {
        tasks.entry(item.task).or_default().push(item);
    }
    tasks
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, scores) in
            [("Tasks of the corpus", &self.known), ("Fine-tuning tasks", &self.novel)]
        {
            writeln!(f, "| {title} | items | exact match |\n|---|---|---|")?;
            for (task, (items, score)) in scores {
                writeln!(f, "| {task} | {items} | {score:.1} % |")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// How a model was made.
pub struct Made<'a> {
    pub args: &'a Args,
    pub config: &'a DecoderConfig,
    pub parameters: usize,
    pub seconds: f64,
    /// The device, as Burn names it.
    pub device: String,
    /// Threads that the machine runs at a time.
    pub cores: usize,
}

/// The card of a model made so, up to its scores.
impl fmt::Display for Made<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { args, config, parameters, seconds, device, cores } = self;
        write!(
            f,
            "---\nlanguage: en\nlicense: mit\npipeline_tag: text-generation\n---\n{TITLE}\n\n\
             {:.2} million parameters ({} layers, hidden size {}, vocabulary {}), stored in bf16. \
             Trained from scratch by\n\n\
             ```\ncargo run --release --example pretrain_tiny -- --out {} --tasks {}\n```\n\n\
             on generated text only: operations on lists of words, look-ups, small sums, and facts \
             about made-up people (seed {}). {} steps of {} documents, loss on answers, in {:.0} \
             minutes on `{device}` of a machine with {cores} CPU cores. Prompts are in the short \
             Alpaca form (`### Instruction:`, `### Input:`, `### Response:`). It knows nothing \
             else.\n\n\
             Exact match of greedy answers, by task, on {ITEMS} items of the corpus's tasks that \
             were not in the corpus, and on {ITEMS} items of the fine-tuning tasks, which ask for \
             operations that the corpus never shows:\n\n",
            *parameters as f64 / 1e6,
            config.num_hidden_layers,
            config.hidden_size,
            config.vocab_size,
            args.out.display(),
            args.tasks.display(),
            args.seed,
            args.steps,
            args.batch,
            seconds / 60.0,
        )
    }
}

/// Refuses the folder `dir` if it holds something else than an earlier result: it will be replaced.
pub fn check(dir: &Path) -> Result<(), Refusal> {
    let is_empty = || std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
    let card = || std::fs::read_to_string(dir.join(FILE_NAME)).unwrap_or_default();
    match !dir.exists() || is_empty() || card().lines().any(|line| line == TITLE) {
        true => Ok(()),
        false => Err(Refusal {
            reason: format!("{} holds something that this program did not write", dir.display()),
            hint: "name another folder with --out: it is replaced as a whole",
        }),
    }
}

/// Writes the model card into the checkpoint's folder.
pub fn write(dir: &Path, made: &Made<'_>, scores: &Scores) -> Result<(), Box<dyn Error>> {
    let path = dir.join(FILE_NAME);
    let written = std::fs::write(&path, format!("{made}{scores}"));
    Ok(written.map_err(|e| format!("{}: {e}", path.display()))?)
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use clap::Parser;

    use super::*;

    /// All but the percentages, which take a training to find.
    #[test]
    fn the_card_of_the_repository_says_how_its_model_was_made() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tiny-llama");
        let args = ["pretrain_tiny", "--out", "assets/tiny-llama", "--tasks", "assets/tasks"];
        let config = DecoderConfig::from_file(dir.join("config.json")).unwrap();
        let made = Made {
            args: &Args::parse_from(args),
            config: &config,
            parameters: config.init(&peft_testing::device()).num_params(),
            seconds: 13.0 * 60.0,
            device: "Device<Flex(Cpu)>".into(),
            cores: 2,
        };
        let card = std::fs::read_to_string(dir.join(FILE_NAME)).unwrap();
        assert!(card.starts_with(&made.to_string()), "it should begin with\n{made}");
        let world = World::new(0);
        for items in [world.known_tasks(2, ITEMS), world.finetune(1, Split::HeldBack, ITEMS)] {
            for (task, items) in by_task(items) {
                let row = format!("\n| {task} | {} | ", items.len());
                assert!(card.contains(&row), "it should have a row{row}");
            }
        }
    }

    #[test]
    fn only_an_earlier_result_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        check(&dir.path().join("absent")).unwrap();
        check(dir.path()).unwrap();
        std::fs::write(dir.path().join("model.safetensors"), "of somebody else").unwrap();
        let refusal = check(dir.path()).unwrap_err();
        assert!(refusal.reason.contains(dir.path().to_str().unwrap()), "{refusal}");
        std::fs::write(dir.path().join(FILE_NAME), format!("---\n---\n{TITLE}\n")).unwrap();
        check(dir.path()).unwrap();
    }
}
