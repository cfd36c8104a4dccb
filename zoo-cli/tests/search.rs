//! `zoo search` as its users meet it: processes that share a search, and what goes wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use image::{Rgb, RgbImage};
use tempfile::TempDir;

/// Images of two colors.
fn images(folder: &Path, per_class: u32) {
    for (name, color) in [("blue", [20, 40, 200]), ("red", [210, 30, 20])] {
        fs::create_dir_all(folder.join(name)).unwrap();
        for number in 0..per_class {
            let image = RgbImage::from_fn(16, 16, |x, y| {
                Rgb(color.map(|value| value + ((x * 7 + y * 13 + number * 3) % 30) as u8))
            });
            image.save(folder.join(name).join(format!("{number}.png"))).unwrap();
        }
    }
}

const SMALL: &str = "search data --space blocks --max-size 400KB --size 16 --epochs 1 --final-epochs 1 \
                     --population 3 --generations 1 --budget 1h";

fn start(folder: &Path, arguments: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_zoo"))
        .current_dir(folder)
        .envs([("ZOO_OFFLINE", "1"), ("ZOO_CACHE", "no/such/folder")])
        .args(arguments.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("zoo starts")
}

fn zoo(folder: &Path, arguments: &str) -> Output {
    start(folder, arguments).wait_with_output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The accuracies of all trained candidates of a search's folder.
fn results(folder: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "csv"));
    let mut results = BTreeMap::new();
    for file in files {
        let mut reader = csv::Reader::from_path(file).unwrap();
        let column = |name: &str, headers: &csv::StringRecord| {
            headers.iter().position(|header| header == name).expect("the file has the column")
        };
        let headers = reader.headers().unwrap().clone();
        let [network, accuracy] = ["network", "accuracy"].map(|name| column(name, &headers));
        for row in reader.records() {
            let row = row.unwrap();
            if !row[accuracy].is_empty() {
                results.insert(row[network].to_owned(), row[accuracy].to_owned());
            }
        }
    }
    results
}

#[test]
fn processes_share_a_search() {
    let root = TempDir::new().unwrap();
    images(&root.path().join("data"), 12);
    let whole = zoo(root.path(), &format!("{SMALL} -o whole"));
    assert!(whole.status.success(), "{}", stderr(&whole));

    let shards =
        [1, 2].map(|part| start(root.path(), &format!("{SMALL} -o shared --shard {part}/2")));
    let [first, second] = shards.map(|shard| shard.wait_with_output().unwrap());
    assert!(first.status.success(), "{}", stderr(&first));
    assert!(second.status.success(), "{}", stderr(&second));
    assert!(stderr(&second).contains("part 1 trains the found network"), "{}", stderr(&second));
    assert_eq!(results(&root.path().join("shared")), results(&root.path().join("whole")));
    for part in ["search-1.csv", "search-2.csv", "model.bpk", "report.html"] {
        assert!(root.path().join("shared").join(part).exists(), "{part}");
    }
    let test = |output: &Output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.split(", ").nth(1).map(str::to_owned)
    };
    assert_eq!(test(&first), test(&whole));
}

#[test]
fn a_search_says_what_is_wrong() {
    let root = TempDir::new().unwrap();
    images(&root.path().join("data"), 12);
    images(&root.path().join("few"), 2);
    let complaint = |arguments: &str| {
        let output = zoo(root.path(), arguments);
        assert!(!output.status.success(), "{arguments}");
        let text = stderr(&output);
        assert!(!text.contains("panicked"), "{text}");
        text
    };
    let text = complaint(&format!("{SMALL} --max-latency 0.0001ms -o a"));
    assert!(text.contains("meets the limits") && text.contains("hint: raise the limits"), "{text}");
    let text = complaint(&format!("{SMALL} -o a"));
    assert!(text.contains("already has a search") && text.contains("hint: resume it"), "{text}");
    let text = complaint("search few --space blocks -o b");
    assert!(text.contains("each class needs three images"), "{text}");
    let text = complaint("search data -o c --shard 3/2");
    assert!(text.contains("not a part such as 1/4"), "{text}");
    let text = complaint("search data -o c --screen flow");
    assert!(text.contains("params, synflow, nwot"), "{text}");
}
