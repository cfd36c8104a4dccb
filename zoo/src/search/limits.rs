use serde::{Deserialize, Serialize};

/// Hard limits of a search. A network beyond a limit is never trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest time for one image, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Largest size of the weights, in bytes.
    pub size: Option<u64>,
    /// Largest memory of the engine's plan for one image, weights and activations, in bytes.
    pub memory: Option<u64>,
}

/// The cost of a network on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Trainable parameters.
    pub params: usize,
    /// Multiply-accumulate operations for one image.
    pub macs: u64,
    /// Size of the weights in bytes.
    pub size: u64,
    /// Memory of the engine's plan in bytes.
    pub memory: u64,
    /// Median time of one image, in milliseconds. `None` if another limit was exceeded already.
    pub latency_ms: Option<f64>,
}

impl Limits {
    /// The limit that a network exceeds, as a phrase, if there is one.
    pub fn exceeded(&self, cost: &Cost) -> Option<String> {
        let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        if let Some(size) = self.size.filter(|size| cost.size > *size) {
            return Some(format!(
                "{} of weights, more than {}",
                megabytes(cost.size),
                megabytes(size)
            ));
        }
        if let Some(memory) = self.memory.filter(|memory| cost.memory > *memory) {
            return Some(format!(
                "{} of memory, more than {}",
                megabytes(cost.memory),
                megabytes(memory)
            ));
        }
        let (latency, limit) = (cost.latency_ms?, self.latency_ms?);
        (latency > limit).then(|| format!("{latency:.2} ms, more than {limit:.3} ms"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_exceeded_limit_is_named() {
        let cost =
            Cost { params: 1, macs: 1, size: 5_000_000, memory: 9_000_000, latency_ms: Some(3.0) };
        let exceeded = |limits: Limits| limits.exceeded(&cost);
        assert_eq!(exceeded(Limits::default()), None);
        let at = Limits { latency_ms: Some(3.0), size: Some(5_000_000), memory: Some(9_000_000) };
        assert_eq!(exceeded(at), None, "a limit that is just met");
        let size = Limits { size: Some(4_000_000), latency_ms: Some(1.0), ..at };
        assert_eq!(exceeded(size).unwrap(), "5.0 MB of weights, more than 4.0 MB");
        let memory = Limits { memory: Some(8_000_000), ..at };
        assert_eq!(exceeded(memory).unwrap(), "9.0 MB of memory, more than 8.0 MB");
        let latency = Limits { latency_ms: Some(2.5), ..at };
        assert_eq!(exceeded(latency).unwrap(), "3.00 ms, more than 2.500 ms");
    }
}
