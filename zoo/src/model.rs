use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use zoo_core::{
    Preprocess, Variant, catch_panic, decode::decode_over, fill_with_noise, parameters,
};
use zoo_engine::{Outputs, Plan, Session};
use zoo_models::{Config, Logits, Network, UnknownName, variant};
use zoo_record::{ModelCard, Origin, Precision, Record, TrainingImages, is_record_file};

use crate::device::largest_tensor;
use crate::large::{too_large_parameter, without_large_parameters};
use crate::{Error, Prediction, probabilities, top_k};

/// The network whose weights are compiled in with the feature `embedded`.
pub const EMBEDDED_MODEL: &str = "efficientnet_lite0";

/// A network with weights, and all that is needed to use it.
#[derive(Debug)]
pub struct Model {
    session: Session<Network>,
    /// The network on the processor, where the device does not hold all of it.
    whole: Option<Network>,
    card: ModelCard,
    /// What the weights were trained on, where a record says so.
    pub(crate) training_images: TrainingImages,
    notes: Vec<String>,
}

impl Model {
    /// Loads published weights by name: those that are compiled in, or those that the
    /// [`Hub`](crate::hub::Hub) of the environment has or downloads.
    ///
    /// A name is that of a network, such as `resnet50`, with a tag where several weights are published:
    /// `resnet50.imagenet1k_v2`. Without a tag, the latest are taken.
    ///
    /// # Errors
    ///
    /// When there are no such weights, or they can't be had.
    pub fn load(name: &str, device: &Device) -> Result<Self, Error> {
        #[cfg(feature = "embedded")]
        if zoo_models::published(name)?.0.name == EMBEDDED_MODEL {
            return Self::embedded(device);
        }
        #[cfg(feature = "download")]
        return crate::Hub::from_env()?.load(name, device, |_| ());
        #[cfg(not(feature = "download"))]
        {
            let (variant, weights) = zoo_models::with_weights(name)?;
            let _ = device;
            Err(Error::NoDownload(format!("{}.{}", variant.name, weights.tag)))
        }
    }

    /// The model whose weights are compiled in: [`EMBEDDED_MODEL`].
    ///
    /// # Errors
    ///
    /// None that is to be expected.
    #[cfg(feature = "embedded")]
    pub fn embedded(device: &Device) -> Result<Self, Error> {
        let record = Record::from_bytes("the embedded record", zoo_assets::EFFICIENTNET_LITE0)?;
        Self::from_record(record, device)
    }

    /// Opens a file: a record, or with the feature `import` a checkpoint of PyTorch, safetensors, ONNX or Keras, whose
    /// network is recognized by its keys and shapes, or by its graph.
    ///
    /// # Errors
    ///
    /// When the file can't be read, or is of no network that is known.
    pub fn open(path: impl AsRef<Path>, device: &Device) -> Result<Self, Error> {
        Self::open_as(path, None, device)
    }

    /// Opens a file as [`open`](Self::open) does, if it is of the network with a name.
    ///
    /// # Errors
    ///
    /// Also when it is of another network.
    pub fn open_as(
        path: impl AsRef<Path>,
        name: Option<&str>,
        device: &Device,
    ) -> Result<Self, Error> {
        let path = path.as_ref();
        if !is_record_file(path)? {
            return Self::open_checkpoint(path, name, device);
        }
        let record = Record::open(path)?;
        let found = &record.card.variant;
        if let Some(name) = name {
            let expected = zoo_models::published(name)?.0.name;
            if expected != found {
                let (path, expected) = (path.to_owned(), expected.to_owned());
                return Err(Error::OtherVariant { path, found: found.clone(), expected });
            }
        }
        Self::from_record(record, device)
    }

    #[cfg(feature = "import")]
    fn open_checkpoint(path: &Path, name: Option<&str>, device: &Device) -> Result<Self, Error> {
        let checkpoint = zoo_import::Checkpoint::open(path)?;
        let options =
            zoo_import::ImportOptions { variant: name.map(str::to_owned), ..Default::default() };
        let imported = zoo_import::import(&checkpoint, &options, &loading_device(device))?;
        let warning = imported.report.warning();
        let warning = warning.map(|warning| format!("{} has {warning}", path.display()));
        let mut model = Self::new(imported.network, imported.card, device);
        model.notes.extend(imported.notes.into_iter().chain(warning));
        Ok(model)
    }

