//! The files of fine-tuning tasks.

use std::error::Error;
use std::path::Path;

use super::common::Refusal;
use super::world::{Example, Split, World};

/// A file, whose lines are tasks.
pub struct TaskFile {
    name: &'static str,
    text: String,
}

/// What is trained on, what is held back of it, and tasks of the corpus.
pub fn files(world: &World) -> Result<[TaskFile; 3], serde_json::Error> {
    let file = |name, examples: Vec<Example>| {
        let lines = examples.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        Ok::<_, serde_json::Error>(TaskFile { name, text: lines.join("\n") + "\n" })
    };
    Ok([
        file("train.jsonl", world.finetune(0, Split::Train, 12_000))?,
        file("held_back.jsonl", world.finetune(1, Split::HeldBack, 600))?,
        file("known.jsonl", world.known_tasks(2, 600))?,
    ])
}

/// Refuses the folder `dir` if it holds other files of these names.
pub fn check(dir: &Path, files: &[TaskFile]) -> Result<(), Refusal> {
    let taken = |file: &&TaskFile| {
        let path = dir.join(file.name);
        path.exists() && !std::fs::read(path).is_ok_and(|bytes| bytes == file.text.as_bytes())
    };
    match files.iter().find(taken) {
        Some(TaskFile { name, .. }) => Err(Refusal {
            reason: format!("{} is there, and says something else", dir.join(name).display()),
            hint: "name another folder with --tasks, or remove the file",
        }),
        None => Ok(()),
    }
}

/// Writes the files into the folder `dir`.
pub fn write(dir: &Path, files: &[TaskFile]) -> Result<(), Box<dyn Error>> {
    let failed = |e: std::io::Error| format!("{}: {e}", dir.display());
    std::fs::create_dir_all(dir).map_err(failed)?;
    for TaskFile { name, text } in files {
        std::fs::write(dir.join(name), text).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tasks_of_the_repository_are_those_of_seed_0() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tasks");
        for TaskFile { name, text } in files(&World::new(0)).unwrap() {
            assert!(std::fs::read_to_string(dir.join(name)).unwrap() == text, "{name}");
        }
    }

    #[test]
    fn other_files_are_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let files = [TaskFile { name: "known.jsonl", text: "own\n".into() }];
        check(dir.path(), &files).unwrap();
        write(dir.path(), &files).unwrap();
        check(dir.path(), &files).unwrap();
        std::fs::write(dir.path().join("known.jsonl"), "of somebody else\n").unwrap();
        let refusal = check(dir.path(), &files).unwrap_err();
        assert!(refusal.reason.contains("known.jsonl"), "{refusal}");
    }
}
