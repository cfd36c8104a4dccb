//! The configuration of a run, from a preset, files and single settings.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use crate::Error;

mod choice;
mod document;
mod earlier;
mod effect;
mod setting;
mod settings;

pub use choice::{
    Balance, BatchNormMode, Choice, OptimizerKind, Preset, Schedule, TaskKind, UnknownChoice,
};
pub use document::reference;
pub(crate) use earlier::identities as earlier_identities;
pub use setting::{Flag, Kind, Setting};
pub use settings::{Augment, Config, DataConfig, ModelConfig, Recipe, SETTINGS};

impl Config {
    /// Trains a new classifier on frozen features.
    pub fn linear() -> Self {
        Self::default()
    }

    /// Trains all layers, starting from published weights. BatchNorm is frozen.
    pub fn fine() -> Self {
        let linear = Self::linear();
        Self {
            preset: Preset::Fine,
            recipe: Recipe {
                do_fine_tuning: true,
                linear_epochs: 30,
                epochs: 10,
                batch_size: 16,
                lr: 3e-4,
                backbone_lr_scale: 0.5,
                clip: Some(1.0),
                batch_norm: BatchNormMode::Frozen,
                ..linear.recipe
            },
            ..linear
        }
    }

    /// Trains all layers from scratch.
    pub fn scratch() -> Self {
        let linear = Self::linear();
        Self {
            preset: Preset::Scratch,
            model: ModelConfig { pretrained: false, ..linear.model },
            recipe: Recipe {
                do_fine_tuning: true,
                batch_size: 128,
                optimizer: OptimizerKind::Sgd,
                lr: 0.05,
                weight_decay: 5e-4,
                label_smoothing: 0.0,
                ..linear.recipe
            },
            augment: Augment::small_images(),
            ..linear
        }
    }

    /// Trains a network for semantic segmentation from scratch.
    pub fn segment() -> Self {
        let linear = Self::linear();
        Self {
            preset: Preset::Segment,
            data: DataConfig { task: TaskKind::Segment, ..linear.data },
            model: ModelConfig { pretrained: false, image_size: Some(256), ..linear.model },
            recipe: Recipe {
                do_fine_tuning: true,
                epochs: 40,
                batch_size: 4,
                lr: 1e-3,
                ..linear.recipe
            },
            // Masks are cropped and mirrored with their images, and there is no other augmentation.
            augment: Augment { color: 0.0, ..linear.augment },
            ..linear
        }
    }

    /// Returns the values of a preset.
    pub fn preset(preset: Preset) -> Self {
        match preset {
            Preset::Linear => Self::linear(),
            Preset::Fine => Self::fine(),
            Preset::Scratch => Self::scratch(),
            Preset::Segment => Self::segment(),
        }
    }

    /// Applies layers of settings to their preset; later layers win.
    ///
    /// If no layer names a preset, `data.task` and `recipe.do_fine_tuning` choose it:
    /// [`Preset::Segment`], [`Preset::Fine`] or [`Preset::Linear`].
    ///
    /// # Errors
    ///
    /// For an unknown setting, with the nearest known name, and for a value that is not allowed.
    pub fn from_layers(layers: &[Table]) -> Result<Self, Error> {
        let mut given: BTreeMap<&str, (&Setting, Value)> = BTreeMap::new();
        for (path, value) in layers.iter().flat_map(|layer| leaves(layer, "")) {
            let setting = Setting::find(&path).ok_or_else(|| unknown(&path))?;
            given.insert(setting.path, (setting, value));
        }
        let mut choice = Self::default();
        for path in ["preset", "data.task", "recipe.do_fine_tuning"] {
            if let Some((setting, value)) = given.get(path) {
                setting.assign(&mut choice, value)?;
            }
        }
        let preset = match (choice.data.task, choice.recipe.do_fine_tuning) {
            _ if given.contains_key("preset") => choice.preset,
            (TaskKind::Segment, _) => Preset::Segment,
            (TaskKind::Classify, true) => Preset::Fine,
            (TaskKind::Classify, false) => Preset::Linear,
        };
        let mut config = Self::preset(preset);
        for (setting, value) in given.values() {
            setting.assign(&mut config, value)?;
        }
        config.check()?;
        Ok(config)
    }

