//! Everything about a run in one value, from presets, a TOML file and single settings.

use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use zoo_core::Background;

use crate::{Augment, Error};

/// All that a run is told. What it writes to `config.toml`, another run can be started from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What the other values start from.
    pub preset: Preset,
    /// What all random numbers come from.
    pub seed: u64,
    /// Which images.
    pub data: DataConfig,
    /// Which network.
    pub model: ModelConfig,
    /// How it is trained.
    pub recipe: Recipe,
    /// How training images are changed at random.
    pub augment: Augment,
}

/// A set of good values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// A new classifier on features that stay as they are.
    Linear,
    /// All layers, starting from published weights. BatchNorm stays as it is.
    Fine,
    /// All layers, starting from nothing.
    Scratch,
    /// A network that tells pixels apart, starting from nothing.
    Segment,
}

/// What is learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// What is in an image.
    Classify,
    /// What each of its pixels is.
    Segment,
}

/// Which images, and how they are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// What is learned.
    pub task: TaskKind,
    /// A folder of folders, a list (`.csv`, `.jsonl`), or `fashion-mnist:FOLDER`; for segmentation
    /// a folder with `images` and `masks`.
    pub path: String,
    /// Share of each class that is kept for validation where the data does not say.
    pub val_fraction: f64,
    /// What is done where some classes have more images than others.
    pub balance: Balance,
    /// Memory for decoded images, in MiB.
    pub cache_mib: usize,
    /// Threads that decode, resize and augment; 0 for one a core.
    pub workers: usize,
    /// What transparent images are laid over: a color such as `white` or `#f0f0ff`; `none` for what
    /// the network was trained with, or else to drop transparency.
    pub background: Background,
}

/// What is done where some classes have more images than others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// Nothing.
    None,
    /// Images of rare classes weigh more in the loss.
    Weights,
    /// Images of rare classes are shown more often.
    Samples,
}

/// Which network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A variant's name, with a tag where several weights are published.
    pub name: String,
    /// A record or a checkpoint to start from; empty for the published weights.
    pub weights: String,
    /// Whether to start from weights at all.
    pub pretrained: bool,
    /// Side of the images in pixels; 0 for what the network was made for.
    pub image_size: usize,
}

/// How a network is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Whether all layers are trained, or the new classifier only.
    pub do_fine_tuning: bool,
    /// Before all layers are trained: epochs of training a new classifier alone, on features that
    /// are computed once. From a classifier that knows nothing, the first steps spoil pretrained
    /// layers (Kumar et al., arXiv:2202.10054). 0 for none.
    pub linear_epochs: usize,
    /// Times that each image is seen.
    pub epochs: usize,
    /// Images in a step.
    pub batch_size: usize,
    /// What turns gradients into steps.
    pub optimizer: OptimizerKind,
    /// The highest learning rate.
    pub lr: f64,
    /// The learning rate of pretrained layers as a multiple of the classifier's.
    pub backbone_lr_scale: f64,
    /// How the learning rate goes on after warming up.
    pub schedule: Schedule,
    /// Epochs in which it rises to `lr`.
    pub warmup_epochs: f64,
    /// For `schedule = "step"`: epochs between steps, each a tenth of the one before.
    pub step_epochs: f64,
    /// Of SGD and RMSprop.
    pub momentum: f64,
    /// Pulls weights to zero, except those of norms and biases.
    pub weight_decay: f64,
    /// Share of the target that goes to all classes alike.
    pub label_smoothing: f64,
    /// Probability of dropping a feature before the classifier; negative for the network's own,
    /// or none with a frozen backbone.
    pub dropout: f64,
    /// Whether residual branches are dropped, where the architecture does that.
    pub stochastic_depth: bool,
    /// Largest norm of all gradients together; 0 for any.
    pub clip: f64,
    /// Batches whose gradients are added up for one step.
    pub accumulate: usize,
    /// Decay of the moving average of the weights that is kept in their place; 0 for none.
    pub ema: f64,
    /// Epochs without a better result after which to stop; 0 for never.
    pub early_stopping: usize,
    /// Everything up to and including this part stays as it is; empty for none.
    pub freeze_until: String,
    /// What BatchNorm does when all layers are trained.
    pub batch_norm: BatchNormMode,
    /// With a frozen backbone: how many views of each image there are, the plain one first.
    pub views: usize,
    /// Steps between checkpoints within an epoch; 0 for one at the end of each epoch only.
    pub checkpoint_steps: usize,
}

