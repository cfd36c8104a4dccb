//! Progress on standard error.

use std::fmt::Write;
use std::io::{IsTerminal, stderr};

use burn_zoo::hub;
use burn_zoo::train::{EpochRow, Event, Observer, duration};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::flags::in_flags;
use burn_zoo::counted;

/// Shows a run on standard error: bars on a terminal, and a line for each epoch.
#[derive(Default)]
pub(crate) struct Bars {
    bar: Option<ProgressBar>,
    epochs: usize,
}

impl Bars {
    fn show(&mut self, length: usize, template: &str) {
        if stderr().is_terminal() {
            let style = ProgressStyle::with_template(template).expect("the template is valid");
            let style = style.with_key("speed", speed).with_key("left", left);
            self.bar = Some(ProgressBar::new(length as u64).with_style(style));
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}

/// Images per second, once the first image is done.
fn speed(state: &ProgressState, out: &mut dyn Write) {
    if state.pos() > 0 {
        let _ = write!(out, ", {:.0} images/s", state.per_sec());
    }
}

/// The time left, once the first image is done.
fn left(state: &ProgressState, out: &mut dyn Write) {
    if state.pos() > 0 {
        let _ = write!(out, ", {} left", duration(state.eta().as_secs_f64()));
    }
}

impl Observer for Bars {
    fn on(&mut self, event: &Event<'_>) {
        match event {
            Event::Warning(text) => self.line(&format!("zoo: {}", in_flags(text))),
            Event::Start { classes: count, train, val, what } => self.line(&format!(
                "{}, {} to train on, {val} to validate with; {what}",
                counted(*count, "class"),
                counted(*train, "image")
            )),
            Event::Stage(name) => self.line(name),
            Event::Resume { epoch, epochs } => {
                self.line(&format!("resuming at epoch {epoch}/{epochs}"));
            }
            Event::Pass { name, images } => {
                let template = "{msg} {bar:30} {pos}/{len} images{speed}{left}";
                self.show(*images, template);
                if let Some(bar) = &self.bar {
                    bar.set_message((*name).to_owned());
                }
            }
            Event::Progress(images) => {
                if let Some(bar) = &self.bar {
                    bar.inc(*images as u64);
                }
            }
            Event::PassDone => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
            }
            Event::Epoch { epoch, epochs, batches, done } => {
                self.epochs = *epochs;
                self.show(*batches, "{prefix} {bar:30} {pos}/{len} batches{msg}{left}");
                if let Some(bar) = &self.bar {
                    bar.set_prefix(format!("epoch {epoch}/{epochs}"));
                    bar.set_position(*done as u64);
                    bar.reset_eta();
                }
            }
            Event::Batch { images, loss, accuracy, .. } => {
                if let Some(bar) = &self.bar {
                    bar.inc(1);
                    let speed = bar.per_sec() * *images as f64;
                    let percent = 100.0 * accuracy;
                    bar.set_message(format!(
                        ", loss {loss:.3}, accuracy {percent:.1} %, {speed:.0} images/s"
                    ));
                }
            }
            Event::EpochDone(row) => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
                eprintln!("{}", line(row, self.epochs));
            }
        }
    }
}

/// One epoch in one line.
fn line(row: &EpochRow, epochs: usize) -> String {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let mut text = format!(
        "epoch {}/{epochs}: loss {:.3}, accuracy {}",
        row.epoch,
        row.train_loss,
        percent(row.train_accuracy)
    );
    if let (Some(loss), Some(accuracy)) = (row.val_loss, row.val_accuracy) {
        text += &format!("; validation: loss {loss:.3}, accuracy {}", percent(accuracy));
    }
    if let Some(iou) = row.val_mean_iou {
        text += &format!(", mean IoU {iou:.3}");
    }
    text + &format!("; {:.0} images/s", row.images_per_second)
}

/// Shows the download of published weights.
pub(crate) struct Download<'a> {
    name: &'a str,
    bar: Option<ProgressBar>,
}

impl<'a> Download<'a> {
    /// For the weights `name`.
    pub(crate) fn new(name: &'a str) -> Self {
        Self { name, bar: None }
    }

    /// Shows an event.
    pub(crate) fn on(&mut self, event: hub::Event<'_>) {
        match event {
            hub::Event::Waiting => {
                eprintln!("another process is pulling {}; waiting for it", self.name);
            }
            hub::Event::Downloading { url, received, total } => {
                let bar = self.bar.get_or_insert_with(|| {
                    eprintln!("downloading {url}");
                    bytes_bar(total, received)
                });
                bar.set_position(received);
            }
            hub::Event::Importing => {
                if let Some(bar) = &self.bar {
                    bar.finish_and_clear();
                }
            }
        }
    }
}

/// A bar of bytes, which only a terminal shows.
fn bytes_bar(total: Option<u64>, received: u64) -> ProgressBar {
    let style = match total {
        Some(_) => "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
        None => "{spinner} {bytes}, {bytes_per_sec}",
    };
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    bar.set_style(ProgressStyle::with_template(style).expect("the template is valid"));
    // Bytes of an earlier try do not count into the speed.
    bar.set_position(received);
    bar.reset_eta();
    bar
}

/// A bar of images on standard error, if there are many and standard error is a terminal.
pub(crate) fn images_bar(length: usize) -> ProgressBar {
    if length < 16 || !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "{bar:40} {pos}/{len} images, {per_sec}, {eta} left";
    ProgressBar::new(length as u64)
        .with_style(ProgressStyle::with_template(style).expect("the template is valid"))
}

/// A bar of the steps of a computation on standard error, if it is a terminal.
pub(crate) fn steps_bar(length: usize) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "{bar:40} {pos}/{len} steps, {eta} left";
    ProgressBar::new(length as u64)
        .with_style(ProgressStyle::with_template(style).expect("the template is valid"))
}
