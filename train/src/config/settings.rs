//! All settings. What the struct, the files, the command line and the documents have comes from here.

use toml::Value;
use zoo_core::Background;

use super::setting::{Setting, SettingType, number};
use super::{Balance, BatchNormMode, OptimizerKind, Preset, Schedule, TaskKind};

/// Declares sections of settings: `name: type = default, what else is known of it;`.
///
/// What else is known are methods of [`Setting`]. The documentation of a setting is that of its field,
/// the comment in `config.toml`, and the help of its option, so it is plain text.
macro_rules! settings {
    (
        $(#[doc = $top_doc:literal])+
        struct $top:ident {
            $(
                $(#[doc = $field_doc:literal])+
                $field:ident: $field_type:ty = $field_default:expr
                $(, $field_property:ident($($field_argument:expr),*))*;
            )+
        }
        $(
            $(#[doc = $section_doc:literal])+
            struct $section_type:ident in $section:ident {
                $(
                    $(#[doc = $doc:literal])+
                    $key:ident: $type:ty = $default:expr
                    $(, $property:ident($($argument:expr),*))*;
                )+
            }
        )+
    ) => {
        $(#[doc = $top_doc])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $top {
            $( $(#[doc = $field_doc])+ pub $field: $field_type, )+
            $( $(#[doc = $section_doc])+ pub $section: $section_type, )+
        }

        impl Default for $top {
            fn default() -> Self {
                Self {
                    $( $field: $field_default, )+
                    $( $section: $section_type::default(), )+
                }
            }
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Debug, Clone, PartialEq)]
            pub struct $section_type {
                $( $(#[doc = $doc])+ pub $key: $type, )+
            }

            impl Default for $section_type {
                fn default() -> Self {
                    Self { $( $key: $default, )+ }
                }
            }
        )+

        /// All settings, in the order of `config.toml`.
        pub static SETTINGS: &[Setting] = &[
            $(
                Setting::new::<$field_type>(
                    stringify!($field),
                    concat!($($field_doc),+),
                    |config| config.$field.to_value(),
                    |config, value| {
                        config.$field = SettingType::from_value(value)?;
                        Ok(())
                    },
                )
                $( .$field_property($($field_argument),*) )*,
            )+
            $( $(
                Setting::new::<$type>(
                    concat!(stringify!($section), ".", stringify!($key)),
                    concat!($($doc),+),
                    |config| config.$section.$key.to_value(),
                    |config, value| {
                        config.$section.$key = SettingType::from_value(value)?;
                        Ok(())
                    },
                )
                $( .$property($($argument),*) )*,
            )+ )+
        ];

        /// What each section is about.
        pub(super) const SECTIONS: &[(&str, &str)] =
            &[$( (stringify!($section), concat!($($section_doc),+)) ),+];

        pastey::paste! {
            /// A method for each setting.
            impl $top {
                $(
                    #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                    #[must_use]
                    pub fn [<with_ $field>](mut self, $field: $field_type) -> Self {
                        self.$field = $field;
                        self
                    }
                )+
                $( $(
                    #[doc = concat!("Sets [`", stringify!($section), ".", stringify!($key), "`](", stringify!($section_type), "::", stringify!($key), ").")]
                    #[must_use]
                    pub fn [<with_ $key>](mut self, $key: $type) -> Self {
                        self.$section.$key = $key;
                        self
                    }
                )+ )+
            }
        }
    };
}

settings! {
    /// All that a run is told.
    struct Config {
        /// What the other settings start from.
        preset: Preset = Preset::Linear, flag("preset", "NAME");

        /// What all random numbers come from.
        seed: u64 = 0, flag("seed", "N");
    }

    /// Which images, and how they are read.
    struct DataConfig in data {
        /// What is learned: what is in an image, or what each of its pixels is.
        task: TaskKind = TaskKind::Classify, flag("task", "NAME");

        /// The images: a folder of folders, a list (.csv, .jsonl), or fashion-mnist:FOLDER; for
        /// segmentation a folder with the folders images and masks.
        path: Option<String> = None, none_if(is_empty);

        /// Share of the images of each class that is kept for validation where the data does not
        /// say.
        val_fraction: f64 = 0.2, at_least(0.0), below(1.0), flag("val-fraction", "SHARE");

        /// What makes up for classes with different numbers of images.
        balance: Balance = Balance::None, flag("balance", "HOW");

        /// Memory for decoded images, in MiB.
        cache_mib: usize = 1024, at_least(0.0), resumable();

        /// Threads that decode, resize and augment images; none for one per core.
        workers: Option<usize> = None, at_least(1.0), none_if(is_zero), resumable();

        /// What transparent images are laid over, here and by users of the record: white, black,
        /// gray or a color such as #f0f0ff. With none it is what the network was trained with, or
        /// else transparency is dropped.
        background: Background = Background::None, flag("background", "COLOR");
    }

    /// Which network.
    struct ModelConfig in model {
        /// The network by name, with a tag where several weights are published:
        /// resnet50.imagenet1k_v2.
        name: Option<String> = None, none_if(is_empty), flag("model", "VARIANT[.TAG]"), short('m'),
            flag_alias("variant");

        /// The weights to start from: a record, or a PyTorch, safetensors, ONNX or Keras file of the
        /// network; none for the published ones.
        weights: Option<String> = None, none_if(is_empty), flag("weights", "FILE"), short('w');

        /// Whether the network starts from trained weights.
        pretrained: bool = true;

        /// Side of the images in pixels; none for what the network was made for.
        image_size: Option<usize> = None, at_least(1.0), at_most(4096.0), none_if(is_zero),
            flag("size", "PIXELS");
    }

    /// How the network is trained.
    struct Recipe in recipe {
        /// Whether all layers are trained, or only a new classifier on frozen features.
        do_fine_tuning: bool = false, flag("do-fine-tuning", "true|false"),
            flag_alias("do_fine_tuning");

        /// Epochs of training a new classifier alone before all layers are trained, on features that
        /// are computed once. From a classifier that knows nothing, the first steps spoil pretrained
        /// layers (Kumar et al., arXiv:2202.10054).
        linear_epochs: usize = 0, at_least(0.0);

        /// Passes over the training images. With all layers, the classifier is trained alone first.
        /// A run that goes on for more epochs has the learning rates of a run with that many from its
        /// start.
        epochs: usize = 30, at_least(1.0), flag("epochs", "N"), resumable();

        /// Images in a batch.
        batch_size: usize = 32, at_least(1.0), flag("batch-size", "N");

        /// What turns gradients into steps.
        optimizer: OptimizerKind = OptimizerKind::AdamW, flag("optimizer", "NAME");

        /// The highest learning rate.
        lr: f64 = 3e-3, above(0.0), at_most(1.0), flag("lr", "RATE");

        /// The learning rate of pretrained layers as a multiple of the classifier's.
        backbone_lr_scale: f64 = 1.0, above(0.0), flag("backbone-lr-scale", "FACTOR");

        /// How the learning rate goes on after warming up.
        schedule: Schedule = Schedule::Cosine;

        /// Epochs in which the learning rate rises to its highest value.
        warmup_epochs: f64 = 1.0, at_least(0.0);

        /// Epochs between two steps of the schedule step.
        step_epochs: f64 = 10.0, above(0.0);

        /// The momentum of SGD and RMSprop.
        momentum: f64 = 0.9, at_least(0.0), below(1.0);

        /// Pulls weights to zero, except those of norms and biases.
        weight_decay: f64 = 1e-2, at_least(0.0);

        /// Share of the target that goes to all classes alike.
        label_smoothing: f64 = 0.1, at_least(0.0), below(1.0);

        /// Probability of dropping a feature before the classifier; none for the network's own
        /// dropout, which a frozen backbone does not have.
        dropout: Option<f64> = None, at_least(0.0), below(1.0), none_if(is_negative);

        /// Whether residual branches are dropped at random, where the architecture does that.
        stochastic_depth: bool = true;

        /// The largest norm of all gradients together; none for any.
        clip: Option<f64> = None, above(0.0), none_if(is_zero);

        /// Batches whose gradients are added up for one step.
        accumulate: usize = 1, at_least(1.0);

        /// Decay of a moving average of the weights, which is kept in place of them; none for no
        /// average.
        ema: Option<f64> = None, above(0.0), below(1.0), none_if(is_zero);

        /// Epochs without a better result after which the run stops; none for never.
        early_stopping: Option<usize> = None, at_least(1.0), none_if(is_zero);

        /// The last part of the network that stays as it is, with all parts before it: stem,
        /// stages.3; none if all parts are trained.
        freeze_until: Option<String> = None, none_if(is_empty), flag("freeze-until", "PART");

        /// What BatchNorm does when all layers are trained.
        batch_norm: BatchNormMode = BatchNormMode::Train;

        /// Views of each image that a frozen backbone computes features of; the first one is not
        /// augmented.
        views: usize = 2, at_least(1.0), at_most(1000.0);

        /// Steps between checkpoints within an epoch; none for one checkpoint at the end of each
        /// epoch.
        checkpoint_steps: Option<usize> = None, at_least(1.0), none_if(is_zero), resumable();
    }

    /// How training images are changed at random.
    struct Augment in augment {
        /// The smallest share of an image that a random crop covers, stretched by up to 4/3 in either
        /// direction; 1 takes the plain view.
        crop_scale: f64 = 0.5, above(0.0), at_most(1.0);

        /// Where crop_scale is 1: black border around the plain view from which a random square of
        /// the view's size is cut, as a share of its side.
        crop_padding: f64 = 0.0, at_least(0.0), at_most(1.0);

        /// Probability of a mirror image.
        flip: f64 = 0.5, at_least(0.0), at_most(1.0);

        /// The largest change of brightness, contrast and saturation, as a share.
        color: f64 = 0.2, at_least(0.0), at_most(1.0), alias("augment.colour");

        /// The largest turn, in degrees.
        rotation: f64 = 0.0, at_least(0.0), at_most(180.0);

        /// Number of operations that RandAugment draws for each image.
        rand_augment: usize = 0, at_least(0.0);

        /// How strong the operations of RandAugment are.
        rand_magnitude: f64 = 9.0, at_least(0.0), at_most(30.0);

        /// Probability that a rectangle is erased.
        erase: f64 = 0.0, at_least(0.0), at_most(1.0);

        /// The α of Mixup; 0 turns it off.
        mixup: f64 = 0.0, at_least(0.0);

        /// The α of CutMix; 0 turns it off. Where Mixup is on, too, each batch draws one of them.
        cutmix: f64 = 0.0, at_least(0.0);
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_str() == Some("")
}

fn is_zero(value: &Value) -> bool {
    number(value) == Some(0.0)
}

fn is_negative(value: &Value) -> bool {
    number(value).is_some_and(|number| number < 0.0)
}
