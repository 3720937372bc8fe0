//! Pools to draw operands and fillings from, and their division between the fine-tuning splits.

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::words::{PEOPLE, WORDS};

/// Words for lists (operands) and people for wordings (fillings).
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// What lists and boxes hold.
    pub words: Vec<&'static str>,
    /// Whom instructions name.
    pub people: Vec<&'static str>,
}

impl Pool {
    /// All words and people: what the pre-training corpus draws from.
    pub fn all() -> Self {
        Self { words: WORDS.to_vec(), people: PEOPLE.to_vec() }
    }

    /// Splits off a random quarter of the words and of the people.
    ///
    /// Returns the three quarters and the quarter.
    pub fn split(mut self, rng: &mut ChaCha8Rng) -> (Self, Self) {
        self.words.shuffle(rng);
        self.people.shuffle(rng);
        let quarter = Self {
            words: self.words.split_off(self.words.len() * 3 / 4),
            people: self.people.split_off(self.people.len() * 3 / 4),
        };
        (self, quarter)
    }

    /// A random person.
    pub fn person(&self, rng: &mut ChaCha8Rng) -> &'static str {
        pick(&self.people, rng)
    }

    /// `count` different words in random order.
    pub fn list(&self, count: usize, rng: &mut ChaCha8Rng) -> Vec<&'static str> {
        sample(&self.words, count, rng)
    }

    /// `count` different people, each with a word of their own.
    pub fn belongings(
        &self,
        count: usize,
        rng: &mut ChaCha8Rng,
    ) -> Vec<(&'static str, &'static str)> {
        let people = sample(&self.people, count, rng);
        people.into_iter().zip(self.list(count, rng)).collect()
    }
}

/// A random element of a pool that is never empty.
pub fn pick<T: Copy>(from: &[T], rng: &mut ChaCha8Rng) -> T {
    from[rng.random_range(0..from.len())]
}

fn sample(from: &[&'static str], count: usize, rng: &mut ChaCha8Rng) -> Vec<&'static str> {
    from.sample(rng, count).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_split_shares_nothing_and_loses_nothing() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (most, rest) = Pool::all().split(&mut rng);
        assert_eq!((most.words.len(), rest.words.len()), (96, 32));
        assert_eq!((most.people.len(), rest.people.len()), (24, 8));
        let words: HashSet<_> = most.words.iter().chain(&rest.words).collect();
        let people: HashSet<_> = most.people.iter().chain(&rest.people).collect();
        assert_eq!((words.len(), people.len()), (WORDS.len(), PEOPLE.len()));
    }

    #[test]
    fn a_list_never_repeats_a_word() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let (_, rest) = Pool::all().split(&mut rng);
        for _ in 0..100 {
            let list = rest.list(6, &mut rng);
            assert_eq!(list.iter().collect::<HashSet<_>>().len(), 6);
        }
    }
}