/// What turns gradients into steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with Nesterov's momentum.
    Sgd,
    /// Adam.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
    /// RMSprop.
    RmsProp,
}

/// How the learning rate goes on after warming up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Falls to nothing along half a cosine.
    Cosine,
    /// Falls to a tenth every `step_epochs`.
    Step,
    /// Stays.
    Constant,
}

/// What BatchNorm does when all layers are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchNormMode {
    /// Normalises by the batch and learns.
    Train,
    /// Stays as it is, statistics and factors.
    Frozen,
}

impl Config {
    /// The values of a preset.
    pub fn preset(preset: Preset) -> Self {
        let linear = Self {
            preset,
            seed: 0,
            data: DataConfig {
                task: TaskKind::Classify,
                path: String::new(),
                val_fraction: 0.2,
                balance: Balance::None,
                cache_mib: 1024,
                workers: 0,
                background: Background::None,
            },
            model: ModelConfig {
                name: String::new(),
                weights: String::new(),
                pretrained: true,
                image_size: 0,
            },
            recipe: Recipe {
                do_fine_tuning: false,
                linear_epochs: 0,
                epochs: 30,
                batch_size: 32,
                optimizer: OptimizerKind::AdamW,
                lr: 3e-3,
                backbone_lr_scale: 1.0,
                schedule: Schedule::Cosine,
                warmup_epochs: 1.0,
                step_epochs: 10.0,
                momentum: 0.9,
                weight_decay: 1e-2,
                label_smoothing: 0.1,
                dropout: -1.0,
                stochastic_depth: true,
                clip: 0.0,
                accumulate: 1,
                ema: 0.0,
                early_stopping: 0,
                freeze_until: String::new(),
                batch_norm: BatchNormMode::Train,
                views: 2,
                checkpoint_steps: 0,
            },
            augment: Augment::light(),
        };
        match preset {
            Preset::Linear => linear,
            Preset::Fine => Self {
                recipe: Recipe {
                    do_fine_tuning: true,
                    linear_epochs: 30,
                    epochs: 10,
                    batch_size: 16,
                    lr: 3e-4,
                    backbone_lr_scale: 0.5,
                    clip: 1.0,
                    batch_norm: BatchNormMode::Frozen,
                    ..linear.recipe
                },
                ..linear
            },
            Preset::Scratch => Self {
                model: ModelConfig { pretrained: false, ..linear.model },
                recipe: Recipe {
                    do_fine_tuning: true,
                    epochs: 30,
                    batch_size: 128,
                    optimizer: OptimizerKind::Sgd,
                    lr: 0.05,
                    weight_decay: 5e-4,
                    label_smoothing: 0.0,
                    ..linear.recipe
                },
                augment: Augment::small_images(),
                ..linear
            },
            Preset::Segment => Self {
                data: DataConfig { task: TaskKind::Segment, ..linear.data },
                model: ModelConfig { pretrained: false, image_size: 256, ..linear.model },
                recipe: Recipe {
                    do_fine_tuning: true,
                    epochs: 40,
                    batch_size: 4,
                    lr: 1e-3,
                    ..linear.recipe
                },
                // Masks are cropped and mirrored with their images; nothing else is done to either.
                augment: Augment { colour: 0.0, ..linear.augment },
                ..linear
            },
        }
    }