    /// Reads a TOML or JSON file as a layer.
    ///
    /// # Errors
    ///
    /// When the file can't be read, or is neither TOML nor JSON.
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

    /// Reads `recipe.lr=0.01` as a layer. A value that is not TOML is read as text.
    ///
    /// # Errors
    ///
    /// When there is no `=`, or the setting is unknown.
    pub fn setting(text: &str) -> Result<Table, Error> {
        let (path, value) = text.split_once('=').ok_or_else(|| {
            invalid(&format!("`{text}` is no setting"), "write it as recipe.lr=0.01")
        })?;
        let setting = Setting::find(path.trim()).ok_or_else(|| unknown(path.trim()))?;
        Ok(setting.layer(setting.parse(value)))
    }

    /// Checks that numbers are in their range and that settings do not contradict each other.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for setting in SETTINGS {
            setting.assign(&mut self.clone(), &setting.value(self))?;
        }
        let Self { data, model, recipe, .. } = self;
        let ensure = |holds: bool, what: &str, hint: &str| {
            if holds { Ok(()) } else { Err(invalid(what, hint)) }
        };
        ensure(
            recipe.lr * recipe.backbone_lr_scale <= 1.0,
            "recipe.lr times recipe.backbone_lr_scale must be at most 1",
            "a recipe.backbone_lr_scale of 0.5 is usual",
        )?;
        ensure(
            recipe.do_fine_tuning || data.task == TaskKind::Classify,
            "recipe.do_fine_tuning is false, but what tells pixels apart is trained as a whole",
            "leave recipe.do_fine_tuning out",
        )?;
        ensure(
            recipe.do_fine_tuning || model.pretrained,
            "recipe.do_fine_tuning is false, but the network starts from nothing: there are no \
             features to train a classifier on",
            "preset=linear starts from published weights, recipe.do_fine_tuning=true trains all \
             layers",
        )
    }

    /// Returns the first stage, which trains only the classifier, if the recipe has one.
    pub(crate) fn linear_stage(&self) -> Option<Self> {
        let Recipe { do_fine_tuning, linear_epochs: epochs, label_smoothing, .. } = self.recipe;
        let classifies = self.data.task == TaskKind::Classify;
        if !classifies || !do_fine_tuning || epochs == 0 || !self.model.pretrained {
            return None;
        }
        let recipe = Recipe { epochs, label_smoothing, ..Self::linear().recipe };
        Some(Self { preset: Preset::Linear, recipe, ..self.clone() })
    }

    /// Number of threads that load images.
    pub fn workers(&self) -> usize {
        self.data.workers.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, |cores| cores.get().max(2))
        })
    }

    /// Returns the settings that decide the result of a run, a line each. Settings with their
    /// declared default are left out, so that a setting of a later version does not change the
    /// identity.
    pub(crate) fn identity(&self) -> String {
        let usual = Self::default();
        let decisive = SETTINGS.iter().filter(|setting| !setting.is_resumable);
        let changed = decisive.filter(|setting| setting.value(self) != setting.value(&usual));
        changed.map(|setting| format!("{} = {}\n", setting.path, setting.value(self))).collect()
    }
}

impl Setting {
    /// Returns a layer of settings with a value of this one.
    pub fn layer(&self, value: Value) -> Table {
        let (section, key) = self.section_and_key();
        let inner = Table::from_iter([(key.to_owned(), value)]);
        match section {
            "" => inner,
            section => Table::from_iter([(section.to_owned(), Value::Table(inner))]),
        }
    }
}

