//! `zoo embed` as its users meet it, bad input included.

mod program;

use std::fs;
use std::path::Path;

use parquet::file::reader::SerializedFileReader;
use parquet::record::{ListAccessor, RowAccessor};
use serde_json::Value;
use tempfile::TempDir;

use program::{in_a_browser, sample};

fn ok(folder: &Path, arguments: &[&str]) -> String {
    program::ok(folder, &[&["embed"], arguments].concat())
}

fn complaint(folder: &Path, arguments: &[&str]) -> String {
    program::complaint(folder, &[&["embed"], arguments].concat())
}

/// A folder with the sample images, and a smaller copy of one of them.
fn photos() -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in ["chelsea.png", "coffee.png", "rocket.jpg"] {
        fs::copy(sample(name), folder.path().join(name)).unwrap();
    }
    let cup = image::open(sample("coffee.png")).unwrap();
    cup.thumbnail(400, 400).to_rgb8().save(folder.path().join("cup.jpg")).unwrap();
    folder
}

#[test]
fn a_copy_is_the_most_similar_image() {
    let folder = photos();
    let text =
        ok(folder.path(), &[".", "--query", "cup.jpg", "--nearest", "2", "--format", "json"]);
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    assert!(rows[0]["path"].as_str().unwrap().ends_with("cup.jpg"), "{text}");
    assert!(rows[1]["path"].as_str().unwrap().ends_with("coffee.png"), "{text}");
    let text = ok(folder.path(), &[".", "--duplicates=0.8", "--format", "csv"]);
    assert!(text.starts_with("path,other,similarity\n"), "{text}");
    let text = ok(folder.path(), &[".", "--duplicates=0.8"]);
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("coffee.png") && text.contains("cup.jpg"), "{text}");
}

#[test]
fn files_have_a_row_for_each_image() {
    let folder = photos();
    fs::write(folder.path().join("broken.jpg"), b"no image").unwrap();
    for name in ["e.npy", "e.csv", "e.safetensors", "e.parquet"] {
        let text = complaint(folder.path(), &[".", "--normalize", "-o", name]);
        assert!(
            text.contains("broken.jpg") && text.contains("4 embeddings of 1280 numbers"),
            "{text}"
        );
    }
    let npy = fs::read(folder.path().join("e.npy")).unwrap();
    assert!(String::from_utf8_lossy(&npy[..128]).contains("'shape': (4, 1280)"));
    let row: Vec<f32> = npy[128..][..4 * 1280]
        .chunks(4)
        .map(|it| f32::from_le_bytes(it.try_into().unwrap()))
        .collect();
    let norm: f32 = row.iter().map(|value| value * value).sum();
    assert!((norm - 1.0).abs() < 1e-4, "{norm}");
    assert_eq!(fs::read_to_string(folder.path().join("e.txt")).unwrap().lines().count(), 4);
    let table = fs::read_to_string(folder.path().join("e.csv")).unwrap();
    assert_eq!(table.lines().count(), 5);
    let first = table.lines().nth(1).unwrap().split(',').nth(1).unwrap().parse::<f32>().unwrap();
    assert_eq!(first, row[0]);
    let bytes = fs::read(folder.path().join("e.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("embeddings").unwrap().shape(), [4, 1280]);
    let file = SerializedFileReader::try_from(folder.path().join("e.parquet").as_path()).unwrap();
    let rows: Vec<_> = file.into_iter().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4);
    assert!(rows[0].get_string(0).unwrap().ends_with("chelsea.png"), "{:?}", rows[0].get_string(0));
    let list = rows[0].get_list(1).unwrap();
    assert_eq!((list.len(), list.get_float(0).unwrap()), (1280, row[0]));
}

#[test]
fn bad_input_is_a_sentence_and_a_hint() {
    let folder = photos();
    let text = complaint(folder.path(), &["."]);
    assert!(text.contains("nothing to do") && text.contains("hint: --output FILE"), "{text}");
    let text = complaint(folder.path(), &[".", "-o", "e.txt"]);
    assert!(text.contains("e.txt does not name a format"), "{text}");
    let text = complaint(folder.path(), &[".", "--query", "missing.jpg"]);
    assert!(text.contains("missing.jpg"), "{text}");
    assert!(!folder.path().join("e.txt").exists());
}

#[test]
fn a_plot_shows_each_image() {
    let folder = photos();
    let root = folder.path();
    ok(root, &[".", "--plot", "plot.html"]);
    let page = fs::read_to_string(root.join("plot.html")).unwrap();
    assert_eq!(page.matches("<image ").count(), 4);
    assert!(page.contains("4 images by efficientnet_lite0"));
    in_a_browser(&root.join("plot.html"), "embed");
}
