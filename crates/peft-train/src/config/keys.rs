//! What to do about a name that is not known.

use super::elsewhere::{self, Instead};

/// How alike two names are, from 0 to 1, for one to be taken for a misspelling of the other: one
/// letter in four may be wrong, missing, too many or exchanged with the next.
const ALIKE: f64 = 0.75;

/// What to do about the setting `key`, which none of the `known` ones is.
pub(super) fn hint<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> String {
    instead(elsewhere::RUN, key, known).unwrap_or("`burn-peft schema` lists all settings".into())
}

/// What to do about `key` in a dataset, of which none of the `known` settings is.
pub(super) fn hint_in_dataset<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<_> = known.collect();
    let all = || format!("a dataset has {}", known.join(", "));
    instead(elsewhere::DATASET, key, known.iter().copied()).unwrap_or_else(all)
}

/// What to do about `format`, which none of the `known` formats of a dataset is.
pub(super) fn hint_of_format<'a>(
    format: &str,
    known: impl Iterator<Item = &'a str>,
) -> Option<String> {
    instead(elsewhere::FORMATS, format, known)
}

fn instead<'a>(
    elsewhere: &[(&str, Instead)],
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Option<String> {
    let meant = |meant: &str| format!("did you mean `{meant}`?");
    match elsewhere.iter().find(|(other, _)| *other == name) {
        Some((_, Instead::Key(key))) => Some(meant(key)),
        Some((_, Instead::Words(words))) => Some(format!("there is no such setting: {words}")),
        None => nearest(name, known).map(meant),
    }
}

/// The name in `known` of which `name` is most probably a misspelling.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let alike = |known: &'a str| {
        (strsim::normalized_damerau_levenshtein(&name, &known.to_lowercase()), known)
    };
    let best = known.map(alike).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrainingConfig;
    use crate::data::DataFormat;
    use serde_json::Value;

    fn keys(properties: &Value) -> Vec<String> {
        properties.as_object().unwrap().keys().cloned().collect()
    }

    fn settings() -> Vec<String> {
        keys(&TrainingConfig::schema()["properties"])
    }

    fn hint_of(key: &str) -> String {
        hint(key, settings().iter().map(String::as_str))
    }

    #[test]
    fn misspellings_are_recognised() {
        for (key, meant) in [
            ("peroid", "period"),
            ("learning-rate", "learning_rate"),
            ("learn_rate", "learning_rate"),
            ("deltat", "deltaT"),
            ("micro_batchsize", "micro_batch_size"),
            ("lora_R", "lora_r"),
            ("save_step", "save_steps"),
        ] {
            assert_eq!(hint_of(key), format!("did you mean `{meant}`?"));
        }
    }

    #[test]
    fn a_name_that_is_only_a_little_like_another_is_not_guessed() {
        for key in ["xyz", "use_vera", "max_time", "eval_size", "overwrite_all", "train_on_gpu"] {
            assert_eq!(hint_of(key), "`burn-peft schema` lists all settings", "{key}");
        }
    }

    #[test]
    fn names_of_other_tools_lead_to_what_there_is() {
        for (key, want) in [
            ("use_dora", "there is no such setting: use `method = \"dora\"`"),
            ("max_seq_len", "did you mean `sequence_len`?"),
            (
                "saves_per_epoch",
                "there is no such setting: a checkpoint is written every `save_steps`",
            ),
            ("eval_batch_size", "validation takes batches of `micro_batch_size`, too"),
        ] {
            assert!(hint_of(key).ends_with(want), "{key}: {}", hint_of(key));
        }
    }

    #[test]
    fn every_name_of_another_tool_has_its_words() {
        let tables = [elsewhere::RUN, elsewhere::DATASET, elsewhere::FORMATS];
        let words = tables.into_iter().flatten().map(|(name, instead)| match instead {
            Instead::Key(key) => format!("{name}: `{key}`"),
            Instead::Words(words) => format!("{name}: {words}"),
        });
        insta::assert_snapshot!(words.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn only_names_that_are_not_known_stand_for_known_ones() {
        let of_dataset = keys(&TrainingConfig::schema()["$defs"]["DatasetConfig"]["properties"]);
        let formats = DataFormat::ALL.map(|format| format.to_string()).to_vec();
        let tables = [
            (elsewhere::RUN, settings()),
            (elsewhere::DATASET, of_dataset),
            (elsewhere::FORMATS, formats),
        ];
        for (table, known) in tables {
            for (name, instead) in table {
                assert!(!known.iter().any(|known| known == name), "{name}");
                if let Instead::Key(key) = instead {
                    assert!(known.iter().any(|known| known == key), "{key}");
                }
            }
            assert!(table.is_sorted_by_key(|(name, _)| name), "to be found by eye");
        }
    }
}
