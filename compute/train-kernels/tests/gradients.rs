//! Comparison of outputs, gradients and running statistics with those of Burn's layers.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AvgPool2dConfig, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::tensor::module::adaptive_avg_pool2d;
use burn::tensor::{
    DType, Device, Distribution, GradientCheckpointingStrategy, Tensor, activation,
};
use zoo_train_kernels::{
    Activation, activate, add, avg_pool2d, batch_norm, cat, channel_shuffle, conv2d, fork,
    global_avg_pool2d, max_pool2d, scale,
};

mod reference;
use reference::{ACTIVATIONS, assert_close, by_burn};

fn device() -> Device {
    Device::flex().autodiff()
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device()).require_grad()
}

/// Returns the gradients of a weighted sum of the output.
fn gradients(
    output: &Tensor<4>,
    factors: &Tensor<4>,
    conv: &Conv2d,
    x: &Tensor<4>,
) -> (Tensor<4>, Tensor<4>, Option<Tensor<1>>) {
    let gradients = (output.clone() * factors.clone()).sum().backward();
    (
        x.grad(&gradients).unwrap(),
        conv.weight.val().grad(&gradients).unwrap(),
        conv.bias.as_ref().map(|bias| bias.val().grad(&gradients).unwrap()),
    )
}

/// Returns many combinations of kernels, strides, paddings and groups, from a simple generator.
fn cases() -> impl Iterator<Item = ([usize; 4], Conv2dConfig)> {
    let mut pick = picks();
    (0..120).map(move |_| {
        let groups = pick(&[1, 1, 2, 3]);
        let channels = [groups * pick(&[1, 3, 5, 17]), groups * pick(&[1, 2, 7, 19])];
        // A third of the convolutions are depthwise.
        let (groups, channels) = match pick(&[0, 1, 2]) {
            0 => (channels[0], [channels[0]; 2]),
            _ => (groups, channels),
        };
        let kernel = [pick(&[1, 2, 3, 5]), pick(&[1, 2, 3, 5])];
        let padding = match pick(&[0, 1, 2]) {
            0 => PaddingConfig2d::Same,
            _ => {
                let sides = [0; 4].map(|_| pick(&[0, 1, 2, 3]));
                PaddingConfig2d::Explicit(sides[0], sides[1], sides[2], sides[3])
            }
        };
        let config = Conv2dConfig::new(channels, kernel)
            .with_groups(groups)
            .with_stride([pick(&[1, 1, 2, 3]), pick(&[1, 1, 2, 3])])
            .with_dilation(match padding {
                PaddingConfig2d::Same => [1, 1],
                _ => [pick(&[1, 2]), pick(&[1, 2])],
            })
            .with_padding(padding)
            .with_bias(pick(&[0, 1]) == 1);
        let size = [pick(&[9, 10, 13]), pick(&[9, 14, 37])];
        ([pick(&[1, 2, 3]), channels[0], size[0], size[1]], config)
    })
}

#[test]
fn convolutions_match_burns() {
    // A 1×1 convolution with padding only after the last row and column.
    let after = PaddingConfig2d::Explicit(0, 0, 1, 2);
    let padded = ([2, 3, 9, 10], Conv2dConfig::new([3, 5], [1, 1]).with_padding(after));
    for (shape, config) in cases().chain([padded]) {
        let what = format!("{config} of {shape:?}");
        let conv = config.init(&device());
        let x = random(shape);
        let expected = conv.forward(x.clone());
        let got = conv2d(&conv, &x).expect("the tensor is on the cpu, under autodiff");
        assert_close(got.clone(), expected.clone(), &what);

        let factors = random(expected.dims()).detach();
        let expected = gradients(&expected, &factors, &conv, &x);
        let got = gradients(&got, &factors, &conv, &x);
        assert_close(got.0, expected.0, &format!("input of {what}"));
        assert_close(got.1, expected.1, &format!("kernels of {what}"));
        assert_eq!(got.2.is_some(), expected.2.is_some());
        if let (Some(got), Some(expected)) = (got.2, expected.2) {
            assert_close(got, expected, &format!("bias of {what}"));
        }
    }
}

