//! The backends that can be chosen: the only file that names them.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

use crate::Error;

/// What computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The processor: zoo-engine, and Burn's Flex for what the engine has no kernel for.
    Cpu,
    /// The crate ndarray on the processor, slower than [`Cpu`](Self::Cpu).
    Ndarray,
    /// A graphics card, through Vulkan, Metal or DirectX 12.
    Wgpu,
    /// PyTorch's C++ library.
    Libtorch,
}

impl Backend {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Ndarray, Self::Wgpu, Self::Libtorch];

    /// Its name: `cpu`, `ndarray`, `wgpu` or `libtorch`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
            Self::Libtorch => "libtorch",
        }
    }

    /// Whether this build contains it.
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Cpu => cfg!(feature = "cpu"),
            Self::Ndarray => cfg!(feature = "ndarray"),
            Self::Wgpu => cfg!(feature = "wgpu"),
            Self::Libtorch => cfg!(feature = "libtorch"),
        }
    }

    /// Its device on this machine.
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

/// A text is the name of no backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no backend is called `{0}`\nhint: there are cpu, ndarray, wgpu and libtorch")]
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

/// The device of another machine, which runs `zoo serve` at `ws://HOST:PORT`. `token` is the secret that both share, if
/// they do.
///
/// # Errors
///
/// When it can't be reached or does not let us in.
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

/// Makes `cpu` what Burn computes on where nobody says, if the environment does not choose.
///
/// An optimizer's state is loaded there before it moves to where it belongs. Burn's own default
/// is the graphics card as soon as its backend is compiled in, whether there is a card or not.
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

/// Limits the threads that backends compute with; to be called before any of them computes.
pub fn set_threads(threads: usize) {
    zoo_engine::set_default_threads(threads);
    // A pool that exists already keeps its size; nothing but another call makes one earlier.
    #[cfg(feature = "threads")]
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    #[cfg(feature = "libtorch")]
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
}

/// The bytes of the largest tensor that a device holds, where that is known to be less than its memory.
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

/// What wgpu found to compute on.
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
