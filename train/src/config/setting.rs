//! The properties of a setting: name, values and meaning.

use toml::{Table, Value};
use zoo_core::Background;

use super::{Choice, Config};
use crate::Error;

/// A setting of a run. It is declared once, in `config/settings.rs`.
#[derive(Debug)]
pub struct Setting {
    /// Its name in `config.toml`, with its section: `recipe.lr`.
    pub path: &'static str,
    /// The type of its values.
    pub kind: Kind,
    /// Whether it may be `none`.
    pub is_optional: bool,
    /// Its option on a command line, if it has one of its own.
    pub flag: Option<Flag>,
    /// Whether a resumed run may have another value than it began with.
    pub is_resumable: bool,
    doc: &'static str,
    low: Option<Bound>,
    high: Option<Bound>,
    alias: Option<&'static str>,
    none_if: Option<fn(&Value) -> bool>,
    get: fn(&Config) -> Value,
    set: fn(&mut Config, &Value) -> Result<(), String>,
}

/// The type of the values of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Whole,
    /// A number.
    Number,
    /// Any text.
    Text,
    /// `none` or a color, as [`Background`] reads it.
    Background,
    /// One of a few words.
    Choice(&'static [Choice]),
}

/// An option on a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// Its name without leading hyphens: `batch-size`.
    pub name: &'static str,
    /// The name of its value in a help text.
    pub value_name: &'static str,
    /// Its one-letter name.
    pub short: Option<char>,
    /// Another name.
    pub alias: Option<&'static str>,
}

/// An end of a range.
#[derive(Debug, Clone, Copy)]
struct Bound {
    value: f64,
    is_inside: bool,
}

impl Setting {
    pub(super) const fn new<T: SettingType>(
        path: &'static str,
        doc: &'static str,
        get: fn(&Config) -> Value,
        set: fn(&mut Config, &Value) -> Result<(), String>,
    ) -> Self {
        Self {
            path,
            kind: T::KIND,
            is_optional: T::IS_OPTIONAL,
            flag: None,
            is_resumable: false,
            doc,
            low: None,
            high: None,
            alias: None,
            none_if: None,
            get,
            set,
        }
    }

    /// Allows only numbers larger than this.
    pub(super) const fn above(mut self, value: f64) -> Self {
        self.low = Some(Bound { value, is_inside: false });
        self
    }

    /// Allows only this number and larger ones.
    pub(super) const fn at_least(mut self, value: f64) -> Self {
        self.low = Some(Bound { value, is_inside: true });
        self
    }

    /// Allows only numbers smaller than this.
    pub(super) const fn below(mut self, value: f64) -> Self {
        self.high = Some(Bound { value, is_inside: false });
        self
    }

    /// Allows only this number and smaller ones.
    pub(super) const fn at_most(mut self, value: f64) -> Self {
        self.high = Some(Bound { value, is_inside: true });
        self
    }

    /// Adds an option on the command line.
    pub(super) const fn flag(mut self, name: &'static str, value_name: &'static str) -> Self {
        self.flag = Some(Flag { name, value_name, short: None, alias: None });
        self
    }

    /// Adds a one-letter name of the option.
    pub(super) const fn short(mut self, letter: char) -> Self {
        if let Some(flag) = &mut self.flag {
            flag.short = Some(letter);
        }
        self
    }

    /// Adds another name of the option.
    pub(super) const fn flag_alias(mut self, name: &'static str) -> Self {
        if let Some(flag) = &mut self.flag {
            flag.alias = Some(name);
        }
        self
    }

    /// Allows another value in a resumed run.
    pub(super) const fn resumable(mut self) -> Self {
        self.is_resumable = true;
        self
    }

    /// Adds the path that files of an earlier version have for this setting.
    pub(super) const fn alias(mut self, path: &'static str) -> Self {
        self.alias = Some(path);
        self
    }

    /// Adds a condition for values that mean `none`, as in files of an earlier version.
    pub(super) const fn none_if(mut self, is_none: fn(&Value) -> bool) -> Self {
        self.none_if = Some(is_none);
        self
    }

