//! How the next token is chosen.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Error;

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// The most likely one.
    Greedy,
    /// One drawn at random. Made by [`Sampling::new`], which checks the values.
    Random {
        /// Logits are divided by it: below 1 the likely become likelier.
        temperature: f64,
        /// Only the most likely tokens, which together reach this probability, may be drawn.
        top_p: f64,
        /// Seed of the draws. Each row of a batch has a stream of its own.
        seed: u64,
    },
}

impl Sampling {
    /// Sampling at `temperature`, 0 for greedy, from the most likely tokens that together reach
    /// the probability `top_p`, 1 for all.
    ///
    /// # Errors
    /// [`Error::Setting`] for a temperature that is negative or not finite, and for a `top_p`
    /// outside (0, 1].
    pub fn new(temperature: f64, top_p: f64, seed: u64) -> Result<Self, Error> {
        let refuse =
            |key, found: f64, expected| Error::Setting { key, found: found.to_string(), expected };
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(refuse("temperature", temperature, "a finite number, 0 or more"));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(refuse("top_p", top_p, "a probability in (0, 1]"));
        }
        match temperature {
            0.0 => Ok(Self::Greedy),
            _ => Ok(Self::Random { temperature, top_p, seed }),
        }
    }

    /// What draws for a batch of `rows`; nothing where nothing is drawn.
    pub(super) fn sampler(&self, rows: usize) -> Option<Sampler> {
        let Self::Random { temperature, top_p, seed } = *self else { return None };
        let rng = |row| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(row as u64);
            rng
        };
        Some(Sampler { temperature, top_p, rngs: (0..rows).map(rng).collect() })
    }
}

/// Draws tokens for the rows of a batch.
pub(super) struct Sampler {
    temperature: f64,
    top_p: f64,
    rngs: Vec<ChaCha8Rng>,
}

impl Sampler {
    /// A token for `row`, by the logits of the vocabulary; none where these are no distribution.
    pub fn choose(&mut self, row: usize, logits: &[f32]) -> Option<u32> {
        let mut weights = self.weights(logits);
        let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
        if !total.is_finite() || total <= 0.0 {
            return None;
        }
        let kept = match self.top_p < 1.0 {
            true => keep_top(&mut weights, self.top_p * total),
            false => total,
        };
        let mut left = self.rngs[row].random_range(0.0..1.0) * kept;
        for (token, weight) in &weights {
            left -= weight;
            if left < 0.0 {
                return Some(*token);
            }
        }
        // Rounding can leave a sliver beyond the last one.
        weights.last().map(|(token, _)| *token)
    }

    /// Probabilities of the tokens, up to a common factor.
    fn weights(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let weight = |logit: f32| ((f64::from(logit) - highest) / self.temperature).exp();
        (0..).zip(logits).map(|(token, &logit)| (token, weight(logit))).collect()
    }
}

/// Leaves the heaviest entries, as few as reach `enough` together, and returns their sum.
fn keep_top(weights: &mut Vec<(u32, f64)>, enough: f64) -> f64 {
    weights.sort_by(|(_, a), (_, b)| b.total_cmp(a)); // stable: of equals, the lower id
    let (mut sum, mut count) = (0.0, 0);
    for (_, weight) in weights.iter() {
        sum += weight;
        count += 1;
        if sum >= enough {
            break;
        }
    }
    weights.truncate(count);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 4] = [0.0, 2.0, 1.0, -1.0];

    /// How often each token is drawn.
    fn counts(temperature: f64, top_p: f64, draws: usize) -> [usize; 4] {
        let mut sampler = Sampling::new(temperature, top_p, 7).unwrap().sampler(1).unwrap();
        let mut counts = [0; 4];
        for _ in 0..draws {
            counts[sampler.choose(0, &LOGITS).unwrap() as usize] += 1;
        }
        counts
    }

    #[test]
    fn draws_follow_the_softmax_at_the_temperature() {
        for temperature in [0.5, 1.0, 2.0] {
            let weights = LOGITS.map(|logit| (f64::from(logit) / temperature).exp());
            let total: f64 = weights.iter().sum();
            for (count, weight) in counts(temperature, 1.0, 20_000).iter().zip(weights) {
                let (got, want) = (*count as f64 / 20_000.0, weight / total);
                assert!((got - want).abs() < 0.012, "{got} against {want} at {temperature}");
            }
        }
    }

    #[test]
    fn top_p_leaves_the_fewest_tokens_that_reach_it() {
        // Probabilities: 0.087, 0.644, 0.237, 0.032.
        for (top_p, drawn) in [
            (0.6, [false, true, false, false]),
            (0.64, [false, true, false, false]),
            (0.65, [false, true, true, false]),
            (0.9, [true, true, true, false]),
            (1.0, [true; 4]),
        ] {
            assert_eq!(counts(1.0, top_p, 2_000).map(|count| count > 0), drawn, "{top_p}");
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_and_rows_draw_for_themselves() {
        let sampler = |seed| Sampling::new(1.0, 1.0, seed).unwrap().sampler(2).unwrap();
        let draws = |seed, row| -> Vec<u32> {
            let mut sampler = sampler(seed);
            (0..30).map(|_| sampler.choose(row, &LOGITS).unwrap()).collect()
        };
        assert_eq!(draws(1, 0), draws(1, 0));
        assert_ne!(draws(1, 0), draws(2, 0));
        assert_ne!(draws(1, 0), draws(1, 1));
    }

    #[test]
    fn no_temperature_is_greedy_and_impossible_values_are_refused() {
        assert_eq!(Sampling::new(0.0, 0.5, 3).unwrap(), Sampling::Greedy);
        for (temperature, top_p, message) in [
            (-1.0, 1.0, "`temperature` is -1, expected a finite number, 0 or more"),
            (f64::NAN, 1.0, "`temperature` is NaN, expected a finite number, 0 or more"),
            (1.0, 0.0, "`top_p` is 0, expected a probability in (0, 1]"),
            (1.0, 1.5, "`top_p` is 1.5, expected a probability in (0, 1]"),
        ] {
            assert_eq!(Sampling::new(temperature, top_p, 0).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn logits_that_are_no_distribution_are_refused() {
        let mut sampler = Sampling::new(1.0, 0.9, 0).unwrap().sampler(1).unwrap();
        for logits in [[f32::NAN; 4], [f32::INFINITY; 4], [f32::NEG_INFINITY; 4]] {
            assert_eq!(sampler.choose(0, &logits), None, "{logits:?}");
        }
    }
}
