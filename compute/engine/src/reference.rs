//! What each operator means, as plainly as possible.
//!
//! It folds constants, computes the few operators that have no fast kernel, and is what the
//! kernels and the passes are tested against.

use crate::graph::{Activation, Binary, Op, PoolKind, Source};

/// A tensor's shape and its row-major values.
pub(crate) type View<'a> = (&'a [usize], &'a [f32]);

impl Activation {
    /// The function's value.
    pub(crate) fn apply(self, x: f32) -> f32 {
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        match self {
            Self::Identity => x,
            // Rust's `max` and `min` would make a number of a NaN.
            Self::Clamp { .. } if x.is_nan() => x,
            Self::Clamp { low, high } => x.max(low).min(high),
            Self::Sigmoid => sigmoid(x),
            Self::Silu => x * sigmoid(x),
            Self::HardSigmoid { slope, offset } => (slope * x + offset).clamp(0.0, 1.0),
            Self::HardSwish { slope, offset } => x * (slope * x + offset).clamp(0.0, 1.0),
            Self::Tanh => x.tanh(),
        }
    }
}

/// Computes a node.
pub(crate) fn evaluate(op: &Op, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32> {
    let x = inputs[0].1;
    match op {
        Op::Conv { .. } => conv(op, inputs, shape),
        Op::ConvTranspose { .. } => conv_transpose(op, inputs, shape),
        Op::Linear => {
            let [depth, width] = [inputs[1].0[0], inputs[1].0[1]];
            let mut out = Vec::with_capacity(shape.iter().product());
            for row in x.chunks_exact(depth) {
                let mut sums = match inputs.get(2) {
                    Some(bias) => bias.1.to_vec(),
                    None => vec![0.0; width],
                };
                for (x, weights) in row.iter().zip(inputs[1].1.chunks_exact(width)) {
                    sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += x * weight);
                }
                out.extend(sums);
            }
            out
        }
        Op::Affine { activation } => {
            let channels = shape[1];
            let inner: usize = shape[2..].iter().product();
            let affine = |(i, &x): (usize, &f32)| {
                let channel = i / inner % channels;
                activation.apply(x * inputs[1].1[channel] + inputs[2].1[channel])
            };
            x.iter().enumerate().map(affine).collect()
        }
        Op::Activation(activation) => x.iter().map(|&x| activation.apply(x)).collect(),
        Op::Scalar { scale, offset } => x.iter().map(|x| scale * x + offset).collect(),
        Op::Binary { op, activation } => {
            let [lhs, rhs] = [0, 1].map(|i| strides_for(inputs[i].0, shape));
            indices(shape)
                .map(|index| {
                    let at = |strides: &[usize]| dot(&index, strides);
                    let (a, b) = (x[at(&lhs)], inputs[1].1[at(&rhs)]);
                    activation.apply(match op {
                        Binary::Add => a + b,
                        Binary::Sub => a - b,
                        Binary::Mul => a * b,
                        Binary::Div => a / b,
                    })
                })
                .collect()
        }
        Op::Pool { .. } => pool(op, inputs[0], shape),
        Op::AdaptiveAverage => {
            let [height, width] = [inputs[0].0[2], inputs[0].0[3]];
            let cell = |i: usize, size: usize, cells: usize| {
                i * size / cells..((i + 1) * size).div_ceil(cells)
            };
            indices(shape)
                .map(|at| {
                    let plane = (at[0] * shape[1] + at[1]) * height * width;
                    let rows = cell(at[2], height, shape[2]);
                    let columns = cell(at[3], width, shape[3]);
                    let count = rows.len() * columns.len();
                    let row = |y: usize| {
                        columns.clone().map(|column| x[plane + y * width + column]).sum::<f32>()
                    };
                    rows.map(row).sum::<f32>() / count as f32
                })
                .collect()
        }
        Op::Reshape => x.to_vec(),
        Op::Transpose { axes } => {
            let strides = strides(inputs[0].0);
            let strides: Vec<usize> = axes.iter().map(|&axis| strides[axis]).collect();
            indices(shape).map(|index| x[dot(&index, &strides)]).collect()
        }
        Op::Slice { start, step, fill } => {
            let from = inputs[0].0;
            let strides = strides(from);
            indices(shape)
                .map(|index| {
                    let mut place = 0;
                    for axis in 0..from.len() {
                        let at = start[axis] + index[axis] as isize * step[axis];
                        if at < 0 || at >= from[axis] as isize {
                            return *fill;
                        }
                        place += at as usize * strides[axis];
                    }
                    x[place]
                })
                .collect()
        }
        Op::Concat { axis } => {
            let outer: usize = shape[..*axis].iter().product();
            let mut out = Vec::with_capacity(shape.iter().product());
            for i in 0..outer {
                for (_, values) in inputs {
                    let length = values.len() / outer;
                    out.extend_from_slice(&values[i * length..][..length]);
                }
            }
            out
        }
        Op::Gather { sources } => {
            let inner = shape[2] * shape[3];
            let mut out = Vec::with_capacity(shape.iter().product());
            for image in 0..shape[0] {
                for source in sources {
                    match *source {
                        Source::Channel { input, channel } => {
                            let (from, values) = inputs[input];
                            let plane = (image * from[1] + channel) * inner;
                            out.extend_from_slice(&values[plane..plane + inner]);
                        }
                        Source::Zero => out.resize(out.len() + inner, 0.0),
                    }
                }
            }
            out
        }
        Op::Resize { align_corners } => resize(*align_corners, inputs[0], shape),
        Op::Equals(value) => x.iter().map(|x| f32::from(x == value)).collect(),
        Op::Fill(value) => {
            let fill = |(&x, &mask): (&f32, &f32)| if mask == 0.0 { x } else { *value };
            x.iter().zip(inputs[1].1).map(fill).collect()
        }
    }
}

