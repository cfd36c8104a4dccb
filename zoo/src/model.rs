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

/// The model that the feature `embedded` compiles in.
pub const EMBEDDED_MODEL: &str = "efficientnet_lite0";

/// A network with weights, and everything that is needed to use it.
#[derive(Debug)]
pub struct Model {
    session: Session<Network>,
    /// The network on the CPU, if a parameter is too large for the device.
    whole: Option<Network>,
    card: ModelCard,
    /// The images that the weights were trained on, if the record states them.
    pub(crate) training_images: TrainingImages,
    notes: Vec<String>,
}

impl Model {
    /// Loads published weights by name. If they are not compiled in, they come from the cache of the
    /// [`Hub`](crate::hub::Hub) that the environment describes, which downloads them if they are missing.
    ///
    /// The name is that of a network, such as `resnet50`. A tag chooses among several published weights:
    /// `resnet50.imagenet1k_v2`. Without a tag, the latest weights are loaded.
    ///
    /// # Errors
    ///
    /// When there are no such weights, or they can't be downloaded or loaded.
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

    /// Loads the model that is compiled in: [`EMBEDDED_MODEL`].
    ///
    /// # Errors
    ///
    /// When the embedded record can't be loaded, which is a defect of the build.
    #[cfg(feature = "embedded")]
    pub fn embedded(device: &Device) -> Result<Self, Error> {
        let record = Record::from_bytes("the embedded record", zoo_assets::EFFICIENTNET_LITE0)?;
        Self::from_record(record, device)
    }

    /// Opens a record or, with the feature `import`, a checkpoint of PyTorch, safetensors, ONNX or Keras. The network of a
    /// checkpoint is recognized by its keys and shapes, or by its graph.
    ///
    /// # Errors
    ///
    /// When the file can't be read, or does not hold a known network.
    pub fn open(path: impl AsRef<Path>, device: &Device) -> Result<Self, Error> {
        Self::open_as(path, None, device)
    }

    /// Opens a file as [`open`](Self::open) does, and checks that it holds the network `name`, such as `resnet50`. The tag of
    /// a name is not checked.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open), and when the file holds another network.
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

    /// Loads a record from memory, such as one that is compiled in.
    ///
    /// # Errors
    ///
    /// When the bytes are not a record, or this version does not have its network.
    pub fn from_bytes(bytes: impl Into<bytes::Bytes>, device: &Device) -> Result<Self, Error> {
        Self::from_record(Record::from_bytes("the record in memory", bytes)?, device)
    }

    /// Loads a record.
    ///
    /// # Errors
    ///
    /// When this version does not have the record's network, or the tensors do not fit it.
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

    /// A randomly initialized network, to train from scratch. `num_classes` defaults to that of the variant, 1000 for
    /// ImageNet.
    ///
    /// The random weights are drawn in this call. Call `device.seed(seed)` first to make them reproducible.
    ///
    /// # Errors
    ///
    /// When no network has this name.
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

    /// A network with pseudo-random weights, the same each time, to measure its speed. It is not meant for training.
    ///
    /// # Errors
    ///
    /// When no network has this name.
    pub fn for_benchmark(name: &str, device: &Device) -> Result<Self, UnknownName> {
        let variant = variant(name)?;
        let loading = loading_device(device);
        let network = fill_with_noise(variant.config.init(&loading), &loading);
        Ok(Self::new(network, fresh_card(&variant), device))
    }

    /// A network with the card that describes it, moved to a device.
    ///
    /// If a matrix of the head is too large for one tensor of the device, the CPU computes the logits from the features, and
    /// [`notes`](Self::notes) say so.
    pub fn new(network: Network, card: ModelCard, device: &Device) -> Self {
        let mut notes = Vec::new();
        let (held, whole) = match too_large_parameter(&network, device) {
            Some(reason) => {
                notes.push(format!("{reason}; the CPU computes the logits from the features"));
                (without_large_parameters(network.clone(), device), Some(network))
            }
            None => (network, None),
        };
        let session = Session::new(held, device);
        Self { session, whole, card, training_images: TrainingImages::default(), notes }
    }

    /// Resizes images to another height and width than the card says, in pixels, with the same relative margin around the crop.
    pub fn with_image_size(mut self, side: usize) -> Self {
        self.card.preprocess = sized(self.card.preprocess, side);
        self
    }

