//! Random numbers that depend on a seed and a name alone.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A generator of its own for each weight, so that what it starts with does not depend on what
/// else is targeted.
pub(crate) fn path_rng(seed: u64, path: &str) -> ChaCha8Rng {
    // FNV-1a
    let stream = path.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}
