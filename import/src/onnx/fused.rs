//! Operators that ONNX Runtime fuses when it optimizes a graph.

use prost::bytes::Bytes;

use super::proto::{Attribute, Node};

/// Whether an operator is ONNX Runtime's own, for one kind of hardware.
pub(super) fn is_runtimes(node: &Node) -> bool {
    let domain = node.domain.as_str();
    domain.starts_with("com.microsoft") || domain.starts_with("com.ms.")
}

/// Returns the ONNX operators of a fused one, or the unchanged node.
pub(super) fn unfused(node: Node) -> Vec<Node> {
    if node.domain != "com.microsoft" {
        return vec![node];
    }
    let text = |name: &str| find(&node, name).map(|one| String::from_utf8_lossy(&one.string));
    let number = |name: &str, default: f32| find(&node, name).map_or(default, |one| one.float);
    let parameters = |name: &str| find(&node, name).map_or(&[][..], |one| one.floats.as_slice());
    match node.operator.as_str() {
        // A convolution, a summand and an activation.
        "FusedConv" => {
            let activation = text("activation").unwrap_or_default().into_owned();
            let parameters = parameters("activation_params").to_vec();
            let sum = node.inputs.get(3).filter(|name| !name.is_empty()).cloned();
            let mut nodes = vec![Node { operator: "Conv".to_owned(), ..onnx(&node) }];
            nodes[0].inputs.truncate(3);
            if let Some(sum) = sum {
                then(&mut nodes, "Add", vec![sum], Vec::new());
            }
            activated(nodes, &activation, &parameters).unwrap_or_else(|| vec![node.clone()])
        }
        "FusedGemm" => {
            let activation = text("activation").unwrap_or_default().into_owned();
            let parameters = [number("activation_alpha", 0.01), number("activation_beta", 0.0)];
            let nodes = vec![Node { operator: "Gemm".to_owned(), ..onnx(&node) }];
            activated(nodes, &activation, &parameters).unwrap_or_else(|| vec![node.clone()])
        }
        // If whole batches are transposed, this is no matrix product.
        "FusedMatMul" => {
            let is_set = |name| find(&node, name).is_some_and(|one| one.int != 0);
            if is_set("transBatchA") || is_set("transBatchB") {
                return vec![node];
            }
            vec![Node { operator: "Gemm".to_owned(), ..onnx(&node) }]
        }
        // SiLU: the product of the input and its sigmoid.
        "QuickGelu" if number("alpha", 1.702) == 1.0 => {
            let gate = Node { operator: "Sigmoid".to_owned(), ..onnx(&node) };
            let input = node.inputs.first().cloned().unwrap_or_default();
            let mut nodes = vec![gate];
            then(&mut nodes, "Mul", vec![input], Vec::new());
            nodes
        }
        _ => vec![node],
    }
}

fn find<'n>(node: &'n Node, name: &str) -> Option<&'n Attribute> {
    node.attributes.iter().find(|attribute| attribute.name == name)
}

/// Returns the node as one of ONNX's own operators.
fn onnx(node: &Node) -> Node {
    Node { domain: String::new(), ..node.clone() }
}

/// Adds an operator whose input is the output of the last one.
fn then(nodes: &mut Vec<Node>, operator: &str, others: Vec<String>, attributes: Vec<Attribute>) {
    let Some(last) = nodes.last_mut() else { return };
    let outputs = last.outputs.clone();
    let between = format!("{} before {operator}", outputs.first().cloned().unwrap_or_default());
    last.outputs = vec![between.clone()];
    let inputs = [vec![between], others].concat();
    let name = format!("{}, {operator}", last.name);
    nodes.push(Node {
        operator: operator.to_owned(),
        domain: String::new(),
        name,
        inputs,
        outputs,
        attributes,
    });
}

/// Adds an activation, if it is one of those that ONNX Runtime fuses.
fn activated(mut nodes: Vec<Node>, activation: &str, parameters: &[f32]) -> Option<Vec<Node>> {
    let names: &[&str] = match activation {
        "" => return Some(nodes),
        "Relu" | "Sigmoid" | "Tanh" => &[],
        "LeakyRelu" => &["alpha"],
        "HardSigmoid" => &["alpha", "beta"],
        "Clip" => &["min", "max"],
        _ => return None,
    };
    let attribute = |(&name, &float): (&&str, &f32)| Attribute {
        name: name.to_owned(),
        float,
        string: Bytes::new(),
        ..Attribute::default()
    };
    let attributes = names.iter().zip(parameters).map(attribute).collect();
    then(&mut nodes, activation, Vec::new(), attributes);
    Some(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fused(operator: &str, inputs: &[&str], attributes: Vec<Attribute>) -> Vec<Node> {
        unfused(Node {
            operator: operator.to_owned(),
            domain: "com.microsoft".to_owned(),
            name: "node".to_owned(),
            inputs: inputs.iter().map(|&name| name.to_owned()).collect(),
            outputs: vec!["y".to_owned()],
            attributes,
        })
    }

    fn activation(name: &'static str, parameters: &[f32]) -> Vec<Attribute> {
        let text = |name: &str| Attribute { name: name.to_owned(), ..Attribute::default() };
        vec![
            Attribute { string: name.as_bytes().into(), ..text("activation") },
            Attribute { floats: parameters.to_vec(), ..text("activation_params") },
        ]
    }

    fn operators(nodes: &[Node]) -> Vec<&str> {
        for (before, after) in nodes.iter().zip(&nodes[1..]) {
            assert!(after.inputs.contains(&before.outputs[0]), "{nodes:?}");
        }
        assert_eq!(nodes.last().expect("there is one").outputs, ["y"]);
        nodes.iter().map(|node| node.operator.as_str()).collect()
    }

    #[test]
    fn fused_operators_become_the_original_ones() {
        let nodes = fused("FusedConv", &["x", "w", "b"], activation("Relu", &[]));
        assert_eq!(operators(&nodes), ["Conv", "Relu"]);
        let nodes = fused("FusedConv", &["x", "w", "", "sum"], activation("Clip", &[0.0, 6.0]));
        assert_eq!(operators(&nodes), ["Conv", "Add", "Clip"]);
        assert_eq!(nodes[0].inputs, ["x", "w", ""]);
        assert_eq!(nodes[2].attributes[1].float, 6.0);
        assert_eq!(operators(&fused("FusedMatMul", &["x", "w"], Vec::new())), ["Gemm"]);
        let alpha = Attribute { name: "alpha".to_owned(), float: 1.0, ..Attribute::default() };
        let nodes = fused("QuickGelu", &["x"], vec![alpha]);
        assert_eq!(operators(&nodes), ["Sigmoid", "Mul"]);
        assert!(!nodes.iter().any(is_runtimes));
    }

    #[test]
    fn unknown_operators_do_not_change() {
        let nodes = fused("FusedConv", &["x", "w"], activation("Elu", &[1.0]));
        assert!(nodes.iter().all(is_runtimes), "{nodes:?}");
        let nodes = fused("NhwcConv", &["x", "w"], Vec::new());
        assert!(nodes.iter().all(is_runtimes), "{nodes:?}");
    }
}
