//! The threads that compute.

use std::env::var;
use std::thread::available_parallelism;

use rayon::ThreadPoolBuilder;

/// Adds the calling thread to those that Burn's CPU backends compute on, rayon's global pool. A thread that
/// is not among them hands over every operation that runs in parallel, and sleeps until it is done: in
/// small models, waking and sleeping take a good part of the time. To be called once, by a program and not
/// by a library, in the thread that trains and before anything is computed: the pool is one for the whole
/// process, and stays as it is made. Nothing changes with a single thread (`RAYON_NUM_THREADS`), or where
/// the pool is made already.
///
/// Not with several CPU devices, which compute in threads of their own: the one that waits for them would
/// be missing among those that help them.
pub fn join_compute_threads() {
    let asked = var("RAYON_NUM_THREADS").ok().and_then(|threads| threads.parse().ok());
    let threads = match asked.filter(|&threads: &usize| threads > 0) {
        Some(threads) => threads,
        None => available_parallelism().map_or(1, Into::into),
    };
    // Alone in the pool, it would keep other threads waiting while it does something else.
    if threads > 1 {
        let pool = ThreadPoolBuilder::new().num_threads(threads).use_current_thread();
        let _ = pool.build_global(); // an error leaves the pool as it is
    }
}
