//! Burn's optimizers and learning rate schedules for a recipe.

use std::collections::BTreeSet;

use burn::lr_scheduler::LrSchedulerConfig;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLrScheduler, ModuleLrSchedulerConfig};
use burn::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn::lr_scheduler::step::StepLrSchedulerConfig;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdamConfig, AdamWConfig, GradientsParams, ModuleOptimizer, Optimizer, RecordState,
    RmsPropConfig, SgdConfig, StateSink, StateSource,
};
use burn::tensor::{Device, Tensor};
use zoo_train_kernels::{self as kernels, Rule, Step};

use crate::Error;
use crate::config::{OptimizerKind, Recipe, Schedule};

/// Returns the recipe's optimizer for a model. Vectors (norms and biases) have no weight decay.
///
/// Weights on the CPU are updated in one pass over memory. Burn's own optimizers update all others.
pub fn optimizer<M: Module>(recipe: &Recipe, model: &M) -> ModuleOptimizer {
    struct Vectors {
        ids: Vec<ParamId>,
        are_on_cpu: bool,
    }
    impl ModuleVisitor for Vectors {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.are_on_cpu &= kernels::has_steps(&param.val().inner());
            if D == 1 {
                self.ids.push(param.id);
            }
        }
    }
    let mut vectors = Vectors { ids: Vec::new(), are_on_cpu: true };
    model.visit(&mut vectors);
    let group = ParamGroup::from_ids(vectors.ids);
    if vectors.are_on_cpu {
        let plain = OnePass { rule: rule(recipe), decay: 0.0, decoupled_decay: 0.0 };
        let decay = recipe.weight_decay as f32;
        let decaying = match recipe.optimizer {
            OptimizerKind::AdamW => OnePass { decoupled_decay: decay, ..plain.clone() },
            _ => OnePass { decay, ..plain.clone() },
        };
        return ModuleOptimizer::from(decaying).with_group(group, plain, None);
    }
    burns(recipe, group)
}

/// Returns Burn's optimizer. It makes a dozen passes over the weights, a tensor operation each.
fn burns(recipe: &Recipe, vectors: ParamGroup) -> ModuleOptimizer {
    let momentum = recipe.momentum as f32;
    let decay = Some(WeightDecayConfig::new(recipe.weight_decay as f32));
    match recipe.optimizer {
        OptimizerKind::Sgd => {
            let plain = SgdConfig::new().with_momentum(Some(
                MomentumConfig::new()
                    .with_momentum(recipe.momentum)
                    .with_dampening(0.0)
                    .with_nesterov(true),
            ));
            let decaying = plain.clone().with_weight_decay(decay);
            ModuleOptimizer::from(decaying.build()).with_group(vectors, plain.build(), None)
        }
        OptimizerKind::Adam => {
            let plain = AdamConfig::new().with_epsilon(EPSILON);
            let decaying = plain.clone().with_weight_decay(decay);
            ModuleOptimizer::from(decaying.build()).with_group(vectors, plain.build(), None)
        }
        OptimizerKind::AdamW => {
            let plain = AdamWConfig::new().with_epsilon(EPSILON).with_weight_decay(0.0);
            let decaying = plain.clone().with_weight_decay(recipe.weight_decay as f32);
            ModuleOptimizer::from(decaying.build()).with_group(vectors, plain.build(), None)
        }
        OptimizerKind::RmsProp => {
            let plain = RmsPropConfig::new().with_epsilon(EPSILON).with_momentum(momentum);
            let decaying = plain.clone().with_weight_decay(decay);
            ModuleOptimizer::from(decaying.build()).with_group(vectors, plain.build(), None)
        }
    }
}

/// Returns the rule of the optimizer for [`OnePass`].
fn rule(recipe: &Recipe) -> Rule {
    let momentum = recipe.momentum as f32;
    match recipe.optimizer {
        OptimizerKind::Sgd => Rule::Nesterov { momentum },
        OptimizerKind::Adam | OptimizerKind::AdamW => {
            Rule::Adam { betas: [0.9, 0.999], epsilon: EPSILON }
        }
        OptimizerKind::RmsProp => Rule::RmsProp { alpha: 0.99, momentum, epsilon: EPSILON },
    }
}

