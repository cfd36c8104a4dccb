//! Random weights are initialized as in the reference implementation or the paper.

use std::collections::BTreeMap;
use std::sync::Mutex;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use burn_zoo::Backend;
use zoo_core::{ImageClassifier, LayerKind, parameters, root_prefix};
use zoo_models::{Config, FAMILIES, VARIANTS, variant};
use zoo_tests::smallest;

/// The distribution of a parameter's values, with the references' names.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// Normal with `sqrt(2 / fan)`: `kaiming_normal_`. The fan is the reference's: for
    /// torchvision's `fan_out` it counts all outputs of a kernel, without division by groups.
    HeNormal(usize),
    /// Uniform with the same standard deviation: `kaiming_uniform_`.
    HeUniform(usize),
    /// Uniform in `±1/sqrt(fan)`, with the number of inputs: PyTorch's default for a layer.
    Bounded(usize),
    /// Normal with a standard deviation: `normal_`, or `trunc_normal_` with bounds far outside.
    Normal(f64),
    /// All zeros.
    Zeros,
}

use Rule::{Bounded, HeNormal, HeUniform, Normal, Zeros};

/// The distributions of a few parameters of a variant: of the first convolution, a depthwise or
/// grouped one, the classifier, and those with their own rule.
struct Drawn {
    variant: &'static str,
    parameters: &'static [(&'static str, Rule)],
}

