//! Options that several commands share.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{bail, ensure};
use burn::tensor::Device;
use burn_zoo::record::is_record_file;
use burn_zoo::{Backend, EMBEDDED_MODEL, Error, Hub, Model, models, set_threads};
use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::output::in_options;
use crate::progress::Download;

/// The format of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON object per line
    Json,
    /// Comma-separated values with a header
    Csv,
}

/// Options that choose the model.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelOptions {
    /// Name of the model, with a tag if several weights are published: resnet50.imagenet1k_v2
    #[arg(long, short, alias = "variant", value_name = "MODEL[.TAG]")]
    pub(crate) model: Option<String>,

    /// Weights: a record, or a PyTorch, safetensors, ONNX or Keras file of the model
    #[arg(long, short, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
}

impl ModelOptions {
    /// Loads the requested model, or the embedded one.
    pub(crate) fn load(&self, device: &Device) -> anyhow::Result<Model> {
        let model = load(self.model.as_deref(), self.weights.as_deref(), device)?;
        if let Some(path) = &self.weights {
            let what = match is_record_file(path)? {
                true => format!("the record of {}", model.card().variant),
                false => path.display().to_string(),
            };
            ensure!(
                model.card().has_classifier,
                "{what} has no classifier, only the layers before it\nhint: `zoo finetune --weights {}` trains one",
                path.display()
            );
        }
        Ok(model)
    }
}

/// Loads a file, or published weights, which are downloaded if they are missing; without a name, the embedded ones.
pub(crate) fn load(
    name: Option<&str>,
    weights: Option<&Path>,
    device: &Device,
) -> anyhow::Result<Model> {
    let model = match (weights, name) {
        (Some(path), name) => Model::open_as(path, name, device)?,
        (None, None) => Model::embedded(device)?,
        (None, Some(name)) if models::published(name)?.0.name == EMBEDDED_MODEL => {
            Model::embedded(device)?
        }
        (None, Some(name)) => {
            let mut download = Download::new(name);
            Hub::from_env()?.load(name, device, |event| download.on(event))?
        }
    };
    for note in model.notes() {
        eprintln!("note: {}", in_options(note));
    }
    Ok(model)
}

/// Options that choose the backend.
#[derive(Debug, clap::Args)]
pub(crate) struct RunOptions {
    /// The backend that computes
    #[arg(long, short, value_parser = backend(), default_value = "cpu")]
    pub(crate) backend: Backend,

    /// Number of threads, at most 512 [default: one per core]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) threads: Option<u16>,
}

impl RunOptions {
    /// Sets the number of threads and returns the device.
    pub(crate) fn device(&self) -> anyhow::Result<Device> {
        if let Some(threads) = self.threads {
            set_threads(threads.into());
        }
        device(self.backend)
    }
}

/// The device of a backend. An error says what to install.
pub(crate) fn device(backend: Backend) -> anyhow::Result<Device> {
    match backend.device() {
        Ok(device) => Ok(device),
        Err(Error::NotBuiltIn(_)) => bail!(
            "the backend {backend} is not in this binary\nhint: {}{}",
            build_command(backend),
            match backend {
                Backend::Libtorch => " (with LIBTORCH set to a folder with libtorch 2.9.0)",
                _ => "",
            }
        ),
        Err(Error::Unusable { reason, .. }) => bail!(
            "the backend wgpu found no usable GPU: {reason}\nhint: install the GPU's Vulkan, Metal or DirectX 12 driver; \
             without a GPU, `apt-get install mesa-vulkan-drivers libvulkan1` computes on the CPU"
        ),
        Err(error) => Err(error.into()),
    }
}

/// The command that builds a `zoo` with a backend.
pub(crate) fn build_command(backend: Backend) -> String {
    let features = match backend {
        Backend::Cpu => return "cargo install --path zoo-cli --locked".to_owned(),
        Backend::Ndarray | Backend::Wgpu => "full",
        Backend::Libtorch => "full,libtorch",
    };
    format!("cargo install --path zoo-cli --locked --features {features}")
}

