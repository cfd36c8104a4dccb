//! The choice of the parameters that are trained; all others stay the same to the bit.

use std::collections::BTreeSet;

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Distribution, Tensor};
use zoo_core::{ImageClassifier, LayerKind, parameters, root_prefix};

use crate::Error;
use crate::config::{BatchNormMode, Recipe};

/// Returns the parameters in some modules of a network.
pub(crate) fn parameters_in<M: Module>(model: &M, modules: &[&str]) -> BTreeSet<ParamId> {
    let parameters = parameters(model).into_iter();
    parameters.filter(|it| it.is_in(modules)).map(|parameter| parameter.id).collect()
}

/// Draws a new classifier's weights from `±1/sqrt(inputs)`, as PyTorch does, and sets its biases to
/// zero.
///
/// Some architectures initialize theirs for a thousand classes. For five classes these weights are
/// so large that a short training can't correct them.
pub(crate) fn draw_small<M: ImageClassifier>(model: M) -> M {
    struct Draw(BTreeSet<ParamId>);
    impl ModuleMapper for Draw {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !self.0.contains(&param.id) {
                return param;
            }
            let shape = param.lazy_shape();
            let inputs: usize = match D {
                1 => return param.map(|bias| bias.zeros_like()),
                2 => shape[0],
                _ => shape.iter().skip(1).product(),
            };
            let bound = 1.0 / (inputs as f64).sqrt();
            param.map(|weight| weight.random_like(Distribution::Uniform(-bound, bound)))
        }
    }
    let classifier = parameters_in(&model, &model.classifier_paths());
    model.map(&mut Draw(classifier))
}

/// Freezes the weights, BatchNorm's statistics and dropout of everything but the classifier.
pub(crate) fn freeze_backbone<M: Module>(model: M, classifier: &BTreeSet<ParamId>) -> M {
    struct Thaw<'a>(&'a BTreeSet<ParamId>);
    impl ModuleMapper for Thaw<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let is_trained = self.0.contains(&param.id);
            param.set_require_grad(is_trained)
        }
    }
    model.freeze().map(&mut Thaw(classifier))
}

/// Freezes the layers that the recipe names; everything else is trained.
///
/// # Errors
///
/// When the network has no such module, or has nothing to train after it.
pub(crate) fn freeze_some<M: Module>(model: M, recipe: &Recipe) -> Result<M, Error> {
    let last = recipe.freeze_until.as_deref().map(|part| last_of(&model, part)).transpose()?;
    let mut freezer = Freezer {
        left: last.map_or(0, |last| last + 1),
        batch_norm: recipe.batch_norm == BatchNormMode::Frozen,
        own_dropout: recipe.dropout.is_none(),
        stochastic_depth: recipe.stochastic_depth,
        is_all: true,
        containers: Vec::new(),
    };
    let model = model.map(&mut freezer);
    if freezer.is_all {
        return Err(Error::Config(format!(
            "nothing is left to train after `{}`\nhint: recipe.freeze_until with an earlier part",
            recipe.freeze_until.as_deref().unwrap_or_default()
        )));
    }
    Ok(model)
}

/// Returns the index of a module's last value in module order.
fn last_of<M: Module>(model: &M, part: &str) -> Result<usize, Error> {
    let mut paths = Paths::default();
    model.visit(&mut paths);
    let root = root_prefix(model);
    let is_in = |path: &String| {
        let path = path.strip_prefix(&root).unwrap_or(path);
        path.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    paths.found.iter().rposition(is_in).ok_or_else(|| {
        let names: BTreeSet<_> = parameters(model)
            .iter()
            .map(|parameter| {
                let mut segments = parameter.path.split('.');
                let first = segments.next().unwrap_or_default().to_owned();
                match segments.next() {
                    Some(number) if number.parse::<usize>().is_ok() => {
                        format!("{first}.{number}")
                    }
                    _ => first,
                }
            })
            .collect();
        let names: Vec<_> = names.into_iter().collect();
        Error::Config(format!(
            "the network has no part `{part}` to freeze up to\nhint: it has {}",
            names.join(", ")
        ))
    })
}

/// The paths of all values, including flags, in the order in which a [`Freezer`] visits them.
#[derive(Default)]
struct Paths {
    path: Vec<String>,
    found: Vec<String>,
}

impl ModuleVisitor for Paths {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
        self.found.push(self.path.join("."));
    }

    fn visit_flag(&mut self, _flag: &Param<Flag>) {
        self.found.push(self.path.join("."));
    }
}

struct Freezer {
    /// Number of values that are still to be frozen.
    left: usize,
    /// Whether BatchNorm is frozen everywhere.
    batch_norm: bool,
    /// Whether the network's own dropout stays on.
    own_dropout: bool,
    /// Whether residual branches are dropped.
    stochastic_depth: bool,
    /// Whether all visited values are frozen.
    is_all: bool,
    containers: Vec<String>,
}

impl Freezer {
    fn is_frozen(&mut self) -> bool {
        let in_part = self.left > 0;
        self.left = self.left.saturating_sub(1);
        let layer = self.containers.iter().rev().find_map(|name| LayerKind::of(name));
        in_part || self.batch_norm && layer == Some(LayerKind::BatchNorm)
    }
}

impl ModuleMapper for Freezer {
    fn enter_module(&mut self, _name: &str, container_type: &str) {
        self.containers.push(container_type.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.containers.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.is_frozen() {
            return param.set_require_grad(false);
        }
        self.is_all = false;
        param
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        let is_in = |layer: &str| self.containers.iter().any(|name| name == layer);
        let is_off = is_in("Struct:Dropout") && !self.own_dropout
            || is_in("Struct:StochasticDepth") && !self.stochastic_depth;
        if self.is_frozen() || is_off { flag.with_value(false) } else { flag }
    }
}
