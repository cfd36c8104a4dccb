//! The kernel for functions of the elements of one or two tensors. It computes
//! [`Activate`](super::activation::Activate), [`Affine`](super::affine::Affine) and [`Binary`].

use std::ops::Range;

use zoo_simd::{Activation, Isa, Kernel, LANES, Lanes};

use super::binary::{Binary, Kind};
use crate::memory::{Aligned, Arena};
use crate::plan::buffers::Images;
use crate::plan::draft::Work;
use crate::plan::rows::{by_block, rows};
use crate::threads::Member;

/// The work of an elementwise step.
#[derive(Debug)]
pub(super) struct Elementwise {
    isa: Isa,
    input: Images,
    output: Images,
    affine: Option<[Aligned; 2]>,
    operand: Option<Images>,
    binary: Kind,
    is_flipped: bool,
    activation: Activation,
}

impl Elementwise {
    /// Returns the work of a factor and an offset for each channel.
    pub(super) fn affine(
        isa: Isa,
        [scale, offset]: [&[f32]; 2],
        activation: Activation,
        input: Images,
        output: Images,
    ) -> Self {
        let affine = Some([by_block(scale), by_block(offset)]);
        Self { affine, ..Self::activation(isa, activation, input, output) }
    }

    /// Returns the work of an activation.
    pub(super) fn activation(
        isa: Isa,
        activation: Activation,
        input: Images,
        output: Images,
    ) -> Self {
        Self {
            isa,
            input,
            output,
            affine: None,
            operand: None,
            binary: Kind::Add,
            is_flipped: false,
            activation,
        }
    }

    /// Returns the work of an operation on two tensors. The second operand is as large as the first
    /// or has one pixel. The operands are swapped if `is_flipped`.
    pub(super) fn binary(
        isa: Isa,
        Binary { kind, activation }: Binary,
        is_flipped: bool,
        [input, operand]: [Images; 2],
        output: Images,
    ) -> Self {
        let operand = Some(operand);
        let bare = Self::activation(isa, activation, input, output);
        Self { operand, binary: kind, is_flipped, ..bare }
    }
}

impl Work for Elementwise {
    fn cleared(&self) -> Option<Images> {
        Some(self.output)
    }

    fn run(&self, arena: Arena, items: &Range<usize>, member: &Member<'_>) {
        let [_, _, mut height, mut width] = self.output.shape;
        let is_whole = |images: Images| images.is_contiguous() || images.shape[2..] == [1, 1];
        if [Some(self.input), Some(self.output), self.operand].into_iter().flatten().all(is_whole) {
            (height, width) = (1, height * width);
        }
        for (image, block, y) in rows(self.output.of(items), self.output.blocks(), height, member) {
            let operand = match self.operand {
                None => Operand::None,
                Some(images) => {
                    if images.shape[2..] == [1, 1] {
                        Operand::Same(arena.at(images.at(image, block, 0)))
                    } else {
                        Operand::Each(arena.at(images.at(image, block, y)))
                    }
                }
            };
            let affine = self
                .affine
                .as_ref()
                .map(|both| [0, 1].map(|i| both[i].as_slice()[block * LANES..].as_ptr()));
            let row = Row {
                input: arena.at(self.input.at(image, block, y)),
                output: arena.at(self.output.at(image, block, y)),
                width,
                affine,
                operand,
                binary: self.binary,
                is_flipped: self.is_flipped,
                activation: self.activation,
            };
            // SAFETY: the CPU supports `self.isa`; the images have this row; only this thread
            // writes it.
            unsafe { self.isa.run(&row) }
        }
    }
}

/// The second operand.
#[derive(Debug, Clone, Copy)]
enum Operand {
    None,
    /// One element for each pixel.
    Each(*const f32),
    /// One element for all pixels of the row.
    Same(*const f32),
}

/// A row of pixels of one block of channels.
#[derive(Debug)]
pub(super) struct Row {
    input: *const f32,
    output: *mut f32,
    width: usize,
    /// Factors and offsets of the channels.
    affine: Option<[*const f32; 2]>,
    operand: Operand,
    binary: Kind,
    /// Whether `operand` is the first of the two operands.
    is_flipped: bool,
    activation: Activation,
}

impl Kernel for Row {
    type Output = ();

    /// # Safety
    ///
    /// The CPU supports the instruction set of `V`; the pointers are valid for the row.
    #[inline(always)]
    unsafe fn run<V: Lanes>(&self) {
        // This is a macro, because the compiler may not compile a closure for the instruction set.
        macro_rules! each {
            (|$x:ident, $position:ident| $y:expr) => {
                for $position in 0..self.width {
                    let $x = V::load(self.input.add($position * LANES));
                    $y.store(self.output.add($position * LANES));
                }
            };
        }
        let activation = self.activation;
        // SAFETY: the caller guarantees that the CPU supports `V` and that the pointers are valid.
        unsafe {
            if let Some([scale, offset]) = self.affine {
                let (scale, offset) = (V::load(scale), V::load(offset));
                // The most common activation, without a branch in the loop.
                if let Activation::Clamp { low, high } = activation {
                    let (low, high) = (V::splat(low), V::splat(high));
                    each!(|x, position| x.mul_add(scale, offset).max(low).min(high));
                } else {
                    each!(|x, position| activation.apply(x.mul_add(scale, offset)));
                }
                return;
            }
            match self.operand {
                Operand::None => each!(|x, position| activation.apply(x)),
                Operand::Each(operand) => each!(|x, position| {
                    let y = V::load(operand.add(position * LANES));
                    activation.apply(self.binary(x, y))
                }),
                Operand::Same(operand) => {
                    let y = V::load(operand);
                    if self.binary == Kind::Mul && activation == Activation::Identity {
                        each!(|x, position| x.mul(y));
                    } else {
                        each!(|x, position| activation.apply(self.binary(x, y)));
                    }
                }
            }
        }
    }
}

impl Row {
    /// Returns a row that applies an activation in place.
    pub(super) fn in_place(numbers: *mut f32, width: usize, activation: Activation) -> Self {
        Self {
            input: numbers,
            output: numbers,
            width,
            affine: None,
            operand: Operand::None,
            binary: Kind::Add,
            is_flipped: false,
            activation,
        }
    }

    /// Computes the binary operation.
    ///
    /// # Safety
    ///
    /// The CPU supports the instruction set of `V`.
    #[inline(always)]
    unsafe fn binary<V: Lanes>(&self, x: V, y: V) -> V {
        let (x, y) = if self.is_flipped { (y, x) } else { (x, y) };
        // SAFETY: the caller guarantees that the CPU supports the instruction set of `V`.
        unsafe {
            match self.binary {
                Kind::Add => x.add(y),
                Kind::Sub => x.sub(y),
                Kind::Mul => x.mul(y),
                Kind::Div => x.div(y),
            }
        }
    }
}
