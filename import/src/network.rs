//! The captured graph of a network.

use zoo_core::{HiddenLayer, catch_panic, root_prefix};
use zoo_graph::{Graph, Outputs};
use zoo_models::{Config, Logits, Network};

/// A network could not be captured, for a reason such as too small images.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct NotCaptured(String);

/// Captures the forward pass of a network for images of a shape. `hidden` are the hidden layers of
/// its classifier, if it has any.
///
/// The returned network has names and shapes but no values.
///
/// # Errors
///
/// When the network can't take images of that shape.
pub fn capture(
    config: &Config,
    hidden: &[HiddenLayer],
    shape: [usize; 4],
) -> Result<(Network, Graph), NotCaptured> {
    let recorded = catch_panic(|| {
        Graph::of_shapes(
            |device| config.init_with_hidden(hidden, device),
            shape,
            |network: &Network, images| -> Box<dyn Outputs> {
                match network.forward(images) {
                    Logits::Image(logits) => Box::new(logits),
                    Logits::Pixel(logits) => Box::new(logits),
                }
            },
        )
    });
    let recorded = recorded.map_err(|panicked| NotCaptured(panicked.to_string()))?;
    let (network, mut graph) = recorded.map_err(|error| NotCaptured(error.to_string()))?;
    graph.strip_prefix(&root_prefix(&network));
    Ok((network, graph))
}
