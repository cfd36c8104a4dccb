//! Functions of each element, alone or with one of another tensor: what
//! [`Activate`](super::activation::Activate), [`Affine`](super::affine::Affine) and
//! [`Binary`] run.

use std::ops::Range;

use zoo_simd::{Activation, Isa, Kernel, LANES, Lanes};

use super::binary::{Binary, Kind};
use crate::memory::{Aligned, Arena};
use crate::plan::buffers::Images;
use crate::plan::draft::Work;
use crate::plan::rows::{by_block, rows};
use crate::threads::Member;

/// Functions of each element.
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

    /// The second operand is as large as the first or has one pixel; the two change places where
    /// it `is_flipped`.
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
            // SAFETY: the machine has the instructions; the images have this row, and no other
            // thread has it.
            unsafe { self.isa.run(&row) }
        }
    }
}

/// The second operand.
#[derive(Debug, Clone, Copy)]
enum Operand {
    None,
    /// An element of its own for each.
    Each(*const f32),
    /// One for all pixels of the row.
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
    /// Whether the operand is the first of the two.
    is_flipped: bool,
    activation: Activation,
}

impl Kernel for Row {
    type Output = ();

    /// # Safety
    ///
    /// The machine has the instructions of `V`; the pointers are valid for the row.
    #[inline(always)]
    unsafe fn run<V: Lanes>(&self) {
        // A macro, since a closure need not be compiled for the instructions.
        macro_rules! each {
            (|$x:ident, $place:ident| $y:expr) => {
                for $place in 0..self.width {
                    let $x = V::load(self.input.add($place * LANES));
                    $y.store(self.output.add($place * LANES));
                }
            };
        }
        let activation = self.activation;
        // SAFETY: the caller's promise.
        unsafe {
            if let Some([scale, offset]) = self.affine {
                let (scale, offset) = (V::load(scale), V::load(offset));
                // The common one without a branch inside.
                if let Activation::Clamp { low, high } = activation {
                    let (low, high) = (V::splat(low), V::splat(high));
                    each!(|x, place| x.mul_add(scale, offset).max(low).min(high));
                } else {
                    each!(|x, place| activation.apply(x.mul_add(scale, offset)));
                }
                return;
            }
            match self.operand {
                Operand::None => each!(|x, place| activation.apply(x)),
                Operand::Each(operand) => each!(|x, place| {
                    let y = V::load(operand.add(place * LANES));
                    activation.apply(self.binary(x, y))
                }),
                Operand::Same(operand) => {
                    let y = V::load(operand);
                    if self.binary == Kind::Mul && activation == Activation::Identity {
                        each!(|x, place| x.mul(y));
                    } else {
                        each!(|x, place| activation.apply(self.binary(x, y)));
                    }
                }
            }
        }
    }
}

impl Row {
    /// An activation of numbers, written over them.
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

    /// # Safety
    ///
    /// The machine has the instructions of `V`.
    #[inline(always)]
    unsafe fn binary<V: Lanes>(&self, x: V, y: V) -> V {
        let (x, y) = if self.is_flipped { (y, x) } else { (x, y) };
        // SAFETY: the caller's promise.
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
