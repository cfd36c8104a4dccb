//! The units that a genome lists, and their codes.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Output channels of a ResNet unit in the paper's search.
pub const RESNET_CHANNELS: [usize; 3] = [64, 128, 256];

/// Numbers of blocks of a ResNet unit in the paper's search.
pub const BLOCKS: RangeInclusive<usize> = 3..=10;

/// Growth rates of a DenseNet unit in the paper's search.
pub const GROWTH_RATES: [usize; 3] = [12, 20, 40];

/// Numbers of layers of a DenseNet unit in the paper's search, for each of the [`GROWTH_RATES`].
pub const LAYERS: [RangeInclusive<usize>; 3] = [3..=10, 3..=10, 3..=5];

/// Largest number of units that a name can have.
pub const MAX_UNITS: usize = 24;

/// Channels of a ResNet unit in a name, multiples of 8. Fewer than the paper's make a small network.
const CHANNELS_IN_NAMES: RangeInclusive<usize> = 8..=512;
/// Growth rates of a DenseNet unit in a name.
const GROWTH_RATES_IN_NAMES: RangeInclusive<usize> = 4..=40;
/// Numbers of blocks or layers of a unit in a name.
const DEPTHS_IN_NAMES: RangeInclusive<usize> = 1..=10;

/// A unit: one element of a genome.
///
/// Its code is a part of a network's name.
///
/// ```
/// # use zoo_ae_cnn::Unit;
/// let unit: Unit = "d20x6".parse().unwrap();
/// assert_eq!(unit, Unit::DenseNet { growth_rate: 20, layers: 6 });
/// assert_eq!(unit.to_string(), "d20x6");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Unit {
    /// Residual blocks: `r64x3` has 64 output channels and 3 blocks.
    ResNet {
        /// Number of output channels.
        channels: usize,
        /// Number of blocks.
        blocks: usize,
    },
    /// Densely connected layers: `d20x6` has 6 layers that add 20 channels each.
    DenseNet {
        /// Number of channels that a layer adds: `k` in the paper.
        growth_rate: usize,
        /// Number of layers.
        layers: usize,
    },
    /// 2×2 max pooling with stride 2: `m`.
    MaxPool,
    /// 2×2 average pooling with stride 2: `a`.
    AvgPool,
}

impl Unit {
    /// Whether it is a pooling unit, which halves height and width.
    pub fn is_pooling(self) -> bool {
        matches!(self, Self::MaxPool | Self::AvgPool)
    }

    /// Number of output channels, for an input with this number of channels.
    pub fn out_channels(self, channels: usize) -> usize {
        match self {
            Self::ResNet { channels, .. } => channels,
            Self::DenseNet { growth_rate, layers } => {
                channels.min(max_dense_input(growth_rate)) + growth_rate * layers
            }
            Self::MaxPool | Self::AvgPool => channels,
        }
    }
}

/// Largest number of channels that enter the first layer of a DenseNet unit.
pub(crate) fn max_dense_input(growth_rate: usize) -> usize {
    match growth_rate {
        ..=12 => 64,
        13..=20 => 128,
        _ => 256,
    }
}

impl Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ResNet { channels, blocks } => write!(f, "r{channels}x{blocks}"),
            Self::DenseNet { growth_rate, layers } => write!(f, "d{growth_rate}x{layers}"),
            Self::MaxPool => f.write_str("m"),
            Self::AvgPool => f.write_str("a"),
        }
    }
}

impl FromStr for Unit {
    type Err = UnknownUnit;

    fn from_str(code: &str) -> Result<Self, UnknownUnit> {
        parse(code).ok_or_else(|| UnknownUnit(code.to_owned()))
    }
}

fn parse(code: &str) -> Option<Unit> {
    match code {
        "m" => return Some(Unit::MaxPool),
        "a" => return Some(Unit::AvgPool),
        _ => {}
    }
    let (width, depth) = code.get(1..)?.split_once('x')?;
    let width = zoo_core::parse_number(width)?;
    let depth = zoo_core::parse_number(depth).filter(|depth| DEPTHS_IN_NAMES.contains(depth))?;
    match code.as_bytes()[0] {
        b'r' if CHANNELS_IN_NAMES.contains(&width) && width % 8 == 0 => {
            Some(Unit::ResNet { channels: width, blocks: depth })
        }
        b'd' if GROWTH_RATES_IN_NAMES.contains(&width) => {
            Some(Unit::DenseNet { growth_rate: width, layers: depth })
        }
        _ => None,
    }
}

/// The error for a text that is not the code of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownUnit(pub String);

impl Display for UnknownUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not the code of a unit\n\
             hint: write `r64x3` for 64 channels and 3 residual blocks, `d20x6` for growth rate 20 and 6 \
             layers, `m` or `a` for max or average pooling",
            self.0
        )
    }
}

impl std::error::Error for UnknownUnit {}
