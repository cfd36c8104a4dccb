//! The layers in an HDF5 file.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use burn::tensor::DType;
use hdf5_reader::group::Group;
use hdf5_reader::{Dataset, Datatype};

use super::layers::{Layer, Role, Weight};
use crate::Error;
use crate::error::{damaged, unsupported};

/// The largest depth of nested groups.
const DEEPEST: usize = 64;

/// A search for the layers of a file.
pub(super) struct Reader<'a> {
    path: &'a Path,
    /// The largest size of a tensor in bytes.
    limit: usize,
    /// The names of the layers at some paths, if they are known from elsewhere.
    names: &'a HashMap<String, String>,
    /// The addresses of visited groups, because links may form a cycle.
    met: HashSet<u64>,
    layers: Vec<Layer>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(path: &'a Path, limit: usize, names: &'a HashMap<String, String>) -> Self {
        Self { path, limit, names, met: HashSet::new(), layers: Vec::new() }
    }

    /// Reads the layers that have weights.
    pub(super) fn read(mut self, root: &Group) -> Result<Vec<Layer>, Error> {
        let groups = self.members(root)?.0;
        let group = |name: &str| groups.iter().find(|group| group.name() == name);
        let network = group("model_weights").unwrap_or(root);
        let names = self.layer_names(network)?;
        if !names.is_empty() {
            for name in names {
                self.named_layer(network, &name)?;
            }
        } else if let Some(layers) = LAYERS.iter().find_map(|name| group(name)) {
            self.numbered_layers(layers, "layers")?;
        } else {
            return Err(unsupported(
                self.path,
                "an HDF5 file without the layers of Keras",
                "save the model in Keras, with `model.save(\"x.keras\")`",
            ));
        }
        Ok(self.layers)
    }

    /// Reads the list of layers of Keras 1 and 2; a long one is divided into `layer_names0`, ….
    fn layer_names(&self, network: &Group) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for attribute in network.attributes().map_err(|error| damaged(self.path, error))? {
            if attribute.name.starts_with("layer_names") {
                names.extend(attribute.read_strings().map_err(|error| damaged(self.path, error))?);
            }
        }
        Ok(names)
    }

    /// Reads a layer of Keras 1 and 2: a group in which weights have names.
    fn named_layer(&mut self, network: &Group, name: &str) -> Result<(), Error> {
        let mut group = network.clone();
        for part in name.split('/') {
            group = group.group(part).map_err(|error| damaged(self.path, error))?;
        }
        let mut datasets = Vec::new();
        self.datasets(&group, "", &mut datasets)?;
        let scope = |name: &str| name.rsplit_once('/').map(|(scope, _)| scope.to_owned());
        let scopes: HashSet<_> = datasets.iter().map(|(name, _)| scope(name)).collect();
        // A nested network is one layer; the names of its weights contain the layers.
        let is_network = scopes.len() > 1;
        let mut layers: Vec<Layer> = Vec::new();
        for (path, dataset) in datasets {
            let (scope, weight) = path.rsplit_once('/').unwrap_or_default();
            // DenseNet's published files have slashes instead of Keras's current underscores.
            let layer = match is_network {
                true => scope.rsplit('/').next().unwrap_or_default().to_owned(),
                false => name.replace('/', "_"),
            };
            let weight = if weight.is_empty() { path.as_str() } else { weight };
            let Some(weight) = self.weight(&layer, Role::named(weight), dataset)? else {
                continue;
            };
            match layers.iter_mut().find(|known| known.name == layer) {
                Some(known) => known.weights.push(weight),
                None => layers.push(Layer { name: layer, weights: vec![weight] }),
            }
        }
        self.layers.extend(layers);
        Ok(())
    }

    /// Checks the depth of a group. The functions that read groups are recursive.
    fn check_depth(&self, path: &str) -> Result<(), Error> {
        if path.matches('/').count() <= DEEPEST {
            return Ok(());
        }
        let reason = format!("it has more than {DEEPEST} groups in one another");
        Err(Error::Damaged { path: self.path.to_owned(), reason })
    }

    fn datasets(
        &mut self,
        group: &Group,
        scope: &str,
        found: &mut Vec<(String, Dataset)>,
    ) -> Result<(), Error> {
        if !self.met.insert(group.address()) {
            return Ok(());
        }
        self.check_depth(scope)?;
        let (groups, datasets) = self.members(group)?;
        found.extend(datasets.into_iter().map(|set| (format!("{scope}{}", set.name()), set)));
        for group in groups {
            self.datasets(&group, &format!("{scope}{}/", group.name()), found)?;
        }
        Ok(())
    }

    /// Reads layers of Keras 3: a group with the name of the class and a number, and in it a group
    /// `vars` of numbered weights. The layer's name is an attribute of `vars`.
    fn numbered_layers(&mut self, group: &Group, path: &str) -> Result<(), Error> {
        if !self.met.insert(group.address()) {
            return Ok(());
        }
        self.check_depth(path)?;
        for group in self.members(group)?.0 {
            let path = format!("{path}/{}", group.name());
            if group.name() != "vars" {
                self.numbered_layers(&group, &path)?;
                continue;
            }
            let (layer, _) = path.rsplit_once('/').expect("a path has two parts");
            let mut datasets = self.members(&group)?.1;
            if datasets.is_empty() || layer.ends_with("/seed_generator") {
                continue;
            }
            datasets.sort_by_key(|dataset| dataset.name().parse::<usize>().ok());
            let name = group.attribute("name").and_then(|name| name.read_string()).ok();
            let Some(name) = name.or_else(|| self.names.get(layer).cloned()) else {
                return Err(unsupported(
                    self.path,
                    "a file of weights without the names of its layers, as early versions of \
                     Keras 3 wrote them",
                    "load it in Keras and save the model with `model.save(\"x.keras\")`",
                ));
            };
            let class = layer.rsplit('/').next().unwrap_or_default();
            let roles = Role::numbered(class, datasets.len());
            let mut weights = Vec::new();
            for (role, dataset) in roles.into_iter().zip(datasets) {
                weights.extend(self.weight(&name, role, dataset)?);
            }
            self.layers.push(Layer { name, weights });
        }
        Ok(())
    }

    fn members(&self, group: &Group) -> Result<(Vec<Group>, Vec<Dataset>), Error> {
        group.members().map_err(|error| damaged(self.path, error))
    }

    /// Reads a weight. Returns `None` for other values: the state of random numbers and counters.
    fn weight(&self, layer: &str, role: Role, dataset: Dataset) -> Result<Option<Weight>, Error> {
        if matches!(role, Role::Other(ref name) if name == "count" || name.starts_with("seed_")) {
            return Ok(None);
        }
        let is_bfloat = |name: &str| name == "bfloat16";
        let dtype = match dataset.dtype() {
            Datatype::FloatingPoint { size: 8, .. } => DType::F64,
            Datatype::FloatingPoint { size: 4, .. } => DType::F32,
            Datatype::FloatingPoint { size: 2, .. } | Datatype::Opaque { size: 2, .. } => {
                // HDF5 has no such type, so Keras writes its name.
                let stated = dataset.attribute("dtype").and_then(|dtype| dtype.read_string());
                if stated.is_ok_and(|name| is_bfloat(&name)) { DType::BF16 } else { DType::F16 }
            }
            _ => {
                return Err(unsupported(
                    self.path,
                    "a Keras file with weights that are no floating-point numbers",
                    "save the network as it was before it was quantized",
                ));
            }
        };
        let length = dataset.raw_byte_len().unwrap_or(usize::MAX);
        if !(1..=self.limit).contains(&length) {
            let reason = format!("a weight of {layer} is empty, or larger than the file");
            return Err(damaged(self.path, reason));
        }
        let dims = dataset.shape().iter().map(|&size| size as usize).collect();
        Ok(Some(Weight { role, dims, dtype, dataset }))
    }
}

/// The group of the layers in Keras 3, and that in its first versions.
const LAYERS: [&str; 2] = ["layers", "_layer_checkpoint_dependencies"];