    #[cfg(not(feature = "import"))]
    fn open_checkpoint(path: &Path, _: Option<&str>, _: &Device) -> Result<Self, Error> {
        Err(Error::NoImport(path.to_owned()))
    }

    /// Reads a record that is in memory, such as one that is compiled in.
    ///
    /// # Errors
    ///
    /// When the bytes are no record, or one of a network that this version does not have.
    pub fn from_bytes(bytes: impl Into<bytes::Bytes>, device: &Device) -> Result<Self, Error> {
        Self::from_record(Record::from_bytes("the record in memory", bytes)?, device)
    }

    /// Loads a record.
    ///
    /// # Errors
    ///
    /// When it is of a network that this version does not have, or its tensors are not the network's.
    pub fn from_record(record: Record, device: &Device) -> Result<Self, Error> {
        let card = record.card.clone();
        let unknown = |reason| Error::UnknownVariant { path: record.path().to_owned(), reason };
        let config = config(&card).map_err(unknown)?;
        let loading = loading_device(device);
        let mut network = config.init_with_hidden(&card.hidden, &loading);
        if card.has_auxiliary {
            network.attach_auxiliary(&loading);
        }
        Ok(Self {
            training_images: record.training_images()?,
            ..Self::new(record.load_into(network)?, card, device)
        })
    }

    /// A network with fresh weights, to train from nothing; with the usual number of classes where none is given.
    ///
    /// The weights are drawn here: `device.seed(seed)` before this call makes them reproducible.
    ///
    /// # Errors
    ///
    /// When no network has that name.
    pub fn init(
        name: &str,
        num_classes: Option<usize>,
        device: &Device,
    ) -> Result<Self, UnknownName> {
        let variant = variant(name)?;
        let num_classes = num_classes.unwrap_or_else(|| variant.config.num_classes());
        let mut network = variant.config.clone().with_num_classes(num_classes).init(device);
        let without = parameters(&network).len();
        network.attach_auxiliary(device);
        let has_auxiliary = parameters(&network).len() > without;
        let card = ModelCard { num_classes, has_auxiliary, ..fresh_card(&variant) };
        Ok(Self::new(network, card, device))
    }

    /// A network whose weights are noise, the same each time: to measure how fast it is.
    ///
    /// # Errors
    ///
    /// When no network has that name.
    pub fn for_benchmark(name: &str, device: &Device) -> Result<Self, UnknownName> {
        let variant = variant(name)?;
        let loading = loading_device(device);
        let network = fill_with_noise(variant.config.init(&loading), &loading);
        Ok(Self::new(network, fresh_card(&variant), device))
    }

    /// A network with the card that describes it, moved to a device.
    ///
    /// Where the device can't hold a matrix of the network's head, the processor computes the logits from the
    /// features; a note says so.
    pub fn new(network: Network, card: ModelCard, device: &Device) -> Self {
        let mut notes = Vec::new();
        let (held, whole) = match too_large_parameter(&network, device) {
            Some(reason) => {
                notes.push(format!("{reason}; cpu computes the logits from the features"));
                (without_large_parameters(network.clone(), device), Some(network))
            }
            None => (network, None),
        };
        let session = Session::new(held, device);
        Self { session, whole, card, training_images: TrainingImages::default(), notes }
    }

    /// The network, a Burn module.
    pub fn network(&self) -> &Network {
        self.whole.as_ref().unwrap_or(self.session.module())
    }

    /// The network and its card, to go on with on its device.
    ///
    /// # Errors
    ///
    /// When the device does not hold the whole network.
    pub fn into_parts(self) -> Result<(Network, ModelCard), Error> {
        match &self.whole {
            Some(network) => {
                let reason = too_large_parameter(network, self.session.device());
                Err(reason.expect("the network was split for this reason"))
            }
            None => Ok((self.session.into_module(), self.card)),
        }
    }

    /// What is known about the model: its network, its classes, where its weights come from.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// How images are prepared for the network.
    pub fn preprocess(&self) -> &Preprocess {
        &self.card.preprocess
    }

    /// The images that the weights were trained on, as far as their record says: to leave them out of an evaluation.
    pub fn training_images(&self) -> &TrainingImages {
        &self.training_images
    }

    /// What is to be known about how the weights were read and where they compute, as sentences.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What runs the network.
    pub fn session(&self) -> &Session<Network> {
        &self.session
    }

