//! Matrix products, means and operations on each channel.

use burn::tensor::{Tensor, activation};

use super::value::{RANK, Value, arithmetic, axis, check};
use super::{Fault, Run};
use crate::onnx::node::Node;

impl Run<'_> {
    pub(super) fn gemm(&self, node: &Node) -> Result<Value, Fault> {
        let matrix = |index: usize, flag: &str| -> Result<Tensor<2>, Fault> {
            let matrix = self.value(node, index)?.ranked::<2>()?;
            Ok(if node.int(flag, 0) == 0 { matrix } else { matrix.transpose() })
        };
        let (a, b) = (matrix(0, "transA")?, matrix(1, "transB")?);
        let (alpha, beta) = (node.float("alpha", 1.0), node.float("beta", 1.0));
        if a.dims()[1] != b.dims()[0] {
            return Err(format!("{:?} times {:?}", a.dims(), b.dims()));
        }
        check(&[a.dims()[0], b.dims()[1]])?;
        let mut product = a.matmul(b);
        if alpha != 1.0 {
            product = product.mul_scalar(alpha);
        }
        let dims = product.dims().to_vec();
        let product = Value::of(product, dims)?;
        match node.input(2) {
            None => Ok(product),
            Some(_) => {
                let bias = self.value(node, 2)?.map(|bias| bias.mul_scalar(beta));
                arithmetic("Add", &product, &bias)
            }
        }
    }

    pub(super) fn matmul(&self, node: &Node) -> Result<Value, Fault> {
        let (a, b) = (self.value(node, 0)?, self.value(node, 1)?);
        let ([.., inner], &[rows, columns]) = (a.dims.as_slice(), b.dims.as_slice()) else {
            return Err("only a matrix on the right is understood here".to_owned());
        };
        if *inner != rows {
            return Err(format!("{:?} times {:?}", a.dims, b.dims));
        }
        let mut dims = a.dims.clone();
        let count: usize = dims[..dims.len() - 1].iter().product();
        check(&[count, columns])?;
        let product = a.flat.clone().reshape([count, rows]).matmul(b.ranked::<2>()?);
        if let Some(last) = dims.last_mut() {
            *last = columns;
        }
        Value::of(product, dims)
    }

    pub(super) fn batch_normalization(&self, node: &Node) -> Result<Value, Fault> {
        if node.int("training_mode", 0) != 0 {
            return Err("in training mode it depends on the batch".to_owned());
        }
        let x = self.value(node, 0)?;
        let mut around = vec![1; x.dims.len()];
        let channels = *x.dims.get(1).ok_or("its input has no channels")?;
        around[1] = channels;
        let each = |index| -> Result<Value, Fault> {
            let value = self.value(node, index)?;
            if value.dims != [channels] {
                return Err(format!("{:?} numbers for {channels} channels", value.dims));
            }
            Ok(Value { dims: around.clone(), ..value })
        };
        let [gamma, beta, mean, variance] = [each(1)?, each(2)?, each(3)?, each(4)?];
        let epsilon = node.float("epsilon", 1e-5);
        let deviation = variance.map(|variance| variance.add_scalar(epsilon).sqrt());
        let scale = arithmetic("Div", &gamma, &deviation)?;
        let centered = arithmetic("Sub", &x, &mean)?;
        arithmetic("Add", &arithmetic("Mul", &centered, &scale)?, &beta)
    }

    pub(super) fn reduce(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?;
        let rank = x.dims.len();
        let axes = self.ints(node, "axes", 1)?.unwrap_or_else(|| (0..rank as i64).collect());
        let mut tensor = x.ranked::<RANK>()?;
        let mut dims: Vec<Option<usize>> = x.dims.iter().copied().map(Some).collect();
        for index in axes {
            let axis = self::axis(index, rank)?;
            let at = axis + RANK - rank;
            tensor = match node.operator.as_str() {
                "ReduceMean" => tensor.mean_dim(at),
                "ReduceSum" => tensor.sum_dim(at),
                _ => tensor.max_dim(at),
            };
            dims[axis] = (node.int("keepdims", 1) != 0).then_some(1);
        }
        Ok(Value::of(tensor, dims.into_iter().flatten().collect())?.integer(x.is_integer))
    }

    pub(super) fn softmax(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?;
        let default = if self.graph.opset < 13 { 1 } else { -1 };
        let axis = axis(node.int("axis", default), x.dims.len())?;
        let at = axis + RANK - x.dims.len();
        if self.graph.opset < 13 && x.dims[axis + 1..].iter().any(|&dim| dim != 1) {
            return Err("over several dimensions it is not understood here".to_owned());
        }
        Value::of(activation::softmax(x.ranked::<RANK>()?, at), x.dims)
    }
}
