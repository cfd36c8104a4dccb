use burn::module::Module;
use burn::store::ModuleRecord;
use burn::tensor::{Device, Tensor};
use zoo_efficientnet::{ImageClassifier, variant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::flex();
    let config = variant("efficientnet_lite0").ok_or("no such variant")?.config;
    // A record that `zoo import` wrote; this one keeps its weights in half precision.
    let record = ModuleRecord::load("../../../assets/weights/efficientnet_lite0.imagenet1k.bpk")?;
    let mut model = config.init(&device).load_record(record.cast_to_module_dtype());

    let images = Tensor::<4>::zeros([1, 3, 224, 224], &device);
    let features = model.forward_features(images.clone()); // [1, 1280, 7, 7]
    let logits = model.forward(images); // [1, 1000]
    println!("features {:?}, logits {:?}", features.dims(), logits.dims());

    // For your own classes: the same network with a new classifier.
    model.reset_classifier(5, &device);
    Ok(())
}
