//! The layers of a network, from its captured graph.

use std::collections::HashMap;

use zoo_graph::{Graph, Node, Op, ValueId};

use super::layers::{Flow, Form, Kind, Layers, Tracer, WeightPaths};

impl Layers<WeightPaths> {
    /// Returns the layers of a captured network.
    pub(super) fn of(graph: &Graph) -> Self {
        let mut uses = vec![0; graph.values.len()];
        for &input in graph.nodes.iter().flat_map(|node| &node.inputs) {
            uses[input] += 1;
        }
        let paths = graph.parameters();
        let mut tracer = Tracer::new();
        tracer.image(graph.input, None);
        for node in &graph.nodes {
            note(&mut tracer, graph, node, &paths, &uses);
        }
        tracer.finish(&graph.outputs[0])
    }
}

/// Adds one operation.
fn note(
    tracer: &mut Tracer<ValueId, WeightPaths>,
    graph: &Graph,
    node: &Node,
    paths: &HashMap<ValueId, &str>,
    uses: &[usize],
) {
    let output = node.output;
    let mut layer = |form: Form| {
        let path = paths.get(&node.inputs[1]);
        let path = path.and_then(|path| path.strip_suffix(".weight")).map(str::to_owned);
        let name = path.clone().unwrap_or_default();
        tracer.layer(&node.inputs[0], output, name, form, WeightPaths { path, norm: None });
    };
    let weight = || graph.shape(node.inputs[1]);
    match &node.op {
        Op::Conv { window, groups } => {
            if let &[outputs, inputs, height, width] = weight() {
                return layer(Form {
                    kind: Kind::Conv,
                    shape: [outputs, inputs, height, width],
                    stride: window.stride,
                    dilation: window.dilation,
                    groups: *groups,
                });
            }
        }
        Op::ConvTranspose { stride, dilation, groups, .. } => {
            if let &[inputs, outputs, height, width] = weight() {
                return layer(Form {
                    kind: Kind::ConvTranspose,
                    shape: [inputs, outputs, height, width],
                    stride: *stride,
                    dilation: *dilation,
                    groups: *groups,
                });
            }
        }
        Op::Linear | Op::MatMul => {
            let is_layer = paths.contains_key(&node.inputs[1]);
            if let (true, &[.., inputs, outputs]) = (is_layer, weight()) {
                return layer(Form::dense(outputs, inputs));
            }
        }
        Op::BatchNorm { epsilon } => {
            let [x, gamma] = [node.inputs[0], node.inputs[1]];
            let Some(path) = paths.get(&gamma) else {
                return;
            };
            let path = path.strip_suffix(".gamma").unwrap_or(path).to_owned();
            let flow = tracer.flow(&x);
            match flow.bare.filter(|_| uses[x] == 1) {
                Some(index) => {
                    tracer.layers[index].weights.norm = Some((path, *epsilon));
                    tracer.set(output, Flow { bare: None, ..flow });
                }
                None => {
                    let channels = graph.shape(gamma)[0];
                    let target = WeightPaths { path: None, norm: Some((path.clone(), *epsilon)) };
                    tracer.layer(&x, output, path, Form::norm(channels), target);
                }
            }
            return;
        }
        Op::Concat { axis: 1 } => {
            let part = |&value: &ValueId| (value, graph.shape(value).get(1).copied());
            let parts: Vec<_> = node.inputs.iter().map(part).collect();
            return tracer.concat(&parts, output);
        }
        Op::Slice(ranges) if ranges.len() == 4 => {
            let channels = graph.shape(output)[1];
            let start = ranges[1].start as i64;
            return tracer.slice(&node.inputs[0], output, start, Some(channels));
        }
        _ => {}
    }
    if !node.inputs.is_empty() {
        tracer.pass(&node.inputs, output);
    }
}