#[rustfmt::skip]
const DRAWN: &[Drawn] = &[
    Drawn { variant: "lenet5", parameters: &[
        ("conv1.weight", Bounded(5 * 5)),
        ("conv2.weight", Bounded(6 * 5 * 5)),
        ("fc1.weight", Bounded(400)),
        ("fc1.bias", Bounded(400)),
        ("fc3.weight", Bounded(84)),
    ]},
    Drawn { variant: "alexnet", parameters: &[
        ("stages.0.0.weight", Bounded(3 * 11 * 11)),
        ("stages.0.0.bias", Bounded(3 * 11 * 11)),
        ("stages.1.0.weight", Bounded(64 * 5 * 5)),
        ("classifier.weight", Bounded(4096)),
        ("classifier.bias", Bounded(4096)),
    ]},
    Drawn { variant: "vgg11", parameters: &[
        ("stages.0.0.conv.weight", HeNormal(64 * 3 * 3)),
        ("stages.1.0.conv.weight", HeNormal(128 * 3 * 3)),
        ("stages.1.0.conv.bias", Zeros),
        ("classifier.weight", Normal(0.01)),
        ("classifier.bias", Zeros),
    ]},
    Drawn { variant: "googlenet", parameters: &[
        ("stem.conv.weight", Normal(0.01)),
        ("stages.0.0.conv3x3.conv.weight", Normal(0.01)),
        ("classifier.linear.weight", Normal(0.01)),
        ("classifier.linear.bias", Bounded(1024)),
    ]},
    Drawn { variant: "resnet20_cifar", parameters: &[
        ("stem.conv.weight", HeNormal(16 * 3 * 3)),
        ("stages.1.0.convs.0.conv.weight", HeNormal(32 * 3 * 3)),
        ("classifier.linear.weight", Bounded(64)),
        ("classifier.linear.bias", Bounded(64)),
    ]},
    Drawn { variant: "resnext50_32x4d", parameters: &[
        ("stem.conv.weight", HeNormal(64 * 7 * 7)),
        ("stages.0.0.convs.1.conv.weight", HeNormal(128 * 3 * 3)),
        ("classifier.linear.weight", Bounded(2048)),
        ("classifier.linear.bias", Bounded(2048)),
    ]},
    Drawn { variant: "squeezenet1_1", parameters: &[
        ("stem.weight", HeUniform(3 * 3 * 3)),
        ("stem.bias", Zeros),
        ("fires.1.squeeze.weight", HeUniform(128)),
        ("fires.1.expand3x3.weight", HeUniform(16 * 3 * 3)),
        ("fires.1.expand3x3.bias", Zeros),
        ("classifier.weight", Normal(0.01)),
        ("classifier.bias", Zeros),
    ]},
    Drawn { variant: "wrn_16_4", parameters: &[
        ("stem.weight", HeNormal(16 * 3 * 3)),
        ("stages.0.0.convs.0.conv.weight", HeNormal(64 * 3 * 3)),
        ("stages.1.0.shortcut.weight", HeNormal(128)),
        ("classifier.linear.weight", Bounded(256)),
        ("classifier.linear.bias", Zeros),
    ]},
    Drawn { variant: "densenet121", parameters: &[
        ("stem.weight", HeNormal(3 * 7 * 7)),
        ("blocks.0.layers.0.bottleneck.conv.weight", HeNormal(64)),
        ("blocks.0.layers.0.grow.conv.weight", HeNormal(128 * 3 * 3)),
        ("classifier.linear.weight", Bounded(1024)),
        ("classifier.linear.bias", Zeros),
    ]},
    Drawn { variant: "shufflenet_v1_g3", parameters: &[
        ("stem.conv.weight", HeUniform(3 * 3 * 3)),
        ("stages.0.1.compress.conv.weight", HeUniform(240 / 3)),
        ("stages.0.1.depthwise.conv.weight", HeUniform(3 * 3)),
        ("classifier.linear.weight", Bounded(960)),
        ("classifier.linear.bias", Bounded(960)),
    ]},
    Drawn { variant: "mobilenet_v2", parameters: &[
        ("stem.conv.weight", HeNormal(32 * 3 * 3)),
        ("blocks.1.depthwise.conv.weight", HeNormal(96 * 3 * 3)),
        ("head_conv.conv.weight", HeNormal(1280)),
        ("classifier.linear.weight", Normal(0.01)),
        ("classifier.linear.bias", Zeros),
    ]},
    Drawn { variant: "shufflenet_v2_x1_0", parameters: &[
        ("stem.conv.weight", Bounded(3 * 3 * 3)),
        ("stages.0.1.depthwise.conv.weight", Bounded(3 * 3)),
        ("head_conv.conv.weight", Bounded(464)),
        ("classifier.linear.weight", Bounded(1024)),
        ("classifier.linear.bias", Bounded(1024)),
    ]},
    Drawn { variant: "efficientnet_b0", parameters: &[
        ("stem.conv.weight", HeNormal(32 * 3 * 3)),
        ("stages.1.0.depthwise.conv.weight", HeNormal(96 * 3 * 3)),
        ("stages.1.1.squeeze_excite.reduce.weight", HeNormal(6)),
        ("stages.1.1.squeeze_excite.reduce.bias", Zeros),
        ("stages.1.1.squeeze_excite.expand.weight", HeNormal(144)),
        ("classifier.linear.weight", Bounded(1000)),
        ("classifier.linear.bias", Zeros),
    ]},
    Drawn { variant: "efficientnet_lite0_timm", parameters: &[
        ("stem.conv.weight", HeNormal(32 * 3 * 3)),
        ("stages.1.0.depthwise.conv.weight", HeNormal(3 * 3)),
        ("head_conv.conv.weight", HeNormal(1280)),
        ("classifier.linear.weight", Bounded(1000)),
        ("classifier.linear.bias", Zeros),
    ]},
    Drawn { variant: "mobilenet_v1_1_0", parameters: &[
        ("stem.conv.weight", HeNormal(32 * 3 * 3)),
        ("stages.1.0.depthwise.conv.weight", HeNormal(3 * 3)),
        ("stages.1.0.pointwise.conv.weight", HeNormal(128)),
        ("classifier.linear.weight", HeNormal(1000)),
        ("classifier.linear.bias", Zeros),
    ]},
    Drawn { variant: "mnasnet1_0", parameters: &[
        ("stem.conv.weight", HeNormal(32 * 3 * 3)),
        ("stages.1.0.depthwise.conv.weight", HeNormal(48 * 3 * 3)),
        ("head_conv.conv.weight", HeNormal(1280)),
        ("classifier.linear.weight", HeUniform(2 * 1000)),
        ("classifier.linear.bias", Zeros),
    ]},
    Drawn { variant: "mnasnet_a1", parameters: &[
        ("stem.conv.weight", HeNormal(32 * 3 * 3)),
        ("stages.1.0.depthwise.conv.weight", HeNormal(3 * 3)),
        ("stages.2.1.squeeze_excite.reduce.weight", HeNormal(10)),
        ("stages.2.1.squeeze_excite.reduce.bias", Zeros),
        ("classifier.linear.weight", Bounded(1000)),
        ("classifier.linear.bias", Zeros),
    ]},
    Drawn { variant: "ae_cnn_r64x3_m_d12x4_m_r128x3", parameters: &[
        ("units.0.ResNet.0.convs.1.conv.weight", Bounded(64 * 3 * 3)),
        ("units.0.ResNet.0.shortcut.conv.weight", Bounded(3)),
        ("units.2.DenseNet.layers.0.bottleneck.conv.weight", Bounded(64)),
        ("units.2.DenseNet.layers.0.grow.conv.weight", Bounded(48 * 3 * 3)),
        ("classifier.linear.weight", Bounded(128)),
        ("classifier.linear.bias", Bounded(128)),
    ]},
    Drawn { variant: "mobilenet_v3_large", parameters: &[
        ("stem.conv.weight", HeNormal(16 * 3 * 3)),
        ("blocks.4.depthwise.conv.weight", HeNormal(120 * 5 * 5)),
        ("blocks.4.squeeze_excite.reduce.weight", HeNormal(32)),
        ("blocks.4.squeeze_excite.reduce.bias", Zeros),
        ("hidden.weight", Normal(0.01)),
        ("hidden.bias", Zeros),
        ("classifier.weight", Normal(0.01)),
        ("classifier.bias", Zeros),
    ]},
    Drawn { variant: "ghostnet_100", parameters: &[
        ("stem.conv.weight", Bounded(3 * 3 * 3)),
        ("stages.1.0.depthwise.conv.weight", Bounded(3 * 3)),
        ("stages.3.0.squeeze_excite.reduce.weight", Bounded(72)),
        ("stages.1.0.expand.cheap.conv.weight", Bounded(3 * 3)),
        ("hidden.weight", Bounded(960)),
        ("hidden.bias", Bounded(960)),
        ("classifier.FullyConnected.weight", Bounded(1280)),
        ("classifier.FullyConnected.bias", Bounded(1280)),
    ]},
    Drawn { variant: "ghostnet_100_pytorchcv", parameters: &[
        ("stem.conv.weight", HeNormal(16 * 3 * 3)),
        ("stages.1.0.depthwise.conv.weight", HeNormal(48 * 3 * 3)),
        ("stages.2.0.squeeze_excite.expand.weight", HeNormal(72)),
        ("hidden.weight", HeNormal(1280)),
        ("classifier.Pointwise.weight", HeNormal(1000)),
        ("classifier.Pointwise.bias", Zeros),
    ]},
    Drawn { variant: "inception_v2", parameters: &[
        ("stem.conv.weight", Bounded(3 * 7 * 7)),
        ("stem.conv.bias", Bounded(3 * 7 * 7)),
        ("stages.0.0.conv3x3.1.conv.weight", Bounded(64 * 3 * 3)),
        ("classifier.linear.weight", Bounded(1024)),
        ("classifier.linear.bias", Bounded(1024)),
    ]},
    Drawn { variant: "inception_v3", parameters: &[
        ("stem.branches.0.0.Conv.conv.weight", Normal(0.1)),
        ("stages.0.0.branches.1.1.Conv.conv.weight", Normal(0.1)),
        ("classifier.linear.weight", Normal(0.1)),
        ("classifier.linear.bias", Bounded(2048)),
    ]},
    Drawn { variant: "inception_v4", parameters: &[
        ("stem.branches.0.0.Conv.conv.weight", Bounded(3 * 3 * 3)),
        ("classifier.linear.weight", Bounded(1536)),
        ("classifier.linear.bias", Bounded(1536)),
    ]},
    Drawn { variant: "inception_resnet_v2", parameters: &[
        ("stem.branches.0.0.Conv.conv.weight", Bounded(3 * 3 * 3)),
        ("stages.0.blocks.0.expand.weight", Bounded(128)),
        ("head_conv.conv.weight", Bounded(2080)),
        ("classifier.linear.weight", Bounded(1536)),
        ("classifier.linear.bias", Bounded(1536)),
    ]},
    Drawn { variant: "xception", parameters: &[
        ("stem.0.conv.weight", HeNormal(32 * 3 * 3)),
        ("blocks.0.convs.0.depthwise.weight", HeNormal(64 * 3 * 3)),
        ("blocks.0.shortcut.conv.weight", HeNormal(128)),
        ("classifier.linear.weight", Bounded(2048)),
        ("classifier.linear.bias", Bounded(2048)),
    ]},
    Drawn { variant: "nasnet_a_mobile", parameters: &[
        ("stem.conv.weight", Bounded(3 * 3 * 3)),
        ("classifier.linear.weight", Bounded(1056)),
        ("classifier.linear.bias", Bounded(1056)),
    ]},
    Drawn { variant: "se_resnext50_32x4d", parameters: &[
        ("stem.0.conv.weight", HeNormal(64 * 7 * 7)),
        ("stages.0.0.convs.1.conv.weight", HeNormal(128 * 3 * 3)),
        ("stages.0.0.squeeze_excite.reduce.weight", HeNormal(16)),
        ("stages.0.0.squeeze_excite.reduce.bias", Bounded(256)),
        ("stages.0.0.squeeze_excite.expand.bias", Bounded(16)),
        ("classifier.linear.weight", Bounded(2048)),
        ("classifier.linear.bias", Bounded(2048)),
    ]},
    Drawn { variant: "vgg11_bn", parameters: &[
        ("stages.0.0.conv.weight", HeNormal(64 * 3 * 3)),
        ("stages.0.0.conv.bias", Zeros),
        ("classifier.weight", Normal(0.01)),
        ("classifier.bias", Zeros),
    ]},
    Drawn { variant: "unet", parameters: &[
        ("stem.first.conv.weight", HeNormal(3 * 3 * 3)),
        ("up.0.convs.first.conv.weight", HeNormal(1024 * 3 * 3)),
        ("up.0.transposed.weight", Bounded(512 * 2 * 2)),
        ("up.0.transposed.bias", Bounded(512 * 2 * 2)),
        ("classifier.weight", Bounded(64)),
    ]},
];