    /// The network, a Burn module.
    pub fn network(&self) -> &Network {
        self.whole.as_ref().unwrap_or(self.session.module())
    }

    /// Returns the network, on the session's device, and its card.
    ///
    /// # Errors
    ///
    /// When a parameter is too large for the device.
    pub fn into_parts(self) -> Result<(Network, ModelCard), Error> {
        match &self.whole {
            Some(network) => {
                let reason = too_large_parameter(network, self.session.device());
                Err(reason.expect("the network was split for this reason"))
            }
            None => Ok((self.session.into_module(), self.card)),
        }
    }

    /// The model card: the network, its classes, the origin of its weights.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// The preprocessing of images for the network.
    pub fn preprocess(&self) -> &Preprocess {
        &self.card.preprocess
    }

    /// The hashes of the images that the weights were trained on, to exclude them from an evaluation. Empty for published
    /// weights.
    pub fn training_images(&self) -> &TrainingImages {
        &self.training_images
    }

    /// Notes about the import of the weights and the device, as sentences for the user.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The session that runs the network.
    pub fn session(&self) -> &Session<Network> {
        &self.session
    }

    /// Writes the model to a record, atomically.
    ///
    /// # Errors
    ///
    /// When the file can't be written.
    pub fn save(&self, path: impl AsRef<Path>, precision: Precision) -> Result<(), Error> {
        Ok(Record::save(self.network().clone(), &self.card, precision, path.as_ref())?)
    }

    /// Reads an image file. The image is upright, in 8-bit RGB; transparent pixels have the background that the model was
    /// trained with.
    ///
    /// # Errors
    ///
    /// When the file can't be read or is not a supported image.
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
    /// When the bytes are not a supported image.
    pub fn decode(&self, bytes: &[u8]) -> Result<RgbImage, Error> {
        Ok(catch_panic(|| decode_over(bytes, self.card.preprocess.background))??)
    }

    /// Returns the `k` most probable classes of each image, the most probable first.
    ///
    /// # Errors
    ///
    /// When the model has no trained classifier or is a segmenter, when the network can't take the images, when the batch is
    /// too large for the device, or when a logit is NaN or infinite.
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

