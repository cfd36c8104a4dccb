//! Where a convolution reads and writes.

use std::ops::Range;

use burn::nn::PaddingConfig2d;

/// The sizes of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    /// Channels in and out.
    pub(crate) channels: [usize; 2],
    /// Height and width of the input.
    pub(crate) input: [usize; 2],
    /// Height and width of the output.
    pub(crate) output: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// Rows above and columns left of the input; negative where the kernel begins inside of it.
    pub(crate) padding: [isize; 2],
    pub(crate) groups: usize,
}

/// What a layer says of its windows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'a> {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) padding: &'a PaddingConfig2d,
    /// Whether a last window may reach over the end.
    pub(crate) is_ceiled: bool,
}

impl Window<'_> {
    /// The sizes of the work on an input, in one group; none where no window fits.
    pub(crate) fn over(
        &self,
        batch: usize,
        channels: [usize; 2],
        input: [usize; 2],
    ) -> Option<Geometry> {
        let Self { kernel, stride, dilation, .. } = *self;
        let (before, after) = match *self.padding {
            PaddingConfig2d::Valid => ([0, 0], [0, 0]),
            PaddingConfig2d::Explicit(top, left, bottom, right) => ([top, left], [bottom, right]),
            PaddingConfig2d::Same => {
                let needed = [0, 1].map(|axis| {
                    let outputs = input[axis].div_ceil(stride[axis]);
                    (outputs.saturating_sub(1) * stride[axis] + kernel[axis])
                        .saturating_sub(input[axis])
                });
                (needed.map(|all| all / 2), needed.map(|all| all - all / 2))
            }
        };
        let mut output = [0; 2];
        for axis in [0, 1] {
            let covered = dilation[axis] * kernel[axis].checked_sub(1)? + 1;
            let rest = (input[axis] + before[axis] + after[axis]).checked_sub(covered)?;
            output[axis] = rest / stride[axis] + 1;
            // A window more begins inside of the input.
            let begins_inside = output[axis] * stride[axis] < input[axis] + before[axis];
            if self.is_ceiled && !rest.is_multiple_of(stride[axis]) && begins_inside {
                output[axis] += 1;
            }
        }
        let padding = before.map(usize::cast_signed);
        let groups = 1;
        Some(Geometry { batch, channels, input, output, kernel, stride, dilation, padding, groups })
    }
}

/// Output places beside each other in one row of one image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// Where it begins in its panel.
    pub(crate) at: usize,
    pub(crate) len: usize,
    pub(crate) image: usize,
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl Geometry {
    /// Channels in and out of a group.
    pub(crate) fn group(&self) -> [usize; 2] {
        self.channels.map(|channels| channels / self.groups)
    }

    /// Numbers of a kernel for one channel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Places of an input channel.
    pub(crate) fn inputs(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Places of an output channel.
    pub(crate) fn outputs(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Each channel is convolved for itself, with one kernel.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.groups == self.channels[0] && self.channels[0] == self.channels[1]
    }

    /// The same where rows don't matter: an input that is read place by place is one long row.
    pub(crate) fn flattened(mut self) -> Self {
        let is_by_place = self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0];
        // Padding may also be behind the last row or column.
        if is_by_place && self.input == self.output {
            self.input = [1, self.inputs()];
            self.output = [1, self.outputs()];
        }
        self
    }

    /// The convolution of the output's gradients that gives the input's; of stride 1 only.
    pub(crate) fn transposed(self) -> Self {
        let padding = [0, 1].map(|axis| {
            (self.dilation[axis] * (self.kernel[axis] - 1)) as isize - self.padding[axis]
        });
        Self {
            channels: [self.channels[1], self.channels[0]],
            input: self.output,
            output: self.input,
            padding,
            ..self
        }
    }

    /// The runs of some output places, counted over all images.
    pub(crate) fn runs(&self, places: Range<usize>) -> Vec<Run> {
        let [_, width] = self.output;
        let mut runs = Vec::new();
        let mut place = places.start;
        while place < places.end {
            let (row, column) = (place / width, place % width);
            let len = (width - column).min(places.end - place);
            runs.push(Run {
                at: place - places.start,
                len,
                image: row / self.output[0],
                row: row % self.output[0],
                column,
            });
            place += len;
        }
        runs
    }

    /// The input row that an output row reads with a row of the kernel.
    #[inline]
    pub(crate) fn input_row(&self, row: usize, kernel_row: usize) -> Option<usize> {
        let row = (row * self.stride[0] + kernel_row * self.dilation[0]) as isize - self.padding[0];
        usize::try_from(row).ok().filter(|row| *row < self.input[0])
    }

    /// The first input column that a run reads with a column of the kernel, and which places of
    /// the run read inside of the input.
    #[inline]
    pub(crate) fn input_columns(&self, run: &Run, kernel_column: usize) -> (isize, Range<usize>) {
        let [_, stride] = self.stride;
        let first =
            (run.column * stride + kernel_column * self.dilation[1]) as isize - self.padding[1];
        let after = |column: isize| usize::try_from(column).unwrap_or(0).div_ceil(stride);
        let start = after(-first).min(run.len);
        let end = after(self.input[1] as isize - first).clamp(start, run.len);
        (first, start..end)
    }
}
