//! The model card: what the model was trained on, and what it can do.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::Path;

use burn_peft::llama::DecoderConfig;

use super::Args;
use super::world::{Example, Split, World};

/// Items per evaluation.
const ITEMS: usize = 1000;

/// Exact match by task, in percent.
pub struct Scores {
    known: BTreeMap<&'static str, f64>,
    novel: BTreeMap<&'static str, f64>,
}

/// Scores of the tasks of the corpus and of the fine-tuning tasks, both on held-back items.
pub fn scores(
    world: &World,
    exact_match: impl Fn(&[Example]) -> Result<f64, Box<dyn Error>>,
) -> Result<Scores, Box<dyn Error>> {
    let by_task = |items: Vec<Example>| {
        let mut tasks: BTreeMap<&'static str, Vec<Example>> = BTreeMap::new();
        for item in items {
            tasks.entry(item.task).or_default().push(item);
        }
        let score = |(task, items): (_, Vec<Example>)| Ok((task, 100.0 * exact_match(&items)?));
        tasks.into_iter().map(score).collect::<Result<BTreeMap<_, _>, Box<dyn Error>>>()
    };
    Ok(Scores {
        known: by_task(world.known_tasks(2, ITEMS))?,
        novel: by_task(world.finetune(1, Split::HeldBack, ITEMS))?,
    })
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, scores) in
            [("Tasks of the corpus", &self.known), ("Fine-tuning tasks", &self.novel)]
        {
            writeln!(f, "| {title} | exact match |\n|---|---|")?;
            for (task, score) in scores {
                writeln!(f, "| {task} | {score:.1} % |")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Writes the model card into the checkpoint's folder.
pub fn write(
    dir: &Path,
    args: &Args,
    config: &DecoderConfig,
    scores: &Scores,
    seconds: f64,
) -> Result<(), Box<dyn Error>> {
    let weights = std::fs::metadata(dir.join("model.safetensors"))?.len();
    let card = format!(
        "---\nlanguage: en\nlicense: mit\npipeline_tag: text-generation\n---\n\
         # A small LLaMA for examples and tests\n\n\
         {} million parameters ({} layers, hidden size {}, vocabulary {}), stored in bf16. \
         Trained from scratch by\n\n\
         ```\ncargo run --release --example pretrain_tiny\n```\n\n\
         on generated text only: operations on lists of words, look-ups, small sums, and facts \
         about made-up people (seed {}). {} steps of {} documents, loss on answers, in {:.0} \
         minutes on {}. Prompts are in the short Alpaca form (`### Instruction:`, `### Input:`, \
         `### Response:`). It knows nothing else.\n\n\
         Exact match of greedy answers on {ITEMS} items each that were not in the corpus. The \
         fine-tuning tasks ask for operations the corpus never shows:\n\n{scores}",
        format_args!("{:.2}", weights as f64 / 2e6),
        config.num_hidden_layers,
        config.hidden_size,
        config.vocab_size,
        args.seed,
        args.steps,
        args.batch,
        seconds / 60.0,
        "two CPU cores (Burn's flex backend)",
    );
    Ok(std::fs::write(dir.join("README.md"), card)?)
}
