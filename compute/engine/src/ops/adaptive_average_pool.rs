use super::index::indices;
use super::{Operator, View};

/// Averages over a grid of cells, which may overlap, as in PyTorch. A pass converts it to an
/// average pooling if the cells don't overlap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdaptiveAveragePool;

impl Operator for AdaptiveAveragePool {
    fn name(&self) -> &'static str {
        "adaptive average pool"
    }

    fn evaluate(&self, inputs: &[View<'_>], shape: &[usize]) -> Vec<f32> {
        let (from, x) = inputs[0];
        let [height, width] = [from[2], from[3]];
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
}