    /// Finds a setting by name. The names of earlier versions are known, too.
    pub fn find(path: &str) -> Option<&'static Self> {
        super::SETTINGS.iter().find(|setting| setting.path == path || setting.alias == Some(path))
    }

    /// Its section in `config.toml` and its key there. The section is empty at the top of the file.
    pub fn section_and_key(&self) -> (&'static str, &'static str) {
        self.path.split_once('.').unwrap_or(("", self.path))
    }

    /// Its meaning, in one or more sentences.
    pub fn doc(&self) -> &'static str {
        self.doc.trim()
    }

    /// Its value in a configuration, or `none` if it is not set.
    pub fn value(&self, config: &Config) -> Value {
        (self.get)(config)
    }

    /// Parses text from a command line. [`Config::from_layers`] checks whether the setting allows
    /// this value.
    pub fn parse(&self, text: &str) -> Value {
        let parsed = format!("value = {text}").parse::<Table>();
        let parsed = parsed.ok().and_then(|mut table| table.remove("value"));
        match (self.kind, parsed) {
            (_, Some(Value::String(quoted))) => Value::String(quoted),
            (Kind::Switch | Kind::Whole | Kind::Number, Some(value)) => value,
            _ => Value::String(text.to_owned()),
        }
    }

    /// The range of its numbers: `above 0 and at most 1`. `None` if all numbers are allowed or it
    /// is not a number.
    pub fn range(&self) -> Option<String> {
        let low = |low: Bound| match low.is_inside {
            true => format!("at least {}", low.value),
            false => format!("above {}", low.value),
        };
        let high_text = |high: Bound| match high.is_inside {
            true => format!("at most {}", high.value),
            false => format!("below {}", high.value),
        };
        match (self.low, self.high) {
            (Some(low), Some(high)) if low.is_inside && high.is_inside => {
                Some(format!("from {} to {}", low.value, high.value))
            }
            (Some(least), Some(most)) => Some(format!("{} and {}", low(least), high_text(most))),
            (Some(least), None) => Some(low(least)),
            (None, Some(most)) => Some(high_text(most)),
            (None, None) => None,
        }
    }

    /// Sets its value in a configuration.
    pub(super) fn assign(&self, config: &mut Config, value: &Value) -> Result<(), Error> {
        let none = Value::String(NONE.to_owned());
        let is_none = self.is_optional
            && (*value == none || self.none_if.is_some_and(|is_none| is_none(value)));
        let value = if is_none { &none } else { value };
        let invalid = |must: String| Error::Setting { setting: self.path, must };
        if !is_none && let (Kind::Whole | Kind::Number, Some(number)) = (self.kind, number(value)) {
            self.check(number).map_err(invalid)?;
        }
        (self.set)(config, value).map_err(|problem| match self.kind {
            Kind::Choice(_) | Kind::Background => Error::Config(problem),
            _ => invalid(problem),
        })
    }

    /// Checks a number. The error is the required range.
    fn check(&self, number: f64) -> Result<(), String> {
        let is_right_of = |low: Bound| number > low.value || low.is_inside && number == low.value;
        let is_left_of =
            |high: Bound| number < high.value || high.is_inside && number == high.value;
        let is_inside = self.low.is_none_or(is_right_of) && self.high.is_none_or(is_left_of);
        match self.range() {
            _ if is_inside && number.is_finite() => Ok(()),
            Some(range) if number.is_finite() => Err(format!("must be {range}, not {number}")),
            Some(range) => Err(format!("must be a number {range}, not {number}")),
            None => Err(format!("must be a number, not {number}")),
        }
    }
}

/// The value of an optional setting that is not set.
const NONE: &str = "none";

/// The type of a setting's value.
pub(crate) trait SettingType: Sized {
    /// The type of its values in files.
    const KIND: Kind;
    /// Whether it may be `none`.
    const IS_OPTIONAL: bool = false;

    /// Converts the value to TOML.
    fn to_value(&self) -> Value;

    /// Converts a value of TOML or of a command line.
    ///
    /// # Errors
    ///
    /// The required type and the actual value: `must be a number, not x`. For a choice, a sentence.
    fn from_value(value: &Value) -> Result<Self, String>;
}

/// Shows a value as a user writes it: text without quotes.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns the number in a value or in its text. TOML does not accept `.5` as a number.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn whole(value: &Value) -> Result<i64, String> {
    let whole = match value {
        Value::Integer(number) => Some(*number),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    whole.ok_or_else(|| format!("must be a whole number, not {}", shown(value)))
}

impl SettingType for bool {
    const KIND: Kind = Kind::Switch;

    fn to_value(&self) -> Value {
        Value::Boolean(*self)
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| format!("must be true or false, not {}", shown(value)))
    }
}

impl SettingType for usize {
    const KIND: Kind = Kind::Whole;

    fn to_value(&self) -> Value {
        Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let number = whole(value)?;
        // The product of two of these numbers fits into 64 bits.
        let whole = u32::try_from(number).ok().and_then(|number| Self::try_from(number).ok());
        whole.ok_or_else(|| format!("must be from 0 to {}, not {number}", u32::MAX))
    }
}

/// Numbers above TOML's largest whole number are written as text.
impl SettingType for u64 {
    const KIND: Kind = Kind::Whole;

    fn to_value(&self) -> Value {
        i64::try_from(*self).map_or_else(|_| Value::String(self.to_string()), Value::Integer)
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        if let Value::String(text) = value
            && let Ok(number) = text.parse()
        {
            return Ok(number);
        }
        let number = whole(value)?;
        Self::try_from(number).map_err(|_| format!("must be at least 0, not {number}"))
    }
}

impl SettingType for f64 {
    const KIND: Kind = Kind::Number;

    fn to_value(&self) -> Value {
        Value::Float(*self)
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        number(value).ok_or_else(|| format!("must be a number, not {}", shown(value)))
    }
}

impl SettingType for String {
    const KIND: Kind = Kind::Text;

    fn to_value(&self) -> Value {
        Value::String(self.clone())
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        Ok(shown(value))
    }
}

impl SettingType for Background {
    const KIND: Kind = Kind::Background;

    fn to_value(&self) -> Value {
        Value::String(self.to_string())
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let parsed: Result<Self, _> = shown(value).parse();
        parsed.map_err(|error| error.to_string())
    }
}

impl<T: SettingType> SettingType for Option<T> {
    const KIND: Kind = T::KIND;
    const IS_OPTIONAL: bool = true;

    fn to_value(&self) -> Value {
        self.as_ref().map_or_else(|| Value::String(NONE.to_owned()), T::to_value)
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) if text == NONE => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}
