//! The backends. No other file names them.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

use crate::Error;

/// An implementation of Burn's operations, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The CPU: zoo-engine, and Burn's Flex where the engine lacks a kernel.
    Cpu,
    /// The CPU through the crate ndarray, slower than [`Cpu`](Self::Cpu).
    Ndarray,
    /// The GPU, through Vulkan, Metal or DirectX 12.
    Wgpu,
    /// PyTorch's C++ library.
    Libtorch,
}

impl Backend {
    /// All backends.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Ndarray, Self::Wgpu, Self::Libtorch];

    /// The name: `cpu`, `ndarray`, `wgpu` or `libtorch`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Libtorch => "libtorch",
        }
    }

    /// Whether this build contains the backend.
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Cpu => cfg!(feature = "cpu"),
            Self::Ndarray => cfg!(feature = "ndarray"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Libtorch => cfg!(feature = "libtorch"),
        }
    }

    /// The backend's device on this machine.
    ///
    /// # Errors
    ///
    /// When this build does not contain the backend, or this machine can't run it.
    pub fn device(self) -> Result<Device, Error> {
        match self {
            #[cfg(feature = "cpu")]
            Self::Cpu => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            #[expect(deprecated, reason = "kept for those who embed burn-ndarray")]
            Self::Ndarray => Ok(Device::ndarray()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => match adapter() {
                Ok(adapter) => Ok(adapter.device.clone()),
                Err(reason) => Err(Error::Unusable { backend: self, reason: reason.clone() }),
            },
            #[cfg(feature = "libtorch")]
            #[expect(deprecated, reason = "kept for those who have libtorch")]
            Self::Libtorch => Ok(Device::libtorch()),
            #[cfg(not(all(
                feature = "cpu",
                feature = "ndarray",
                feature = "wgpu",
                feature = "libtorch"
            )))]
            missing => Err(Error::NotBuiltIn(missing)),
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No backend has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no backend has the name `{0}`\nhint: choose cpu, ndarray, wgpu or libtorch")]
pub struct UnknownBackend(String);

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(text: &str) -> Result<Self, UnknownBackend> {
        // `tch` is the crate that Burn reaches libtorch through.
        let name = if text == "tch" { "libtorch" } else { text };
        let found = Self::ALL.into_iter().find(|backend| backend.name() == name);
        found.ok_or_else(|| UnknownBackend(text.to_owned()))
    }
}

/// The device of another machine, which runs `zoo serve` at `ws://HOST:PORT`. `token` is the secret of that server, if
/// it has one.
///
/// # Errors
///
/// When the machine can't be reached or refuses the connection.
#[cfg(feature = "remote")]
pub fn remote(url: &str, token: Option<&str>) -> Result<Device, Error> {
    use burn::tensor::remote::RemoteHost;

    let mut host = RemoteHost::websocket(url);
    if let Some(token) = token {
        host = host.with_credential(token);
    }
    Device::remote_options(&host)
        .init()
        .map_err(|error| Error::Remote { url: url.to_owned(), reason: error.to_string() })
}

/// Makes the CPU Burn's default device, unless the environment variable `BURN_DEVICE` is set.
///
/// Burn loads an optimizer's state on the default device first. Burn's own default is the GPU if its backend is compiled
/// in, even without a GPU.
///
/// # Safety
///
/// Call this before the process has a second thread, because it changes the environment.
pub unsafe fn default_to_cpu() {
    if std::env::var_os("BURN_DEVICE").is_none() {
        // SAFETY: the caller guarantees that there is no second thread.
        unsafe { std::env::set_var("BURN_DEVICE", "flex") };
    }
}

/// Sets the number of threads of all backends. Call this before the first computation: later calls do not change Burn's pool.
pub fn set_threads(threads: usize) {
    zoo_engine::set_default_threads(threads);
    // `build_global` fails if the pool exists. Then it keeps its size.
    #[cfg(feature = "threads")]
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    #[cfg(feature = "libtorch")]
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
}

/// The largest tensor that a device allows, in bytes. `None` if only its memory limits it.
pub(crate) fn largest_tensor(device: &Device) -> Option<u64> {
    // Looking for a graphics card starts its driver, so a computation on another device must not do it.
    #[cfg(feature = "wgpu")]
    if let Some(Ok(adapter)) = ADAPTER.get()
        && adapter.device == *device
    {
        return Some(adapter.largest_tensor);
    }
    let _ = device;
    None
}

/// A GPU that wgpu found.
#[cfg(feature = "wgpu")]
struct Adapter {
    device: Device,
    largest_tensor: u64,
}

/// The adapter, once it was asked for: a process can register a wgpu device only once.
#[cfg(feature = "wgpu")]
static ADAPTER: std::sync::OnceLock<Result<Adapter, String>> = std::sync::OnceLock::new();

#[cfg(feature = "wgpu")]
fn adapter() -> &'static Result<Adapter, String> {
    ADAPTER.get_or_init(|| {
        let (device, setup) =
            Device::wgpu_options().init_with_setup().map_err(|error| error.to_string())?;
        let limits = setup.device.limits();
        // A kernel reads a tensor through one binding.
        let largest_tensor = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        Ok(Adapter { device, largest_tensor })
    })
}
