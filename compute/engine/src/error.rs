/// The error of a model that can't be compiled or run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The model uses an operation that the engine lacks.
    #[error(
        "the operation {operation} has no kernel in this engine\n\
         hint: run the model on one of Burn's own backends"
    )]
    Unsupported {
        /// Burn's name of the operation.
        operation: String,
    },
    /// The recording of the model's forward pass failed.
    #[error("the model could not be captured: {reason}\nhint: check that it takes this input")]
    Capture {
        /// The message of Burn.
        reason: String,
    },
    /// The number of input values is not that of the shape that the plan was compiled for.
    #[error("the input has {got} values instead of {expected}\nhint: compile a plan for its shape")]
    Input {
        /// The number of values in the input.
        got: usize,
        /// The number of values that the plan needs.
        expected: usize,
    },
}

impl Error {
    pub(crate) fn unsupported(operation: impl Into<String>) -> Self {
        Self::Unsupported { operation: operation.into() }
    }
}

impl From<zoo_graph::Error> for Error {
    fn from(error: zoo_graph::Error) -> Self {
        Self::Capture { reason: error.reason }
    }
}
