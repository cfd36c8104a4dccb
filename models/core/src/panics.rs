use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a panic said that was caught.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CaughtPanic(pub String);

/// How many calls of [`catch_panic`] are running.
static CATCHING: AtomicUsize = AtomicUsize::new(0);

/// Whether a call of [`catch_panic`] is running, so that a panic would become an error: for panic hooks
/// that print nothing then.
pub fn is_catching_panic() -> bool {
    CATCHING.load(Ordering::Relaxed) > 0
}

/// Runs something that may panic on unusual input, such as an image decoder or a network, and makes
/// the panic an error.
///
/// # Errors
///
/// What the panic said.
pub fn catch_panic<T>(run: impl FnOnce() -> T) -> Result<T, CaughtPanic> {
    let message = |payload: Box<dyn Any + Send>| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "it stopped without a message".to_owned())
    };
    CATCHING.fetch_add(1, Ordering::Relaxed);
    let result = catch_unwind(AssertUnwindSafe(run));
    CATCHING.fetch_sub(1, Ordering::Relaxed);
    result.map_err(|payload| CaughtPanic(message(payload)))
}