    /// Writes the model to a record, whole or not at all.
    ///
    /// # Errors
    ///
    /// When the file can't be written.
    pub fn save(&self, path: impl AsRef<Path>, precision: Precision) -> Result<(), Error> {
        Ok(Record::save(self.network().clone(), &self.card, precision, path.as_ref())?)
    }

    /// Reads an image file: upright, in 8-bit RGB, over the background that the model was trained with.
    ///
    /// # Errors
    ///
    /// When it can't be read or is no image.
    pub fn open_image(&self, path: impl AsRef<Path>) -> Result<RgbImage, Error> {
        let path = path.as_ref();
        let bytes =
            std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        self.decode(&bytes)
    }

    /// Decodes the bytes of an image file as [`open_image`](Self::open_image) does.
    ///
    /// # Errors
    ///
    /// When they are no image.
    pub fn decode(&self, bytes: &[u8]) -> Result<RgbImage, Error> {
        Ok(catch_panic(|| decode_over(bytes, self.card.preprocess.background))??)
    }

    /// Names the `k` most probable classes of each image, the most probable first.
    ///
    /// # Errors
    ///
    /// When the model has no classifier, or its answer is not a number.
    pub fn classify(
        &mut self,
        images: &[RgbImage],
        k: usize,
    ) -> Result<Vec<Vec<Prediction>>, Error> {
        self.ensure_classifies()?;
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let logits = self.logits(self.preprocess_images(images), self.input_shape(images.len()))?;
        let logits: Vec<f32> = logits.iter().collect();
        let names = self.card.answers();
        let rows = logits.chunks_exact(self.card.num_classes);
        rows.map(|row| Ok(top_k(&probabilities(row)?, &names, k))).collect()
    }

    /// Describes each image by the average of its features over all places: a vector of
    /// [`num_features`](zoo_core::ImageClassifier::num_features) numbers. Images that look alike have vectors that are close.
    ///
    /// # Errors
    ///
    /// When the network can't take images of the model's size.
    pub fn embed(&mut self, images: &[RgbImage]) -> Result<Vec<Vec<f32>>, Error> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let (pixels, shape) = (self.preprocess_images(images), self.input_shape(images.len()));
        let pooled = self.run("embedding", pixels, shape, |network, images| {
            let features = network.forward_features(images);
            let [batch, channels, ..] = features.dims();
            features.mean_dims(&[2, 3]).reshape([batch, channels])
        })?;
        let values: Vec<f32> = pooled[0].iter().collect();
        let length = values.len() / images.len();
        Ok(values.chunks_exact(length).map(<[f32]>::to_vec).collect())
    }

    /// The logits of images, row-major in this shape `[N, C, H, W]`: `[N, num_classes]`, of a segmenter `[N, num_classes, H,
    /// W]`.
    ///
    /// # Errors
    ///
    /// When the network can't take images of that shape.
    pub fn logits(&mut self, images: Vec<f32>, shape: [usize; 4]) -> Result<TensorData, Error> {
        if self.whole.is_some() {
            return Ok(self.forward(images, shape)?.1);
        }
        let logits = self.run("logits", images, shape, |network, images| {
            into_outputs(network.forward(images))
        })?;
        Ok(one(logits))
    }

    /// The features `[N, F, h, w]` and the logits of images, row-major in this shape `[N, C, H, W]`.
    ///
    /// # Errors
    ///
    /// When the network can't take images of that shape.
    pub fn forward(
        &mut self,
        images: Vec<f32>,
        shape: [usize; 4],
    ) -> Result<(TensorData, TensorData), Error> {
        if self.whole.is_some() {
            let features = one(self.run("features", images, shape, Network::forward_features)?);
            let head = self.whole.as_ref().expect("it was there");
            let device = loading_device(self.session.device());
            let tensor = Tensor::<4>::from_data(features.clone(), &device);
            let logits = catch_panic(|| head.forward_head(tensor).into_data().convert::<f32>())?;
            return Ok((features, logits));
        }
        let mut outputs = self.run("features and logits", images, shape, |network, images| {
            let features = network.forward_features(images);
            (features.clone(), into_outputs(network.forward_head(features)))
        })?;
        let logits = outputs.pop().expect("there are two outputs");
        Ok((one(outputs), logits))
    }

    /// The plan that computes the logits of images of a shape; none where Burn runs the network. Made here, it need not be made
    /// when the first images come.
    ///
    /// # Errors
    ///
    /// When the network can't take images of that shape.
    pub fn plan(&mut self, shape: [usize; 4]) -> Result<Option<&mut Plan>, Error> {
        self.check_size(shape)?;
        catch_panic(|| {
            self.session
                .plan("logits", shape, |network, images| into_outputs(network.forward(images)))
        })
        .map_err(|panicked| shape_error(shape, panicked.0))
    }

    /// The network's input for images: what [`preprocess`](Self::preprocess) makes of each, one after the other.
    pub fn preprocess_images(&self, images: &[RgbImage]) -> Vec<f32> {
        images.iter().flat_map(|image| self.card.preprocess.pixels(image)).collect()
    }

    /// The shape of the network's input for so many images, `[N, C, H, W]`.
    pub fn input_shape(&self, images: usize) -> [usize; 4] {
        let side = self.card.preprocess.crop as usize;
        [images, self.card.preprocess.channels(), side, side]
    }

    /// Refuses to classify with a network that does not.
    ///
    /// # Errors
    ///
    /// When it segments, or has no trained classifier.
    pub fn ensure_classifies(&self) -> Result<(), Error> {
        let name = &self.card.variant;
        match self.session.module() {
            Network::Segmenter(_) => Err(Error::NotAClassifier(name.clone())),
            Network::Classifier(_) if !self.card.has_classifier => {
                Err(Error::NoClassifier(name.clone()))
            }
            Network::Classifier(_) => Ok(()),
        }
    }

    /// Writes the model to a file for other programs, whole or not at all, and returns the key layout.
    ///
    /// # Errors
    ///
    /// When it can't be written in that format, or the file can't be written.
    #[cfg(feature = "import")]
    pub fn export(
        &self,
        options: zoo_import::ExportOptions<'_>,
        path: impl AsRef<Path>,
    ) -> Result<&'static zoo_core::KeyLayout, Error> {
        Ok(zoo_import::export(self.network(), &self.card, options, path.as_ref())?)
    }

    fn run<O: Outputs>(
        &mut self,
        name: &'static str,
        images: Vec<f32>,
        shape: [usize; 4],
        forward: impl Fn(&Network, Tensor<4>) -> O,
    ) -> Result<Vec<TensorData>, Error> {
        self.check_size(shape)?;
        // A backend that computes on its own time says at the reading what went wrong.
        catch_panic(|| self.session.run(name, images, shape, forward)).map_err(|panicked| {
            match largest_tensor(self.session.device()) {
                Some(limit) if panicked.0.contains("can't allocate buffer") => {
                    Error::BatchTooLarge { batch: shape[0], limit }
                }
                _ => shape_error(shape, panicked.0),
            }
        })
    }

    fn check_size(&self, [.., height, width]: [usize; 4]) -> Result<(), Error> {
        let smallest = self.session.module().min_size();
        if height.min(width) >= smallest {
            return Ok(());
        }
        Err(Error::TooSmall { height, width, smallest })
    }
}

