use rand::Rng;

/// A space of networks for an architecture search. The name of a network is its genome: each name is
/// a variant that the registry builds.
pub trait SearchSpace: Sync {
    /// Draws a network.
    fn random(&self, rng: &mut dyn Rng) -> String;

    /// Changes one property of a network.
    ///
    /// # Panics
    ///
    /// When the name is not in the space.
    fn mutate(&self, name: &str, rng: &mut dyn Rng) -> String;

    /// Exchanges parts of two networks.
    ///
    /// # Panics
    ///
    /// When a name is not in the space.
    fn crossover(&self, names: [&str; 2], rng: &mut dyn Rng) -> [String; 2];

    /// Returns what a network can take over from a trained one that it comes from.
    ///
    /// # Panics
    ///
    /// When a name is not in the space.
    fn inheritance(&self, child: &str, parent: &str) -> Inheritance;
}

/// The weights that a network takes over from another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inheritance {
    /// The paths of a module of the child and of the module of the parent that it corresponds to.
    pub modules: Vec<[String; 2]>,
    /// The paths of the child's parameters that are set to zero, so that a new residual block
    /// computes the identity.
    pub zeros: Vec<String>,
}
