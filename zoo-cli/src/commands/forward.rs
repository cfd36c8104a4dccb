//! `zoo forward`: runs a model on a raw tensor, to compare it with other implementations.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use burn_zoo::counted;
use burn_zoo::record::write_atomically;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::options::{RunOptions, load};
use crate::output::ensure_apart;

/// `zoo forward`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the model
    pub(crate) model: String,

    /// A record or a checkpoint of the model
    #[arg(long, short, value_name = "FILE")]
    pub(crate) weights: PathBuf,

    /// A safetensors file with a tensor `input`, float32, `[N, C, H, W]`
    #[arg(long, short, value_name = "FILE")]
    pub(crate) input: PathBuf,

    /// The safetensors file to write, with the tensors `features` and, if the classifier is trained,
    /// `logits`
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// Options that choose the backend.
    #[command(flatten)]
    pub(crate) run: RunOptions,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    ensure_apart(&args.weights, &args.output)?;
    ensure_apart(&args.input, &args.output)?;
    let device = args.run.device()?;
    let mut model = load(Some(&args.model), Some(&args.weights), &device)?;

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
        view.shape()[1] == model.card().in_channels,
        "`input` in {input} has {}, the model takes {}",
        counted(view.shape()[1], "channel"),
        model.card().in_channels
    );
    ensure!(
        !view.shape().contains(&0),
        "`input` in {input} is {:?}, which holds no pixels",
        view.shape()
    );
    let values: Vec<f32> = view
        .data()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes")))
        .collect();
    let shape = view.shape().try_into().expect("it has four dimensions");
    let (features, logits) = model.forward(values, shape)?;
    let mut outputs = vec![("features", features)];
    if model.card().has_classifier {
        outputs.push(("logits", logits));
    } else {
        eprintln!("note: the classifier is not trained, so there are features but no logits");
    }
    let views: BTreeMap<_, _> = outputs
        .iter()
        .map(|(name, data)| {
            let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes());
            view.map(|view| (*name, view))
        })
        .collect::<Result<_, _>>()?;
    let bytes = safetensors::serialize(views, None)?;
    Ok(write_atomically(&args.output, |file| file.write_all(&bytes))?)
}
