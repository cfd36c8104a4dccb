//! Comparison of outputs, gradients and running statistics with those of Burn's layers, on
//! libtorch.
#![cfg(feature = "libtorch")]
#![expect(deprecated, reason = "some users have libtorch")]

use burn::module::Module;
use burn::nn::conv::Conv2dConfig;
use burn::nn::{BatchNormConfig, PaddingConfig2d};
use burn::tensor::{Device, Distribution, Gradients, Tensor, activation};
use zoo_train_kernels::{Activation, activate, batch_norm, conv_batch_norm, conv2d};

mod reference;
use reference::{ACTIVATIONS, assert_close, by_burn};

fn device() -> Device {
    Device::libtorch().autodiff()
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 2.0), &device()).require_grad()
}

/// Compares two outputs, and returns the gradients of the same weighted sum of each.
fn compared(got: Tensor<4>, expected: Tensor<4>, what: &str) -> [Gradients; 2] {
    assert_close(got.clone(), expected.clone(), what);
    let factors = random(got.dims()).detach();
    // Burn may overwrite the output in place here, but it must not overwrite a record.
    let got = got.mul_scalar(2.0);
    [got, expected.mul_scalar(2.0)].map(|output| (output * factors.clone()).sum().backward())
}

#[test]
fn convolutions_match_burns() {
    for (groups, channels, kernel, stride, dilation, padding, has_bias) in [
        (1, [3, 5], [3, 3], [1, 1], [1, 1], [1, 1], true),
        (1, [5, 3], [1, 1], [2, 2], [1, 1], [0, 0], false),
        (6, [6, 6], [3, 3], [1, 1], [1, 1], [1, 1], false),
        (6, [6, 6], [5, 3], [2, 1], [1, 1], [2, 1], true),
        (3, [6, 9], [3, 3], [1, 2], [2, 1], [1, 0], true),
        (2, [4, 2], [1, 1], [1, 1], [1, 1], [0, 0], false),
    ] {
        let layer = Conv2dConfig::new(channels, kernel)
            .with_groups(groups)
            .with_stride(stride)
            .with_dilation(dilation)
            .with_padding(PaddingConfig2d::Explicit(padding[0], padding[1], padding[0], padding[1]))
            .with_bias(has_bias)
            .init(&device());
        let x = random([2, channels[0], 9, 8]);
        let what = format!("{groups} groups of {channels:?}, kernel {kernel:?}");
        let ours = conv2d(&layer, &x).unwrap();
        let [got, expected] = compared(ours, layer.forward(x.clone()), &what);
        assert_close(x.grad(&got).unwrap(), x.grad(&expected).unwrap(), &what);
        let weight = layer.weight.val();
        assert_close(weight.grad(&got).unwrap(), weight.grad(&expected).unwrap(), &what);
        if let Some(bias) = layer.bias.map(|bias| bias.val()) {
            assert_close(bias.grad(&got).unwrap(), bias.grad(&expected).unwrap(), &what);
        }
    }
}

#[test]
fn a_convolution_with_batch_norm_matches_burns() {
    let conv = Conv2dConfig::new([3, 4], [3, 3]).with_bias(false).init(&device());
    let config = BatchNormConfig::new(4).with_momentum(0.2);
    let norms = [config.init(&device()), config.init(&device())];
    for _ in 0..2 {
        let x = random([2, 3, 6, 5]);
        let ours = conv_batch_norm(&conv, &norms[0], Activation::RELU6, &x).unwrap();
        let burns = activation::relu6(norms[1].forward(conv.forward(x.clone())));
        let [got, expected] = compared(ours, burns, "output");
        assert_close(x.grad(&got).unwrap(), x.grad(&expected).unwrap(), "input");
        let weight = conv.weight.val();
        assert_close(weight.grad(&got).unwrap(), weight.grad(&expected).unwrap(), "weight");
        let gammas = norms.each_ref().map(|norm| norm.gamma.val());
        let [ours, burns] = [gammas[0].grad(&got).unwrap(), gammas[1].grad(&expected).unwrap()];
        assert_close(ours, burns, "gamma");
        let variances = norms.each_ref().map(|norm| norm.running_var.value_sync());
        let [ours, burns] = variances;
        assert_close(ours, burns, "running variance");
    }
}

#[test]
fn activations_match_burns() {
    for activation in ACTIVATIONS {
        let (x, what) = (random([2, 3, 7, 5]), format!("{activation:?}"));
        let Some(ours) = activate(activation, &x) else {
            assert_eq!(activation, Activation::Identity);
            continue;
        };
        let [got, expected] = compared(ours, by_burn(activation, x.clone()), &what);
        assert_close(x.grad(&got).unwrap(), x.grad(&expected).unwrap(), &what);
    }
}

#[test]
fn batch_norm_matches_burns() {
    for activation in ACTIVATIONS {
        for is_training in [true, false] {
            let config = BatchNormConfig::new(5).with_epsilon(1e-3).with_momentum(0.2);
            let norms = [config.init(&device()), config.init(&device())];
            let norms = norms.map(|norm| if is_training { norm } else { norm.freeze() });
            for _ in 0..2 {
                let (x, what) = (random([3, 5, 7, 2]), format!("{activation:?}, {is_training}"));
                let ours = batch_norm(&norms[0], activation, &x).unwrap();
                let burns = by_burn(activation, norms[1].forward(x.clone()));
                let [got, expected] = compared(ours, burns, &what);
                assert_close(x.grad(&got).unwrap(), x.grad(&expected).unwrap(), &what);
                let [ours, burns] = norms.each_ref();
                for (ours, burns) in [(&ours.gamma, &burns.gamma), (&ours.beta, &burns.beta)] {
                    let gradients = (ours.val().grad(&got), burns.val().grad(&expected));
                    assert_eq!(gradients.0.is_some(), gradients.1.is_some(), "{what}");
                    if let (Some(got), Some(expected)) = gradients {
                        assert_close(got, expected, &what);
                    }
                }
                for (ours, burns) in [
                    (&ours.running_mean, &burns.running_mean),
                    (&ours.running_var, &burns.running_var),
                ] {
                    assert_close(ours.value_sync(), burns.value_sync(), &what);
                }
            }
        }
    }
}
