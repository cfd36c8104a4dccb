//! The format of `torch.save`: a zip archive of a pickle and the values that it refers to.

use std::io::{self, Seek, Write};

use burn::store::burn_pack::Tensor;
use burn::tensor::DType;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::bytes;

/// The alignment of values, so that PyTorch can map them into memory.
const ALIGNMENT: u16 = 64;

/// The version of the network's code; torchvision's MNASNet has had two.
const VERSION: usize = 2;

/// Writes tensors as an ordered dictionary by name.
pub(super) fn write(tensors: &[Tensor], file: impl Write + Seek) -> io::Result<()> {
    let mut archive = ZipWriter::new(file);
    let mut add = |name: &str, content: &[u8]| {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .with_alignment(ALIGNMENT)
            .large_file(u32::try_from(content.len()).is_err());
        archive.start_file(format!("archive/{name}"), options)?;
        archive.write_all(content)
    };
    add("data.pkl", &pickle(tensors))?;
    add("byteorder", b"little")?;
    for (number, tensor) in tensors.iter().enumerate() {
        add(&format!("data/{number}"), &bytes(tensor))?;
    }
    add("version", b"3\n")?;
    archive.finish()?;
    Ok(())
}

/// Returns the output of Python's `pickle` for `OrderedDict([(key,
/// torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, …)), …])`.
fn pickle(tensors: &[Tensor]) -> Vec<u8> {
    let mut out = Pickle(vec![0x80, 2]);
    out.global("collections", "OrderedDict");
    out.op(b")R("); // () → call; mark
    for (number, tensor) in tensors.iter().enumerate() {
        out.text(&tensor.name);
        out.global("torch._utils", "_rebuild_tensor_v2");
        out.op(b"((");
        out.text("storage");
        out.global(
            "torch",
            match tensor.dtype {
                DType::F16 => "HalfStorage",
                DType::I64 => "LongStorage",
                _ => "FloatStorage",
            },
        );
        out.text(&number.to_string());
        out.text("cpu");
        out.integer(tensor.shape.iter().product());
        out.op(b"tQ"); // tuple → the storage of that name
        out.integer(0);
        out.tuple(&tensor.shape);
        out.tuple(&strides(&tensor.shape));
        out.op(b"\x89"); // no gradient
        out.global("collections", "OrderedDict");
        out.op(b")RtR");
    }
    // Some networks of torchvision require a dictionary with its version.
    out.op(b"u}"); // into the dictionary; its attributes
    out.text("_metadata");
    out.global("collections", "OrderedDict");
    out.op(b")R");
    out.text("");
    out.op(b"}");
    out.text("version");
    out.integer(VERSION);
    out.op(b"sssb."); // into the innermost, …, into the attributes; set them; the end
    out.0
}

/// Returns the number of elements between neighbors along each dimension.
fn strides(shape: &[usize]) -> Vec<usize> {
    (1..=shape.len()).map(|inner| shape[inner..].iter().product()).collect()
}

/// The bytes of a pickle, protocol 2.
struct Pickle(Vec<u8>);

impl Pickle {
    fn op(&mut self, codes: &[u8]) {
        self.0.extend(codes);
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.extend(format!("c{module}\n{name}\n").bytes());
    }

    fn text(&mut self, text: &str) {
        let length = u32::try_from(text.len()).expect("a key is short");
        self.op(b"X");
        self.0.extend(length.to_le_bytes());
        self.0.extend(text.bytes());
    }

    fn integer(&mut self, number: usize) {
        match i32::try_from(number) {
            Ok(number) => {
                self.op(b"J");
                self.0.extend(number.to_le_bytes());
            }
            Err(_) => {
                self.op(b"\x8a\x09");
                self.0.extend((number as u64).to_le_bytes());
                self.0.push(0); // the sign
            }
        }
    }

    fn tuple(&mut self, numbers: &[usize]) {
        self.op(b"(");
        numbers.iter().for_each(|&number| self.integer(number));
        self.op(b"t");
    }
}