/// The number that is added to square roots, to avoid division by 0. It is PyTorch's, a thousandth
/// of Burn's.
const EPSILON: f32 = 1e-8;

/// Computes the updates of Burn's optimizers for weights on the CPU; reads and writes each number
/// once.
#[derive(Debug, Clone)]
struct OnePass {
    rule: Rule,
    decay: f32,
    decoupled_decay: f32,
}

#[derive(Debug, Clone)]
struct Moments<const D: usize> {
    time: usize,
    moments: Vec<Tensor<D>>,
}

impl Optimizer for OnePass {
    type State<const D: usize> = Moments<D>;

    fn step<const D: usize>(
        &self,
        rate: f64,
        weights: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Moments<D>>,
    ) -> (Tensor<D>, Option<Moments<D>>) {
        let Moments { time, moments } = state.unwrap_or_else(|| Moments {
            time: 0,
            moments: vec![weights.zeros_like(); self.rule.moments()],
        });
        let Self { rule, decay, decoupled_decay } = *self;
        let time = time + 1;
        let step = Step { rule, rate, decay, decoupled_decay, time };
        let (weights, moments) =
            kernels::step(&step, weights, grad, moments).expect("the weights are on the processor");
        (weights, Some(Moments { time, moments }))
    }

    fn to_device<const D: usize>(state: Moments<D>, device: &Device) -> Moments<D> {
        let moments = state.moments.into_iter().map(|moment| moment.to_device(device));
        Moments { moments: moments.collect(), ..state }
    }
}

impl<const D: usize> RecordState for Moments<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_scalar(prefix, "time", self.time.into());
        for (index, moment) in self.moments.iter().enumerate() {
            out.push_tensor(prefix, &moment_name(index), moment.clone().into_data());
        }
    }

    fn state_unflatten(prefix: &str, src: &mut StateSource, device: &Device) -> Option<Self> {
        let time = src.take_scalar(prefix, "time")?.try_into().ok()?;
        let moments = (0..).map_while(|index| {
            let data = src.take_tensor(prefix, &moment_name(index))?;
            Some(Tensor::from_data(data, device))
        });
        let moments: Vec<_> = moments.collect();
        (!moments.is_empty()).then_some(Self { time, moments })
    }
}

fn moment_name(index: usize) -> String {
    format!("moment{}", index + 1)
}

/// Returns the recipe's learning rates for a run with this number of updates.
pub(crate) fn schedule(
    recipe: &Recipe,
    steps_per_epoch: usize,
    classifier: &BTreeSet<ParamId>,
) -> Result<ModuleLrScheduler, Error> {
    let one = |lr| curve(recipe, lr, steps_per_epoch);
    let group = ParamGroup::from_ids(classifier.iter().copied().collect());
    ModuleLrSchedulerConfig::new(one(recipe.lr * recipe.backbone_lr_scale))
        .with_group(group, one(recipe.lr))
        .init()
        .map_err(Error::Config)
}

fn curve(recipe: &Recipe, lr: f64, steps_per_epoch: usize) -> LrSchedulerConfig {
    let steps = recipe.epochs * steps_per_epoch;
    let in_steps = |epochs: f64| (epochs * steps_per_epoch as f64).round() as usize;
    let warmup = in_steps(recipe.warmup_epochs).min(steps / 2);
    let rest = (steps - warmup).max(1);
    let main: LrSchedulerConfig = match recipe.schedule {
        Schedule::Cosine => CosineAnnealingLrSchedulerConfig::new(lr, rest).into(),
        Schedule::Step => {
            StepLrSchedulerConfig::new(lr, in_steps(recipe.step_epochs).max(1)).into()
        }
        Schedule::Constant => LrSchedulerConfig::Constant(lr),
    };
    if warmup == 0 {
        return main;
    }
    let rise = LinearLrSchedulerConfig::new(lr / (warmup + 1) as f64, lr, warmup);
    SequentialLrSchedulerConfig::new(vec![rise.into(), main], vec![warmup]).into()
}

