//! Which threads compute.

use std::env::var;
use std::thread::available_parallelism;

use rayon::ThreadPoolBuilder;

/// Makes the calling thread one of those that Burn's CPU backends compute on, rayon's global pool. Without
/// it a thread that trains hands every parallel operation to that pool and sleeps until it is done, which
/// in small models takes longer than some operations. To be called once, first thing in the thread that
/// trains, by a program and not by a library: there is one such pool in the process. Nothing changes with
/// a single thread (`RAYON_NUM_THREADS`), or where the pool exists already.
///
/// A thread that has joined computes only for itself, so others that compute meanwhile, as with several
/// CPU devices, have one thread less.
pub fn compute_on_this_thread() {
    let asked = var("RAYON_NUM_THREADS").ok().and_then(|threads| threads.parse().ok());
    let threads = match asked.filter(|&threads: &usize| threads > 0) {
        Some(threads) => threads,
        None => available_parallelism().map_or(1, Into::into),
    };
    // Alone in the pool, it would keep other threads waiting for as long as it does something else.
    if threads > 1 {
        let pool = ThreadPoolBuilder::new().num_threads(threads).use_current_thread();
        let _ = pool.build_global(); // an error means that there is one
    }
}