#[test]
fn gradients_match_numerical_differences() {
    // A convolution is linear in each number, so a difference of any size gives the slope.
    let conv = Conv2dConfig::new([2, 3], [3, 2])
        .with_stride([2, 1])
        .with_padding(PaddingConfig2d::Explicit(1, 0, 0, 1))
        .init(&device());
    let x = random([2, 2, 5, 4]);
    let loss = |x: &Tensor<4>, weight: Tensor<4>| {
        let mut conv = conv.clone();
        conv.weight = Param::from_tensor(weight);
        let output = conv2d(&conv, x).unwrap();
        let count = output.shape().num_elements();
        let factors = Tensor::<1, _>::arange(0..count as i64, &device()).float().sin();
        (output.reshape([-1]) * factors).sum()
    };
    let weight = conv.weight.val();
    let by_numbers = |tensor: &Tensor<4>, loss: &dyn Fn(Tensor<4>) -> Tensor<1>| {
        let data = tensor.clone().into_data();
        let numbers: Vec<f32> = data.iter().collect();
        let at = |i: usize, step: f32| {
            let mut numbers = numbers.clone();
            numbers[i] += step;
            let data = burn::tensor::TensorData::new(numbers, data.shape().clone());
            loss(Tensor::from_data(data, &device())).into_scalar::<f32>()
        };
        (0..numbers.len()).map(|i| at(i, 0.5) - at(i, -0.5)).collect::<Vec<_>>()
    };
    let gradients = loss(&x, weight.clone()).backward();
    let pairs = [
        (x.grad(&gradients), by_numbers(&x, &|x| loss(&x, weight.clone()))),
        (weight.grad(&gradients), by_numbers(&weight, &|weight| loss(&x, weight))),
    ];
    for (gradient, differences) in pairs {
        let gradient = gradient.unwrap().into_data();
        for (got, expected) in gradient.iter::<f32>().zip(differences) {
            assert!((got - expected).abs() < 1e-4, "{got}, expected {expected}");
        }
    }
}

/// Returns two layers with equal parameters and separate statistics.
fn norms(channels: usize) -> [BatchNorm; 2] {
    let (gamma, beta) = (random([channels]), random([channels]));
    [(); 2].map(|()| {
        let mut norm =
            BatchNormConfig::new(channels).with_epsilon(1e-3).with_momentum(0.2).init(&device());
        norm.gamma = Param::from_tensor(gamma.clone());
        norm.beta = Param::from_tensor(beta.clone());
        norm
    })
}

#[test]
fn batch_norm_matches_burns() {
    for activation in ACTIVATIONS {
        for shape in [[2, 3, 5, 7], [1, 1, 9, 9], [3, 17, 1, 2]] {
            for is_frozen in [false, true] {
                let mut norms = norms(shape[1]);
                for _ in 0..2 {
                    let (x, factors) = (random(shape) * 3.0 + 1.0, random(shape).detach());
                    let x = x.detach().require_grad();
                    let outputs = [
                        batch_norm(&norms[0], activation, &x).unwrap(),
                        by_burn(activation, norms[1].forward(x.clone())),
                    ];
                    let results = [0, 1].map(|i| {
                        let output = outputs[i].clone();
                        let gradients = (output * factors.clone()).sum().backward();
                        (
                            x.grad(&gradients).unwrap(),
                            norms[i].gamma.val().grad(&gradients),
                            norms[i].beta.val().grad(&gradients),
                        )
                    });
                    let what = format!("{activation:?} of {shape:?}, frozen: {is_frozen}");
                    let [got, expected] = outputs;
                    assert_close(got, expected, &what);
                    let [got, expected] = results;
                    assert_close(got.0, expected.0, &what);
                    for (got, expected) in [(got.1, expected.1), (got.2, expected.2)] {
                        assert_eq!(got.is_some(), expected.is_some());
                        if let (Some(got), Some(expected)) = (got, expected) {
                            assert_close(got, expected, &what);
                        }
                    }
                    let statistics = |norm: &BatchNorm| {
                        [norm.running_mean.value_sync(), norm.running_var.value_sync()]
                    };
                    let [got, expected] = norms.each_ref().map(statistics);
                    for (got, expected) in got.into_iter().zip(expected) {
                        assert_close(got, expected, &what);
                    }
                    if is_frozen {
                        norms = norms.map(Module::freeze);
                    }
                }
            }
        }
    }
}