/// Scales all gradients by one factor so that their common norm is at most `largest`.
///
/// Burn's own clipping scales each parameter separately.
pub(crate) fn clip<M: Module>(model: &M, grads: &mut GradientsParams, largest: f64) {
    struct Squares<'a>(&'a GradientsParams, f64);
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.0.get::<D>(param.id) {
                self.1 += kernels::sum_of_squares(grad.clone())
                    .unwrap_or_else(|| f64::from(grad.square().sum().into_scalar::<f32>()));
            }
        }
    }
    struct Scale<'a>(&'a mut GradientsParams, f64);
    impl ModuleVisitor for Scale<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.0.remove::<D>(param.id) {
                let scaled = kernels::multiply(grad.clone(), self.1 as f32);
                self.0.register::<D>(param.id, scaled.unwrap_or_else(|| grad * self.1));
            }
        }
    }
    let mut squares = Squares(grads, 0.0);
    model.visit(&mut squares);
    let norm = squares.1.sqrt();
    if norm > largest {
        model.visit(&mut Scale(grads, largest / norm));
    }
}

/// Moves an average of a model's weights and statistics towards the model.
///
/// During the first updates the average has a lower decay, so that the initial weights lose their
/// influence.
pub(crate) fn average<M: Module>(ema: M, model: &M, decay: f64, step: usize) -> M {
    struct Collect<'a>(&'a mut GradientsParams);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.register::<D>(param.id, param.val());
        }
    }
    struct Blend<'a>(&'a mut GradientsParams, f64);
    impl ModuleMapper for Blend<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(new) = self.0.remove::<D>(param.id) else { return param };
            let keep = self.1;
            // In this form, equal values do not change.
            param.map(|old| old.clone() + (new - old) * (1.0 - keep))
        }
    }
    let decay = decay.min((1 + step) as f64 / (10 + step) as f64);
    let mut weights = GradientsParams::new();
    model.valid().visit(&mut Collect(&mut weights));
    ema.map(&mut Blend(&mut weights, decay))
}

#[cfg(test)]
mod tests {
    use zoo_lenet::{LeNet, LeNetConfig};

    use super::*;
    use crate::config::Config;

    fn rates(recipe: &Recipe, steps_per_epoch: usize) -> Vec<f64> {
        let mut schedule = schedule(recipe, steps_per_epoch, &BTreeSet::new()).unwrap();
        (0..recipe.epochs * steps_per_epoch).map(|_| schedule.step().base()).collect()
    }

    fn recipe() -> Recipe {
        Recipe { epochs: 10, lr: 0.1, warmup_epochs: 2.0, ..Config::fine().recipe }
    }

    #[test]
    fn rates_rise_then_fall() {
        let recipe = Recipe { backbone_lr_scale: 1.0, ..recipe() };
        let rates = rates(&recipe, 5);
        assert!(rates[..10].is_sorted() && rates[10..].is_sorted_by(|a, b| a >= b), "{rates:?}");
        assert!((rates[10] - 0.1).abs() < 1e-12 && rates[0] > 0.0 && rates[49] < 0.001);
    }

    #[test]
    fn steps_are_tenths() {
        let schedule = Schedule::Step;
        let (warmup_epochs, step_epochs, backbone_lr_scale) = (0.0, 4.0, 0.5);
        let recipe = Recipe { schedule, warmup_epochs, step_epochs, backbone_lr_scale, ..recipe() };
        let rates = rates(&recipe, 1);
        for (rate, expected) in rates.iter().zip([0.05; 4].iter().chain(&[0.005; 4])) {
            assert!((rate - expected).abs() < 1e-9, "{rates:?}");
        }
    }

