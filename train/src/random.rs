use rand::SeedableRng;
use rand::rngs::StdRng;

/// A stream of random numbers for each purpose, epoch and image, so that what is drawn depends
/// on neither threads nor on where a run was interrupted.
pub(crate) fn stream(seed: u64, purpose: Purpose, a: usize, b: usize) -> StdRng {
    let mut key = [0; 32];
    let words = [seed, purpose as u64, a as u64, b as u64];
    for (place, word) in key.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    StdRng::from_seed(key)
}

/// What random numbers are for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Split,
    Order,
    View,
    Mix,
    Step,
    Init,
}
