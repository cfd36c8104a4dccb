//! ResNet-50 in your own project, with `burn` and this crate as the only dependencies.
//!
//! ```console
//! cargo run --release -p zoo-resnet --example embed [resnet50.bpk]
//! ```

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use zoo_resnet::{ImageClassifier, variant};

fn main() {
    let device = Device::flex();
    let config = variant("resnet50").expect("the table has resnet50").config;
    let mut model = config.init(&device);
    // Without a record the weights and the logits are random.
    if let Some(path) = std::env::args().nth(1) {
        model = model.try_load_file(path).expect("a record of a ResNet-50");
    }

    let images = Tensor::<4>::zeros([1, 3, 224, 224], &device);
    let features = model.forward_features(images.clone());
    println!("features {:?}", features.dims());
    println!("logits   {:?}", model.forward_head(features).dims());

    // For your own five classes: the same network with a new classifier.
    model.reset_classifier(5, &device);
    println!("logits   {:?}", model.forward(images).dims());
}
