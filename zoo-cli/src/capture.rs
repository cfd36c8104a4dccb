//! A network's computation as a graph.

use zoo_core::{HiddenLayer, root_prefix};
use zoo_graph::{Graph, Outputs};
use zoo_models::{Config, Logits, Network};

/// Records what a network does with images of a shape; `hidden` are the hidden layers of its classifier, if it has such.
///
/// The network that comes with it tells names and shapes; it has no values.
///
/// # Errors
///
/// When the network can't take images of that shape.
pub fn capture(
    config: &Config,
    hidden: &[HiddenLayer],
    shape: [usize; 4],
) -> anyhow::Result<(Network, Graph)> {
    let recorded = crate::catch(|| {
        Graph::of_shapes(
            |device| config.init_with_hidden(hidden, device),
            shape,
            |network: &Network, images| -> Box<dyn Outputs> {
                match network.forward(images) {
                    Logits::OfImages(logits) => Box::new(logits),
                    Logits::OfPixels(logits) => Box::new(logits),
                }
            },
        )
    })?;
    let (network, mut graph) = recorded?;
    graph.strip_prefix(&root_prefix(&network));
    Ok((network, graph))
}
