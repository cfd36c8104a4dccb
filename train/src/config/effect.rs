//! Settings without effect, and settings that do not fit together.

use super::{BatchNormMode, Config, OptimizerKind, Preset, Schedule, Setting, TaskKind};

impl Config {
    /// Returns a sentence with a hint about each given setting without effect, and about settings
    /// that do not fit together.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let usual = Self::preset(self.preset);
        let is_given = |path: &str| {
            let setting = Setting::find(path).expect("only settings are idle");
            setting.value(self) != setting.value(&usual)
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
                 no statistics yet\nhint: preset=scratch, or recipe.batch_norm=train"
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
                "{what}, but the preset {preset} is for {meant_for}\nhint: preset={other}"
            ));
        }
        warnings
    }

    /// Returns the settings that would have no effect.
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
            "recipe.do_fine_tuning=true trains all layers",
        );
        add(
            is_frozen && recipe.views == 1,
            &[
                "augment.crop_scale",
                "augment.crop_padding",
                "augment.flip",
                "augment.color",
                "augment.rotation",
                "augment.rand_augment",
                "augment.rand_magnitude",
                "augment.erase",
            ],
            "there is one view of each image, the plain one",
            "recipe.views=2 adds one that is augmented",
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
                "augment.color",
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
            "recipe.do_fine_tuning=false trains the classifier alone",
        );
        add(
            recipe.do_fine_tuning && !segments && !self.model.pretrained,
            &["recipe.linear_epochs"],
            "the network starts from nothing",
            "preset=fine starts from published weights",
        );
        add(
            !has_momentum,
            &["recipe.momentum"],
            "the optimizer has none",
            "recipe.optimizer=sgd has one",
        );
        add(
            recipe.schedule != Schedule::Step,
            &["recipe.step_epochs"],
            "the learning rate does not fall in steps",
            "recipe.schedule=step lets it",
        );
        add(
            augment.rand_augment == 0 && !segments,
            &["augment.rand_magnitude"],
            "RandAugment is off",
            "augment.rand_augment=2 turns it on",
        );
        add(
            augment.crop_scale < 1.0 && !segments,
            &["augment.crop_padding"],
            "images are cropped at random",
            "augment.crop_scale=1 takes the plain view",
        );
        idle
    }
}

/// A setting without effect.
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