fn invalid(what: &str, hint: &str) -> Error {
    Error::Config(format!("{what}\nhint: {hint}"))
}

fn unknown(path: &str) -> Error {
    let near = nearest(path);
    invalid(&format!("there is no setting `{path}`"), &format!("did you mean `{near}`?"))
}

/// Returns all values of a table with their dotted paths.
fn leaves(table: &Table, prefix: &str) -> Vec<(String, Value)> {
    table
        .iter()
        .flat_map(|(key, value)| match value {
            Value::Table(inner) => leaves(inner, &format!("{prefix}{key}.")),
            _ => vec![(format!("{prefix}{key}"), value.clone())],
        })
        .collect()
}

/// Returns the setting whose name is most similar to an unknown one; the last segment counts most.
fn nearest(path: &str) -> &'static str {
    let key = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let similarity = |candidate: &str| {
        strsim::jaro_winkler(&key(candidate), &key(path)) + 0.5 * strsim::jaro(candidate, path)
    };
    let paths = SETTINGS.iter().map(|setting| setting.path);
    paths.max_by(|a, b| similarity(a).total_cmp(&similarity(b))).unwrap_or_default()
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

    /// Returns the warnings about these settings.
    fn warnings(settings: &[&str]) -> Vec<String> {
        let layers: Vec<_> =
            settings.iter().map(|setting| Config::setting(setting).unwrap()).collect();
        Config::from_layers(&layers).unwrap().warnings()
    }

    #[test]
    fn settings_without_effect_are_named_with_what_to_do() {
        for (settings, named, hint) in [
            ("augment.mixup=0.2", "augment.mixup", "recipe.do_fine_tuning=true"),
            ("augment.cutmix=1", "augment.cutmix", "recipe.do_fine_tuning=true"),
            ("recipe.freeze_until=stem", "recipe.freeze_until", "recipe.do_fine_tuning=true"),
            (
                "recipe.backbone_lr_scale=0.1",
                "recipe.backbone_lr_scale",
                "recipe.do_fine_tuning=true",
            ),
            ("recipe.linear_epochs=3", "recipe.linear_epochs", "recipe.do_fine_tuning=true"),
            (
                "recipe.stochastic_depth=false",
                "recipe.stochastic_depth",
                "recipe.do_fine_tuning=true",
            ),
            ("recipe.views=1 augment.erase=1", "augment.erase", "recipe.views=2"),
            ("recipe.momentum=0.5", "recipe.momentum", "recipe.optimizer=sgd"),
            ("recipe.step_epochs=3", "recipe.step_epochs", "recipe.schedule=step"),
            ("augment.rand_magnitude=3", "augment.rand_magnitude", "augment.rand_augment=2"),
            ("augment.crop_padding=0.2", "augment.crop_padding", "augment.crop_scale=1"),
            ("preset=fine recipe.views=3", "recipe.views", "recipe.do_fine_tuning=false"),
            ("preset=scratch recipe.linear_epochs=3", "recipe.linear_epochs", "preset=fine"),
            ("preset=segment augment.mixup=0.2", "augment.mixup", "augment.crop_scale"),
            ("preset=segment data.balance=weights", "data.balance", "leave it out"),
            ("preset=linear recipe.do_fine_tuning=true", "the preset linear", "preset=fine"),
            ("preset=fine recipe.do_fine_tuning=false", "the preset fine", "preset=linear"),
            ("preset=scratch recipe.batch_norm=frozen", "recipe.batch_norm", "batch_norm=train"),
            ("preset=fine model.pretrained=false", "recipe.batch_norm", "preset=scratch"),
        ] {
            let warnings = warnings(&settings.split(' ').collect::<Vec<_>>());
            let [warning] = &warnings[..] else { panic!("{settings}: {warnings:?}") };
            let (what, to_do) = warning.split_once("\nhint: ").unwrap();
            assert!(what.contains(named) && to_do.contains(hint), "{settings}: {warning}");
        }
    }

    #[test]
    fn settings_with_an_effect_or_of_the_preset_cause_no_warning() {
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
            (["preset=scratch", "recipe.do_fine_tuning=false"], "preset=linear"),
            (["preset=linear", "model.pretrained=false"], "recipe.do_fine_tuning=true"),
            (
                ["data.task=segment", "recipe.do_fine_tuning=false"],
                "leave recipe.do_fine_tuning out",
            ),
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
            "augment.color=nan",
            "augment.rand_magnitude=31",
            "augment.mixup=nan",
            "augment.cutmix=inf",
        ] {
            let layer = Config::setting(setting).unwrap();
            assert!(Config::from_layers(&[layer]).is_err(), "{setting}");
        }
    }

    #[test]
    fn a_refused_value_is_named_with_those_that_are_allowed() {
        for (setting, expected) in [
            ("recipe.lr=-1", "recipe.lr must be above 0 and at most 1, not -1"),
            ("recipe.lr=fast", "recipe.lr must be a number, not fast"),
            ("recipe.epochs=0", "recipe.epochs must be at least 1, not 0"),
            ("recipe.epochs=2.5", "recipe.epochs must be a whole number, not 2.5"),
            ("recipe.views=1001", "recipe.views must be from 1 to 1000, not 1001"),
            ("recipe.clip=inf", "recipe.clip must be a number above 0, not inf"),
            ("recipe.do_fine_tuning=yes", "recipe.do_fine_tuning must be true or false, not yes"),
            ("recipe.optimizer=lion", "no optimizer is called lion; there are sgd, adam, adamw"),
            ("preset=tiny", "no preset is called tiny; there are linear, fine"),
            ("data.background=mauve", "\"mauve\" is no background"),
        ] {
            let layer = Config::setting(setting).unwrap();
            let text = Config::from_layers(&[layer]).unwrap_err().to_string();
            assert!(text.starts_with(expected), "{text}");
        }
        let text = Config::linear().with_lr(2.0).check().unwrap_err().to_string();
        assert_eq!(text, "recipe.lr must be above 0 and at most 1, not 2");
        let text = Config::setting("recipe.lr").unwrap_err().to_string();
        assert!(text.contains("hint: write it as"), "{text}");
    }

    #[test]
    fn values_are_read_as_people_write_them() {
        let read = |settings: &[&str]| {
            let layers: Vec<_> =
                settings.iter().map(|setting| Config::setting(setting).unwrap()).collect();
            Config::from_layers(&layers).unwrap()
        };
        let config = read(&["recipe.lr=.5", "data.path=2024", "model.name=true", "seed=007"]);
        assert_eq!((config.recipe.lr, config.seed), (0.5, 7));
        assert_eq!(config.data.path.as_deref(), Some("2024"));
        assert_eq!(config.model.name.as_deref(), Some("true"));
        // A value of a preset can be unset, with `none` and with the value that zoo 0.1.0 had for
        // it.
        for setting in ["recipe.clip=none", "recipe.clip=0"] {
            assert_eq!(read(&["preset=fine", setting]).recipe.clip, None);
        }
        let config = read(&["recipe.dropout=-1", "recipe.freeze_until=", "augment.colour=0.1"]);
        assert_eq!(config, Config::linear().with_color(0.1));
        let largest = Config::linear().with_seed(u64::MAX);
        assert_eq!(Config::from_layers(&[layer(&largest.to_toml())]).unwrap(), largest);
    }

    #[test]
    fn a_run_is_the_same_whatever_may_change_on_its_way() {
        let config = Config::fine().with_workers(Some(3)).with_epochs(7).with_cache_mib(1);
        assert_eq!(config.identity(), Config::fine().identity());
        assert!(config.clone().with_lr(0.1).identity() != config.identity());
        assert_eq!(Config::linear().identity(), "");
    }
}
