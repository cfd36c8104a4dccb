//! Settings as text for people: the commented `config.toml`, and the reference of all settings.

use std::fmt::Write;

use super::setting::shown;
use super::settings::SECTIONS;
use super::{Config, Kind, Preset, SETTINGS, Setting};

/// Characters in a line of a comment.
const WIDTH: usize = 100;

impl Config {
    /// The configuration as the text of a TOML file, each setting below a comment that explains it.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut last = "";
        for setting in SETTINGS {
            let (section, key) = setting.section_and_key();
            if section != last {
                last = section;
                let _ = write!(text, "\n{}[{section}]\n", comment(about(section)));
            }
            let _ =
                write!(text, "\n{}{key} = {}\n", comment(&described(setting)), setting.value(self));
        }
        text.trim_start().to_owned()
    }
}

/// Returns the documentation of a section.
fn about(section: &str) -> &'static str {
    let found = SECTIONS.iter().find(|(name, _)| *name == section);
    found.map_or("", |(_, doc)| doc.trim())
}

/// Returns the documentation of a setting and its allowed values.
fn described(setting: &Setting) -> String {
    let values = match (setting.kind, setting.range()) {
        (Kind::Choice(choices), _) => {
            let names: Vec<_> = choices.iter().map(|choice| choice.name).collect();
            format!(" One of {}.", names.join(", "))
        }
        (_, Some(range)) => {
            let (first, rest) = range.split_at(1);
            format!(" {}{rest}.", first.to_uppercase())
        }
        _ => String::new(),
    };
    format!("{}{values}", joined(setting.doc()))
}

/// Joins several lines into one.
fn joined(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Wraps text as the lines of a comment.
fn comment(text: &str) -> String {
    let mut lines = vec![String::from("#")];
    for word in text.split_whitespace() {
        let mut line = lines.last_mut().expect("there is a line");
        if line.len() + 1 + word.len() > WIDTH {
            lines.push(String::from("#"));
            line = lines.last_mut().expect("there is a line");
        }
        *line += " ";
        *line += word;
    }
    lines.join("\n") + "\n"
}

/// Returns the reference of all settings as a Markdown document.
pub fn reference() -> String {
    let mut text = String::from(
        "# Settings of a training run\n\n\
         Generated from `train/src/config/settings.rs`: `UPDATE_DOCS=1 cargo test -p zoo-tests \
         --test docs`.\n\n\
         `zoo finetune --set KEY=VALUE` gives a setting a value; some settings also have their own \
         option. A run writes all settings to `config.toml`, which `--config` reads. \
         The value `none` means that a setting is not set.\n\n\
         The default is that of the preset `linear`; presets that have another value are listed after \
         it.\n",
    );
    let mut last = None;
    for setting in SETTINGS {
        let (section, key) = setting.section_and_key();
        if last != Some(section) {
            last = Some(section);
            match section {
                "" => text += "\n## At the top of the file\n\n",
                section => {
                    let _ = write!(text, "\n## `{section}`\n\n{}\n\n", about(section));
                }
            }
            text += "| setting | option | values | default | meaning |\n|---|---|---|---|---|\n";
        }
        let flag = setting.flag.map_or_else(String::new, |flag| format!("`--{}`", flag.name));
        let _ = writeln!(
            text,
            "| `{key}` | {flag} | {} | {} | {} |",
            values(setting),
            defaults(setting),
            joined(setting.doc()).replace('|', "\\|")
        );
    }
    text += "\n## Words\n";
    let mut told = Vec::new();
    for setting in SETTINGS {
        if let Kind::Choice(choices) = setting.kind
            && !told.contains(&choices)
        {
            told.push(choices);
            let _ = write!(text, "\n`{}`:\n\n", setting.path);
            for choice in choices {
                let _ = writeln!(text, "- `{}`: {}", choice.name, joined(choice.doc()));
            }
        }
    }
    text
}

/// Returns the allowed values of a setting, for a cell of a table.
fn values(setting: &Setting) -> String {
    let values = match setting.kind {
        Kind::Switch => "true or false".to_owned(),
        Kind::Whole => "whole number".to_owned(),
        Kind::Number => "number".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Background => "`none` or a color".to_owned(),
        Kind::Choice(choices) => {
            let names: Vec<_> = choices.iter().map(|choice| format!("`{}`", choice.name)).collect();
            names.join(", ")
        }
    };
    let range = setting.range().map_or_else(String::new, |range| format!(" {range}"));
    format!("{values}{range}{}", if setting.is_optional { ", or `none`" } else { "" })
}

/// Returns the default of a setting, and the presets that have another value.
fn defaults(setting: &Setting) -> String {
    let usual = setting.value(&Config::default());
    let mut text = format!("`{}`", shown(&usual));
    if setting.path == "preset" {
        return text;
    }
    for &preset in Preset::ALL {
        let value = setting.value(&Config::preset(preset));
        if value != usual {
            let _ = write!(text, "; {preset} `{}`", shown(&value));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_explained_in_the_file() {
        let text = Config::fine().to_toml();
        let mut lines = text.lines().peekable();
        let mut explained = 0;
        while let Some(line) = lines.next() {
            assert!(line.chars().count() <= WIDTH, "{line}");
            if line.starts_with('#') && lines.peek().is_some_and(|next| next.contains(" = ")) {
                explained += 1;
            }
        }
        assert_eq!(explained, SETTINGS.len());
        assert!(text.contains("\n[recipe]\n") && text.contains("\nclip = 1.0\n"), "{text}");
        assert!(text.contains("\nema = \"none\"\n"), "{text}");
    }

    #[test]
    fn the_reference_has_a_line_for_each_setting() {
        let text = reference();
        for setting in SETTINGS {
            let (_, key) = setting.section_and_key();
            assert_eq!(text.matches(&format!("\n| `{key}` |")).count(), 1, "{key}");
        }
        assert!(text.contains("above 0 and at most 1") && text.contains("fine `10`"), "{text}");
    }
}
