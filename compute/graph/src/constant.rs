use burn::tensor::{Tensor, TensorData};

use crate::Error;

/// The numbers of a tensor.
#[derive(Debug)]
pub struct Constant(Numbers);

#[derive(Debug)]
enum Numbers {
    Data(TensorData),
    /// A tensor that the model also holds.
    #[cfg(feature = "flex")]
    Shared(burn::backend::flex::FlexTensor),
}

impl Constant {
    pub(crate) fn of_tensor<const D: usize>(tensor: Tensor<D>) -> Self {
        #[cfg(feature = "flex")]
        if tensor.dtype() == burn::tensor::DType::F32
            && let Ok(tensor) = tensor.clone().try_into_primitive::<burn::backend::Flex>()
        {
            return Self(Numbers::Shared(tensor));
        }
        Self(Numbers::Data(tensor.into_data()))
    }

    pub(crate) fn of_data(data: TensorData) -> Self {
        Self(Numbers::Data(data))
    }

    /// Returns the numbers, row-major.
    ///
    /// # Errors
    ///
    /// When the data can't be converted to single precision.
    pub fn to_vec(&self) -> Result<Vec<f32>, Error> {
        let data = match &self.0 {
            Numbers::Data(data) => match data.as_slice::<f32>() {
                Ok(numbers) => return Ok(numbers.to_vec()),
                Err(_) => data.clone(),
            },
            // This copies once. `TensorData` would copy a shared tensor three times.
            #[cfg(feature = "flex")]
            Numbers::Shared(tensor) => match tensor.as_slice::<f32>() {
                Some(numbers) => return Ok(numbers.to_vec()),
                None => tensor.clone().into_data(),
            },
        };
        let numbers = data.convert::<f32>().try_into_vec::<f32>();
        numbers.map_err(|error| Error::new(format!("{error:?}")))
    }
}
