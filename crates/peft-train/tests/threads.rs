//! The threads of the process: alone in a program of its own, since there is one pool in it.

use peft_train::join_compute_threads;

#[test]
fn this_thread_computes_and_others_still_can() {
    join_compute_threads();
    let threads = rayon::current_num_threads();
    let own = rayon::current_thread_index();
    assert_eq!(own.is_some(), threads > 1, "thread {own:?} of {threads}");
    let elsewhere = || rayon::join(|| 1, || 2);
    // While this thread waits, without computing.
    assert_eq!(std::thread::spawn(elsewhere).join().unwrap(), (1, 2));
    join_compute_threads();
    assert_eq!((rayon::current_num_threads(), rayon::current_thread_index()), (threads, own));
}
