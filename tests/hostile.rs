//! Files that contradict themselves are errors: no memory is allocated for a size that the file
//! does not have, and missing values are not read as zeros.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};
use zoo_import::{Checkpoint, Error, Tensor};
use zoo_record::{ModelCard, Record};
use zoo_tests::workspace;

/// Writes a file into a new folder.
fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("checkpoint");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Returns the error of opening bytes as a checkpoint.
fn flaw(bytes: &[u8]) -> String {
    let (_folder, path) = file(bytes);
    match Checkpoint::open(&path) {
        Err(Error::Damaged { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Returns the values of the tensor `w`, or the error of reading them.
fn numbers(path: &Path) -> Result<Vec<f32>, String> {
    let checkpoint = Checkpoint::open(path).map_err(|error| error.to_string())?;
    let bytes = checkpoint.tensors["w"].to_bytes().map_err(|error| error.to_string())?;
    let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
    Ok(bytes.chunks_exact(4).map(number).collect())
}

/// The claims of a pickle about the tensor `w`.
#[derive(Clone, Copy)]
struct Claim<'a> {
    /// Number of elements of the storage.
    storage: i64,
    offset: i64,
    shape: &'a [i64],
    strides: &'a [i64],
}

/// A true claim: six numbers, 2 × 3.
const HONEST: Claim<'_> = Claim { storage: 6, offset: 0, shape: &[2, 3], strides: &[3, 1] };

fn six() -> Vec<u8> {
    (0..6).flat_map(|number| (number as f32).to_le_bytes()).collect()
}

impl Claim<'_> {
    /// Returns a pickled dictionary of one tensor, as `torch.save` writes it.
    fn pickle(&self) -> Vec<u8> {
        fn text(out: &mut Vec<u8>, text: &str) {
            out.push(b'X');
            out.extend((text.len() as u32).to_le_bytes());
            out.extend(text.as_bytes());
        }
        fn int(out: &mut Vec<u8>, int: i64) {
            out.extend([0x8a, 8]);
            out.extend(int.to_le_bytes());
        }
        fn tuple(out: &mut Vec<u8>, ints: &[i64]) {
            out.push(b'(');
            ints.iter().for_each(|&value| int(out, value));
            out.push(b't');
        }
        let mut out = b"\x80\x02}".to_vec();
        text(&mut out, "w");
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nFloatStorage\n");
        text(&mut out, "0");
        text(&mut out, "cpu");
        int(&mut out, self.storage);
        out.extend(b"tQ");
        int(&mut out, self.offset);
        tuple(&mut out, self.shape);
        tuple(&mut out, self.strides);
        out.extend(b"\x89ccollections\nOrderedDict\n)RtRs.");
        out
    }

    /// Returns a file in the current format.
    fn zip(&self, values: &[u8]) -> Vec<u8> {
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in [("w/data.pkl", &*self.pickle()), ("w/data/0", values)] {
            archive.start_file(name, stored).unwrap();
            archive.write_all(content).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    /// Returns a file in the format before 2020.
    fn legacy(&self, values: &[u8]) -> Vec<u8> {
        let mut out = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
        out.extend(b"\x80\x02M\xe9\x03.\x80\x02}X\x0d\0\0\0little_endian\x88s.");
        out.extend(self.pickle());
        out.extend(b"\x80\x02]X\x01\0\0\0" as &[u8]);
        out.extend(b"0a.");
        out.extend((values.len() as i64 / 4).to_le_bytes());
        out.extend(values);
        out
    }
}

#[test]
fn strides_and_offsets_are_honored() {
    for (claim, expected) in [
        (HONEST, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        (Claim { strides: &[1, 2], ..HONEST }, vec![0.0, 2.0, 4.0, 1.0, 3.0, 5.0]),
        (Claim { shape: &[2, 1], strides: &[3, 1], offset: 2, ..HONEST }, vec![2.0, 5.0]),
    ] {
        for bytes in [claim.zip(&six()), claim.legacy(&six())] {
            let (_folder, path) = file(&bytes);
            assert_eq!(numbers(&path).unwrap(), expected);
        }
    }
}

#[test]
fn pickles_that_claim_more_than_there_is_are_refused() {
    let tera = 1_i64 << 40;
    for claim in [
        // After the end of the storage.
        Claim { offset: 1, ..HONEST },
        Claim { strides: &[4, 1], ..HONEST },
        // 4 TB: a storage of that size, and one number that is repeated.
        Claim { storage: tera, shape: &[tera], strides: &[1], ..HONEST },
        Claim { shape: &[tera], strides: &[0], ..HONEST },
        Claim { shape: &[1 << 12, 1 << 8], strides: &[0, 0], ..HONEST },
        // More than 64 bits can count, once hidden by a dimension of 0.
        Claim { shape: &[i64::MAX, i64::MAX], strides: &[1, 1], ..HONEST },
        Claim { shape: &[tera, 0], strides: &[0, 1], ..HONEST },
        Claim { shape: &[-1], strides: &[1], ..HONEST },
        Claim { storage: -1, ..HONEST },
    ] {
        for bytes in [claim.zip(&six()), claim.legacy(&six())] {
            let (_folder, path) = file(&bytes);
            let (shape, offset) = (claim.shape, claim.offset);
            assert!(numbers(&path).is_err(), "{shape:?} from {offset}");
        }
    }
}

#[test]
fn storages_that_are_too_short_are_errors_not_zeros() {
    for bytes in [HONEST.zip(&six()[..20]), HONEST.legacy(&six()[..20])] {
        let (_folder, path) = file(&bytes);
        let error = numbers(&path).unwrap_err();
        assert!(!error.is_empty());
    }
}

/// Replaces all occurrences of a pattern by another one of the same length.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let positions: Vec<_> = memchr::memmem::find_iter(&bytes, from).collect();
    assert!(!positions.is_empty(), "{from:?} is not there");
    for at in positions {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn archives_that_lie_about_their_entries_are_refused() {
    let whole = HONEST.zip(&six());
    // In the directory, the second entry begins where the first one does.
    let directory = memchr::memmem::find(&whole, b"PK\x01\x02").unwrap();
    let second = memchr::memmem::rfind(&whole, b"PK\x01\x02").unwrap();
    assert!(directory < second);
    let mut over = whole.clone();
    over[second + 42..second + 46].fill(0);
    assert_eq!(flaw(&over), "parts of it lie over one another");
    // The first entry claims 4 GB.
    let mut large = whole.clone();
    large[directory + 20..directory + 28].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff].repeat(2));
    flaw(&large);
    // A name with a path to another folder is only a name.
    let mut evil = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in
        [("../../data.pkl", HONEST.pickle()), ("../../data/0", six()), ("../../evil", six())]
    {
        evil.start_file(name, SimpleFileOptions::default()).unwrap();
        evil.write_all(&content).unwrap();
    }
    let (folder, path) = file(&evil.finish().unwrap().into_inner());
    assert_eq!(numbers(&path).unwrap().len(), 6);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was unpacked");
}

#[test]
fn tapes_that_claim_more_than_there_is_are_refused() {
    // A sparse entry would be read as 4 TB of zeros.
    let mut header = tar::Header::new_gnu();
    header.set_path("storages").unwrap();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_size(0);
    let sparse = header.as_gnu_mut().unwrap();
    let number = |field: &mut [u8; 12], number: u64| {
        field.copy_from_slice(format!("{number:011o}\0").as_bytes());
    };
    number(&mut sparse.realsize, 1 << 32);
    number(&mut sparse.sparse[0].offset, 1 << 32);
    number(&mut sparse.sparse[0].numbytes, 0);
    header.set_cksum();
    let mut tape = header.as_bytes().to_vec();
    tape.extend([0; 1024]);
    assert_eq!(flaw(&tape), "an entry would be larger than the file");

    let whole = fs::read(workspace("fuzz/corpus/pth/tar.pth")).unwrap();
    for length in [600, 1500, 2500] {
        flaw(&whole[..length]);
    }
}

#[test]
fn safetensors_that_claim_more_than_there_is_are_refused() {
    let written = |header: &str, values: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + values, 0);
        bytes
    };
    let tensor = |shape: &str, offsets: &str| {
        format!(r#""dtype":"F32","shape":{shape},"data_offsets":{offsets}}}"#)
    };
    let one = |shape: &str, offsets: &str| format!(r#"{{"w":{{{}}}"#, tensor(shape, offsets));
    let (_folder, path) = file(&written(&one("[2,3]", "[0,24]"), 24));
    assert_eq!(numbers(&path).unwrap(), [0.0; 6]);
    for header in [
        one("[1099511627776]", "[0,4398046511104]"),
        one("[2,3]", "[4398046511104,4398046511128]"),
        one("[2,3]", "[24,0]"),
        one("[2,3]", "[0,20]"),
        one("[9223372036854775807,9223372036854775807]", "[0,24]"),
        one("[1099511627776,0]", "[0,0]"),
        // Two overlapping tensors.
        format!(r#"{{"v":{{{},"w":{{{}}}"#, tensor("[4]", "[0,16]"), tensor("[4]", "[8,24]")),
    ] {
        flaw(&written(&header, 24));
    }
    let mut long = written(&one("[2,3]", "[0,24]"), 24);
    long[..8].copy_from_slice(&(90_000_000_u64).to_le_bytes());
    flaw(&long);
}

/// Writes a record of two tensors.
fn record() -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("record.bpk");
    let card = Record::from_bytes("embedded", zoo_assets::EFFICIENTNET_LITE0).unwrap().card;
    let card = ModelCard { labels: Vec::new(), ..card };
    let tensor = |name: &str| {
        let bytes = burn::tensor::Bytes::from_bytes_vec(vec![0; 400]);
        let shape = burn::tensor::Shape::from(vec![100]);
        Tensor::new(name.to_owned(), burn::tensor::DType::F32, shape, None, bytes)
    };
    burn::store::burn_pack::Writer::new(vec![tensor("v"), tensor("w")])
        .with_metadata("zoo.card", &serde_json::to_string(&card).unwrap())
        .write_to_file(&path)
        .unwrap();
    fs::read(path).unwrap()
}

#[test]
fn records_that_claim_more_than_there_is_are_refused() {
    let open = |bytes: &[u8]| {
        let (_folder, path) = file(bytes);
        let error = Record::open(&path).map(|record| record.tensors().len());
        assert_eq!(error.is_ok(), Record::from_bytes("memory", bytes.to_vec()).is_ok());
        error.map_err(|error| error.to_string())
    };
    let whole = record();
    assert_eq!(open(&whole), Ok(2));
    // In CBOR: the shape [100], and the ranges 0 to 400 and 512 to 912.
    let shape = b"\x65shape\x81\x18\x64";
    for claim in [&b"\x65shape\x81\x18\xff"[..], b"\x65shape\x81\x18\x00"] {
        open(&replaced(&whole, shape, claim)).unwrap_err();
    }
    let second = b"\x82\x19\x02\x00\x19\x03\x90";
    open(&replaced(&whole, second, b"\x82\x19\xf2\x00\x19\xf3\x90")).unwrap_err();
    let over = open(&replaced(&whole, second, b"\x82\x19\x00\x00\x19\x01\x90")).unwrap_err();
    assert!(over.contains("`v` and `w` lie over one another"), "{over}");
    // The description claims 100 MB, and more than is allowed.
    for size in [100 << 20, u32::MAX] {
        let mut long = whole.clone();
        long[6..10].copy_from_slice(&size.to_le_bytes());
        open(&long).unwrap_err();
    }
    let classes = replaced(&whole, b"\"num_classes\":1000", b"\"num_classes\":9e19");
    open(&classes).unwrap_err();
}
