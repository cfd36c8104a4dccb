//! Settings whose value is one of a few words.

use std::str::FromStr;

use toml::Value;

use super::setting::{Kind, SettingType, shown};

/// A word that a setting allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The word.
    pub name: &'static str,
    /// Its meaning, as a sentence.
    pub(super) doc: &'static str,
}

impl Choice {
    /// Its meaning, as a sentence.
    pub fn doc(&self) -> &'static str {
        self.doc.trim()
    }
}

/// The error for a word that a setting does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no {what} is called {name}; there are {known}")]
pub struct UnknownChoice {
    what: &'static str,
    name: String,
    known: String,
}

impl UnknownChoice {
    fn new(what: &'static str, name: &str, choices: &[Choice]) -> Self {
        let known: Vec<_> = choices.iter().map(|choice| choice.name).collect();
        Self { what, name: name.to_owned(), known: known.join(", ") }
    }
}

/// Declares an enum whose variants are words. They are parsed from text and printed as text; their
/// documentation describes them.
macro_rules! choices {
    (
        $(#[doc = $doc:literal])+
        pub enum $name:ident, $what:literal {
            $( $(#[doc = $choice_doc:literal])+ $variant:ident = $text:literal, )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $( $(#[doc = $choice_doc])+ $variant, )+
        }

        impl $name {
            /// All variants, in the order of their declaration.
            pub const ALL: &[Self] = &[$( Self::$variant ),+];

            const CHOICES: &[Choice] =
                &[$( Choice { name: $text, doc: concat!($( $choice_doc ),+) } ),+];
        }

        impl FromStr for $name {
            type Err = UnknownChoice;

            fn from_str(text: &str) -> Result<Self, UnknownChoice> {
                match text {
                    $( $text => Ok(Self::$variant), )+
                    _ => Err(UnknownChoice::new($what, text, Self::CHOICES)),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(Self::CHOICES[*self as usize].name)
            }
        }

        impl SettingType for $name {
            const KIND: Kind = Kind::Choice(Self::CHOICES);

            fn to_value(&self) -> Value {
                Value::String(self.to_string())
            }

            fn from_value(value: &Value) -> Result<Self, String> {
                shown(value).parse().map_err(|error: UnknownChoice| error.to_string())
            }
        }
    };
}

choices! {
    /// A set of good values for all settings.
    pub enum Preset, "preset" {
        /// Trains a new classifier on frozen features.
        Linear = "linear",
        /// Trains all layers, starting from published weights. BatchNorm is frozen.
        Fine = "fine",
        /// Trains all layers from scratch.
        Scratch = "scratch",
        /// Trains a network for semantic segmentation from scratch.
        Segment = "segment",
    }
}

choices! {
    /// The task that a network learns.
    pub enum TaskKind, "task" {
        /// The class of an image.
        Classify = "classify",
        /// The class of each pixel of an image.
        Segment = "segment",
    }
}

choices! {
    /// The treatment of classes with different numbers of images.
    pub enum Balance, "way to balance classes" {
        /// No treatment.
        None = "none",
        /// Images of rare classes weigh more in the loss.
        Weights = "weights",
        /// Images of rare classes are shown more often.
        Samples = "samples",
    }
}

choices! {
    /// The optimizer that updates the weights.
    pub enum OptimizerKind, "optimizer" {
        /// Stochastic gradient descent with Nesterov's momentum.
        Sgd = "sgd",
        /// Adam.
        Adam = "adam",
        /// Adam with decoupled weight decay.
        AdamW = "adamw",
        /// RMSprop.
        RmsProp = "rmsprop",
    }
}

choices! {
    /// The course of the learning rate after the warmup.
    pub enum Schedule, "schedule" {
        /// Falls to 0 along half a cosine.
        Cosine = "cosine",
        /// Falls to a tenth every `recipe.step_epochs`.
        Step = "step",
        /// Does not change.
        Constant = "constant",
    }
}

choices! {
    /// The mode of BatchNorm when all layers are trained.
    pub enum BatchNormMode, "mode of BatchNorm" {
        /// Normalizes by the batch, and is trained.
        Train = "train",
        /// Is frozen, with its statistics and weights.
        Frozen = "frozen",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read() {
        for &schedule in Schedule::ALL {
            assert_eq!(schedule.to_string().parse(), Ok(schedule));
        }
        for &preset in Preset::ALL {
            assert_eq!(preset.to_string().parse(), Ok(preset));
        }
        let error = "lion".parse::<OptimizerKind>().unwrap_err().to_string();
        assert_eq!(error, "no optimizer is called lion; there are sgd, adam, adamw, rmsprop");
    }
}
