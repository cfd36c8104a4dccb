//! The two ways to capture a small network.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::{relu, softmax};
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{Device, Tensor};
use zoo_graph::{Activation, Graph, Op, Outputs, Window};

#[derive(Module, Debug)]
struct Net {
    conv: Conv2d,
    norm: BatchNorm,
    classifier: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        let conv = Conv2dConfig::new([3, 6], [3, 5])
            .with_padding(PaddingConfig2d::Explicit(1, 2, 1, 2))
            .with_groups(3)
            .with_bias(false);
        Self {
            conv: conv.init(device),
            norm: BatchNormConfig::new(6).init(device),
            classifier: LinearConfig::new(6, 4).init(device),
        }
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = relu(self.norm.forward(self.conv.forward(images)));
        self.classifier.forward(adaptive_avg_pool2d(x, [1, 1]).flatten(1, 3))
    }
}

const SHAPE: [usize; 4] = [2, 3, 8, 9];

/// Returns the operations, each with the paths of the parameters that it reads.
fn operations(graph: &Graph) -> Vec<(Op, Vec<&str>)> {
    let paths = graph.parameters();
    let nodes = graph.nodes.iter().map(|node| {
        let paths = node.inputs.iter().filter_map(|input| paths.get(input).copied());
        (node.op.clone(), paths.collect())
    });
    nodes.collect()
}

#[test]
fn both_ways_capture_the_same_operations() {
    let model = Net::new(&Device::flex());
    let of_model = Graph::of_model(&model, SHAPE, Net::forward).unwrap();
    let (built, of_shapes) = Graph::of_shapes(Net::new, SHAPE, Net::forward).unwrap();
    assert_eq!(built.num_params(), model.num_params());
    let found = operations(&of_shapes);
    assert_eq!(operations(&of_model), found);

    let window =
        Window { kernel: [3, 5], stride: [1, 1], dilation: [1, 1], before: [1, 2], after: [1, 2] };
    assert_eq!(found[0], (Op::Conv { window, groups: 3 }, vec!["conv.weight"]));
    let Op::BatchNorm { epsilon } = found[1].0 else { panic!("{:?}", found[1]) };
    assert!((epsilon - 1e-5).abs() < 1e-9);
    let norm = ["norm.gamma", "norm.beta", "norm.running_mean", "norm.running_var"];
    assert_eq!(found[1].1, norm);
    assert_eq!(found[2].0, Op::Activation(Activation::Relu));
    assert!(found.iter().any(|(op, paths)| *op == Op::Linear && paths[0] == "classifier.weight"));
}

#[test]
fn only_a_model_with_weights_has_values() {
    let model = Net::new(&Device::flex());
    let of_model = Graph::of_model(&model, SHAPE, Net::forward).unwrap();
    let (_, of_shapes) = Graph::of_shapes(Net::new, SHAPE, Net::forward).unwrap();
    let weight = |graph: &Graph| {
        let is_weight = |id: &usize| graph.values[*id].parameter.as_deref() == Some("conv.weight");
        (0..graph.values.len()).find(is_weight).unwrap()
    };
    let constant = of_model.values[weight(&of_model)].constant.as_ref().unwrap();
    let expected = model.conv.weight.val().into_data().try_into_vec::<f32>().unwrap();
    assert_eq!(constant.to_vec().unwrap(), expected);
    assert!(of_shapes.values[weight(&of_shapes)].constant.is_none());
    assert_eq!(of_shapes.shape(weight(&of_shapes)), [6, 1, 3, 5]);
}

#[test]
fn multiply_accumulates_are_those_of_the_layers() {
    let (_, graph) = Graph::of_shapes(Net::new, SHAPE, Net::forward).unwrap();
    let macs: Vec<u64> =
        graph.nodes.iter().map(|node| graph.macs(node)).filter(|&macs| macs > 0).collect();
    assert_eq!(macs, [2 * 6 * 8 * 9 * 15, 2 * 6 * 4]);
}

#[test]
fn an_operation_without_a_variant_has_burns_name() {
    let forward = |net: &Net, images| softmax(net.forward(images), 1);
    let (_, graph) = Graph::of_shapes(Net::new, SHAPE, forward).unwrap();
    let last = graph.nodes.last().unwrap();
    assert_eq!(last.op, Op::Other { name: "Softmax".to_owned() });
    assert_eq!(graph.outputs, [last.output]);
    assert_eq!(graph.shape(last.output), [2, 4]);
}

#[test]
fn there_may_be_two_outputs_or_one_of_any_rank() {
    let two =
        |net: &Net, images: Tensor<4>| (net.conv.forward(images.clone()), net.forward(images));
    let (_, graph) = Graph::of_shapes(Net::new, SHAPE, two).unwrap();
    let shapes: Vec<_> = graph.outputs.iter().map(|&output| graph.shape(output)).collect();
    assert_eq!(shapes, [&[2, 6, 8, 9][..], &[2, 4][..]]);

    let boxed = |net: &Net, images| -> Box<dyn Outputs> { Box::new(net.forward(images)) };
    let (_, graph) = Graph::of_shapes(Net::new, SHAPE, boxed).unwrap();
    assert_eq!(graph.shape(graph.outputs[0]), [2, 4]);
}

#[test]
fn strip_prefix_removes_the_prefix_of_a_module_around_the_model() {
    #[derive(Module, Debug)]
    struct Around {
        net: Net,
    }
    let build = |device: &Device| Around { net: Net::new(device) };
    let forward = |around: &Around, images| around.net.forward(images);
    let (_, mut graph) = Graph::of_shapes(build, SHAPE, forward).unwrap();
    let path = |graph: &Graph| graph.values[graph.nodes[0].inputs[1]].parameter.clone().unwrap();
    assert_eq!(path(&graph), "net.conv.weight");
    graph.strip_prefix("net.");
    assert_eq!(path(&graph), "conv.weight");
}