/// The largest deviation of a statistic in standard errors; 6 in 10 million exceed it by chance.
const STANDARD_ERRORS: f64 = 5.0;

impl Rule {
    fn standard_deviation(self) -> f64 {
        match self {
            HeNormal(fan) | HeUniform(fan) => (2.0 / fan as f64).sqrt(),
            Bounded(fan) => (3.0 * fan as f64).sqrt().recip(),
            Normal(standard_deviation) => standard_deviation,
            Zeros => 0.0,
        }
    }

    /// Returns the fourth moment divided by the square of the second. The error of a standard
    /// deviation depends on it.
    fn kurtosis(self) -> f64 {
        match self {
            HeUniform(_) | Bounded(_) => 9.0 / 5.0,
            HeNormal(_) | Normal(_) | Zeros => 3.0,
        }
    }

    fn check(self, values: &[f32]) -> Result<(), String> {
        let n = values.len() as f64;
        let moment = |power| values.iter().map(|x| f64::from(*x).powi(power)).sum::<f64>() / n;
        let expected = self.standard_deviation();

        let mean = moment(1);
        if mean.abs() > STANDARD_ERRORS * expected / n.sqrt() {
            return Err(format!("the mean of {n} values is {mean:.6}"));
        }
        let found = moment(2).sqrt();
        let error = expected * ((self.kurtosis() - 1.0) / (4.0 * n)).sqrt();
        if (found - expected).abs() > STANDARD_ERRORS * error {
            return Err(format!(
                "the standard deviation of {n} values is {found:.6} instead of {expected:.6}"
            ));
        }
        // A uniform distribution ends at sqrt(3) standard deviations; a twelfth of a normal
        // distribution is beyond that.
        let largest = values.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
        let end = 3.0_f64.sqrt() * expected * (1.0 + 1e-6);
        match self {
            HeUniform(_) | Bounded(_) if largest > end => {
                Err(format!("uniform up to {end:.6}, but a value is {largest:.6}"))
            }
            HeNormal(_) | Normal(_) if largest <= end && n > 200.0 => {
                Err(format!("normal, but none of {n} values is beyond {end:.6}"))
            }
            _ => Ok(()),
        }
    }
}