    /// Puts layers of settings over their preset; later layers win.
    ///
    /// Where no layer names a preset, `recipe.do_fine_tuning` chooses between [`Preset::Fine`]
    /// and [`Preset::Linear`], the default.
    ///
    /// # Errors
    ///
    /// For a key that does not exist, with the nearest that does, and for a value that can't be.
    pub fn from_layers(layers: &[Table]) -> Result<Self, Error> {
        let mut merged = Table::new();
        for layer in layers {
            merge(&mut merged, layer);
        }
        let segments = get(&merged, "data", "task").and_then(Value::as_str) == Some("segment");
        let preset = match (merged.get("preset"), get(&merged, "recipe", "do_fine_tuning")) {
            (Some(name), _) => name.clone().try_into().map_err(|_| {
                invalid(format!("there is no preset {name}"), "linear, fine, scratch or segment")
            })?,
            (None, _) if segments => Preset::Segment,
            (None, Some(Value::Boolean(true))) => Preset::Fine,
            (None, _) => Preset::Linear,
        };
        let defaults = Table::try_from(Self::preset(preset))
            .map_err(|error| Error::Config(error.to_string()))?;
        let known: Vec<String> = paths(&defaults, "");
        for path in paths(&merged, "") {
            if !known.contains(&path) {
                let near = nearest(&path, &known);
                return Err(invalid(
                    format!("there is no setting `{path}`"),
                    &format!("did you mean `{near}`?"),
                ));
            }
        }
        let mut all = defaults;
        merge(&mut all, &merged);
        let config: Self =
            all.try_into().map_err(|error: toml::de::Error| Error::Config(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// Reads a TOML or JSON file as a layer.
    ///
    /// # Errors
    ///
    /// When it can't be read or is neither.
    pub fn read_layer(path: &Path) -> Result<Table, Error> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::read(path, error))?;
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let parsed = if is_json {
            serde_json::from_str(&text).map_err(|error| error.to_string())
        } else {
            toml::from_str(&text).map_err(|error: toml::de::Error| error.to_string())
        };
        parsed.map_err(|reason| Error::Config(format!("{}: {reason}", path.display())))
    }

    /// Reads `recipe.lr=0.01` as a layer; what is not TOML is taken for text.
    ///
    /// # Errors
    ///
    /// When there is no `=`.
    pub fn setting(text: &str) -> Result<Table, Error> {
        let (path, value) = text.split_once('=').ok_or_else(|| {
            invalid(format!("`{text}` is no setting"), "write it as recipe.lr=0.01")
        })?;
        let document = format!("value = {value}");
        let value = document
            .parse::<Table>()
            .ok()
            .and_then(|mut table| table.remove("value"))
            .unwrap_or_else(|| Value::String(value.to_owned()));
        let mut keys = path.trim().rsplit('.');
        let last = keys.next().unwrap_or_default();
        let innermost = Table::from_iter([(last.to_owned(), value)]);
        Ok(keys.fold(innermost, |inner, key| {
            Table::from_iter([(key.to_owned(), Value::Table(inner))])
        }))
    }

    /// The configuration as the text of a TOML file.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a configuration is a table of plain values")
    }

