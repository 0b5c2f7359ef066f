//! SIGTERM and SIGINT: the first asks for an end in good order, a second one ends at once.

use crate::failure::Failure;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Becomes true when the process is asked to end.
///
/// # Errors
/// If the system takes no handlers.
pub(crate) fn asked_to_end() -> Result<Arc<AtomicBool>, Failure> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        let registered = flag::register_conditional_default(signal, Arc::clone(&asked)) // the second one, which comes first
            .and_then(|_| flag::register(signal, Arc::clone(&asked)));
        registered.map_err(|error| Failure::System(format!("cannot take signals: {error}")))?;
    }
    Ok(asked)
}
