//! `zoo forward`: raw tensors in and out, to compare with other implementations.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, ensure};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::args::Forward;
use crate::device::{self, Backend};
use crate::model::from_file;
use crate::output::{channels, ensure_apart};
use crate::runner::Runner;

/// Runs the command.
pub fn run(args: &Forward) -> anyhow::Result<()> {
    ensure_apart(&args.weights, &args.output)?;
    ensure_apart(&args.input, &args.output)?;
    let device = device::of(&args.run)?;
    let model = from_file(&args.weights, Some(&args.variant), &Backend::Cpu.device()?)?;

    let input = args.input.display();
    let bytes = std::fs::read(&args.input).with_context(|| format!("cannot read {input}"))?;
    let file = SafeTensors::deserialize(&bytes)
        .with_context(|| format!("{input} is not a safetensors file"))?;
    let view = file.tensor("input").with_context(|| format!("{input} has no tensor `input`"))?;
    ensure!(
        view.dtype() == Dtype::F32 && view.shape().len() == 4,
        "`input` in {input} is {:?} {:?}, not F32 [N, C, H, W]",
        view.dtype(),
        view.shape()
    );
    ensure!(
        view.shape()[1] == model.card.in_channels,
        "`input` in {input} has {}, the model takes {}",
        channels(view.shape()[1]),
        model.card.in_channels
    );
    ensure!(
        !view.shape().contains(&0),
        "`input` in {input} is {:?}, which is no image at all",
        view.shape()
    );
    let values: Vec<f32> = view
        .data()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes")))
        .collect();
    let shape = view.shape().try_into().expect("it has four dimensions");
    let mut runner = Runner::new(model.network, args.run.backend, &device);
    let (features, logits) = runner.forward(values, shape)?;
    let mut outputs = vec![("features", features)];
    if model.card.has_classifier {
        outputs.push(("logits", logits));
    } else {
        eprintln!("zoo: without a trained classifier there are features, but no logits");
    }
    let views: BTreeMap<_, _> = outputs
        .iter()
        .map(|(name, data)| {
            let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes());
            view.map(|view| (*name, view))
        })
        .collect::<Result<_, _>>()?;
    let bytes = safetensors::serialize(views, None)?;
    Ok(zoo_import::write_atomically(&args.output, |file| file.write_all(&bytes))?)
}