/// The values of the parameters that a test needs; the others stay lazy.
struct Values<F> {
    root: String,
    path: Vec<String>,
    is_wanted: F,
    found: BTreeMap<String, Vec<f32>>,
}

impl<F: Fn(&str) -> bool> ModuleVisitor for Values<F> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        let path = path.strip_prefix(&self.root).unwrap_or(&path);
        if (self.is_wanted)(path) {
            let values = param.val().into_data().iter().collect();
            self.found.insert(path.to_owned(), values);
        }
    }
}

fn values<M: Module>(module: &M, is_wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Vec<f32>> {
    let root = root_prefix(module);
    let mut visitor = Values { root, path: vec![], is_wanted, found: BTreeMap::new() };
    // All tests draw from the device's only random stream. Each test seeds it again.
    static STREAM: Mutex<()> = Mutex::new(());
    let _stream = STREAM.lock().expect("no test panics while it draws");
    device().seed(0);
    module.visit(&mut visitor);
    visitor.found
}

fn device() -> Device {
    Backend::Cpu.device().expect("the CPU is usable")
}

#[test]
fn weights_have_the_distributions_of_the_references() {
    let mut failures = Vec::new();
    for drawn in DRAWN {
        let network = variant(drawn.variant).unwrap().config.init(&device());
        let found = values(&network, |path| drawn.parameters.iter().any(|(p, _)| *p == path));
        for (path, rule) in drawn.parameters {
            let name = format!("{} {path}", drawn.variant);
            let values = found.get(*path).unwrap_or_else(|| panic!("{name} does not exist"));
            if let Err(reason) = rule.check(values) {
                failures.push(format!("{name}, {rule:?}: {reason}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_architecture_has_a_row_in_drawn() {
    for family in FAMILIES {
        let is_stated = DRAWN.iter().any(|drawn| {
            variant(drawn.variant).is_ok_and(|variant| variant.config.family().name == family.name)
        });
        assert!(is_stated, "{} has no row in DRAWN", family.name);
    }
}

#[test]
fn normalization_begins_as_the_identity() {
    for variant in VARIANTS.iter() {
        let network = variant.config.init(&device());
        let norms: Vec<String> = parameters(&network)
            .into_iter()
            .filter(|parameter| parameter.layer == LayerKind::BatchNorm)
            .map(|parameter| parameter.path)
            .collect();
        for (path, values) in values(&network, |path| norms.iter().any(|norm| norm == path)) {
            let expected = match path.rsplit('.').next() {
                Some("gamma" | "running_var") => 1.0,
                _ => 0.0,
            };
            assert!(values.iter().all(|x| *x == expected), "{} {path}", variant.name);
        }
    }
}

#[test]
fn a_reset_classifier_has_the_distribution_of_the_first_one() {
    const CLASSES: usize = 77;
    for smallest in smallest() {
        let classifier = |config: &Config| config.init(&device()).into_classifier();
        let Ok(mut reset) = classifier(&smallest.config) else {
            continue;
        };
        reset.reset_classifier(CLASSES, &device());
        let first = classifier(&smallest.config.clone().with_num_classes(CLASSES)).unwrap();

        let of_classes: Vec<String> = parameters(&first)
            .into_iter()
            .filter(|parameter| parameter.shape.contains(&CLASSES))
            .map(|parameter| parameter.path)
            .collect();
        assert!(!of_classes.is_empty(), "{}", smallest.name);
        let is_wanted = |path: &str| of_classes.iter().any(|wanted| wanted == path);
        let (first, reset) = (values(&first, is_wanted), values(&reset, is_wanted));
        for (path, first) in first {
            let [first, reset] = [&first, &reset[&path]].map(|values| {
                let n = values.len() as f64;
                let square = values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / n;
                (n, square.sqrt())
            });
            let error = first.1 / first.0.sqrt();
            assert!(
                (first.1 - reset.1).abs() <= STANDARD_ERRORS * error,
                "{} {path}: {} after a reset, {} before",
                smallest.name,
                reset.1,
                first.1
            );
        }
    }
}