    fn check(&self) -> Result<(), Error> {
        let Recipe {
            epochs,
            batch_size,
            accumulate,
            lr,
            backbone_lr_scale,
            warmup_epochs,
            step_epochs,
            momentum,
            weight_decay,
            clip,
            ema,
            label_smoothing,
            views,
            dropout,
            ..
        } = self.recipe;
        let is_size = |value: f64| value.is_finite() && value >= 0.0;
        let ensure = |holds: bool, what: &str, hint: &str| {
            if holds { Ok(()) } else { Err(invalid(what.to_owned(), hint)) }
        };
        ensure(epochs > 0, "recipe.epochs is 0", "an epoch is the least")?;
        ensure(batch_size > 0, "recipe.batch_size is 0", "one image is the least")?;
        ensure(accumulate > 0, "recipe.accumulate is 0", "1 makes a step of each batch")?;
        ensure(
            (1..=MOST_VIEWS).contains(&views),
            "recipe.views is not from 1 to 1000",
            "1 is the plain view alone",
        )?;
        ensure(
            self.model.image_size <= MAX_SIDE,
            "model.image_size (--size) is above 4096",
            "224 is usual",
        )?;
        ensure(lr > 0.0 && lr <= 1.0, "recipe.lr is not above 0 and at most 1", "0.001 is usual")?;
        ensure((0.0..1.0).contains(&ema), "recipe.ema is not in [0, 1)", "0.999 is usual")?;
        ensure(
            (0.0..1.0).contains(&label_smoothing),
            "recipe.label_smoothing is not in [0, 1)",
            "0.1 is usual",
        )?;
        ensure(
            dropout.is_finite() && dropout < 1.0,
            "recipe.dropout is not below 1",
            "0.2 is usual",
        )?;
        let backbone_lr = lr * backbone_lr_scale;
        ensure(
            backbone_lr > 0.0 && backbone_lr <= 1.0,
            "recipe.lr times recipe.backbone_lr_scale is not above 0 and at most 1",
            "a backbone_lr_scale of 0.3 is usual; freeze_until keeps layers as they are",
        )?;
        ensure((0.0..1.0).contains(&momentum), "recipe.momentum is not in [0, 1)", "0.9 is usual")?;
        ensure(
            is_size(weight_decay),
            "recipe.weight_decay is below 0 or no number",
            "0.01 is usual",
        )?;
        ensure(is_size(clip), "recipe.clip is below 0 or no number", "0 does not clip")?;
        ensure(
            is_size(warmup_epochs),
            "recipe.warmup_epochs is below 0 or no number",
            "1 is usual",
        )?;
        ensure(
            step_epochs > 0.0 && step_epochs.is_finite(),
            "recipe.step_epochs is not above 0",
            "10 is usual",
        )?;
        ensure(
            (0.0..1.0).contains(&self.data.val_fraction),
            "data.val_fraction is not in [0, 1)",
            "0.2 keeps a fifth of each class for validation",
        )?;
        let Self { data, model, recipe, .. } = self;
        ensure(
            recipe.do_fine_tuning || data.task == TaskKind::Classify,
            "recipe.do_fine_tuning is false, but what tells pixels apart is trained as a whole",
            "leave --do-fine-tuning out",
        )?;
        ensure(
            recipe.do_fine_tuning || model.pretrained,
            "recipe.do_fine_tuning is false, but the network starts from nothing: there are no \
             features to train a classifier on",
            "--preset linear starts from published weights, --do-fine-tuning true trains all layers",
        )?;
        self.augment.check()
    }

    /// The run that trains the classifier alone before this one, where there is to be one.
    pub(crate) fn linear_stage(&self) -> Option<Self> {
        let Recipe { do_fine_tuning, linear_epochs: epochs, label_smoothing, .. } = self.recipe;
        if !do_fine_tuning || epochs == 0 || !self.model.pretrained {
            return None;
        }
        let preset = Preset::Linear;
        let recipe = Recipe { epochs, label_smoothing, ..Self::preset(preset).recipe };
        Some(Self { preset, recipe, ..self.clone() })
    }

