//! A search finds a network, and an interrupted search comes to the same result.
#![cfg(feature = "train")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use burn_zoo::search::{
    CANDIDATES, Event, Found, Limits, Row, SearchConfig, SearchRun, Shard, Space, Status, search,
};
use burn_zoo::train::Silent;
use burn_zoo::{Backend, Error, Model};
use image::{Rgb, RgbImage};
use tempfile::TempDir;

/// Writes images of two colors.
fn images(folder: &Path, count: u32) {
    for (class, color) in [("blue", [20, 40, 200]), ("red", [210, 30, 20])] {
        fs::create_dir_all(folder.join(class)).unwrap();
        for index in 0..count {
            let image = RgbImage::from_fn(16, 16, |x, y| {
                Rgb(color.map(|value| value + ((x * 7 + y * 13 + index * 3) % 30) as u8))
            });
            image.save(folder.join(class).join(format!("{index}.png"))).unwrap();
        }
    }
}

fn config(data: &Path) -> SearchConfig {
    SearchConfig {
        space: Space::Blocks,
        // Such networks train in a second.
        limits: Limits { size: Some(400_000), ..Limits::default() },
        budget: 3600.0,
        image_size: 16,
        epochs: 1,
        final_epochs: 1,
        population: 3,
        generations: 1,
        ..SearchConfig::new(data.to_string_lossy())
    }
}

fn run(
    config: &SearchConfig,
    folder: &Path,
    resume: bool,
    stop_after: usize,
) -> Result<Option<Found>, Error> {
    let (stop, mut trained) = (AtomicBool::new(false), 0);
    let run = SearchRun {
        folder,
        devices: &[Backend::Cpu.device()?],
        shard: Shard::WHOLE,
        resume,
        stop: &stop,
        observer: &mut |event| {
            if let Event::Assessed(row) = event {
                trained += usize::from(row.status == Status::Trained);
                stop.store(trained >= stop_after, Ordering::Relaxed);
            }
        },
        training: &mut Silent,
    };
    search(config, run)
}

/// The networks with their results, without times.
fn results(folder: &Path) -> Vec<(String, String, Option<f64>)> {
    let mut reader = csv::Reader::from_path(folder.join(CANDIDATES)).unwrap();
    let rows = reader.deserialize().map(|row: Result<Row, _>| row.unwrap());
    rows.map(|row| (row.method, row.network, row.accuracy)).collect()
}

#[test]
fn an_interrupted_search_comes_to_the_same_result() {
    let root = TempDir::new().unwrap();
    let data = root.path().join("data");
    images(&data, 20);
    let config = config(&data);
    let whole = root.path().join("whole");
    let found = run(&config, &whole, false, usize::MAX).unwrap().unwrap();
    assert!(found.trained >= 3 && found.best.size <= 400_000, "{found:?}");
    assert_eq!(found.test.images, 8);
    for name in ["model.bpk", "report.html", "search.csv", "search.toml"] {
        assert!(whole.join(name).exists(), "{name}");
    }
    let mut model = Model::open(&found.model, &Backend::Cpu.device().unwrap()).unwrap();
    assert_eq!(model.card().labels, ["blue", "red"]);
    let image = model.open_image(data.join("red/0.png")).unwrap();
    assert_eq!(model.classify(&[image], 2).unwrap()[0].len(), 2);

    // Stopped after each of the first candidates.
    let stopped = root.path().join("stopped");
    assert!(run(&config, &stopped, false, 1).unwrap().is_none());
    assert!(run(&config, &stopped, true, 2).unwrap().is_none());
    let again = run(&config, &stopped, true, usize::MAX).unwrap().unwrap();
    assert_eq!(results(&stopped), results(&whole));
    assert_eq!(again.best.network, found.best.network);
    assert_eq!(again.test.top1, found.test.top1);

    // Killed while a row was written: the line is cut anywhere.
    let text = fs::read(whole.join(CANDIDATES)).unwrap();
    for cut in [text.len() / 3, text.len() - 5] {
        let killed = root.path().join(format!("killed-{cut}"));
        fs::create_dir(&killed).unwrap();
        fs::copy(whole.join("search.toml"), killed.join("search.toml")).unwrap();
        fs::write(killed.join(CANDIDATES), &text[..cut]).unwrap();
        run(&config, &killed, true, usize::MAX).unwrap().unwrap();
        assert_eq!(results(&killed), results(&whole), "{cut}");
    }
}

#[test]
fn impossible_searches_are_refused() {
    let root = TempDir::new().unwrap();
    let data = root.path().join("data");
    images(&data, 20);
    let config = config(&data);
    let nothing = SearchConfig {
        limits: Limits { latency_ms: Some(1e-6), ..Limits::default() },
        population: 2,
        ..config.clone()
    };
    let error = run(&nothing, &root.path().join("a"), false, usize::MAX).unwrap_err();
    assert!(matches!(error, Error::NothingFits { candidates: 2.., .. }), "{error}");
    assert!(error.to_string().contains("hint: raise the limits"), "{error}");

    // A folder has one search.
    fs::create_dir(root.path().join("b")).unwrap();
    fs::copy(root.path().join("a/search.toml"), root.path().join("b/search.toml")).unwrap();
    let error = run(&nothing, &root.path().join("b"), false, usize::MAX).unwrap_err();
    assert!(matches!(error, Error::SearchExists(_)), "{error}");
    let other = SearchConfig { seed: 1, ..nothing };
    let error = run(&other, &root.path().join("b"), true, usize::MAX).unwrap_err();
    assert!(error.to_string().contains("other settings"), "{error}");

    let few = root.path().join("few");
    images(&few, 2);
    let config = SearchConfig { data: few.to_string_lossy().into_owned(), ..config };
    let error = run(&config, &root.path().join("c"), false, usize::MAX).unwrap_err();
    assert!(error.to_string().contains("each class needs three images"), "{error}");
}