/// Logits as outputs of a plan.
fn into_outputs(logits: Logits) -> Box<dyn Outputs> {
    match logits {
        Logits::Image(logits) => Box::new(logits),
        Logits::Pixel(logits) => Box::new(logits),
    }
}

fn one(mut outputs: Vec<TensorData>) -> TensorData {
    outputs.pop().expect("there is one output")
}

/// That a network panicked on images of a shape.
fn shape_error([_, channels, height, width]: [usize; 4], reason: String) -> Error {
    Error::Shape { channels, height, width, reason }
}

/// The card of a network with fresh weights.
fn fresh_card(variant: &Variant<Config>) -> ModelCard {
    let in_channels = variant.config.in_channels();
    ModelCard {
        variant: variant.name.to_owned(),
        tag: None,
        num_classes: variant.config.num_classes(),
        in_channels,
        has_auxiliary: false,
        has_classifier: false,
        hidden: Vec::new(),
        labels: Vec::new(),
        preprocess: Preprocess::usual(variant.size, in_channels),
        origin: Origin::default(),
    }
}

/// How the network that a card describes is built.
fn config(card: &ModelCard) -> Result<Config, zoo_models::UnknownVariant> {
    let config = variant(&card.variant)?.config;
    Ok(config.with_num_classes(card.num_classes).with_in_channels(card.in_channels))
}

/// Where weights are read to: the processor, from where a device takes what it holds.
fn loading_device(device: &Device) -> Device {
    #[cfg(feature = "cpu")]
    {
        let _ = device;
        Device::flex()
    }
    #[cfg(not(feature = "cpu"))]
    device.clone()
}