    fn numbers(model: &LeNet) -> Vec<f32> {
        struct Numbers(Vec<f32>);
        impl ModuleVisitor for Numbers {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.extend(param.val().into_data().iter::<f32>());
            }
        }
        let mut numbers = Numbers(Vec::new());
        model.visit(&mut numbers);
        numbers.0
    }

    #[test]
    fn an_average_of_equal_weights_is_the_same() {
        let model = LeNetConfig::new().init(&Device::flex().autodiff());
        zoo_core::initialize_parameters(&model);
        let average = average(model.valid(), &model, 0.9, 1000);
        assert_eq!(numbers(&average), numbers(&model));
    }

    /// Returns the weights after a few updates. The gradients are those of `initial`, so that
    /// differences in rounding between two optimizers are not fed back to them.
    fn after_steps(mut optimizer: ModuleOptimizer, initial: &LeNet, resumes: bool) -> Vec<f32> {
        let device = Device::flex().autodiff();
        let mut model = initial.clone();
        for step in 0..5 {
            let images = Tensor::<4>::full([2, 1, 32, 32], 0.3 * step as f32 - 0.5, &device);
            let loss = zoo_core::ImageClassifier::forward(initial, images).square().sum();
            let grads = GradientsParams::from_grads(loss.backward(), initial);
            model = optimizer.step(0.01, model, grads);
            if resumes {
                let record = optimizer.to_record();
                optimizer = optimizer.load_record(record);
            }
        }
        numbers(&model)
    }

    #[test]
    fn one_pass_computes_the_updates_of_burns_optimizers() {
        let initial = LeNetConfig::new().init(&Device::flex().autodiff());
        zoo_core::initialize_parameters(&initial);
        for kind in
            [OptimizerKind::Sgd, OptimizerKind::Adam, OptimizerKind::AdamW, OptimizerKind::RmsProp]
        {
            let recipe = Recipe { optimizer: kind, weight_decay: 0.1, ..recipe() };
            let vectors = ParamGroup::from_predicate("bias");
            let expected = after_steps(burns(&recipe, vectors), &initial, false);
            for resumes in [false, true] {
                let got = after_steps(optimizer(&recipe, &initial), &initial, resumes);
                for (got, expected) in got.iter().zip(&expected) {
                    let difference = (got - expected).abs();
                    assert!(difference < 1e-5, "{kind:?}: {got}, expected {expected}");
                }
            }
        }
    }

    #[test]
    fn moments_of_another_optimizer_are_not_taken() {
        let device = Device::flex().autodiff();
        let model = LeNetConfig::new().init(&device);
        let recipe = recipe();
        let images = Tensor::<4>::ones([1, 1, 32, 32], &device);
        let loss = zoo_core::ImageClassifier::forward(&model, images).sum();
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let mut another = burns(&recipe, ParamGroup::from_predicate("bias"));
        let model = another.step(0.1, model, grads);
        let record = another.to_record();
        assert!(!record.is_empty());
        // This distinguishes a training state of another backend.
        assert!(optimizer(&recipe, &model).load_record(record).to_record().is_empty());
    }

    #[test]
    fn gradients_are_clipped_together() {
        let device = Device::flex().autodiff();
        let model = LeNetConfig::new().init(&device);
        let images = Tensor::<4>::ones([2, 1, 32, 32], &device);
        let loss = zoo_core::ImageClassifier::forward(&model, images).square().sum();
        let mut grads = GradientsParams::from_grads(loss.backward(), &model);
        let ratio = |grads: &GradientsParams| {
            struct First<'a>(&'a GradientsParams, Vec<f32>);
            impl ModuleVisitor for First<'_> {
                fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                    let sum = self.0.get::<D>(param.id).unwrap().square().sum();
                    self.1.push(sum.into_scalar::<f32>());
                }
            }
            let mut first = First(grads, Vec::new());
            model.visit(&mut first);
            first.1
        };
        let before = ratio(&grads);
        clip(&model, &mut grads, 0.01);
        let after = ratio(&grads);
        assert!((after.iter().sum::<f32>().sqrt() - 0.01).abs() < 1e-6);
        let scale = after[0] / before[0];
        assert!(before.iter().zip(&after).all(|(b, a)| (a - scale * b).abs() <= 1e-4 * a.abs()));
        let unclipped = ratio(&grads);
        clip(&model, &mut grads, 1.0);
        assert_eq!(ratio(&grads), unclipped);
    }
}
