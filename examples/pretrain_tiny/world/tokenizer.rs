//! A byte-level BPE tokenizer trained on the world, in the files `transformers` loads.

use std::fs;
use std::path::Path;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::decoders::sequence::Sequence as DecoderSequence;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::Prepend;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split as SplitPreTokenizer, SplitPattern};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, PreTokenizerWrapper, Result, SplitDelimiterBehavior, Tokenizer};

use super::words::lexicon;
use super::{Document, Split, World, prompt};

const UNKNOWN: &str = "<unk>";
const BEGIN: &str = "<s>";
const END: &str = "</s>";

/// Words with their space, digits one by one, marks, white space.
const PIECES: &str = r"'s| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Documents and fine-tuning items that the merges are learnt from.
const SAMPLE: usize = 4000;

/// Trains a tokenizer of at most `vocab_size` tokens on a sample of the world.
///
/// `<unk>` is 0, `<s>` 1 and `</s>` 2; the three markers of [`prompt`] are one token each, digits
/// come one by one. `<s>` is put before a text.
///
/// As in LLaMA's tokenizer, a space goes before every text and after every marker, so that a word
/// is the same token wherever it stands, and decoding drops the first space: any text without
/// markers survives, and an answer may be encoded and decoded without its prompt.
///
/// # Errors
///
/// What the `tokenizers` crate reports; no `vocab_size` above 262 is known to cause any.
pub fn train_tokenizer(world: &World, vocab_size: usize) -> Result<Tokenizer> {
    let markers = [prompt::INSTRUCTION, prompt::INPUT, prompt::RESPONSE];
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_normalizer(Some(Prepend::new(" ".to_owned())))?;
    tokenizer.with_pre_tokenizer(Some(pre_tokenizer()?)).with_decoder(Some(decoder()));
    let mut trainer = TrainerWrapper::from(
        BpeTrainer::builder()
            .vocab_size(vocab_size.saturating_sub(markers.len()))
            .special_tokens([UNKNOWN, BEGIN, END].map(|t| AddedToken::from(t, true)).into())
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .show_progress(false)
            .build(),
    );
    tokenizer.train(&mut trainer, sample(world).into_iter())?;
    tokenizer
        .add_tokens(markers.map(|marker| AddedToken::from(marker, false).normalized(false)))?;
    let begin_first = TemplateProcessing::builder()
        .try_single(format!("{BEGIN} $A"))?
        .try_pair(format!("{BEGIN} $A $B"))?
        .special_tokens(vec![(BEGIN, 1)])
        .build()?;
    tokenizer.with_post_processor(Some(begin_first));
    Ok(tokenizer)
}

/// Writes `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json` into `dir`.
///
/// # Errors
///
/// If a file cannot be written; the message names it.
pub fn save_tokenizer(tokenizer: &Tokenizer, dir: &Path) -> Result<()> {
    let special = json!({ "bos_token": BEGIN, "eos_token": END, "unk_token": UNKNOWN });
    let config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": END,
        "unk_token": UNKNOWN,
        "clean_up_tokenization_spaces": false,
    });
    write(dir, "tokenizer.json", &tokenizer.to_string(true)?)?;
    write(dir, "tokenizer_config.json", &format!("{config:#}\n"))?;
    write(dir, "special_tokens_map.json", &format!("{special:#}\n"))
}

fn pre_tokenizer() -> Result<Sequence> {
    let pieces = SplitPattern::Regex(PIECES.into());
    let split = SplitPreTokenizer::new(pieces, SplitDelimiterBehavior::Isolated, false)?;
    let bytes = ByteLevel::default().add_prefix_space(false).use_regex(false);
    Ok(Sequence::new(vec![PreTokenizerWrapper::from(split), PreTokenizerWrapper::from(bytes)]))
}

fn decoder() -> DecoderSequence {
    DecoderSequence::new(vec![
        DecoderWrapper::from(ByteLevel::default()),
        DecoderWrapper::from(Strip::new(' ', 1, 0)),
    ])
}

/// Blocks of documents, without the markers, and the lexicon often enough to be merged whole.
fn sample(world: &World) -> Vec<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut texts = Vec::new();
    for _ in 0..SAMPLE {
        match world.corpus_document(&mut rng) {
            Document::Text(text) => texts.push(text),
            Document::Instruction(example) => {
                texts.extend([example.instruction, example.input, example.output]);
            }
        }
    }
    let novel = world.finetune(0, Split::Train, SAMPLE / 10);
    texts.extend(novel.into_iter().map(|example| example.instruction));
    texts.extend(lexicon().flat_map(|word| std::iter::repeat_n(word.to_owned(), SAMPLE / 20)));
    texts
}

fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    let path = dir.join(name);
    fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest size at which every word has its token, with a little to spare.
    const VOCAB: usize = 800;

    fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
        tokenizer.encode_fast(text, false).unwrap().get_ids().to_vec()
    }

    #[test]
    fn every_word_is_one_token() {
        let tokenizer = train_tokenizer(&World::new(0), VOCAB).unwrap();
        assert_eq!(tokenizer.get_vocab_size(true), VOCAB);
        for word in lexicon() {
            let alone = ids(&tokenizer, word);
            assert_eq!(alone.len(), 1, "{word}");
            assert_eq!(ids(&tokenizer, &format!("of {word}"))[1..], alone);
        }
    }

    #[test]
    fn special_tokens_markers_and_digits_are_single_tokens() {
        let tokenizer = train_tokenizer(&World::new(0), VOCAB).unwrap();
        let special = [UNKNOWN, BEGIN, END].map(|token| tokenizer.token_to_id(token));
        assert_eq!(special, [Some(0), Some(1), Some(2)]);
        for marker in [prompt::INSTRUCTION, prompt::INPUT, prompt::RESPONSE] {
            assert_eq!(ids(&tokenizer, marker).len(), 1, "{marker:?}");
        }
        assert_eq!(ids(&tokenizer, "a1234").len(), 5);
        let encoding = tokenizer.encode_fast("ant", true).unwrap();
        assert_eq!(encoding.get_ids()[0], 1);
        assert_eq!(encoding.len(), 2);
    }

    #[test]
    fn a_prompt_and_its_answer_encode_alike_apart_and_together() {
        let world = World::new(0);
        let tokenizer = train_tokenizer(&world, VOCAB).unwrap();
        for example in world.finetune(1, Split::HeldBack, 100) {
            let (prompt, answer) = (example.prompt(), example.output.as_str());
            let apart = [ids(&tokenizer, &prompt), ids(&tokenizer, answer)].concat();
            assert_eq!(ids(&tokenizer, &(prompt + answer)), apart);
        }
    }

    #[test]
    fn any_text_survives() {
        let tokenizer = train_tokenizer(&World::new(0), VOCAB).unwrap();
        let ascii: String = (0..128u8).map(char::from).collect();
        for text in [ascii.as_str(), "  two  spaces \n\n\t end ", "naïve 東京"] {
            let decoded = tokenizer.decode(&ids(&tokenizer, text), false).unwrap();
            assert_eq!(decoded, text);
        }
    }

    #[test]
    fn documents_are_short() {
        let world = World::new(0);
        let tokenizer = train_tokenizer(&world, VOCAB).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let texts = (0..2000).map(|_| world.corpus_document(&mut rng));
        let texts = texts.map(|document| document.prompt() + document.completion());
        let lengths: Vec<_> = texts.map(|text| ids(&tokenizer, &text).len() + 2).collect();
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        assert!((15.0..21.0).contains(&mean), "{mean} tokens on average");
        assert!(lengths.iter().all(|&length| length <= 48), "{:?}", lengths.iter().max());
    }

    #[test]
    fn training_is_deterministic_and_saving_keeps_everything() {
        let world = World::new(0);
        let tokenizer = train_tokenizer(&world, VOCAB).unwrap();
        let again = train_tokenizer(&world, VOCAB).unwrap();
        assert_eq!(tokenizer.to_string(false).unwrap(), again.to_string(false).unwrap());

        let dir = tempfile::tempdir().unwrap();
        save_tokenizer(&tokenizer, dir.path()).unwrap();
        let loaded = Tokenizer::from_file(dir.path().join("tokenizer.json")).unwrap();
        assert_eq!(loaded.to_string(false).unwrap(), tokenizer.to_string(false).unwrap());
        for name in ["tokenizer_config.json", "special_tokens_map.json"] {
            let text = fs::read_to_string(dir.path().join(name)).unwrap();
            let keys: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(keys["eos_token"], END);
        }
    }

    #[test]
    fn a_failed_write_names_the_file() {
        let tokenizer = train_tokenizer(&World::new(0), VOCAB).unwrap();
        let error = save_tokenizer(&tokenizer, Path::new("/no/such/folder")).unwrap_err();
        assert!(error.to_string().contains("/no/such/folder/tokenizer.json"), "{error}");
    }
}