    /// Returns the embedding of each image: the mean of its features over all positions. It has
    /// [`num_features`](zoo_core::ImageClassifier::num_features) numbers. Similar images have embeddings that are close.
    ///
    /// # Errors
    ///
    /// When the network can't take the images, or the batch is too large for the device.
    pub fn embed(&mut self, images: &[RgbImage]) -> Result<Vec<Vec<f32>>, Error> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        self.embed_pixels(self.preprocess_images(images), self.input_shape(images.len()))
    }

    /// Returns the embeddings of [preprocessed](Self::preprocess_images) pixels, row-major with the shape `[N, C, H, W]`.
    ///
    /// # Errors
    ///
    /// As for [`embed`](Self::embed).
    pub fn embed_pixels(
        &mut self,
        pixels: Vec<f32>,
        shape: [usize; 4],
    ) -> Result<Vec<Vec<f32>>, Error> {
        let pooled = self.run("embedding", pixels, shape, |network, images| {
            let features = network.forward_features(images);
            let [batch, channels, ..] = features.dims();
            features.mean_dims(&[2, 3]).reshape([batch, channels])
        })?;
        let values: Vec<f32> = pooled[0].iter().collect();
        let length = values.len() / shape[0];
        Ok(values.chunks_exact(length).map(<[f32]>::to_vec).collect())
    }

    /// Computes the logits, `[N, num_classes]` for a classifier, `[N, num_classes, H, W]` for a segmenter. `images` are the
    /// [preprocessed](Self::preprocess_images) pixels, row-major, and `shape` is `[N, C, H, W]`.
    ///
    /// # Errors
    ///
    /// When the network can't take images of this shape, or the batch is too large for the device.
    pub fn logits(&mut self, images: Vec<f32>, shape: [usize; 4]) -> Result<TensorData, Error> {
        if self.whole.is_some() {
            return Ok(self.forward(images, shape)?.1);
        }
        let logits = self.run("logits", images, shape, |network, images| {
            into_outputs(network.forward(images))
        })?;
        Ok(one(logits))
    }

    /// Computes the features, `[N, F, h, w]`, and the [`logits`](Self::logits).
    ///
    /// # Errors
    ///
    /// As for [`logits`](Self::logits).
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

    /// Computes a map of the [`pyramid`](Network::pyramid), `[N, channels, h, w]`; level 0 is the finest.
    ///
    /// # Errors
    ///
    /// When there is no such level, or as for [`logits`](Self::logits).
    pub fn level(
        &mut self,
        images: Vec<f32>,
        shape: [usize; 4],
        level: usize,
    ) -> Result<TensorData, Error> {
        /// The names of the plans.
        const PLANS: [&str; 8] =
            ["map 0", "map 1", "map 2", "map 3", "map 4", "map 5", "map 6", "map 7"];
        let levels = self.network().pyramid();
        let (Some(plan), true) = (PLANS.get(level), level < levels.len()) else {
            let layers: Vec<_> = levels.into_iter().map(|level| level.name).collect();
            return Err(Error::NoSuchLayer {
                network: self.card.variant.clone(),
                layer: level.to_string(),
                layers: layers.join(", "),
            });
        };
        let maps = self.run(plan, images, shape, |network, images| {
            network.forward_pyramid(images, &[level])
        })?;
        Ok(one(maps))
    }

    /// Compiles the plan for images of shape `[N, C, H, W]` now, so that the first [`logits`](Self::logits) does not have to.
    /// `None` if Burn runs the network: the device is not the CPU, or the engine lacks an operator.
    ///
    /// # Errors
    ///
    /// When the network can't take images of this shape.
    pub fn plan(&mut self, shape: [usize; 4]) -> Result<Option<&mut Plan>, Error> {
        self.check_size(shape)?;
        catch_panic(|| {
            self.session
                .plan("logits", shape, |network, images| into_outputs(network.forward(images)))
        })
        .map_err(|panicked| shape_error(shape, panicked.0))
    }

    /// Preprocesses images. The result is row-major `[N, C, H, W]`, with the [input shape](Self::input_shape).
    pub fn preprocess_images(&self, images: &[RgbImage]) -> Vec<f32> {
        images.iter().flat_map(|image| self.card.preprocess.pixels(image)).collect()
    }

    /// The shape `[N, C, H, W]` of the network's input for `images` images.
    pub fn input_shape(&self, images: usize) -> [usize; 4] {
        let side = self.card.preprocess.crop as usize;
        [images, self.card.preprocess.channels(), side, side]
    }

    /// Checks that the model can classify images.
    ///
    /// # Errors
    ///
    /// When it is a segmenter, or has no trained classifier.
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

    /// Writes the model to a file for other programs, atomically, and returns the key layout of the file.
    ///
    /// # Errors
    ///
    /// When the model can't be exported in this format, or the file can't be written.
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
        // An asynchronous backend reports an error when the result is read.
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

/// Turns logits into outputs of a plan.
fn into_outputs(logits: Logits) -> Box<dyn Outputs> {
    match logits {
        Logits::Image(logits) => Box::new(logits),
        Logits::Pixel(logits) => Box::new(logits),
    }
}

fn one(mut outputs: Vec<TensorData>) -> TensorData {
    outputs.pop().expect("there is one output")
}

/// The error of a network that panicked on images of a shape.
fn shape_error([_, channels, height, width]: [usize; 4], reason: String) -> Error {
    Error::Shape { channels, height, width, reason }
}

/// The preprocessing for images of another size, with the same relative margin.
pub(crate) fn sized(preprocess: Preprocess, crop: usize) -> Preprocess {
    let resize = f64::from(preprocess.resize) / f64::from(preprocess.crop) * crop as f64;
    preprocess.sized(resize.round() as u32, u32::try_from(crop).unwrap_or(u32::MAX))
}

/// The card of a randomly initialized network.
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

/// The configuration of the network that a card describes.
pub(crate) fn config(card: &ModelCard) -> Result<Config, zoo_models::UnknownVariant> {
    let config = variant(&card.variant)?.config;
    Ok(config.with_num_classes(card.num_classes).with_in_channels(card.in_channels))
}

/// The device that weights are loaded on: the CPU, or `device` itself in a build without the feature `cpu`.
pub(crate) fn loading_device(device: &Device) -> Device {
    #[cfg(feature = "cpu")]
    {
        let _ = device;
        Device::flex()
    }
    #[cfg(not(feature = "cpu"))]
    device.clone()
}
