//! The command line: what can be written there and what the help says about it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::device::{Backend, Place};
use crate::flags::SettingFlags;

/// Classify photographs with the classic convolutional networks.
#[derive(Debug, Parser)]
#[command(name = "zoo", version, arg_required_else_help = true)]
pub struct Zoo {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `zoo` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Name what is in photographs
    Classify(Classify),
    /// Teach a model your own classes
    Finetune(Box<Finetune>),
    /// Say how good a model is on images whose classes are known
    Eval(Eval),
    /// List the models
    List(List),
    /// Describe a model: its size, its layers, its weights and where they come from
    Info(Info),
    /// List the backends: built in? usable here? why not?
    Devices(Devices),
    /// Let other machines compute on this one
    Serve(Serve),
    /// Turn a PyTorch, safetensors, ONNX or Keras file into a record
    Import(Import),
    /// Turn a record into a file for other programs
    Export(Export),
    /// Show what is in a record or a checkpoint, and which model it is of
    Inspect(Inspect),
    /// Download published weights, and see to those that are on this machine
    Weights(Weights),
    /// Run a model on a raw tensor, to compare it with other implementations
    Forward(Forward),
    /// Measure how fast a model runs
    Bench(Bench),
    /// Print a completion script for a shell
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON object per line
    Json,
    /// Comma-separated values with a header
    Csv,
}

/// Where a model comes from.
#[derive(Debug, Args)]
pub struct Model {
    /// Model by name, with a tag where several weights are published: resnet50.imagenet1k_v2
    #[arg(long, short, visible_alias = "variant", value_name = "VARIANT[.TAG]")]
    pub model: Option<String>,

    /// Weights: a record, or a PyTorch, safetensors, ONNX or Keras file of the model
    #[arg(long, short, value_name = "FILE")]
    pub weights: Option<PathBuf>,
}

/// Where a model runs.
#[derive(Debug, Args)]
pub struct Run {
    /// What computes
    #[arg(long, short, value_enum, default_value_t = Backend::Cpu)]
    pub backend: Backend,

    /// Threads to compute with, at most 512 [default: one per core]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub threads: Option<u16>,
}

/// `zoo classify`
#[derive(Debug, Args)]
#[command(after_help = "\
Without --model and --weights, the embedded EfficientNet-Lite0 answers, which knows the 1,000 classes of ImageNet. Where a
network has one output, it tells two classes apart: the first, which is all else, and the second, which it is trained to find.
What is in folders by itself, such as hidden files, __MACOSX and @eaDir, is no image.

Exit codes: 0 all images were classified, 1 some input was unusable, 2 failure.")]
pub struct Classify {
    /// Image files, folders of them, or - for an image on standard input
    #[arg(value_name = "PATH", required_unless_present = "from_file")]
    pub paths: Vec<PathBuf>,

    /// A text file with the path of an image on each line, or - for standard input
    #[arg(long, value_name = "FILE")]
    pub from_file: Option<PathBuf>,

    /// Look into the folders in folders too
    #[arg(long, short)]
    pub recursive: bool,

    /// Where the model comes from.
    #[command(flatten)]
    pub model: Model,

    /// Where it runs.
    #[command(flatten)]
    pub run: Run,

    /// How many classes to name for each image
    #[arg(long, short = 'k', value_name = "K", default_value_t = 5, value_parser = positive())]
    pub top_k: usize,

    /// Where no class is as probable as this, from 0 to 1, answer `unknown`, without a class but
    /// with the highest probability
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = probability)]
    pub min_probability: f32,

    /// How many images to compute at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = positive())]
    pub batch_size: usize,

    /// How to print the results
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `zoo finetune`
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    after_help = "\
DATA is one of
  FOLDER                a folder for each class, in it or in its parts `train`, `val`
  LIST.csv, LIST.jsonl  paths and labels: columns path, label and, if you like, split
  fashion-mnist:FOLDER  the files that Fashion-MNIST is published in; mnist: too
  FOLDER                with --task segment: folders `images` and `masks`

The part `test` is left out. In a list, split is train, val or test; between columns are commas, semicolons or tabs; file, \
image, class, category and set are names of columns, too. Images and masks have files of the same names, and a mask has a gray \
value for each class.

The best weights become OUTPUT/model.bpk, which `zoo classify --weights` takes. Beside it are report.html, metrics.csv, \
TensorBoard's events, config.toml, which --config takes, and checkpoint.bpk, which --resume goes on from; for image files with \
classes also images.csv, whose validation images `zoo eval` takes.

Exit codes: 0 done, 1 some input was unusable, 2 failure, 130 interrupted."
)]
pub struct Finetune {
    /// The images
    #[arg(value_name = "DATA", required_unless_present_any = ["resume", "config", "data"])]
    pub path: Option<String>,

    /// The same, with a name
    #[arg(long, hide = true, conflicts_with = "path")]
    pub data: Option<String>,

    /// The folder to write [default: named after the data and the model]
    #[arg(long, short, value_name = "FOLDER")]
    pub output: Option<PathBuf>,