/// A backend here, or a device of another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeviceName {
    /// On this machine.
    Local(Backend),
    /// Where `zoo serve` runs, as `ws://HOST:PORT`.
    Remote(String),
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("ws://") || text.starts_with("wss://") {
            return Ok(Self::Remote(text.to_owned()));
        }
        text.parse().map(Self::Local).map_err(|_| {
            let names = Backend::ALL.map(Backend::name).join(", ");
            format!("not a backend ({names}) or an address ws://HOST:PORT")
        })
    }
}

impl DeviceName {
    /// Opens the device.
    pub(crate) fn device(&self) -> anyhow::Result<Device> {
        match self {
            Self::Local(backend) => device(*backend),
            #[cfg(feature = "remote")]
            Self::Remote(url) => {
                burn_zoo::remote(url, token().as_deref()).map_err(|error| {
                    anyhow::anyhow!(
                        "{error}\nhint: `zoo serve --listen 0.0.0.0:PORT` there, with the same ZOO_TOKEN"
                    )
                })
            }
            #[cfg(not(feature = "remote"))]
            Self::Remote(_) => Err(no_remote()),
        }
    }
}

/// The secret that `zoo serve` and its clients share, from ZOO_TOKEN.
#[cfg(feature = "remote")]
pub(crate) fn token() -> Option<String> {
    std::env::var("ZOO_TOKEN").ok().filter(|token| !token.is_empty())
}

/// The error of a build without the feature `remote`.
#[cfg(not(feature = "remote"))]
pub(crate) fn no_remote() -> anyhow::Error {
    anyhow::anyhow!(
        "this binary can't compute on other machines, nor for them\nhint: cargo install --path \
         zoo-cli --locked --features full,remote"
    )
}

/// Parses a backend's name; the help lists all of them.
fn backend() -> impl TypedValueParser<Value = Backend> {
    let values = Backend::ALL.map(|backend| {
        let value = PossibleValue::new(backend.name());
        match backend {
            Backend::Cpu => value.help("The CPU: zoo-engine, or Burn's kernels where it lacks one"),
            Backend::Ndarray => value.help("The ndarray crate, slower than cpu"),
            Backend::Wgpu => value.help("The GPU, through Vulkan, Metal or DirectX 12"),
            Backend::Libtorch => value.help("PyTorch's C++ library").alias("tch"),
        }
    });
    PossibleValuesParser::new(values).map(|name| name.parse().expect("it is one of the names"))
}

/// A whole number from 1 on.
pub(crate) fn positive() -> impl TypedValueParser<Value = usize> {
    clap::value_parser!(u32).range(1..).map(|number| number as usize)
}

/// A number from 0 to 1.
pub(crate) fn probability<T: FromStr + PartialOrd + From<u8>>(text: &str) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| (T::from(0)..=T::from(1)).contains(number));
    number.ok_or_else(|| "a probability is a number from 0 to 1".to_owned())
}

/// A time such as `5ms`, `90s`, `30m` or `1.5h`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let seconds =
        with_unit(text, &units).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "a time is a number with ms, s, m or h, such as 5ms".to_owned())
}

/// A size such as `500kB`, `4MB` or `1GB`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let units = [("kb", 1e3), ("mb", 1e6), ("gb", 1e9)];
    let bytes = with_unit(&text.to_lowercase(), &units).filter(|bytes| *bytes >= 1.0);
    bytes
        .map(|bytes| bytes as u64)
        .ok_or_else(|| "a size is a number with kB, MB or GB, such as 4MB".to_owned())
}

/// A number in front of one of the units, in terms of the base unit.
fn with_unit(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    units.iter().find_map(|(unit, factor)| {
        let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        number.is_finite().then_some(number * factor)
    })
}

/// Makes glibc keep freed memory for the next allocation. Otherwise each training step gets its pages
/// from the system again. Other allocators have no such option.
pub(crate) fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `mallopt` only sets parameters of the allocator, under its lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
    }
}
