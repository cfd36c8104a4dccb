//! ResNet-50 in a project of one's own, with `burn` and this crate as the only dependencies.
//!
//! ```console
//! cargo run --release -p zoo-resnet --example embed [resnet50.bpk]
//! ```

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use zoo_resnet::{ImageClassifier, variant};

fn main() {
    let device = Device::flex();
    let config = variant("resnet50").expect("it is in the table").config;
    let mut model = config.init(&device);
    // Without a record the weights are random, and so is the answer.
    if let Some(path) = std::env::args().nth(1) {
        model = model.try_load_file(path).expect("a record of a ResNet-50");
    }

    let images = Tensor::<4>::zeros([1, 3, 224, 224], &device);
    let features = model.forward_features(images.clone());
    println!("features {:?}", features.dims());
    println!("logits   {:?}", model.forward_head(features).dims());

    // For five classes of one's own: the same network with a fresh classifier.
    model.reset_classifier(5, &device);
    println!("logits   {:?}", model.forward(images).dims());
}
