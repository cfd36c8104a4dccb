//! The codes of stages, which are the parts of a network's name.

use std::fmt;
use std::str::FromStr;

use crate::{Op, Stage};

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { op, kernel_size, channels, repeats, .. } = self;
        match op {
            Op::Conv => write!(f, "ck{kernel_size}")?,
            Op::MbConv { expansion } => write!(f, "m{expansion}k{kernel_size}")?,
        }
        f.write_str(if self.squeeze_excite { "s" } else { "" })?;
        f.write_str(if self.has_shortcut { "" } else { "n" })?;
        write!(f, "f{channels}x{repeats}")
    }
}

/// The error for a text that is not the code of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownStage;

impl FromStr for Stage {
    type Err = UnknownStage;

    fn from_str(code: &str) -> Result<Self, UnknownStage> {
        parse(code).ok_or(UnknownStage)
    }
}

fn parse(code: &str) -> Option<Stage> {
    let (op, rest) = code.split_once('k')?;
    let op = match op {
        "c" => Op::Conv,
        "m1" => Op::MbConv { expansion: 1 },
        "m3" => Op::MbConv { expansion: 3 },
        "m6" => Op::MbConv { expansion: 6 },
        _ => return None,
    };
    let (kernel_size, rest) = match rest.split_at_checked(1)? {
        ("3", rest) => (3, rest),
        ("5", rest) => (5, rest),
        _ => return None,
    };
    let (squeeze_excite, rest) = optional(rest, 's');
    let (without_shortcut, rest) = optional(rest, 'n');
    let (channels, repeats) = rest.strip_prefix('f')?.split_once('x')?;
    let channels =
        zoo_core::parse_number(channels).filter(|channels| (4..=640).contains(channels))?;
    let repeats = zoo_core::parse_number(repeats).filter(|repeats| (1..=8).contains(repeats))?;
    if squeeze_excite && op == Op::Conv {
        return None;
    }
    let has_shortcut = !without_shortcut;
    Some(Stage { op, kernel_size, channels, repeats, squeeze_excite, has_shortcut })
}

/// Whether a text begins with a letter, and the rest of it.
fn optional(text: &str, letter: char) -> (bool, &str) {
    text.strip_prefix(letter).map_or((false, text), |rest| (true, rest))
}

#[cfg(test)]
mod tests {
    use crate::{A1_STAGES, Stage};

    #[test]
    fn a_code_is_parsed_back() {
        for stage in A1_STAGES {
            assert_eq!(stage.to_string().parse(), Ok(stage));
        }
        let stage: Stage = "ck5nf24x2".parse().unwrap();
        assert_eq!(stage.to_string(), "ck5nf24x2");
        for wrong in
            ["", "m2k3sf16x1", "m3k4sf16x1", "ck3sf16x1", "m3k3f16x0", "m3k3sf016x1", "m3k3sf16"]
        {
            assert!(wrong.parse::<Stage>().is_err(), "{wrong}");
        }
    }
}
