//! Settings that are one of a few words.

use std::str::FromStr;

use toml::Value;

use super::setting::{Kind, SettingType, shown};

/// One of the words that a setting may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The word.
    pub name: &'static str,
    /// What it stands for, as a sentence.
    pub(super) doc: &'static str,
}

impl Choice {
    /// What it stands for, as a sentence.
    pub fn doc(&self) -> &'static str {
        self.doc.trim()
    }
}

/// A word that a setting can't be.
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

/// Declares an enum whose variants are words: they are read from text, printed as text, and described
/// by their documentation.
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
            /// All of them, in the order of their declaration.
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
        /// A new classifier on features that stay as they are.
        Linear = "linear",
        /// All layers, starting from published weights. BatchNorm stays as it is.
        Fine = "fine",
        /// All layers, starting from nothing.
        Scratch = "scratch",
        /// A network that tells the pixels of an image apart, starting from nothing.
        Segment = "segment",
    }
}

choices! {
    /// What a network learns.
    pub enum TaskKind, "task" {
        /// What is in an image.
        Classify = "classify",
        /// What each pixel of an image is.
        Segment = "segment",
    }
}

choices! {
    /// What is done where some classes have more images than others.
    pub enum Balance, "way to balance classes" {
        /// Nothing.
        None = "none",
        /// Images of rare classes weigh more in the loss.
        Weights = "weights",
        /// Images of rare classes are shown more often.
        Samples = "samples",
    }
}

choices! {
    /// What turns gradients into steps.
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
    /// How the learning rate goes on after warming up.
    pub enum Schedule, "schedule" {
        /// Falls to 0 along half a cosine.
        Cosine = "cosine",
        /// Falls to a tenth every `recipe.step_epochs`.
        Step = "step",
        /// Stays.
        Constant = "constant",
    }
}

choices! {
    /// What BatchNorm does when all layers are trained.
    pub enum BatchNormMode, "mode of BatchNorm" {
        /// Normalizes by the batch and learns.
        Train = "train",
        /// Stays as it is, statistics and factors.
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
