use std::borrow::Cow;
use std::fmt::Display;

use burn::tensor::Tensor;

use crate::layers::{fork, relu};

/// A feature map that a network has on the way to its features, for detectors and segmenters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PyramidLevel {
    /// The module that it comes out of, by its path in the network: `stages.1`.
    pub name: Cow<'static, str>,
    /// Number of channels.
    pub channels: usize,
    /// How many pixels of the image there are to a place of the map, in each direction.
    pub stride: usize,
}

impl PyramidLevel {
    /// A level with these values.
    pub const fn new(name: &'static str, channels: usize, stride: usize) -> Self {
        Self { name: Cow::Borrowed(name), channels, stride }
    }
}

/// The levels of a network whose channels or strides depend on its configuration, as they are met
/// while it is built.
#[derive(Debug, Clone, Default)]
pub struct PyramidBuilder {
    levels: Vec<PyramidLevel>,
}

impl PyramidBuilder {
    /// Adds what comes out of a module, in place of an earlier map of the same stride.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, channels: usize, stride: usize) {
        self.levels.pop_if(|last| last.stride == stride);
        self.levels.push(PyramidLevel { name: name.into(), channels, stride });
    }

    /// The levels, the finest first.
    pub fn levels(&self) -> Vec<PyramidLevel> {
        self.levels.clone()
    }
}

/// The maps of the pyramid that are wanted of a forward pass, which ends behind the last of them.
#[derive(Debug, Default)]
pub struct FeatureMaps {
    /// Names of those that are still to come.
    wanted: Vec<Cow<'static, str>>,
    kept: Vec<Tensor<4>>,
}

impl FeatureMaps {
    /// No map is wanted, only the features.
    pub fn none() -> Self {
        Self::default()
    }

    /// These levels are wanted.
    pub(crate) fn of(levels: Vec<PyramidLevel>) -> Self {
        Self { wanted: levels.into_iter().map(|level| level.name).collect(), kept: Vec::new() }
    }

    /// Those that were wanted, in the order of the network.
    pub(crate) fn into_tensors(self) -> Vec<Tensor<4>> {
        assert!(self.wanted.is_empty(), "the network has no maps behind {:?}", self.wanted);
        self.kept
    }

    /// Keeps what comes out of a module, if it is wanted, and hands it on to the next one; `None`
    /// where nothing is wanted of that, so that `?` ends the pass.
    ///
    /// # Shapes
    ///
    /// `[N, C, H, W]` → the same
    pub fn keep(&mut self, name: impl Display, x: Tensor<4>) -> Option<Tensor<4>> {
        self.keep_as(name, x, |x| x)
    }

    /// [`keep`](Self::keep) for a module whose activation comes later: what is kept has it already.
    ///
    /// # Shapes
    ///
    /// `[N, C, H, W]` → the same
    pub fn keep_activated(&mut self, name: impl Display, x: Tensor<4>) -> Option<Tensor<4>> {
        self.keep_as(name, x, relu)
    }

    fn keep_as(
        &mut self,
        name: impl Display,
        x: Tensor<4>,
        kept: impl FnOnce(Tensor<4>) -> Tensor<4>,
    ) -> Option<Tensor<4>> {
        if self.wanted.is_empty() {
            return Some(x);
        }
        let name = name.to_string();
        let Some(place) = self.wanted.iter().position(|wanted| *wanted == name) else {
            return Some(x);
        };
        self.wanted.remove(place);
        if self.wanted.is_empty() {
            self.kept.push(kept(x));
            return None;
        }
        let [map, x] = fork(x);
        self.kept.push(kept(map));
        Some(x)
    }
}
