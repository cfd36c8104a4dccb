use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The message of a caught panic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CaughtPanic(pub String);

/// Number of running calls of [`catch_panic`].
static CATCHING: AtomicUsize = AtomicUsize::new(0);

/// Whether [`catch_panic`] is running in any thread. A panic hook can then stay silent.
pub fn is_catching_panic() -> bool {
    CATCHING.load(Ordering::Relaxed) > 0
}

/// Runs `run` and turns a panic into an error. Decoders and networks may panic on unusual input.
///
/// # Errors
///
/// When `run` panics, with the message of the panic.
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