#[test]
fn activations_match_burns() {
    for activation in ACTIVATIONS {
        let x = (random([3, 1000]) * 3.0).detach().require_grad();
        let outputs = [activate(activation, &x).unwrap(), by_burn(activation, x.clone())];
        let factors = random([3, 1000]).detach();
        let gradients = outputs.each_ref().map(|output| {
            let gradients = (output.clone() * factors.clone()).sum().backward();
            x.grad(&gradients).unwrap()
        });
        let what = format!("{activation:?}");
        let [got, expected] = outputs;
        assert_close(got, expected, &what);
        let [got, expected] = gradients;
        assert_close(got, expected, &what);
    }
}

/// Checks that the outputs and the gradients of an input are equal.
fn assert_same(x: &Tensor<4>, got: Tensor<4>, expected: Tensor<4>, what: &str) {
    assert_close(got.clone(), expected.clone(), what);
    let factors = random(expected.dims()).detach();
    let [got, expected] = [got, expected].map(|output| {
        let gradients = (output * factors.clone()).sum().backward();
        x.grad(&gradients).unwrap()
    });
    assert_close(got, expected, &format!("gradient of {what}"));
}

/// Returns a simple pseudo-random generator of choices.
fn picks() -> impl FnMut(&[usize]) -> usize {
    let mut state = 1_u64;
    move |choices: &[usize]| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        choices[(state >> 33) as usize % choices.len()]
    }
}

#[test]
fn pooling_matches_burns() {
    let mut pick = picks();
    for _ in 0..120 {
        let kernel = [pick(&[1, 2, 3, 5]), pick(&[1, 2, 3, 5])];
        let strides = [pick(&[1, 2, 3]), pick(&[1, 2, 3])];
        // The padding is at most half a kernel, so every window contains inputs.
        let mut side = |axis: usize| pick(&[0, 1, 2]).min(kernel[axis] / 2);
        let (rows, columns) = (side(0), side(1));
        let shape = [pick(&[1, 2]), pick(&[1, 3]), pick(&[7, 10, 13]), pick(&[9, 14, 37])];
        let padding = match pick(&[0, 1, 2]) {
            0 => PaddingConfig2d::Same,
            _ => PaddingConfig2d::Explicit(rows, columns, rows, columns),
        };
        let x = random(shape);

        let config = MaxPool2dConfig::new(kernel)
            .with_strides(strides)
            .with_padding(padding.clone())
            .with_ceil_mode(pick(&[0, 1]) == 1);
        let pool = config.init();
        let got = max_pool2d(&pool, &x).expect("the tensor is on the cpu, under autodiff");
        assert_same(&x, got, pool.forward(x.clone()), &format!("{config} of {shape:?}"));

        let config = AvgPool2dConfig::new(kernel)
            .with_strides(strides)
            .with_padding(padding)
            .with_count_include_pad(pick(&[0, 1]) == 1);
        let pool = config.init();
        let got = avg_pool2d(&pool, &x).expect("the tensor is on the cpu, under autodiff");
        assert_same(&x, got, pool.forward(x.clone()), &format!("{config} of {shape:?}"));
    }
    let x = random([2, 3, 7, 5]);
    let expected = adaptive_avg_pool2d(x.clone(), [1, 1]);
    assert_same(&x, global_avg_pool2d(&x).unwrap(), expected, "global pooling");
}

