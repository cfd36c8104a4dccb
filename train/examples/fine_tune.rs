//! Fine-tuning in your own project: MobileNetV2 learns the classes of a folder of images.
//!
//! ```console
//! cargo run --release -p zoo-train --example fine_tune -- FOLDER mobilenet_v2.bpk OUTPUT
//! ```

use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use zoo_mobilenet_v2::MobileNetV2Config;
use zoo_record::Record;
use zoo_train::{Classification, Config, Dataset, Event, Observer, Run, train};

/// Prints a line for each epoch.
struct Lines;

impl Observer for Lines {
    fn on(&mut self, event: &Event<'_>) {
        match event {
            Event::EpochDone(row) => {
                println!("epoch {}: {:?} of the validation images", row.epoch, row.val_accuracy);
            }
            Event::Warning(text) => eprintln!("{text}"),
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [data, record, output] = arguments.as_slice() else {
        return Err("usage: fine_tune FOLDER RECORD OUTPUT".into());
    };
    // A preset with changed settings; docs/settings.md lists all of them.
    let config = Config::fine().with_path(Some(data.clone())).with_epochs(5);

    let device = Device::flex();
    let record = Record::open(Path::new(record))?;
    let training_images = record.training_images()?;
    let card = record.card.clone();
    let empty = MobileNetV2Config::new().with_num_classes(card.num_classes).init(&device);
    let model = record.load_into(empty)?;

    let mut dataset = Dataset::open(data, config.data.val_fraction, config.seed)?;
    dataset.compare(&training_images, card.preprocess.background, config.workers(), &mut Lines);
    std::fs::create_dir_all(output)?;
    let mut run = Run {
        folder: Path::new(output),
        device: &device,
        others: &[],
        resume: false,
        stop: &AtomicBool::new(false),
        observer: &mut Lines,
    };
    let trained = train::<Classification<_>>(model, &card, &dataset, &config, &mut run)?;
    println!("{}", trained.model.display());
    Ok(())
}
