use rand::SeedableRng;
use rand::rngs::StdRng;

/// Returns a stream of random numbers for a purpose, an epoch and an image. The numbers do not
/// depend on threads or on interruptions.
pub(crate) fn stream(seed: u64, purpose: Purpose, a: usize, b: usize) -> StdRng {
    let mut key = [0; 32];
    let words = [seed, purpose as u64, a as u64, b as u64];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    StdRng::from_seed(key)
}

/// The purpose of random numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Split,
    Order,
    View,
    Mix,
    Step,
    Init,
    Test,
}
