use std::borrow::Cow;
use std::fmt::Display;

use burn::tensor::Tensor;

use crate::layers::{fork, relu};

/// A feature map inside a network, for detectors and segmenters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PyramidLevel {
    /// Path of the module that computes it: `stages.1`.
    pub name: Cow<'static, str>,
    /// Number of channels.
    pub channels: usize,
    /// Stride: pixels of the image per position of the map, in each direction (timm: `reduction`).
    pub stride: usize,
}

impl PyramidLevel {
    /// Creates a level.
    pub const fn new(name: &'static str, channels: usize, stride: usize) -> Self {
        Self { name: Cow::Borrowed(name), channels, stride }
    }
}

/// Collects the levels of a network while it is built, if their channels or strides depend on its
/// configuration.
#[derive(Debug, Clone, Default)]
pub struct PyramidBuilder {
    levels: Vec<PyramidLevel>,
}

impl PyramidBuilder {
    /// Adds the output of a module. It replaces an earlier map of the same stride.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, channels: usize, stride: usize) {
        self.levels.pop_if(|last| last.stride == stride);
        self.levels.push(PyramidLevel { name: name.into(), channels, stride });
    }

    /// The levels, the finest first.
    pub fn levels(&self) -> Vec<PyramidLevel> {
        self.levels.clone()
    }
}

/// Collects the requested feature maps of a forward. The forward stops after the last of them, or
/// goes on from it as from a new input.
#[derive(Debug, Default)]
pub struct FeatureMaps {
    /// Names of the maps that are not computed yet.
    requested: Vec<Cow<'static, str>>,
    stored: Vec<Tensor<4>>,
    /// Whether gradients by the maps are computed.
    is_tracked: bool,
}

impl FeatureMaps {
    /// Requests no map, only the features.
    pub fn none() -> Self {
        Self::default()
    }

    /// Requests the levels of a pyramid with these indices.
    pub(crate) fn of(pyramid: Vec<PyramidLevel>, levels: &[usize]) -> Self {
        let is_there = |level: &usize| *level < pyramid.len();
        assert!(
            levels.iter().all(is_there),
            "the pyramid has {} levels, but levels {levels:?} were requested",
            pyramid.len()
        );
        let requested = pyramid.into_iter().enumerate().filter(|(level, _)| levels.contains(level));
        let requested = requested.map(|(_, level)| level.name).collect();
        Self { requested, ..Self::default() }
    }

    /// Requests a level as the point where gradients end. The forward does not stop.
    pub(crate) fn tracked(pyramid: Vec<PyramidLevel>, level: usize) -> Self {
        Self { is_tracked: true, ..Self::of(pyramid, &[level]) }
    }

    /// The requested maps, in the order of the network.
    pub(crate) fn into_tensors(self) -> Vec<Tensor<4>> {
        assert!(self.requested.is_empty(), "the network has no maps after {:?}", self.requested);
        self.stored
    }

    /// Stores the output of module `name` if it was requested. Returns it for the next module, or `None`
    /// if no later map was requested, so that `?` ends the forward.
    ///
    /// # Shapes
    ///
    /// `[N, C, H, W]` → the same
    pub fn keep(&mut self, name: impl Display, x: Tensor<4>) -> Option<Tensor<4>> {
        self.keep_as(name, x, |x| x)
    }

    /// [`keep`](Self::keep) for a network that applies ReLU later: the stored map has the ReLU applied,
    /// the returned one does not.
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
        activate: impl FnOnce(Tensor<4>) -> Tensor<4>,
    ) -> Option<Tensor<4>> {
        if self.requested.is_empty() {
            return Some(x);
        }
        let name = name.to_string();
        let Some(index) = self.requested.iter().position(|requested| *requested == name) else {
            return Some(x);
        };
        self.requested.remove(index);
        if self.is_tracked {
            let x = activate(x).detach().require_grad();
            self.stored.push(x.clone());
            return Some(x);
        }
        if self.requested.is_empty() {
            self.stored.push(activate(x));
            return None;
        }
        let [map, x] = fork(x);
        self.stored.push(activate(map));
        Some(x)
    }
}