    /// Go on with an interrupted run; with --epochs, with a finished one too
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["path", "data", "output", "config", "set"])]
    pub resume: Option<PathBuf>,

    /// Start from the settings in a TOML or JSON file, such as another run's config.toml
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where it runs.
    #[command(flatten)]
    pub run: Run,

    /// Share each step among devices, such as wgpu,ws://gpu:3000: each takes one of the batches
    /// whose gradients are accumulated. On the machine gpu, `zoo serve` runs
    #[arg(long, value_name = "BACKEND|URL", value_delimiter = ',', conflicts_with = "backend")]
    pub devices: Vec<Place>,

    /// The settings that have an option of their own.
    #[command(flatten)]
    pub settings: SettingFlags,

    /// Any setting: recipe.ema=0.999, augment.mixup=0.2. A run writes all of them to config.toml;
    /// docs/settings.md explains them
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `zoo eval`
#[derive(Debug, Args)]
#[command(after_help = "\
Of the images of a record that `zoo finetune` has written, those that it was trained on are left out, unless DATA names the \
parts or has no others. A network with one output tells two classes apart, negative and positive; classes without names are \
labeled with their numbers, from 0.

For a model that tells pixels apart, such as U-Net, DATA is a folder with the folders `images` and `masks`.

Exit codes: 0 done, 1 some input was unusable, 2 failure.")]
pub struct Eval {
    /// Images with their classes, as `zoo finetune` takes them; of parts, `val` counts, else `test`
    pub data: String,

    /// Where the model comes from.
    #[command(flatten)]
    pub model: Model,

    /// Where it runs.
    #[command(flatten)]
    pub run: Run,

    /// How many images to compute at once [default: 32, or 4 where pixels are told apart]
    #[arg(long, value_name = "N", value_parser = positive())]
    pub batch_size: Option<usize>,

    /// Draw the confusion matrix into a PNG file
    #[arg(long, value_name = "FILE")]
    pub confusion: Option<PathBuf>,

    /// Write the answer to each image into a .csv or .jsonl file; where pixels are told apart, how much
    /// of it is right
    #[arg(long, value_name = "FILE")]
    pub predictions: Option<PathBuf>,

    /// How to print the results
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `zoo list`
#[derive(Debug, Args)]
pub struct List {
    /// Only models with this text in their name
    #[arg(long, short, value_name = "TEXT")]
    pub search: Option<String>,

    /// Only models of this architecture
    #[arg(long, value_name = "NAME")]
    pub family: Option<String>,

    /// How to print the list
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `zoo info`
#[derive(Debug, Args)]
pub struct Info {
    /// The model's name
    pub variant: String,

    /// Print the steps that the engine takes for an image
    #[arg(long)]
    pub plan: bool,

    /// How to print it
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `zoo devices`
#[derive(Debug, Args)]
pub struct Devices {
    /// How to print the list
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `zoo serve`
#[derive(Debug, Args)]
#[command(after_help = "\
Whoever has the token in ZOO_TOKEN may compute here; without one, whoever reaches the address. \
Nothing is encrypted.")]
pub struct Serve {
    /// Where it runs.
    #[command(flatten)]
    pub run: Run,

    /// The address to listen at; 0.0.0.0:3000 for all of this machine's
    #[arg(long, short, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
}

/// `zoo import`
#[derive(Debug, Args)]
pub struct Import {
    /// A .pt, .pth, .pt2, .safetensors, .onnx, .h5 or .keras file, or a folder or an archive with one
    pub checkpoint: PathBuf,

    /// The model it is of, with a tag where several weights are published [default: what the
    /// names and shapes of its tensors tell]
    #[arg(long, visible_alias = "model", value_name = "VARIANT[.TAG]")]
    pub variant: Option<String>,

    /// The record to write
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,

    /// A text file with the name of a class on each line; for one output, the negative and the
    /// positive class's, or the latter alone
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// What the network's keys begin with, where the file has several networks: encoder_q
    #[arg(long, value_name = "PREFIX")]
    pub key: Option<String>,

    /// Take averaged weights, where the file has them beside those that were trained
    #[arg(long)]
    pub ema: bool,

    /// Take the layers before the classifier, for fine-tuning
    #[arg(long)]
    pub trunk: bool,

    /// What is between the layers of a classifier that has several, which files do not say
    /// [default: relu]
    #[arg(long, value_enum, value_name = "NAME")]
    pub activation: Option<Activation>,

    /// Keep the weights in half precision: half the size, a difference in the third digit
    #[arg(long)]
    pub half: bool,
}

/// What is between two fully connected layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Activation {
    /// Nothing
    None,
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    /// x sigmoid(x), also called swish
    Silu,
    /// x relu6(x + 3) / 6
    HardSwish,
    /// The hyperbolic tangent
    Tanh,
    /// The logistic function
    Sigmoid,
}

impl From<Activation> for zoo_core::layers::Activation {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::None => Self::Identity,
            Activation::Relu => Self::Relu,
            Activation::Relu6 => Self::Relu6,
            Activation::Silu => Self::Silu,
            Activation::HardSwish => Self::HardSwish,
            Activation::Tanh => Self::Tanh,
            Activation::Sigmoid => Self::Sigmoid,
        }
    }
}

/// `zoo export`
#[derive(Debug, Args)]
pub struct Export {
    /// The record
    pub record: PathBuf,

