//! Operators that move numbers without changing them.

use burn::tensor::{Int, Slice, Tensor, TensorData};

use super::value::{RANK, Value, axis, broadcast, check};
use super::{Fault, Run};
use crate::onnx::graph;
use crate::onnx::node::Node;

impl Run<'_> {
    pub(super) fn rearrange(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?;
        let dims = match node.operator.as_str() {
            "Reshape" => {
                let target = self.ints(node, "shape", 1)?.unwrap_or_default();
                graph::reshape(&x.dims, &target)
            }
            "Flatten" => graph::axis(node.int("axis", 1), x.dims.len()).map(|axis| {
                let (rows, columns) = x.dims.split_at(axis);
                vec![rows.iter().product(), columns.iter().product()]
            }),
            "Squeeze" => graph::squeeze(&x.dims, self.ints(node, "axes", 1)?.as_deref()),
            _ => {
                let axes = self.ints(node, "axes", 1)?.unwrap_or_default();
                graph::unsqueeze(&x.dims, &axes)
            }
        };
        let dims = dims.ok_or_else(|| format!("{:?} can't become that", x.dims))?;
        Ok(Value::of(x.flat, dims)?.integer(x.is_integer))
    }

    pub(super) fn transpose(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?;
        let rank = x.dims.len();
        let order: Vec<usize> = match node.ints("perm") {
            Some(order) => {
                order.iter().map(|&index| axis(index, rank)).collect::<Result<_, _>>()?
            }
            None => (0..rank).rev().collect(),
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..rank) {
            return Err(format!("the order {order:?} of {rank} dimensions"));
        }
        let tensor = x.ranked::<RANK>()?;
        let shift = RANK - rank;
        let mut full: [isize; RANK] = std::array::from_fn(|index| index as isize);
        for (index, &axis) in order.iter().enumerate() {
            full[index + shift] = (axis + shift) as isize;
        }
        let dims = order.iter().map(|&axis| x.dims[axis]).collect();
        Ok(Value::of(tensor.permute(full), dims)?.integer(x.is_integer))
    }

    pub(super) fn expand(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?;
        let target = self.ints(node, "shape", 1)?.unwrap_or_default();
        let target: Vec<usize> =
            target.into_iter().map(|dim| usize::try_from(dim).unwrap_or(0)).collect();
        let dims = broadcast(&x.dims, &target)?;
        let mut full = [1; RANK];
        full[RANK - dims.len()..].copy_from_slice(&dims);
        Ok(Value::of(x.ranked::<RANK>()?.expand(full), dims)?.integer(x.is_integer))
    }

    pub(super) fn concat(&self, node: &Node) -> Result<Value, Fault> {
        let parts: Vec<Value> = (0..node.inputs.len())
            .map(|index| self.value(node, index))
            .collect::<Result<_, _>>()?;
        let first = parts.first().ok_or("it joins nothing")?;
        let axis = axis(node.int("axis", 1), first.dims.len())?;
        let mut dims = first.dims.clone();
        dims[axis] = 0;
        for part in &parts {
            let fits = |(index, dim): (usize, &usize)| index == axis || part.dims[index] == *dim;
            if part.dims.len() != dims.len() || !dims.iter().enumerate().all(fits) {
                return Err(format!("{:?} beside {:?}", part.dims, first.dims));
            }
            dims[axis] += part.dims[axis];
        }
        check(&dims)?;
        let at = axis + RANK - dims.len();
        let is_integer = first.is_integer;
        let tensors = parts.iter().map(Value::ranked::<RANK>).collect::<Result<_, _>>()?;
        Ok(Value::of(Tensor::cat(tensors, at), dims)?.integer(is_integer))
    }

    pub(super) fn gather(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?;
        let axis = axis(node.int("axis", 0), x.dims.len())?;
        let indices = self.value(node, 1)?;
        let size = x.dims[axis];
        let list: Vec<i32> = indices
            .numbers()
            .into_iter()
            .map(|index| if index < 0.0 { index + size as f64 } else { index })
            .map(|index| {
                if (0.0..size as f64).contains(&index) {
                    Ok(index as i32)
                } else {
                    Err(format!("the index {index} of {size}"))
                }
            })
            .collect::<Result<_, _>>()?;
        let count = list.len();
        let list = Tensor::<1, Int>::from_data(TensorData::new(list, [count]), &self.device);
        let mut dims = x.dims.clone();
        // A scalar index removes the dimension.
        dims.splice(axis..=axis, indices.dims.iter().copied());
        check(&dims)?;
        let tensor = x.ranked::<RANK>()?.select(axis + RANK - x.dims.len(), list);
        Ok(Value::of(tensor, dims)?.integer(x.is_integer))
    }

    pub(super) fn slice(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?;
        let starts = self.ints(node, "starts", 1)?.ok_or("it has no starts")?;
        let ends = self.ints(node, "ends", 2)?.ok_or("it has no ends")?;
        let axes = self.ints(node, "axes", 3)?;
        let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = self.numbers(node, 4)?.unwrap_or_else(|| vec![1.0; starts.len()]);
        let mut ranges: Vec<(usize, usize, usize)> =
            x.dims.iter().map(|&dim| (0, dim, 1)).collect();
        let mut backwards = Vec::new();
        for (((&start, &end), &index), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
            let axis = axis(index, x.dims.len())?;
            let size = x.dims[axis] as i64;
            let from_start = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
            if step == -1.0 {
                // The same elements in ascending order, to be reversed.
                let (first, last) = (from_start(end).clamp(-1, size), from_start(start));
                ranges[axis] = ((first + 1) as usize, (last.clamp(-1, size - 1) + 1) as usize, 1);
                backwards.push((axis + RANK - x.dims.len()) as isize);
                continue;
            }
            if step < 1.0 {
                return Err(format!("steps of {step} are not understood here"));
            }
            let clamp = |at: i64| from_start(at).clamp(0, size) as usize;
            ranges[axis] = (clamp(start), clamp(end), step as usize);
        }
        let forwards = sliced(&x, &ranges)?;
        if backwards.is_empty() {
            return Ok(forwards);
        }
        let turned = backwards
            .into_iter()
            .fold(forwards.ranked::<RANK>()?, |turned, axis: isize| turned.flip([axis]));
        Ok(Value::of(turned, forwards.dims)?.integer(forwards.is_integer))
    }

    pub(super) fn split(&self, node: &Node) -> Result<Vec<Value>, Fault> {
        let x = self.value(node, 0)?;
        let axis = axis(node.int("axis", 0), x.dims.len())?;
        let sizes = match self.ints(node, "split", 1)? {
            Some(sizes) => sizes,
            None => vec![x.dims[axis].div_ceil(node.outputs.len()) as i64; node.outputs.len()],
        };
        let mut start = 0;
        let mut parts = Vec::with_capacity(sizes.len());
        for size in sizes {
            let end = start + usize::try_from(size).unwrap_or(0);
            let mut ranges: Vec<_> = x.dims.iter().map(|&dim| (0, dim, 1)).collect();
            ranges[axis] = (start, end.min(x.dims[axis]), 1);
            parts.push(sliced(&x, &ranges)?);
            start = end;
        }
        Ok(parts)
    }

    pub(super) fn pad(&self, node: &Node) -> Result<Value, Fault> {
        let x = self.value(node, 0)?;
        if node.string("mode").is_some_and(|mode| mode != "constant") {
            return Err("only padding with a constant is understood here".to_owned());
        }
        let pads = self.ints(node, "pads", 1)?.unwrap_or_default();
        let value = self.float(node, "value", 2)?.unwrap_or(0.0);
        let rank = x.dims.len();
        let axes = match self.ints(node, "", 3)? {
            Some(axes) => axes.iter().map(|&index| axis(index, rank)).collect::<Result<_, _>>()?,
            None => (0..rank).collect::<Vec<_>>(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(format!("{} paddings for {} dimensions", pads.len(), axes.len()));
        }
        // Negative padding crops.
        let mut ranges: Vec<_> = x.dims.iter().map(|&dim| (0, dim, 1)).collect();
        for (index, &axis) in axes.iter().enumerate() {
            let cut = |pad: i64| usize::try_from(pad.saturating_neg()).unwrap_or(0);
            let (before, after) = (cut(pads[index]), cut(pads[axes.len() + index]));
            ranges[axis] = (before, x.dims[axis].saturating_sub(after), 1);
        }
        let cut = sliced(&x, &ranges)?;
        let mut tensor = cut.ranked::<RANK>()?;
        let mut dims = cut.dims;
        for (index, &axis) in axes.iter().enumerate() {
            let at = axis + RANK - rank;
            for (pad, is_before) in [(pads[index], true), (pads[axes.len() + index], false)] {
                let pad = usize::try_from(pad).unwrap_or(0);
                if pad == 0 {
                    continue;
                }
                let mut shape: [usize; RANK] = tensor.dims();
                dims[axis] = dims[axis].saturating_add(pad);
                check(&dims)?;
                shape[at] = pad;
                let border = Tensor::full(shape, value, &self.device);
                let parts = if is_before { vec![border, tensor] } else { vec![tensor, border] };
                tensor = Tensor::cat(parts, at);
            }
        }
        Value::of(tensor, dims)
    }
}

/// Slices each dimension by start, end and step.
fn sliced(x: &Value, ranges: &[(usize, usize, usize)]) -> Result<Value, Fault> {
    let shift = RANK - x.dims.len().min(RANK);
    let mut slices = [Slice::new(0, None, 1); RANK];
    let mut dims = Vec::with_capacity(ranges.len());
    for (index, &(start, end, step)) in ranges.iter().enumerate() {
        if start >= end {
            return Err("it leaves nothing".to_owned());
        }
        dims.push((end - start).div_ceil(step));
        slices[index + shift] =
            Slice::new(start as isize, Some(end as isize), step.min(1 << 30) as isize);
    }
    Ok(Value::of(x.ranked::<RANK>()?.slice(slices), dims)?.integer(x.is_integer))
}
