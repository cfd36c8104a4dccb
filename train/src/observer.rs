use std::time::Duration;

/// Receives the events of a run.
pub trait Observer {
    /// Handles an event.
    fn on(&mut self, event: &Event<'_>);
}

/// An event of a run.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// A problem that does not stop the run.
    Warning(&'a str),
    /// The images are known, and the run begins.
    Start {
        /// Number of classes.
        classes: usize,
        /// Number of images to train on.
        train: usize,
        /// Number of images to validate on.
        val: usize,
        /// The network and the layers that are trained.
        what: &'a str,
    },
    /// A stage of the run begins; the text names the layers that it trains.
    Stage(&'a str),
    /// A run continues from its training state.
    Resume {
        /// The epoch in which it continues, from 1.
        epoch: usize,
        /// Number of epochs of the run.
        epochs: usize,
    },
    /// A loop over images begins.
    Pass {
        /// Its purpose.
        name: &'a str,
        /// Number of images.
        images: usize,
    },
    /// This number of further images is done.
    Progress(usize),
    /// The loop is over.
    PassDone,
    /// An epoch begins or continues.
    Epoch {
        /// The epoch, from 1.
        epoch: usize,
        /// Number of epochs of the run.
        epochs: usize,
        /// Number of batches in the epoch.
        batches: usize,
        /// Number of batches that are done.
        done: usize,
    },
    /// A batch is done.
    Batch {
        /// Number of updates since the run began.
        step: usize,
        /// Number of images in the batch.
        images: usize,
        /// The mean loss of the epoch so far.
        loss: f64,
        /// The share of the epoch's images so far that were right.
        accuracy: f64,
        /// The classifier's learning rate.
        lr: f64,
    },
    /// An epoch is done.
    EpochDone(&'a EpochRow),
}

/// The results of an epoch.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EpochRow {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Number of updates since the run began.
    pub step: usize,
    /// The mean loss on the augmented training images.
    pub train_loss: f64,
    /// The share of the training images, or of their pixels, that was right.
    pub train_accuracy: f64,
    /// The mean loss on the validation images.
    pub val_loss: Option<f64>,
    /// The share of the validation images, or of their pixels, that is right.
    pub val_accuracy: Option<f64>,
    /// For segmentation: the mean intersection over union of the classes on the validation images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_mean_iou: Option<f64>,
    /// The classifier's learning rate in the last update.
    pub lr: f64,
    /// Seconds since the run began.
    pub seconds: f64,
    /// Training images per second.
    pub images_per_second: f64,
}

/// Ignores all events.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn on(&mut self, _event: &Event<'_>) {}
}

/// Formats a duration as hours, minutes and seconds.
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

/// Formats a share in percent, with one digit after the point.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Returns `1 image`, `10 images`.
pub(crate) fn images(count: usize) -> String {
    format!("{count} image{}", if count == 1 { "" } else { "s" })
}
