use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};

/// The name and the shape of one parameter tensor, without its values.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Burn's identifier of it, unique in this process.
    pub id: ParamId,
    /// Its path in the module, with Burn's names: `stem.norm.gamma`.
    pub path: String,
    /// Its shape in Burn's layout.
    pub shape: Vec<usize>,
    /// The layer that holds it.
    pub layer: LayerKind,
}

/// The kind of a layer that has parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerKind {
    /// A convolution.
    Conv2d,
    /// A transposed convolution.
    ConvTranspose2d,
    /// BatchNorm.
    BatchNorm,
    /// A fully connected layer.
    Linear,
    /// Another module, by the name of its type.
    Other(String),
}

impl LayerKind {
    /// Returns the kind of a module from the type name that Burn passes to visitors: `Struct:Linear`.
    /// `None` if the module is not a struct, such as a list.
    pub fn of(container_type: &str) -> Option<Self> {
        Some(match container_type.strip_prefix("Struct:")? {
            "Conv2d" => Self::Conv2d,
            "ConvTranspose2d" => Self::ConvTranspose2d,
            "BatchNorm" => Self::BatchNorm,
            "Linear" => Self::Linear,
            other => Self::Other(other.to_owned()),
        })
    }

    /// Returns the type name that Burn passes to visitors: `Struct:Linear`.
    pub fn container_type(&self) -> String {
        let name = match self {
            Self::Conv2d => "Conv2d",
            Self::ConvTranspose2d => "ConvTranspose2d",
            Self::BatchNorm => "BatchNorm",
            Self::Linear => "Linear",
            Self::Other(name) => name,
        };
        format!("Struct:{name}")
    }
}

impl Parameter {
    /// The last segment of the path: `gamma`.
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// Whether it is in one of the modules with these paths.
    pub fn is_in(&self, modules: &[&str]) -> bool {
        let is_in = |rest: &str| rest.is_empty() || rest.starts_with('.');
        modules.iter().any(|module| self.path.strip_prefix(module).is_some_and(is_in))
    }

    /// Whether training changes it by gradient: false for BatchNorm's running statistics.
    pub fn is_trainable(&self) -> bool {
        !matches!(self.name(), "running_mean" | "running_var")
    }
}

/// Lists a module's parameters in module order, without initializing lazy ones.
///
/// If the module is an enum, the paths omit the names of its variant and of the variants of enums
/// directly inside it, so that they are the paths of the network.
pub fn parameters<M: Module>(module: &M) -> Vec<Parameter> {
    let mut list = Lister::default();
    module.visit(&mut list);
    list.parameters
}

/// Returns the prefix of Burn's paths in a module that is an enum: the names of its variants, each
/// followed by a dot. [`parameters`] omits it.
pub fn root_prefix<M: Module>(module: &M) -> String {
    let mut list = Lister::default();
    module.visit(&mut list);
    list.root.iter().map(|segment| format!("{segment}.")).collect()
}

/// Counts the trainable scalars of a module.
///
/// [`Module::num_params`] also counts BatchNorm's running statistics; papers and other libraries
/// do not.
pub fn count_trainable<M: Module>(module: &M) -> usize {
    parameters(module)
        .iter()
        .filter(|parameter| parameter.is_trainable())
        .map(|parameter| parameter.shape.iter().product::<usize>())
        .sum()
}

/// Initializes all lazy parameters of a module now, in module order. Burn otherwise initializes each
/// at its first use, in the order of use.
pub fn initialize_parameters<M: Module>(module: &M) {
    struct Draw;
    impl ModuleVisitor for Draw {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let _ = param.val();
        }
    }
    module.visit(&mut Draw);
}

/// Replaces all weights of two or more dimensions by deterministic noise, uniform within the bound of
/// He et al. (arXiv:1502.01852, equation 10). Meant for benchmarks.
pub fn fill_with_noise<M: Module>(module: M, device: &Device) -> M {
    struct Noise<'a>(&'a Device);
    impl ModuleMapper for Noise<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let shape = param.lazy_shape();
            if D < 2 {
                return param;
            }
            let (count, outputs) = (shape.num_elements(), shape[if D == 2 { 1 } else { 0 }]);
            let bound = (6.0 * outputs as f32 / count.max(1) as f32).sqrt();
            let numbers = TensorData::new(noise(count, bound), shape);
            let tensor = Tensor::from_data(numbers, self.0);
            Param::initialized(param.id, tensor).set_require_grad(true)
        }
    }
    module.map(&mut Noise(device))
}

/// Returns pseudo-random numbers between `-bound` and `bound`.
fn noise(count: usize, bound: f32) -> Vec<f32> {
    let number = |i: u32| {
        // The finalizer of MurmurHash3: neighbors differ in all bits.
        let i = (i ^ i >> 16).wrapping_mul(0x85eb_ca6b);
        let i = (i ^ i >> 13).wrapping_mul(0xc2b2_ae35);
        bound / 2_147_483_648.0 * (i ^ i >> 16).cast_signed() as f32
    };
    (0..count as u32).map(number).collect()
}

#[derive(Default)]
struct Lister {
    root: Vec<String>,
    path: Vec<String>,
    containers: Vec<String>,
    parameters: Vec<Parameter>,
}

impl ModuleVisitor for Lister {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        if self.path.len() == self.root.len() && container_type.starts_with("Enum:") {
            self.root.push(name.to_owned());
        }
        self.path.push(name.to_owned());
        self.containers.push(container_type.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let mut layers = self.containers.iter().rev().filter_map(|it| LayerKind::of(it));
        self.parameters.push(Parameter {
            id: param.id,
            path: self.path[self.root.len()..].join("."),
            shape: param.lazy_shape().to_vec(),
            layer: layers.next().unwrap_or(LayerKind::Other(String::new())),
        });
    }
}