#[test]
fn the_gradient_of_max_pooling_goes_to_the_first_of_equal_numbers() {
    let x = Tensor::<4>::zeros([1, 1, 4, 4], &device()).require_grad();
    let pool = MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init();
    let gradients = max_pool2d(&pool, &x).unwrap().sum().backward();
    let first = [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let expected: Vec<f32> = first.iter().chain(&first).copied().collect();
    assert_eq!(x.grad(&gradients).unwrap().into_data().iter::<f32>().collect::<Vec<_>>(), expected);
    let nan = Tensor::<4>::full([1, 1, 2, 2], f32::NAN, &device());
    assert!(max_pool2d(&pool, &nan).unwrap().into_scalar::<f32>().is_nan());
}

#[test]
fn sums_and_products_match_burns() {
    let (x, y) = (random([3, 5, 6, 7]), random([3, 5, 6, 7]));
    for activation in [Activation::Identity, Activation::RELU] {
        // The last pair adds a tensor to itself, so its gradient is the sum of two.
        for (a, b) in [(&x, &y), (&y, &x), (&x, &x)] {
            let expected = by_burn(activation, a.clone() + b.clone());
            assert_same(&x, add(activation, a, b).unwrap(), expected, "a sum");
        }
    }
    for parts in [vec![&x, &y], vec![&y, &x, &y], vec![&x, &x, &y, &x]] {
        let parts: Vec<Tensor<4>> = parts.into_iter().cloned().collect();
        let expected = Tensor::cat(parts.clone(), 1);
        assert_same(&y, cat(&parts).unwrap(), expected, "concatenated channels");
    }
    let wide = random([2, 12, 3, 5]);
    for groups in [2, 3] {
        let grouped = wide.clone().reshape([2, groups, 12 / groups, 15]);
        let expected = grouped.swap_dims(1, 2).reshape([2, 12, 3, 5]);
        assert_same(&wide, channel_shuffle(&wide, groups).unwrap(), expected, "a shuffle");
    }
    let [first, second] = fork(&x).unwrap();
    let expected = x.clone() * y.clone() + activation::relu(x.clone());
    assert_same(&x, first * y.clone() + activation::relu(second), expected, "two readers");
    let factors = random([3, 5, 1, 1]);
    for input in [&x, &factors] {
        let expected = x.clone() * factors.clone();
        assert_same(input, scale(&x, &factors).unwrap(), expected, "a product");
    }
}

#[test]
fn views_are_read_in_the_order_of_their_shape() {
    let x = random([3, 6, 5, 4]);
    let views = [
        x.clone().narrow(1, 2, 3),
        x.clone().swap_dims(0, 1),
        x.clone().swap_dims(2, 3),
        x.clone().slice([0..2, 0..6, 1..4, 0..4]),
        x.clone().flip([1]),
        x.clone().narrow(0, 1, 2).permute([1, 0, 3, 2]),
    ];
    for view in views {
        let expected = by_burn(Activation::Silu, view.clone());
        assert_close(activate(Activation::Silu, &view).unwrap(), expected, "a view");
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let plain = [1, 2, 12]
        .map(|groups| ([3, 12, 17, 15], Conv2dConfig::new([12, 12], [3, 3]).with_groups(groups)));
    // Large enough for several blocks with each number of threads, with and without strides.
    let large = [([1, 1], 1), ([2, 2], 1), ([2, 3], 2), ([2, 2], 4)].map(|(stride, groups)| {
        let config = Conv2dConfig::new([4, 8], [3, 3]).with_groups(groups).with_stride(stride);
        ([2, 4, 40, 40], config.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)))
    });
    for (shape, config) in cases().chain(plain).chain(large) {
        let (conv, x) = (config.init(&device()), random(shape));
        let factors = random(conv.forward(x.clone()).dims()).detach();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let output = conv2d(&conv, &x).unwrap();
                let (input, kernels, _) = gradients(&output, &factors, &conv, &x);
                [output, input, kernels].map(Tensor::into_data)
            })
        };
        let by_one = run(1);
        for threads in [2, 3, 7] {
            assert!(run(threads) == by_one, "{config} of {shape:?} on {threads} threads");
        }
    }
}

#[test]
fn unsupported_tensors_give_none() {
    let conv = Conv2dConfig::new([2, 2], [1, 1]).init(&Device::flex());
    let x = Tensor::<4>::zeros([1, 2, 3, 3], &Device::flex());
    assert!(conv2d(&conv, &x).is_none(), "the tensor is without autodiff");
    assert!(activate(Activation::RELU, &random([2]).cast(DType::F64)).is_none());
    let recomputed = Tensor::<1>::zeros([2], &device())
        .with_gradient_checkpointing_strategy(GradientCheckpointingStrategy::Balanced);
    assert!(activate(Activation::RELU, &recomputed).is_none());
    assert!(
        scale(&random([2, 3, 4, 4]), &random([2, 1, 1, 1])).is_none(),
        "there is not one factor per channel"
    );
    assert!(add(Activation::Silu, &random([2]), &random([2])).is_none());
}
