/// Why a model can't be compiled or run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The model uses an operation that has no kernel here.
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
        /// What Burn said.
        reason: String,
    },
    /// The input has another number of values than the plan was compiled for.
    #[error("the input has {got} values instead of {expected}\nhint: compile a plan for its shape")]
    Input {
        /// The number of values given.
        got: usize,
        /// The number of values of the plan's input.
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
