//! All settings. The struct, the files, the command line and the documents are generated from this.

use toml::Value;
use zoo_core::Background;

use super::setting::{Setting, SettingType, number};
use super::{Balance, BatchNormMode, OptimizerKind, Preset, Schedule, TaskKind};

/// Declares sections of settings: `name: type = default, properties;`.
///
/// The properties are methods of [`Setting`]. The documentation of a field is also the comment in
/// `config.toml` and the help of the option, so it is plain text.
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

        /// The documentation of each section.
        pub(super) const SECTIONS: &[(&str, &str)] =
            &[$( (stringify!($section), concat!($($section_doc),+)) ),+];

        pastey::paste! {
            /// A builder method for each setting.
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
    /// The configuration of a run.
    struct Config {
        /// The preset that gives the other settings their defaults.
        preset: Preset = Preset::Linear, flag("preset", "NAME");

        /// The seed of all random numbers.
        seed: u64 = 0, flag("seed", "N");
    }

    /// The images and how they are read.
    struct DataConfig in data {
        /// The task: the class of an image, or the class of each of its pixels.
        task: TaskKind = TaskKind::Classify, flag("task", "NAME");

        /// The images: a folder of folders, a list (.csv, .jsonl), or fashion-mnist:FOLDER; for
        /// segmentation a folder with the folders images and masks.
        path: Option<String> = None, none_if(is_empty);

        /// Share of the images of each class that is kept for validation, if the data has no split
        /// of its own.
        val_fraction: f64 = 0.2, at_least(0.0), below(1.0), flag("val-fraction", "SHARE");

        /// The treatment of classes with different numbers of images.
        balance: Balance = Balance::None, flag("balance", "HOW");

        /// Memory for decoded images, in MiB.
        cache_mib: usize = 1024, at_least(0.0), resumable();

        /// Threads that decode, resize and augment images; none for one per core.
        workers: Option<usize> = None, at_least(1.0), none_if(is_zero), resumable();

        /// The color that transparent images are drawn on, here and by users of the record: white,
        /// black, gray or a color such as #f0f0ff. None is the color that the network was trained
        /// with; if it has none, transparency is dropped.
        background: Background = Background::None, flag("background", "COLOR");
    }

    /// The network.
    struct ModelConfig in model {
        /// Name of the model, with a tag if several weights are published: resnet50.imagenet1k_v2.
        name: Option<String> = None, none_if(is_empty), flag("model", "VARIANT[.TAG]"), short('m'),
            flag_alias("variant");

        /// The weights to start from: a record, or a PyTorch, safetensors, ONNX or Keras file of the
        /// network; none for the published ones.
        weights: Option<String> = None, none_if(is_empty), flag("weights", "FILE"), short('w');

        /// Whether the network starts from trained weights.
        pretrained: bool = true;

        /// Side of the images in pixels; none for the size that the network was designed for.
        image_size: Option<usize> = None, at_least(1.0), at_most(4096.0), none_if(is_zero),
            flag("size", "PIXELS");
    }

    /// The recipe of the training.
    struct Recipe in recipe {
        /// Whether all layers are trained, or only a new classifier on frozen features.
        do_fine_tuning: bool = false, flag("do-fine-tuning", "true|false"),
            flag_alias("do_fine_tuning");

        /// Epochs in which only a new classifier is trained, before all layers are, on features
        /// that are computed once. With a random classifier, the first updates damage pretrained
        /// layers (Kumar et al., arXiv:2202.10054).
        linear_epochs: usize = 0, at_least(0.0);

        /// Passes over the training images. The linear_epochs come before them.
        /// A run that is resumed with more epochs has the learning rates of a run that had this
        /// many from the start.
        epochs: usize = 30, at_least(1.0), flag("epochs", "N"), resumable();

        /// Images in a batch.
        batch_size: usize = 32, at_least(1.0), flag("batch-size", "N");

        /// The optimizer that updates the weights.
        optimizer: OptimizerKind = OptimizerKind::AdamW, flag("optimizer", "NAME");

        /// The highest learning rate.
        lr: f64 = 3e-3, above(0.0), at_most(1.0), flag("lr", "RATE");

        /// The learning rate of pretrained layers as a multiple of the classifier's.
        backbone_lr_scale: f64 = 1.0, above(0.0), flag("backbone-lr-scale", "FACTOR");

        /// The course of the learning rate after the warmup.
        schedule: Schedule = Schedule::Cosine;

        /// Epochs in which the learning rate rises to its maximum.
        warmup_epochs: f64 = 1.0, at_least(0.0);

        /// Epochs between two drops of the schedule step.
        step_epochs: f64 = 10.0, above(0.0);

        /// The momentum of SGD and RMSprop.
        momentum: f64 = 0.9, at_least(0.0), below(1.0);

        /// Pulls weights to zero, except those of norms and biases.
        weight_decay: f64 = 1e-2, at_least(0.0);

        /// Share of the target that is spread over all classes.
        label_smoothing: f64 = 0.1, at_least(0.0), below(1.0);

        /// Probability of dropping a feature before the classifier; none for the network's own
        /// dropout, which a frozen backbone does not have.
        dropout: Option<f64> = None, at_least(0.0), below(1.0), none_if(is_negative);

        /// Whether residual branches are dropped at random, if the architecture does that.
        stochastic_depth: bool = true;

        /// The largest norm of all gradients together; none for no limit.
        clip: Option<f64> = None, above(0.0), none_if(is_zero);

        /// Batches whose gradients are added up for one update.
        accumulate: usize = 1, at_least(1.0);

        /// Decay of a moving average of the weights, which is kept instead of the weights; none for
        /// no average.
        ema: Option<f64> = None, above(0.0), below(1.0), none_if(is_zero);

        /// Epochs without a better result after which the run stops; none if it never stops early.
        early_stopping: Option<usize> = None, at_least(1.0), none_if(is_zero);

        /// The last module that is frozen, with all modules before it: stem, stages.3; none if all
        /// modules are trained.
        freeze_until: Option<String> = None, none_if(is_empty), flag("freeze-until", "PART");

        /// The mode of BatchNorm when all layers are trained.
        batch_norm: BatchNormMode = BatchNormMode::Train;

        /// Views of each image for which a frozen backbone computes features; the first one is not
        /// augmented.
        views: usize = 2, at_least(1.0), at_most(1000.0);

        /// Updates between two checkpoints within an epoch; none for one checkpoint at the end of
        /// each epoch.
        checkpoint_steps: Option<usize> = None, at_least(1.0), none_if(is_zero), resumable();
    }

    /// The random augmentation of training images.
    struct Augment in augment {
        /// The smallest share of an image that a random crop covers, stretched by up to 4/3 in either
        /// direction; 1 takes the plain view.
        crop_scale: f64 = 0.5, above(0.0), at_most(1.0);

        /// Black border around the plain view, as a share of its side, from which a random square
        /// of the view's size is cut. Only with crop_scale 1.
        crop_padding: f64 = 0.0, at_least(0.0), at_most(1.0);

        /// Probability of mirroring an image.
        flip: f64 = 0.5, at_least(0.0), at_most(1.0);

        /// The largest change of brightness, contrast and saturation, as a share.
        color: f64 = 0.2, at_least(0.0), at_most(1.0), alias("augment.colour");

        /// The largest rotation, in degrees.
        rotation: f64 = 0.0, at_least(0.0), at_most(180.0);

        /// Number of operations that RandAugment draws for each image.
        rand_augment: usize = 0, at_least(0.0);

        /// Strength of the operations of RandAugment.
        rand_magnitude: f64 = 9.0, at_least(0.0), at_most(30.0);

        /// Probability that a rectangle is erased.
        erase: f64 = 0.0, at_least(0.0), at_most(1.0);

        /// The α of Mixup; 0 turns it off.
        mixup: f64 = 0.0, at_least(0.0);

        /// The α of CutMix; 0 turns it off. If Mixup is also on, each batch uses one of them at
        /// random.
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
