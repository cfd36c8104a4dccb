//! An operation of an ONNX graph.

use std::collections::HashMap;

use super::proto;

/// An operation of the graph.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(super) name: String,
    /// The operator: `Conv`, or with its domain if it is not ONNX's own: `com.microsoft.FusedConv`.
    pub(super) operator: String,
    /// The names of the inputs; that of a missing input is empty.
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    attributes: HashMap<String, Attribute>,
}

/// A parameter of an operation. Its name decides which field is used.
#[derive(Debug, Clone, Default)]
struct Attribute {
    float: f32,
    int: i64,
    string: String,
    floats: Vec<f32>,
    ints: Vec<i64>,
}

impl Node {
    /// Reads a node and, separately, the tensor in its attributes.
    pub(super) fn read(node: proto::Node, index: usize) -> (Self, Option<proto::Tensor>) {
        let mut tensor = None;
        let mut attributes = HashMap::new();
        for attribute in node.attributes {
            if attribute.tensor.is_some() {
                tensor = attribute.tensor;
            }
            let content = Attribute {
                float: attribute.float,
                int: attribute.int,
                string: String::from_utf8_lossy(&attribute.string).into_owned(),
                floats: attribute.floats,
                ints: attribute.ints,
            };
            attributes.insert(attribute.name, content);
        }
        let operator = if is_onnx_domain(&node.domain) {
            node.operator
        } else {
            format!("{}.{}", node.domain, node.operator)
        };
        let name =
            if node.name.is_empty() { format!("node {index}, {operator}") } else { node.name };
        (Self { name, operator, inputs: node.inputs, outputs: node.outputs, attributes }, tensor)
    }

    /// Creates a node with one output and no attributes.
    pub(crate) fn new(name: &str, operator: &str, inputs: Vec<String>, output: &str) -> Self {
        Self {
            name: name.to_owned(),
            operator: operator.to_owned(),
            inputs,
            outputs: vec![output.to_owned()],
            attributes: HashMap::new(),
        }
    }

    pub(crate) fn with_int(self, name: &str, int: i64) -> Self {
        self.with(name, Attribute { int, ..Attribute::default() })
    }

    pub(crate) fn with_ints(self, name: &str, ints: &[i64]) -> Self {
        self.with(name, Attribute { ints: ints.to_vec(), ..Attribute::default() })
    }

    pub(crate) fn with_float(self, name: &str, float: f64) -> Self {
        self.with(name, Attribute { float: float as f32, ..Attribute::default() })
    }

    pub(crate) fn with_string(self, name: &str, string: &str) -> Self {
        self.with(name, Attribute { string: string.to_owned(), ..Attribute::default() })
    }

    fn with(mut self, name: &str, attribute: Attribute) -> Self {
        self.attributes.insert(name.to_owned(), attribute);
        self
    }

    pub(crate) fn operator(&self) -> &str {
        &self.operator
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        self.attributes.get(name).map_or(default, |attribute| attribute.int)
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        self.attributes.get(name).map_or(default, |attribute| attribute.float)
    }

    pub(super) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attributes.get(name).map(|attribute| attribute.ints.as_slice())
    }

    pub(super) fn floats(&self, name: &str) -> Option<&[f32]> {
        self.attributes.get(name).map(|attribute| attribute.floats.as_slice())
    }

    pub(super) fn string(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(|attribute| attribute.string.as_str())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attributes.contains_key(name)
    }

    /// Returns the name of an input, if it is given.
    pub(super) fn input(&self, index: usize) -> Option<&str> {
        self.inputs.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Returns a height and a width; `default` if the attribute is missing.
    pub(super) fn pair(&self, name: &str, default: usize) -> Option<[usize; 2]> {
        match self.ints(name) {
            None => Some([default; 2]),
            Some(&[height, width]) => {
                Some([usize::try_from(height).ok()?, usize::try_from(width).ok()?])
            }
            Some(_) => None,
        }
    }
}

pub(super) fn is_onnx_domain(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}