    /// Threads that load images.
    pub fn workers(&self) -> usize {
        match self.data.workers {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().max(2)),
            workers => workers,
        }
    }

    /// A sentence, with what to do, about each setting that was given and changes nothing, and about
    /// settings that don't go together.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let table = |config: &Self| Table::try_from(config).unwrap_or_default();
        let [given, usual] = [table(self), table(&Self::preset(self.preset))];
        let is_given = |setting: &str| {
            let (section, key) = setting.split_once('.').unwrap_or_default();
            get(&given, section, key) != get(&usual, section, key)
        };
        let idle = self.idle().into_iter().filter(|idle| is_given(idle.setting));
        let mut warnings: Vec<String> = idle.map(|idle| idle.to_string()).collect();
        let recipe = &self.recipe;
        if recipe.do_fine_tuning
            && !self.model.pretrained
            && recipe.batch_norm == BatchNormMode::Frozen
        {
            warnings.push(
                "recipe.batch_norm is frozen, but the network starts from nothing, so that there are \
                 no statistics yet\nhint: --preset scratch, or --set recipe.batch_norm=train"
                    .to_owned(),
            );
        }
        let contradiction = match (self.preset, recipe.do_fine_tuning) {
            (Preset::Linear, true) => {
                Some(("all layers are trained", "linear", "the classifier alone", "fine"))
            }
            (Preset::Fine, false) => {
                Some(("only the classifier is trained", "fine", "all layers", "linear"))
            }
            _ => None,
        };
        if let Some((what, preset, meant_for, other)) = contradiction {
            warnings.push(format!(
                "{what}, but the preset {preset} is for {meant_for}\nhint: --preset {other}"
            ));
        }
        warnings
    }

    /// Settings that would change nothing.
    fn idle(&self) -> Vec<Idle> {
        let Self { recipe, augment, .. } = self;
        let segments = self.data.task == TaskKind::Segment;
        let is_frozen = !recipe.do_fine_tuning && !segments;
        let has_momentum = matches!(recipe.optimizer, OptimizerKind::Sgd | OptimizerKind::RmsProp);
        let mut idle = Vec::new();
        let mut add = |is_idle: bool, settings: &[&'static str], why, hint| {
            if is_idle {
                idle.extend(settings.iter().map(|&setting| Idle { setting, why, hint }));
            }
        };
        add(
            is_frozen,
            &[
                "recipe.backbone_lr_scale",
                "recipe.batch_norm",
                "recipe.freeze_until",
                "recipe.linear_epochs",
                "recipe.stochastic_depth",
                "augment.mixup",
                "augment.cutmix",
            ],
            "only the classifier is trained",
            "--do-fine-tuning true trains all layers",
        );
        add(
            is_frozen && recipe.views == 1,
            &[
                "augment.crop_scale",
                "augment.crop_padding",
                "augment.flip",
                "augment.colour",
                "augment.rotation",
                "augment.rand_augment",
                "augment.rand_magnitude",
                "augment.erase",
            ],
            "there is one view of each image, the plain one",
            "--set recipe.views=2 adds one that is augmented",
        );
        add(
            segments,
            &["data.balance", "recipe.label_smoothing", "recipe.linear_epochs", "recipe.views"],
            "pixels are told apart",
            "leave it out",
        );
        add(
            segments,
            &[
                "augment.crop_padding",
                "augment.colour",
                "augment.rotation",
                "augment.rand_augment",
                "augment.rand_magnitude",
                "augment.erase",
                "augment.mixup",
                "augment.cutmix",
            ],
            "images with masks are only cropped and mirrored",
            "augment.crop_scale and augment.flip say how",
        );
        add(
            recipe.do_fine_tuning && !segments,
            &["recipe.views"],
            "all layers are trained, with new views in each epoch",
            "--do-fine-tuning false trains the classifier alone",
        );
        add(
            recipe.do_fine_tuning && !segments && !self.model.pretrained,
            &["recipe.linear_epochs"],
            "the network starts from nothing",
            "--preset fine starts from published weights",
        );
        add(
            !has_momentum,
            &["recipe.momentum"],
            "the optimizer has none",
            "--optimizer sgd or rmsprop has",
        );
        add(
            recipe.schedule != Schedule::Step,
            &["recipe.step_epochs"],
            "the learning rate does not fall in steps",
            "--set recipe.schedule=step lets it",
        );
        add(
            augment.rand_augment == 0 && !segments,
            &["augment.rand_magnitude"],
            "RandAugment is off",
            "--set augment.rand_augment=2 turns it on",
        );
        add(
            augment.crop_scale < 1.0 && !segments,
            &["augment.crop_padding"],
            "images are cropped at random",
            "--set augment.crop_scale=1 takes the plain view",
        );
        idle
    }
}

/// A setting that changes nothing.
struct Idle {
    setting: &'static str,
    why: &'static str,
    hint: &'static str,
}

impl std::fmt::Display for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { setting, why, hint } = self;
        write!(f, "{setting} has no effect: {why}\nhint: {hint}")
    }
}

