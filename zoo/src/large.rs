//! Parameters that a graphics card does not hold in one tensor.
//!
//! WebGPU promises 128 MiB for what a kernel reads, and the first fully connected layer of VGG has 411 MB. There the card
//! computes the features, and the processor the logits from them.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use zoo_core::{Parameter, parameters};
use zoo_models::Network;

use crate::Error;
use crate::device::largest_tensor;

/// Why a device does not hold a network as a whole.
pub(crate) fn too_large_parameter(network: &Network, device: &Device) -> Option<Error> {
    let limit = largest_tensor(device)?;
    let mut parameters = parameters(network).into_iter();
    let parameter = parameters.find(|parameter| bytes(&parameter.shape) > limit)?;
    let Parameter { path, shape, .. } = parameter;
    Some(Error::TooLarge { path, bytes: bytes(&shape), limit })
}

/// Refuses a network that a device can't hold as a whole, for what can't be shared with the processor.
///
/// # Errors
///
/// When it can't; it says which parameter is too large.
pub fn ensure_fits(network: &Network, device: &Device) -> Result<(), Error> {
    too_large_parameter(network, device).map_or(Ok(()), Err)
}

/// The network without the parameters that a device does not hold.
pub(crate) fn without_large_parameters(network: Network, device: &Device) -> Network {
    let over = largest_tensor(device).unwrap_or(u64::MAX);
    network.map(&mut LeaveOut { over })
}

fn bytes(shape: &[usize]) -> u64 {
    (size_of::<f32>() * shape.iter().product::<usize>()) as u64
}

/// Leaves parameters out that are larger than so many bytes.
struct LeaveOut {
    over: u64,
}

impl ModuleMapper for LeaveOut {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if bytes(&param.lazy_shape()) <= self.over {
            return param;
        }
        let nothing = Tensor::zeros([1; D], &param.lazy_device());
        Param::initialized(param.id, nothing)
    }
}
