//! Settings of a run as options of the command line, and messages in their words.

use std::fmt;

use burn_zoo::train::config::{Choice, Kind, SETTINGS};
use burn_zoo::train::{Error, Setting};
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use toml::Table;

use crate::exit_code;

/// The settings that were given as options, as text. Each setting declares its option itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct SettingFlags(Vec<(&'static Setting, String)>);

impl SettingFlags {
    /// Whether a setting was given.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.0.iter().any(|(setting, _)| setting.path == path)
    }

    /// What was given, as layers of settings.
    pub(crate) fn layers(&self) -> impl Iterator<Item = Table> {
        self.0.iter().map(|(setting, text)| setting.layer(setting.parse(text)))
    }

    /// An error of training with options in place of settings.
    pub(crate) fn in_options(&self, error: anyhow::Error) -> anyhow::Error {
        let cause = match error.downcast_ref() {
            Some(burn_zoo::Error::Train(cause)) => Some(cause),
            _ => error.downcast_ref::<Error>(),
        };
        let Some(cause) = cause else { return error };
        let text = match cause {
            Error::Setting { setting, must } => match Setting::find(setting).and_then(|it| it.flag)
            {
                Some(flag) if self.has(setting) => format!("--{} {must}", flag.name),
                _ => cause.to_string(),
            },
            Error::Locked { .. } | Error::Resume { .. } => format!("{cause} with --output FOLDER"),
            _ => in_flags(&cause.to_string()),
        };
        Explained { text, exit_code: exit_code(&error) }.into()
    }
}

/// An error in the words of the command line.
#[derive(Debug)]
pub(crate) struct Explained {
    text: String,
    /// The exit code that the error itself had.
    pub(crate) exit_code: u8,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Explained {}

/// A message of the library with options in place of settings: `recipe.lr=0.1` everywhere,
/// `recipe.lr` only in a hint.
pub(crate) fn in_flags(text: &str) -> String {
    let (what, hint) = text.split_at(text.find("\nhint: ").unwrap_or(text.len()));
    let translate = |text: &str, in_hint: bool| {
        let words: Vec<_> = text.split(' ').map(|word| translated(word, in_hint)).collect();
        words.join(" ")
    };
    translate(what, false) + &translate(hint, true)
}

fn translated(word: &str, in_hint: bool) -> String {
    let setting = word.trim_matches(|character: char| "(),;.`".contains(character));
    let option = match setting.split_once('=') {
        Some((path, value)) => Setting::find(path).map(|found| match found.flag {
            Some(flag) => format!("--{} {value}", flag.name),
            None => format!("--set {setting}"),
        }),
        None if in_hint && setting.contains('.') => {
            let flag = Setting::find(setting).and_then(|setting| setting.flag);
            flag.map(|flag| format!("--{}", flag.name))
        }
        None => None,
    };
    option.map_or_else(|| word.to_owned(), |option| word.replacen(setting, &option, 1))
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        command.args(SETTINGS.iter().filter_map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given =
            SETTINGS.iter().filter(|setting| setting.flag.is_some()).filter_map(|setting| {
                Some((setting, matches.get_one::<String>(setting.path)?.clone()))
            });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The option of a setting.
fn argument(setting: &'static Setting) -> Option<Arg> {
    let flag = setting.flag?;
    let choices = match setting.kind {
        Kind::Choice(choices) => choices,
        _ => &[],
    };
    let doc: Vec<_> = setting.doc().split_whitespace().collect();
    let mut argument = Arg::new(setting.path)
        .long(flag.name)
        .value_name(flag.value_name)
        .help(doc.join(" ").trim_end_matches('.').to_owned())
        // The setting refuses a negative number with a better message than clap's.
        .allow_negative_numbers(true)
        .value_parser(AnyText { choices });
    if let Some(alias) = flag.alias {
        argument = argument.visible_alias(alias);
    }
    if let Some(letter) = flag.short {
        argument = argument.short(letter);
    }
    Some(if setting.is_resumable { argument } else { argument.conflicts_with("resume") })
}

/// Accepts any text: settings check their values with better messages. Help and completions show the
/// known words.
#[derive(Clone)]
struct AnyText {
    choices: &'static [Choice],
}

impl TypedValueParser for AnyText {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        if self.choices.is_empty() {
            return None;
        }
        let value = |choice: &Choice| {
            let doc: Vec<_> = choice.doc().split_whitespace().collect();
            PossibleValue::new(choice.name).help(doc.join(" ").trim_end_matches('.').to_owned())
        };
        Some(Box::new(self.choices.iter().map(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_options() {
        for (text, expected) in [
            (
                "recipe.lr has no effect: why\nhint: a lower recipe.lr, or (recipe.clip=1)",
                "recipe.lr has no effect: why\nhint: a lower --lr, or (--set recipe.clip=1)",
            ),
            (
                "x\nhint: preset=fine; recipe.views=2.",
                "x\nhint: --preset fine; --set recipe.views=2.",
            ),
            ("uneven; data.balance=weights or", "uneven; --balance weights or"),
            ("no setting a=b, images/NAME.jpg", "no setting a=b, images/NAME.jpg"),
            ("x\nhint: augment.flip says how", "x\nhint: augment.flip says how"),
        ] {
            assert_eq!(in_flags(text), expected);
        }
    }
}
