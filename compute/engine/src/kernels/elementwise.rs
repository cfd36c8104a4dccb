//! Functions of each element, alone or with one of another tensor.

use super::lanes::Lanes;
use super::{LANES, activate};
use crate::graph::{Activation, Binary};

/// The second operand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operand {
    None,
    /// An element of its own for each.
    Each(*const f32),
    /// One for all places of the row.
    Same(*const f32),
}

/// A row of places of one block of channels.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) input: *const f32,
    pub(crate) output: *mut f32,
    pub(crate) width: usize,
    /// Factors and offsets of the channels.
    pub(crate) affine: Option<[*const f32; 2]>,
    pub(crate) operand: Operand,
    pub(crate) binary: Binary,
    /// Whether the operand is the first of the two.
    pub(crate) is_flipped: bool,
    pub(crate) activation: Activation,
}

/// Computes a row.
///
/// # Safety
///
/// The machine has the instructions of `V`; the pointers are valid for the row.
#[inline(always)]
pub(crate) unsafe fn row<V: Lanes>(row: &Row) {
    // A macro, since a closure need not be compiled for the instructions.
    macro_rules! each {
        (|$x:ident, $place:ident| $y:expr) => {
            for $place in 0..row.width {
                let $x = V::load(row.input.add($place * LANES));
                $y.store(row.output.add($place * LANES));
            }
        };
    }
    let activation = row.activation;
    // SAFETY: the caller's promise.
    unsafe {
        if let Some([scale, offset]) = row.affine {
            let (scale, offset) = (V::load(scale), V::load(offset));
            // The common one without a branch inside.
            if let Activation::Clamp { low, high } = activation {
                let (low, high) = (V::splat(low), V::splat(high));
                each!(|x, place| x.mul_add(scale, offset).max(low).min(high));
            } else {
                each!(|x, place| activate(x.mul_add(scale, offset), activation));
            }
            return;
        }
        match row.operand {
            Operand::None => each!(|x, place| activate(x, activation)),
            Operand::Each(operand) => each!(|x, place| {
                let y = V::load(operand.add(place * LANES));
                activate(binary(row, x, y), activation)
            }),
            Operand::Same(operand) => {
                let y = V::load(operand);
                if row.binary == Binary::Mul && activation == Activation::Identity {
                    each!(|x, place| x.mul(y));
                } else {
                    each!(|x, place| activate(binary(row, x, y), activation));
                }
            }
        }
    }
}

/// # Safety
///
/// The machine has the instructions of `V`.
#[inline(always)]
unsafe fn binary<V: Lanes>(row: &Row, x: V, y: V) -> V {
    let (x, y) = if row.is_flipped { (y, x) } else { (x, y) };
    // SAFETY: the caller's promise.
    unsafe {
        match row.binary {
            Binary::Add => x.add(y),
            Binary::Sub => x.sub(y),
            Binary::Mul => x.mul(y),
            Binary::Div => x.div(y),
        }
    }
}
