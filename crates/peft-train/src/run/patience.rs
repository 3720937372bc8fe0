//! A run that ends early because it no longer gets better.

use burn::train::EarlyStoppingStrategy;
use burn::train::metric::store::EventStoreClient;

use super::session::Session;

/// Ends the run when it is out of patience. Burn's own strategy counts in memory, from metrics that a
/// resume would not know; the run's validations are in its log.
#[derive(Clone)]
pub(super) struct Patience(pub Session);

impl EarlyStoppingStrategy for Patience {
    fn should_stop(&mut self, _segment: usize, _store: &EventStoreClient) -> bool {
        self.0.lock().is_out_of_patience()
    }
}
