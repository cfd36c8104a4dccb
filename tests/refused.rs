//! Files that are not checkpoints, under any name: each is recognized by its content, and has its
//! own message and hint.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use insta::assert_snapshot;
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;
use zoo_import::{Checkpoint, Error};
use zoo_tests::{local, workspace};

/// Returns the error for a file.
fn complaint(path: &Path) -> String {
    let error = match Checkpoint::open(path) {
        Ok(checkpoint) => panic!("{} was taken: {checkpoint:?}", path.display()),
        Err(error) => error,
    };
    assert!(matches!(error, Error::Unsupported { .. } | Error::Empty(_)), "{error:?}");
    let folder = path.parent().expect("a file is in a folder").display().to_string();
    format!("{}\n", error.to_string().replace(&folder, "FOLDER"))
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn foreign_files_are_told_apart_by_content() {
    let folder = TempDir::new().unwrap();
    let weights: &[u8] = &[0; 100];
    let image = fs::read(workspace("assets/images/chelsea.png")).unwrap();
    let measurements = fs::read(local("fixtures/keras/other.h5")).unwrap();
    let mut complaints = String::new();
    for (name, content) in [
        ("nothing", &b""[..]),
        ("lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
        ("page", b"\n<!DOCTYPE html>\n<html lang=\"en\">"),
        ("text", b"404: Not Found"),
        ("image", &image),
        ("record", zoo_assets::EFFICIENTNET_LITE0),
        ("lite", b"\x1c\0\0\0TFL3\x14\0\x20\0\x1c\0"),
        ("saved_model", b"\x08\x01\x12\xd8\x9a\x01\x0a\x95"),
        ("graph", b"\x0a\x3b\x0a\x05input\x12\x0bPlaceholder*\x0b\x0a\x05dtype\x12\x02\x30\x01"),
        ("hdf5", &measurements),
        ("numpy", b"\x93NUMPY\x01\0v\0{'descr': '<f4'"),
        ("arrays", &archive(&[("w.npy", b"\x93NUMPY\x01\0v\0")])),
        ("two", &archive(&[("a.pth", weights), ("b.safetensors", weights)])),
        ("photographs", &archive(&[("cat.jpg", b"\xff\xd8\xff")])),
        ("compressed", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
        ("noise", b"\x03\x97\xc5\x11\x80\xfe\xfe\x31"),
        ("tensorflow_js", b"{\"format\": \"layers-model\", \"modelTopology\": {\"class_name\": 1"),
        ("keras_json", b"{\"class_name\": \"Functional\", \"config\": {"),
        ("caffe", b"\x0a\x08ResNet50\xa2\x06\x10\x0a\x04data\x12\x05Input"),
        ("caffe_text", b"name: \"LeNet\"\nlayer {\n  name: \"data\"\n"),
        ("caffe2", b"\x0a\x04init\x12\x20\x12\x02w1\"\x0fGivenTensorFill"),
        ("darknet", b"\0\0\0\0\x02\0\0\0\x05\0\0\0\0\x7d\0\0\0\0\0\0\x9a\x2e"),
        ("darknet_text", b"[net]\nbatch=1\n[convolutional]\n"),
        ("core_ml", b"\x08\x04\x12\xb0\x01\x0a\x20\x0a\x05image\x12\x0bInput"),
        ("mxnet", b"\x12\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0"),
        ("openvino", b"<?xml version=\"1.0\"?>\n<net name=\"resnet\" version=\"11\">"),
        ("ncnn", b"7767517\n75 83\nInput data 0 1 data\n"),
        ("tensorrt", b"ftrt\x40\0\0\0\0\0\0\0"),
        ("ggml", b"lmgg\x01\0\0\0"),
        ("flax", b"\x82\xa6params\x83\xa6Conv_0"),
        (
            "frozen",
            &archive(&[
                ("m/data.pkl", b"\x80\x02"),
                ("m/constants/0", weights),
                ("m/constants.pkl", b"\x80\x02"),
            ]),
        ),
        // These are recognized only by their names.
        ("group1-shard1of2.bin", &[0x3f; 64]),
        ("m.pdmodel", b"\x0a\xe2\x01\x08\0\x10"),
        ("m.pdiparams", &[0; 64]),
        ("m.mnn", b"\x18\0\0\0\0\0"),
        ("m.plan", b"\x01\x02\x03"),
        ("m.ckpt.data-00000-of-00001", &[0x3d; 64]),
        ("m.onnx.data", &[0x3d; 64]),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        complaints += &complaint(&path);
    }
    let inside = folder.path().join("folder");
    fs::create_dir(&inside).unwrap();
    complaints += &complaint(&inside);
    fs::write(inside.join("saved_model.pb"), b"\x08\x01\x12").unwrap();
    complaints += &complaint(&inside);
    let package = folder.path().join("m.mlpackage");
    fs::create_dir_all(package.join("Data")).unwrap();
    fs::write(package.join("Manifest.json"), b"{}").unwrap();
    complaints += &complaint(&package);
    // The description is in the same folder.
    fs::write(folder.path().join("m.xml"), b"<?xml version=\"1.0\"?>").unwrap();
    fs::write(folder.path().join("m.bin"), [0x3d; 64]).unwrap();
    complaints += &complaint(&folder.path().join("m.bin"));
    assert_snapshot!(complaints);
}

#[test]
fn checkpoints_of_other_things_are_refused() {
    let corpus = workspace("fuzz/corpus");
    let mut complaints = String::new();
    for name in [
        "pth/quantised.pth",
        "pth/quantised_legacy.pth",
        "pth/int8.pth",
        "pth/sparse.pth",
        "pth/numbers.pth",
        "safetensors/int8.safetensors",
        "safetensors/float8.safetensors",
        "onnx/qdq.onnx",
        "onnx/qoperator.onnx",
    ] {
        complaints += &complaint(&corpus.join(name));
    }
    assert_snapshot!(complaints);
}

#[test]
fn a_pickled_module_is_read_as_its_state_dict() {
    let corpus = workspace("fuzz/corpus/pth");
    let tensors = |name: &str| Checkpoint::open(&corpus.join(name)).unwrap().tensors;
    let (module, plain) = (tensors("module.pth"), tensors("plain.pth"));
    assert!(module.keys().eq(plain.keys()), "{:?}", module.keys());
    for (key, tensor) in module {
        let bytes = |tensor: &zoo_import::Tensor| tensor.to_bytes().unwrap().to_vec();
        assert_eq!(bytes(&tensor), bytes(&plain[&key]), "{key}");
    }
    // The model is part of a training state, beside objects, or the module of a program.
    for name in ["training.pth", "objects.pth", "torchscript.pth"] {
        let tensors = tensors(name);
        let has = |key: &String| tensors.keys().any(|found| found.ends_with(key.as_str()));
        assert!(plain.keys().all(has), "{name}: {:?}", tensors.keys());
    }
}