    /// What to write
    #[arg(long, value_enum)]
    pub to: Target,

    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,

    /// Whose spelling of the keys to use, where there are several [default: the one that the
    /// weights came in]
    #[arg(long, value_name = "NAME")]
    pub layout: Option<String>,

    /// Keep weights in half precision, except those of BatchNorm
    #[arg(long)]
    pub half: bool,

    /// ONNX's operator set [default: 18]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(zoo_import::OPSETS))]
    pub opset: Option<i64>,

    /// Side of the images that the ONNX model takes, in pixels [default: what the record says]
    #[arg(long, value_name = "PIXELS", value_parser = positive())]
    pub size: Option<usize>,
}

/// What `zoo export` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Safetensors with the keys of the PyTorch implementation, for `load_state_dict`
    Safetensors,
    /// The same as a .pth file, for `torch.load`
    #[value(alias = "pth-keys")]
    Pth,
    /// A model for ONNX Runtime and others, for any number of images
    Onnx,
}

/// `zoo inspect`
#[derive(Debug, Args)]
pub struct Inspect {
    /// A record, or a .pt, .pth, .safetensors, .onnx, .h5 or .keras file
    pub file: PathBuf,

    /// How to print it
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `zoo weights`
#[derive(Debug, Args)]
#[command(after_help = "\
`--model NAME` pulls weights by itself when they are not on this machine.

Environment:
  ZOO_CACHE=FOLDER        where they are kept [default: zoo in the system's folder for caches]
  ZOO_OFFLINE=1           nothing is downloaded
  ZOO_WEIGHTS_MIRROR=URL  files are downloaded from below this URL, by the names they were published under")]
pub struct Weights {
    /// What to do with them.
    #[command(subcommand)]
    pub command: WeightsCommand,
}

/// What `zoo weights` can do.
#[derive(Debug, Subcommand)]
pub enum WeightsCommand {
    /// List the published weights and which of them are on this machine
    List {
        /// Only those on this machine
        #[arg(long)]
        kept: bool,

        /// How to print the list
        #[arg(long, short, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Download weights that are not on this machine, or are damaged, and print their records' paths
    Pull {
        /// Which weights: resnet50.imagenet1k_v2
        #[arg(value_name = "VARIANT[.TAG]", required = true)]
        names: Vec<String>,
    },
    /// Print the path of a record, or of the folder of all
    Path {
        /// Which weights
        #[arg(value_name = "VARIANT[.TAG]")]
        name: Option<String>,
    },
    /// Compare the records on this machine with what was written
    Verify {
        /// Which weights [default: all on this machine]
        #[arg(value_name = "VARIANT[.TAG]")]
        names: Vec<String>,

        /// How to print the results
        #[arg(long, short, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Delete records and what there is of downloads
    Remove {
        /// Which weights
        #[arg(value_name = "VARIANT[.TAG]", required_unless_present = "all")]
        names: Vec<String>,

        /// All on this machine
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
}

/// `zoo forward`
#[derive(Debug, Args)]
pub struct Forward {
    /// The model's name
    pub variant: String,

    /// A record or a checkpoint of the model
    #[arg(long, short, value_name = "FILE")]
    pub weights: PathBuf,

    /// A safetensors file with a tensor `input`, float32, `[N, C, H, W]`
    #[arg(long, short, value_name = "FILE")]
    pub input: PathBuf,

    /// The safetensors file to write, with the tensors `features` and, of a trained classifier,
    /// `logits`
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,

    /// Where it runs.
    #[command(flatten)]
    pub run: Run,
}

/// `zoo bench`
#[derive(Debug, Args)]
pub struct Bench {
    /// The model's name; its weights are noise, the same each time
    pub variant: String,

    /// Images in a batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive())]
    pub batch: usize,

    /// Side of the images in pixels [default: what the model was designed for]
    #[arg(long, value_name = "PIXELS", value_parser = positive())]
    pub size: Option<usize>,

    /// Time steps of training: forward, backward and update
    #[arg(long)]
    pub training: bool,

    /// Print what each step of the engine's plan takes
    #[arg(long, conflicts_with = "training")]
    pub profile: bool,

    /// Timed runs, after those that warm up
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = positive())]
    pub runs: usize,

    /// Where it runs.
    #[command(flatten)]
    pub run: Run,

    /// How to print the result
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

fn positive() -> impl clap::builder::TypedValueParser<Value = usize> {
    use clap::builder::TypedValueParser;

    clap::value_parser!(u32).range(1..).map(|number| number as usize)
}

/// A number from 0 to 1.
fn probability(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "a probability is a number from 0 to 1".to_owned())
}
