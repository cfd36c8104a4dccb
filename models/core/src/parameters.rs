use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};

/// The name and the shape of one parameter tensor, without its values.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// What Burn tells it from all others by, in this process.
    pub id: ParamId,
    /// Where it sits in the module, in Burn's spelling: `stem.norm.gamma`.
    pub path: String,
    /// Its shape in Burn's layout.
    pub shape: Vec<usize>,
    /// The layer that holds it.
    pub layer: LayerKind,
}

/// A kind of layer that has parameters.
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
    /// The kind of a module by the type that Burn tells visitors: `Struct:Linear`. `None` for what is
    /// no struct, such as a list.
    pub fn of(container_type: &str) -> Option<Self> {
        Some(match container_type.strip_prefix("Struct:")? {
            "Conv2d" => Self::Conv2d,
            "ConvTranspose2d" => Self::ConvTranspose2d,
            "BatchNorm" => Self::BatchNorm,
            "Linear" => Self::Linear,
            other => Self::Other(other.to_owned()),
        })
    }

    /// The type that Burn tells visitors.
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

/// Lists a module's parameters in module order, without computing any that is still lazy.
///
/// A module that is an enum is a choice of network, not a part of one: its own segment, and that
/// of an enum inside it, is left out of the paths, so that they are those of the network.
pub fn parameters<M: Module>(module: &M) -> Vec<Parameter> {
    let mut list = Lister::default();
    module.visit(&mut list);
    list.parameters
}

/// What Burn puts before every path of a module that is an enum, and [`parameters`] leaves out:
/// the names of its variants, each with a dot.
pub fn root_prefix<M: Module>(module: &M) -> String {
    let mut list = Lister::default();
    module.visit(&mut list);
    list.root.iter().map(|segment| format!("{segment}.")).collect()
}

/// Number of trainable scalars in a module.
///
/// [`Module::num_params`] counts BatchNorm's running statistics too; papers and other libraries
/// don't.
pub fn count_trainable<M: Module>(module: &M) -> usize {
    parameters(module)
        .iter()
        .filter(|parameter| parameter.is_trainable())
        .map(|parameter| parameter.shape.iter().product::<usize>())
        .sum()
}

/// Draws a module's random parameters, which else are drawn when they are first used, in the
/// order of the module.
pub fn initialize_parameters<M: Module>(module: &M) {
    struct Draw;
    impl ModuleVisitor for Draw {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let _ = param.val();
        }
    }
    module.visit(&mut Draw);
}

/// Fills a module's kernels and matrices with noise of the size that He et al. ask for
/// (arXiv:1502.01852, equation 10), in a moment and always the same: enough to measure speed with.
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

/// Numbers between `-bound` and `bound`, in no order.
fn noise(count: usize, bound: f32) -> Vec<f32> {
    let number = |i: u32| {
        // Neighbors differ in all bits, as in the finaliser of MurmurHash3.
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
