//! The sizes of a convolution, and the positions that it reads and writes.

use std::ops::Range;

use burn::nn::PaddingConfig2d;

/// The sizes of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) batch: usize,
    /// Numbers of input and output channels.
    pub(crate) channels: [usize; 2],
    /// Height and width of the input.
    pub(crate) input: [usize; 2],
    /// Height and width of the output.
    pub(crate) output: [usize; 2],
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// Numbers of rows above and columns left of the input; negative if the kernel starts inside
    /// it.
    pub(crate) padding: [isize; 2],
    pub(crate) groups: usize,
}

/// The windows of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window<'a> {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) padding: &'a PaddingConfig2d,
    /// Whether the last window may extend beyond the input (`ceil_mode`).
    pub(crate) is_ceiled: bool,
}

impl Window<'_> {
    /// Returns the sizes for an input, with one group, or `None` if no window fits.
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
            // Whether another window starts inside the input.
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

/// Adjacent output positions in one row of one image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// The start in its panel.
    pub(crate) at: usize,
    pub(crate) len: usize,
    pub(crate) image: usize,
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl Geometry {
    /// Returns the numbers of input and output channels of a group.
    pub(crate) fn group(&self) -> [usize; 2] {
        self.channels.map(|channels| channels / self.groups)
    }

    /// Returns the number of elements of a kernel for one channel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Returns the number of positions of an input channel.
    pub(crate) fn inputs(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Returns the number of positions of an output channel.
    pub(crate) fn outputs(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Whether each channel is convolved separately, with one kernel.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.groups == self.channels[0] && self.channels[0] == self.channels[1]
    }

    /// Returns the geometry with all rows joined into one, if the convolution reads each position
    /// separately. Otherwise returns the geometry unchanged.
    pub(crate) fn flattened(mut self) -> Self {
        let is_pointwise = self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0];
        // Padding may also be after the last row or column.
        if is_pointwise && self.input == self.output {
            self.input = [1, self.inputs()];
            self.output = [1, self.outputs()];
        }
        self
    }

    /// Returns the convolution that computes the input's gradient from the output's. Requires
    /// stride 1.
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

    /// Returns the runs of some output positions, which are counted over all images.
    pub(crate) fn runs(&self, positions: Range<usize>) -> Vec<Run> {
        let [_, width] = self.output;
        let mut runs = Vec::new();
        let mut position = positions.start;
        while position < positions.end {
            let (row, column) = (position / width, position % width);
            let len = (width - column).min(positions.end - position);
            runs.push(Run {
                at: position - positions.start,
                len,
                image: row / self.output[0],
                row: row % self.output[0],
                column,
            });
            position += len;
        }
        runs
    }

    /// Returns the input row that an output row reads with a row of the kernel.
    #[inline]
    pub(crate) fn input_row(&self, row: usize, kernel_row: usize) -> Option<usize> {
        let row = (row * self.stride[0] + kernel_row * self.dilation[0]) as isize - self.padding[0];
        usize::try_from(row).ok().filter(|row| *row < self.input[0])
    }

    /// Returns the first input column that a run reads with a column of the kernel, and the
    /// positions of the run that read inside the input.
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
