use std::time::Duration;

/// Hears how a run goes.
pub trait Observer {
    /// Something happened.
    fn on(&mut self, event: &Event<'_>);
}

/// What happens in a run.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// Something is strange but can be lived with.
    Warning(&'a str),
    /// The images are known, and the run begins.
    Start {
        /// The number of classes.
        classes: usize,
        /// Images to train on.
        train: usize,
        /// Images to validate with.
        val: usize,
        /// The network and what of it is trained.
        what: &'a str,
    },
    /// A part of the run begins, and this is what it trains.
    Stage(&'a str),
    /// A run goes on from its checkpoint.
    Resume {
        /// The epoch that it goes on in, from 1.
        epoch: usize,
        /// How many there are.
        epochs: usize,
    },
    /// A pass over images begins.
    Pass {
        /// What it is for.
        name: &'a str,
        /// The number of images.
        images: usize,
    },
    /// So many images more are done.
    Progress(usize),
    /// The pass is over.
    PassDone,
    /// An epoch begins, or goes on.
    Epoch {
        /// From 1.
        epoch: usize,
        /// How many there are.
        epochs: usize,
        /// Batches in it.
        batches: usize,
        /// How many of them are done.
        done: usize,
    },
    /// A batch is done.
    Batch {
        /// Steps since the run began.
        step: usize,
        /// Images in it.
        images: usize,
        /// The mean loss of the epoch so far.
        loss: f64,
        /// The share of its images that were right.
        accuracy: f64,
        /// The classifier's learning rate.
        lr: f64,
    },
    /// An epoch is done.
    EpochDone(&'a EpochRow),
}

/// What is known about an epoch.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EpochRow {
    /// From 1.
    pub epoch: usize,
    /// Steps since the run began.
    pub step: usize,
    /// The mean loss on the training images, as they were augmented.
    pub train_loss: f64,
    /// The share of them, or of their pixels, that was right.
    pub train_accuracy: f64,
    /// The mean loss on the validation images.
    pub val_loss: Option<f64>,
    /// The share of them, or of their pixels, that is right.
    pub val_accuracy: Option<f64>,
    /// Where pixels are told apart: the mean intersection over union of the classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_mean_iou: Option<f64>,
    /// The classifier's learning rate in the last step.
    pub lr: f64,
    /// Seconds since the run began.
    pub seconds: f64,
    /// Training images in a second.
    pub images_per_second: f64,
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn on(&mut self, _event: &Event<'_>) {}
}

/// Hours, minutes and seconds.
pub fn duration(seconds: f64) -> String {
    let exact = seconds.max(0.0);
    let seconds = Duration::from_secs_f64(exact).as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) if s < 10 => format!("{exact:.1} s"),
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// A share in percent, with a digit behind the point.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// `1 image`, `10 images`.
pub(crate) fn images(count: usize) -> String {
    format!("{count} image{}", if count == 1 { "" } else { "s" })
}