/// Most views of an image whose features are kept.
const MOST_VIEWS: usize = 1000;

/// The largest image side that a record can be of.
const MAX_SIDE: usize = 4096;

fn invalid(what: String, hint: &str) -> Error {
    Error::Config(format!("{what}\nhint: {hint}"))
}

fn merge(target: &mut Table, layer: &Table) {
    for (key, value) in layer {
        match (target.get_mut(key), value) {
            (Some(Value::Table(inner)), Value::Table(layer)) => merge(inner, layer),
            // `lr = 1` means 1.0 where a fraction is expected.
            (Some(old @ Value::Float(_)), Value::Integer(number)) => {
                *old = Value::Float(*number as f64);
            }
            _ => {
                target.insert(key.clone(), value.clone());
            }
        }
    }
}

fn get<'a>(table: &'a Table, section: &str, key: &str) -> Option<&'a Value> {
    table.get(section)?.as_table()?.get(key)
}

/// The dotted paths of all values.
fn paths(table: &Table, prefix: &str) -> Vec<String> {
    table
        .iter()
        .flat_map(|(key, value)| match value {
            Value::Table(inner) => paths(inner, &format!("{prefix}{key}.")),
            _ => vec![format!("{prefix}{key}")],
        })
        .collect()
}

/// The known path that looks most like a wrong one; its last part counts most.
fn nearest<'a>(path: &str, known: &'a [String]) -> &'a str {
    let key = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let similarity = |candidate: &str| {
        strsim::jaro_winkler(&key(candidate), &key(path)) + 0.5 * strsim::jaro(candidate, path)
    };
    known.iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b))).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn layers_win_over_presets_and_later_ones_over_earlier() {
        let file = layer("preset = \"fine\"\n[recipe]\nlr = 0.5\nepochs = 3");
        let config = Config::from_layers(&[file, Config::setting("recipe.lr=1").unwrap()]).unwrap();
        assert_eq!((config.recipe.lr, config.recipe.epochs), (1.0, 3));
        assert_eq!(config.recipe.batch_size, Config::preset(Preset::Fine).recipe.batch_size);
    }

    #[test]
    fn what_is_written_can_be_read() {
        for preset in [Preset::Linear, Preset::Fine, Preset::Scratch, Preset::Segment] {
            let config = Config::preset(preset);
            assert_eq!(Config::from_layers(&[layer(&config.to_toml())]).unwrap(), config);
        }
    }

    #[test]
    fn a_typo_names_the_nearest_setting() {
        let error = Config::from_layers(&[layer("[recipe]\nlearning_rate = 1\nepoch = 3")]);
        let text = error.unwrap_err().to_string();
        assert!(text.contains("`recipe.epoch`") && text.contains("`recipe.epochs`"), "{text}");
        let text = Config::from_layers(&[layer("weight_decya = 3")]).unwrap_err().to_string();
        assert!(text.contains("`recipe.weight_decay`"), "{text}");
    }

    /// What is said of settings.
    fn warnings(settings: &[&str]) -> Vec<String> {
        let layers: Vec<_> =
            settings.iter().map(|setting| Config::setting(setting).unwrap()).collect();
        Config::from_layers(&layers).unwrap().warnings()
    }

    #[test]
    fn settings_without_effect_are_named_with_what_to_do() {
        for (settings, named, hint) in [
            ("augment.mixup=0.2", "augment.mixup", "--do-fine-tuning true"),
            ("augment.cutmix=1", "augment.cutmix", "--do-fine-tuning true"),
            ("recipe.freeze_until=stem", "recipe.freeze_until", "--do-fine-tuning true"),
            ("recipe.backbone_lr_scale=0.1", "recipe.backbone_lr_scale", "--do-fine-tuning true"),
            ("recipe.linear_epochs=3", "recipe.linear_epochs", "--do-fine-tuning true"),
            ("recipe.stochastic_depth=false", "recipe.stochastic_depth", "--do-fine-tuning true"),
            ("recipe.views=1 augment.erase=1", "augment.erase", "recipe.views=2"),
            ("recipe.momentum=0.5", "recipe.momentum", "--optimizer sgd"),
            ("recipe.step_epochs=3", "recipe.step_epochs", "recipe.schedule=step"),
            ("augment.rand_magnitude=3", "augment.rand_magnitude", "augment.rand_augment=2"),
            ("augment.crop_padding=0.2", "augment.crop_padding", "augment.crop_scale=1"),
            ("preset=fine recipe.views=3", "recipe.views", "--do-fine-tuning false"),
            ("preset=scratch recipe.linear_epochs=3", "recipe.linear_epochs", "--preset fine"),
            ("preset=segment augment.mixup=0.2", "augment.mixup", "augment.crop_scale"),
            ("preset=segment data.balance=weights", "data.balance", "leave it out"),
            ("preset=linear recipe.do_fine_tuning=true", "the preset linear", "--preset fine"),
            ("preset=fine recipe.do_fine_tuning=false", "the preset fine", "--preset linear"),
            ("preset=scratch recipe.batch_norm=frozen", "recipe.batch_norm", "batch_norm=train"),
            ("preset=fine model.pretrained=false", "recipe.batch_norm", "--preset scratch"),
        ] {
            let warnings = warnings(&settings.split(' ').collect::<Vec<_>>());
            let [warning] = &warnings[..] else { panic!("{settings}: {warnings:?}") };
            let (what, to_do) = warning.split_once("\nhint: ").unwrap();
            assert!(what.contains(named) && to_do.contains(hint), "{settings}: {warning}");
        }
    }

    #[test]
    fn settings_with_an_effect_or_of_the_preset_are_passed_over() {
        for settings in [
            "preset=linear",
            "preset=fine",
            "preset=scratch",
            "preset=segment",
            "augment.erase=1 augment.flip=0 recipe.dropout=0.9 data.balance=weights",
            "augment.mixup=0 recipe.backbone_lr_scale=1",
            "recipe.do_fine_tuning=true recipe.freeze_until=stem augment.mixup=0.2",
            "preset=scratch recipe.momentum=0.5 recipe.backbone_lr_scale=0.5",
            "recipe.schedule=step recipe.step_epochs=3",
            "preset=segment augment.flip=0 recipe.freeze_until=stem",
        ] {
            let warnings = warnings(&settings.split(' ').collect::<Vec<_>>());
            assert!(warnings.is_empty(), "{settings}: {warnings:?}");
        }
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        for (settings, hint) in [
            (["preset=scratch", "recipe.do_fine_tuning=false"], "--preset linear"),
            (["preset=linear", "model.pretrained=false"], "--do-fine-tuning true"),
            (["data.task=segment", "recipe.do_fine_tuning=false"], "leave --do-fine-tuning out"),
        ] {
            let layers = settings.map(|setting| Config::setting(setting).unwrap());
            let text = Config::from_layers(&layers).unwrap_err().to_string();
            assert!(text.contains("recipe.do_fine_tuning is false"), "{text}");
            assert!(text.split_once("\nhint: ").unwrap().1.contains(hint), "{text}");
        }
    }

    #[test]
    fn impossible_values_are_refused() {
        for setting in [
            "recipe.epochs=0",
            "recipe.lr=2",
            "recipe.lr=nan",
            "recipe.lr=fast",
            "recipe.backbone_lr_scale=0",
            "recipe.backbone_lr_scale=1e9",
            "recipe.momentum=1",
            "recipe.weight_decay=-1",
            "recipe.clip=inf",
            "recipe.clip=nan",
            "recipe.warmup_epochs=nan",
            "recipe.step_epochs=0",
            "recipe.views=1001",
            "model.image_size=4097",
            "data.val_fraction=1",
            "augment.rotation=181",
            "augment.colour=nan",
            "augment.rand_magnitude=31",
            "augment.mixup=nan",
            "augment.cutmix=inf",
        ] {
            let layer = Config::setting(setting).unwrap();
            assert!(Config::from_layers(&[layer]).is_err(), "{setting}");
        }
    }
}
