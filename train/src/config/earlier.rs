//! The run identities of zoo 0.1.0. They are based on the text of a configuration, in which a
//! setting that is not set was -1, 0 or empty.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};
use toml::Value;
use zoo_core::{Background, Interpolation, Preprocess};
use zoo_record::{ModelCard, Origin};

use super::{Config, Setting};

/// The settings of zoo 0.1.0 in their order, each with its value if it was not set. Settings that
/// may change in a resumed run are 0.
const SETTINGS: [(&str, &[(&str, Unset)]); 4] = [
    (
        "data",
        &[
            ("task", Unset::Never),
            ("path", Unset::Text),
            ("val_fraction", Unset::Never),
            ("balance", Unset::Never),
            ("cache_mib", Unset::Always),
            ("workers", Unset::Always),
            ("background", Unset::Never),
        ],
    ),
    (
        "model",
        &[
            ("name", Unset::Text),
            ("weights", Unset::Text),
            ("pretrained", Unset::Never),
            ("image_size", Unset::Whole),
        ],
    ),
    (
        "recipe",
        &[
            ("do_fine_tuning", Unset::Never),
            ("linear_epochs", Unset::Never),
            ("epochs", Unset::Always),
            ("batch_size", Unset::Never),
            ("optimizer", Unset::Never),
            ("lr", Unset::Never),
            ("backbone_lr_scale", Unset::Never),
            ("schedule", Unset::Never),
            ("warmup_epochs", Unset::Never),
            ("step_epochs", Unset::Never),
            ("momentum", Unset::Never),
            ("weight_decay", Unset::Never),
            ("label_smoothing", Unset::Never),
            ("dropout", Unset::Number(-1.0)),
            ("stochastic_depth", Unset::Never),
            ("clip", Unset::Number(0.0)),
            ("accumulate", Unset::Never),
            ("ema", Unset::Number(0.0)),
            ("early_stopping", Unset::Whole),
            ("freeze_until", Unset::Text),
            ("batch_norm", Unset::Never),
            ("views", Unset::Never),
            ("checkpoint_steps", Unset::Always),
        ],
    ),
    (
        "augment",
        &[
            ("crop_scale", Unset::Never),
            ("crop_padding", Unset::Never),
            ("flip", Unset::Never),
            ("colour", Unset::Never),
            ("rotation", Unset::Never),
            ("rand_augment", Unset::Never),
            ("rand_magnitude", Unset::Never),
            ("erase", Unset::Never),
            ("mixup", Unset::Never),
            ("cutmix", Unset::Never),
        ],
    ),
];

/// The value that stood for a setting that is not set.
#[derive(Clone, Copy)]
enum Unset {
    /// The setting always has a value.
    Never,
    /// 0, whatever the value is.
    Always,
    Whole,
    Number(f64),
    Text,
}

/// Returns the identities that zoo 0.1.0 may have given to a run: with the images in their current
/// folder, and with them in `root`, their earlier folder.
///
/// `images` are the names of the image files and their classes.
pub(crate) fn identities(
    config: &Config,
    card: &ModelCard,
    images: &[(String, usize)],
    root: Option<&str>,
) -> Vec<String> {
    let here = config.data.path.as_deref().unwrap_or_default();
    let roots = std::iter::once(here).chain(root);
    roots
        .map(|root| {
            let moved = config.clone().with_path(Some(root.to_owned()));
            let mut text = format!("{}\n{}\n", to_toml(&moved), Card(card));
            for (name, class) in images {
                let name = match name.strip_prefix(here) {
                    Some(rest) => format!("{root}{rest}"),
                    None => name.clone(),
                };
                text += &format!("{name} {class}\n");
            }
            format!("{:08x}-{}", crc32c::crc32c(text.as_bytes()), text.len())
        })
        .collect()
}

/// Returns the text of the file that zoo 0.1.0 wrote for a configuration.
fn to_toml(config: &Config) -> String {
    let value = |section: &str, key: &str, unset: Unset| {
        let path = format!("{section}.{key}");
        let value = Setting::find(&path).expect("it is a setting still").value(config);
        let is_set = value.as_str() != Some("none");
        match unset {
            Unset::Always => Value::Integer(0),
            Unset::Whole if !is_set => Value::Integer(0),
            Unset::Number(number) if !is_set => Value::Float(number),
            Unset::Text if !is_set => Value::String(String::new()),
            _ => value,
        }
    };
    let mut top = vec![
        ("preset", Entry::Value(Value::String(config.preset.to_string()))),
        ("seed", Entry::Value(Value::Integer(i64::try_from(config.seed).unwrap_or(i64::MAX)))),
    ];
    for (section, keys) in SETTINGS {
        let entry = |&(key, unset)| (key, Entry::Value(value(section, key, unset)));
        top.push((section, Entry::Section(InOrder(keys.iter().map(entry).collect()))));
    }
    toml::to_string_pretty(&InOrder(top)).expect("it is a table of plain values")
}

/// A table that keeps the order of its entries.
struct InOrder(Vec<(&'static str, Entry)>);

enum Entry {
    Value(Value),
    Section(InOrder),
}

impl Serialize for InOrder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, entry) in &self.0 {
            match entry {
                Entry::Value(value) => map.serialize_entry(key, value)?,
                Entry::Section(section) => map.serialize_entry(key, section)?,
            }
        }
        map.end()
    }
}

/// A card in the format of zoo 0.1.0.
struct Card<'a>(&'a ModelCard);

impl fmt::Display for Card<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Nested<F>(F);
        impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Debug for Nested<F> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0(f)
            }
        }
        let preprocess = |f: &mut fmt::Formatter<'_>| {
            let Preprocess { resize, crop, interpolation, mean, std, background, .. } =
                self.0.preprocess;
            let filter = match interpolation {
                Interpolation::Bilinear => "Bilinear",
                Interpolation::Bicubic => "Bicubic",
            };
            let color = match format!("{:?}", self.0.preprocess.color) {
                gray if gray.starts_with("Gr") => "Grey".to_owned(),
                color => color,
            };
            let background = match background {
                Background::None => "None".to_owned(),
                Background::Color(color) => format!("Color({color:?})"),
            };
            f.debug_struct("Preprocess")
                .field("resize", &resize)
                .field("crop", &crop)
                .field("filter", &format_args!("{filter}"))
                .field("colour", &format_args!("{color}"))
                .field("mean", &mean)
                .field("std", &std)
                .field("background", &format_args!("{background}"))
                .finish()
        };
        let origin = |f: &mut fmt::Formatter<'_>| {
            let Origin { sha256, layout, url, license, .. } = &self.0.origin;
            f.debug_struct("Origin")
                .field("file", &"trained with zoo 0.1.0")
                .field("sha256", sha256)
                .field("layout", layout)
                .field("url", url)
                .field("licence", license)
                .finish()
        };
        let card = self.0;
        f.debug_struct("ModelCard")
            .field("variant", &card.variant)
            .field("tag", &card.tag)
            .field("num_classes", &card.num_classes)
            .field("in_channels", &card.in_channels)
            .field("has_auxiliary", &card.has_auxiliary)
            .field("has_classifier", &card.has_classifier)
            .field("hidden", &card.hidden)
            .field("labels", &card.labels)
            .field("preprocess", &Nested(preprocess))
            .field("origin", &Nested(origin))
            .finish()
    }
}
