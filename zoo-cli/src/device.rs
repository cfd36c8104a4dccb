//! The backends that a user can choose: the only file of the program that names them.

use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{anyhow, bail};
use burn::tensor::Device;
use clap::ValueEnum;

use crate::args::Run;

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// The processor, in every build: zoo-engine, or Burn's own kernels where it has none
    Cpu,
    /// The ndarray crate, slower than cpu
    Ndarray,
    /// The graphics card, through Vulkan, Metal or DirectX 12
    Wgpu,
    /// PyTorch's C++ library
    #[value(alias = "tch")]
    Libtorch,
}

impl Backend {
    /// All of them, in the order of the help.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Ndarray, Self::Wgpu, Self::Libtorch];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Libtorch => "libtorch",
        }
    }

    /// Whether this binary contains it.
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Cpu => true,
            Self::Ndarray => cfg!(feature = "ndarray"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Libtorch => cfg!(feature = "libtorch"),
        }
    }

    /// The threads of zoo-engine, where that runs networks in place of Burn.
    pub fn engine_threads(self) -> Option<usize> {
        (self == Self::Cpu).then(threads)
    }

    /// The bytes of the largest tensor that it holds, where that is less than its memory.
    pub fn largest_tensor(self) -> Option<u64> {
        match self {
            #[cfg(feature = "wgpu")]
            Self::Wgpu => adapter().as_ref().ok().map(|adapter| adapter.largest_tensor),
            _ => None,
        }
    }

    /// The command that builds a `zoo` with it.
    pub fn build_command(self) -> String {
        let features = match self {
            Self::Cpu => return "cargo install --path zoo-cli --locked".to_owned(),
            Self::Ndarray | Self::Wgpu => "full",
            Self::Libtorch => "full,libtorch",
        };
        format!("cargo install --path zoo-cli --locked --features {features}")
    }

    /// Makes its device ready.
    ///
    /// # Errors
    ///
    /// When this binary does not contain the backend, or this machine can't run it.
    pub fn device(self) -> anyhow::Result<Device> {
        match self {
            Self::Cpu => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            #[expect(deprecated, reason = "kept for those who embed burn-ndarray")]
            Self::Ndarray => Ok(Device::ndarray()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => match adapter() {
                Ok(adapter) => Ok(adapter.device.clone()),
                Err(reason) => bail!(
                    "the backend wgpu finds no graphics card it can use: {reason}\nhint: install \
                     the card's Vulkan, Metal or DirectX 12 driver; without a card, `apt-get \
                     install mesa-vulkan-drivers libvulkan1` computes on the processor"
                ),
            },
            #[cfg(feature = "libtorch")]
            #[expect(deprecated, reason = "kept for those who have libtorch")]
            Self::Libtorch => Ok(Device::libtorch()),
            #[cfg(not(all(feature = "ndarray", feature = "wgpu", feature = "libtorch")))]
            missing => bail!(
                "the backend {} is not in this binary\nhint: {}{}",
                missing.name(),
                missing.build_command(),
                match missing {
                    Self::Libtorch => " (with LIBTORCH set to a folder with libtorch 2.9.0)",
                    _ => "",
                }
            ),
        }
    }
}

/// A backend here, or a device of another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On this machine.
    Here(Backend),
    /// Where `zoo serve` runs, as `ws://HOST:PORT`.
    There(String),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("ws://") || text.starts_with("wss://") {
            return Ok(Self::There(text.to_owned()));
        }
        Backend::from_str(text, true).map(Self::Here).map_err(|_| {
            let names = Backend::ALL.map(Backend::name).join(", ");
            format!("it is no backend ({names}) and no ws://HOST:PORT")
        })
    }
}

impl Place {
    /// The threads of zoo-engine, where that runs networks in place of Burn.
    pub fn engine_threads(&self) -> Option<usize> {
        match self {
            Self::Here(backend) => backend.engine_threads(),
            Self::There(_) => None,
        }
    }

    /// Makes its device ready.
    ///
    /// # Errors
    ///
    /// When this binary does not contain what it takes, or the device can't be had.
    pub fn device(&self) -> anyhow::Result<Device> {
        match self {
            Self::Here(backend) => backend.device(),
            #[cfg(feature = "remote")]
            Self::There(url) => remote(url),
            #[cfg(not(feature = "remote"))]
            Self::There(_) => Err(no_remote()),
        }
    }
}

#[cfg(feature = "remote")]
fn remote(url: &str) -> anyhow::Result<Device> {
    use burn::tensor::remote::RemoteHost;

    let mut host = RemoteHost::websocket(url);
    if let Some(token) = token() {
        host = host.with_credential(token.as_str());
    }
    Device::remote_options(&host).init().map_err(|error| {
        anyhow!(
            "{url} can't be computed on: {error}\nhint: `zoo serve --listen 0.0.0.0:PORT` there, \
             with the same ZOO_TOKEN"
        )
    })
}

/// The secret that those who compute on other machines share with them.
#[cfg(feature = "remote")]
pub fn token() -> Option<String> {
    std::env::var("ZOO_TOKEN").ok().filter(|token| !token.is_empty())
}

/// That this binary knows this machine alone.
#[cfg(not(feature = "remote"))]
pub fn no_remote() -> anyhow::Error {
    anyhow!(
        "this binary can't compute on other machines, nor for them\nhint: cargo install --path \
         zoo-cli --locked --features full,remote"
    )
}

/// Makes `cpu` what Burn computes on where nobody says, if the user did not choose.
///
/// An optimiser's state is loaded there before it moves to where it belongs. Burn's own default
/// is the graphics card as soon as its backend is in the binary, whether there is a card or not.
///
/// # Safety
///
/// Only before there is a second thread: the environment is changed.
pub unsafe fn default_to_cpu() {
    if std::env::var_os("BURN_DEVICE").is_none() {
        // SAFETY: the caller's.
        unsafe { std::env::set_var("BURN_DEVICE", "flex") };
    }
}

/// The threads that were asked for; 0 where nobody asked.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// The threads to compute with: those that [`set_threads`] was told, or one a core.
pub fn threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

/// The device that a command line asks for, with as many threads as it asks for.
///
/// # Errors
///
/// When this binary does not contain the backend, or this machine can't run it.
pub fn of(run: &Run) -> anyhow::Result<Device> {
    if let Some(threads) = run.threads {
        set_threads(threads.into());
    }
    run.backend.device()
}

/// Limits the threads that backends compute with; to be called before any of them computes.
pub fn set_threads(threads: usize) {
    THREADS.store(threads, Ordering::Relaxed);
    // A pool that exists already keeps its size; nothing but another call makes one earlier.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    #[cfg(feature = "libtorch")]
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
}

/// Keeps the memory that is given back for what asks for as much again, the next training step or
/// the next copy of a matrix: else it comes anew from the system, page by page. Only glibc can be
/// told.
pub fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: these set numbers of the allocator, under its own lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
    }
}

/// What wgpu found to compute on.
#[cfg(feature = "wgpu")]
struct Adapter {
    device: Device,
    largest_tensor: u64,
}

#[cfg(feature = "wgpu")]
fn adapter() -> &'static Result<Adapter, String> {
    use std::sync::OnceLock;

    // A process registers a wgpu device once.
    static ADAPTER: OnceLock<Result<Adapter, String>> = OnceLock::new();
    ADAPTER.get_or_init(|| {
        let (device, setup) =
            Device::wgpu_options().init_with_setup().map_err(|error| error.to_string())?;
        let limits = setup.device.limits();
        // A kernel reads a tensor through one binding.
        let largest_tensor = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        Ok(Adapter { device, largest_tensor })
    })
}