fn conv(op: &Op, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32> {
    let Op::Conv { window, groups, out_last, residual, activation } = op else { unreachable!() };
    let ((from, x), (kernel, weights)) = (inputs[0], inputs[1]);
    let [kernel_h, kernel_w] = window.kernel;
    let per_group = from[1] / groups;
    // Steps from one weight to that of the next output and the next input.
    let (to_out, to_in) = if *out_last { (1, shape[1]) } else { (weights.len() / shape[1], 1) };
    let [height, width] = [from[2], from[3]];
    assert_eq!(kernel.iter().product::<usize>(), shape[1] * per_group * kernel_h * kernel_w);
    indices(shape)
        .enumerate()
        .map(|(place, at)| {
            let group = at[1] / (shape[1] / groups);
            let mut sum = inputs.get(2).map_or(0.0, |bias| bias.1[at[1]]);
            for channel in 0..per_group {
                let plane = (at[0] * from[1] + group * per_group + channel) * height * width;
                let filter = at[1] * to_out + channel * kernel_h * kernel_w * to_in;
                for ky in 0..kernel_h {
                    let y = at[2] * window.stride[0] + ky * window.dilation[0];
                    let Some(y) = y.checked_sub(window.before[0]).filter(|&y| y < height) else {
                        continue;
                    };
                    for kx in 0..kernel_w {
                        let column = at[3] * window.stride[1] + kx * window.dilation[1];
                        let Some(column) =
                            column.checked_sub(window.before[1]).filter(|&x| x < width)
                        else {
                            continue;
                        };
                        sum += x[plane + y * width + column]
                            * weights[filter + (ky * kernel_w + kx) * to_in];
                    }
                }
            }
            if *residual {
                sum += inputs[3].1[place];
            }
            activation.apply(sum)
        })
        .collect()
}

fn conv_transpose(op: &Op, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32> {
    let Op::ConvTranspose { stride, padding, dilation, groups } = op else { unreachable!() };
    let ((from, x), (kernel, weights)) = (inputs[0], inputs[1]);
    let [per_group, kernel_h, kernel_w] = [kernel[1], kernel[2], kernel[3]];
    let plane = shape[2] * shape[3];
    let mut out = vec![0.0; shape.iter().product()];
    if let Some((_, bias)) = inputs.get(2) {
        for (channel, plane) in out.chunks_exact_mut(plane).enumerate() {
            plane.fill(bias[channel % shape[1]]);
        }
    }
    for (at, &x) in indices(from).zip(x) {
        let group = at[1] / (from[1] / groups);
        for channel in 0..per_group {
            let to = (at[0] * shape[1] + group * per_group + channel) * plane;
            let filter = (at[1] * per_group + channel) * kernel_h * kernel_w;
            for ky in 0..kernel_h {
                let y = at[2] * stride[0] + ky * dilation[0];
                let Some(y) = y.checked_sub(padding[0]).filter(|&y| y < shape[2]) else { continue };
                for kx in 0..kernel_w {
                    let column = at[3] * stride[1] + kx * dilation[1];
                    let column = column.checked_sub(padding[1]).filter(|&x| x < shape[3]);
                    if let Some(column) = column {
                        out[to + y * shape[3] + column] += x * weights[filter + ky * kernel_w + kx];
                    }
                }
            }
        }
    }
    out
}

fn pool(op: &Op, (from, x): View<'_>, shape: &[usize]) -> Vec<f32> {
    let Op::Pool { kind, window } = op else { unreachable!() };
    let [height, width] = [from[2], from[3]];
    indices(shape)
        .map(|at| {
            let plane = (at[0] * shape[1] + at[1]) * height * width;
            let [rows, columns] =
                [0, 1].map(|axis| window.taps(axis, at[axis + 2], from[axis + 2]));
            let [padded_h, padded_w] =
                [0, 1].map(|axis| window.padded_taps(axis, at[axis + 2], from[axis + 2]));
            let values = rows
                .clone()
                .flat_map(|y| columns.clone().map(move |column| x[plane + y * width + column]));
            match kind {
                PoolKind::Max => values.fold(f32::NEG_INFINITY, |largest, x| {
                    if x > largest || x.is_nan() { x } else { largest }
                }),
                PoolKind::Average => {
                    values.sum::<f32>() / (rows.count() * columns.count()).max(1) as f32
                }
                PoolKind::PaddedAverage => {
                    values.sum::<f32>() / (padded_h * padded_w).max(1) as f32
                }
            }
        })
        .collect()
}

fn resize(align_corners: bool, (from, x): View<'_>, shape: &[usize]) -> Vec<f32> {
    let [height, width] = [from[2], from[3]];
    let rows = taps(height, shape[2], align_corners);
    let columns = taps(width, shape[3], align_corners);
    indices(shape)
        .map(|at| {
            let plane = (at[0] * shape[1] + at[1]) * height * width;
            let (low, high, down) = rows[at[2]];
            let (left, right, across) = columns[at[3]];
            let row = |y: usize| {
                let row = &x[plane + y * width..][..width];
                row[left] * (1.0 - across) + row[right] * across
            };
            row(low) * (1.0 - down) + row(high) * down
        })
        .collect()
}

/// The two inputs that each output lies between, and how far it is from the first.
pub(crate) fn taps(size: usize, out: usize, align_corners: bool) -> Vec<(usize, usize, f32)> {
    (0..out)
        .map(|i| {
            let place = if align_corners {
                i as f64 * (size as f64 - 1.0) / (out - 1).max(1) as f64
            } else {
                (i as f64 + 0.5) * size as f64 / out as f64 - 0.5
            };
            let low = place.floor().max(0.0) as usize;
            (low, (low + 1).min(size - 1), (place - low as f64).max(0.0) as f32)
        })
        .collect()
}

impl crate::graph::Window {
    /// The places inside the image that a window takes in along an axis.
    pub(crate) fn taps(
        &self,
        axis: usize,
        at: usize,
        size: usize,
    ) -> impl Iterator<Item = usize> + Clone {
        let window = *self;
        (0..window.kernel[axis]).filter_map(move |k| {
            let place = at * window.stride[axis] + k * window.dilation[axis];
            place.checked_sub(window.before[axis]).filter(|&place| place < size)
        })
    }

    /// The number of places inside the padded image that a window takes in along an axis.
    pub(crate) fn padded_taps(&self, axis: usize, at: usize, size: usize) -> usize {
        let end = size + self.before[axis] + self.after[axis];
        let place = |k: &usize| at * self.stride[axis] + k * self.dilation[axis] < end;
        (0..self.kernel[axis]).filter(place).count()
    }
}

/// All indices of a shape in row-major order.
fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    let strides = strides(shape);
    (0..shape.iter().product()).map(move |place: usize| {
        strides.iter().zip(shape).map(|(stride, size)| place / stride % size).collect()
    })
}

fn strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

/// Strides by which a tensor is read as if it had a larger shape.
fn strides_for(from: &[usize], shape: &[usize]) -> Vec<usize> {
    let own = strides(from);
    (0..shape.len()).map(|axis| if from[axis] == 1 { 0 } else { own[axis] }).collect()
}

fn dot(index: &[usize], strides: &[usize]) -> usize {
    index.iter().zip(strides).map(|(i, stride)| i * stride).sum()
}
