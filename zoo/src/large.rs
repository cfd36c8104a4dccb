//! Networks with a parameter that is too large for one tensor of a GPU.
//!
//! WebGPU guarantees 128 MiB per binding, and the first fully connected layer of VGG has 411 MB. The GPU then computes the
//! features, and the CPU computes the logits from them. Only heads have parameters of such a size.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use zoo_core::{Parameter, parameters};
use zoo_models::Network;

use crate::Error;
use crate::device::largest_tensor;

/// The error that names a parameter which is too large for a device, if there is one.
pub(crate) fn too_large_parameter(network: &Network, device: &Device) -> Option<Error> {
    let limit = largest_tensor(device)?;
    let mut parameters = parameters(network).into_iter();
    let parameter = parameters.find(|parameter| bytes(&parameter.shape) > limit)?;
    let Parameter { path, shape, .. } = parameter;
    Some(Error::TooLarge { path, bytes: bytes(&shape), limit })
}

/// Checks that each parameter of a network fits into one tensor of a device. Training needs this.
///
/// # Errors
///
/// [`Error::TooLarge`], with the parameter.
pub fn ensure_fits(network: &Network, device: &Device) -> Result<(), Error> {
    too_large_parameter(network, device).map_or(Ok(()), Err)
}

/// The network without the parameters that are too large for a device.
pub(crate) fn without_large_parameters(network: Network, device: &Device) -> Network {
    let limit = largest_tensor(device).unwrap_or(u64::MAX);
    network.map(&mut LeaveOut { limit })
}

fn bytes(shape: &[usize]) -> u64 {
    (size_of::<f32>() * shape.iter().product::<usize>()) as u64
}

/// Removes parameters larger than `limit` bytes.
struct LeaveOut {
    limit: u64,
}

impl ModuleMapper for LeaveOut {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if bytes(&param.lazy_shape()) <= self.limit {
            return param;
        }
        let nothing = Tensor::zeros([1; D], &param.lazy_device());
        Param::initialized(param.id, nothing)
    }
}
