//! Facts about the networks of the registry: what `zoo list` and `zoo info` show.

use std::fmt;

use serde::Serialize;
use zoo_core::{Preprocess, Variant, counted};
use zoo_models::{Config, published};

use crate::summary::{Summary, shape_text, summary};
use crate::{Backend, Error, Model};

/// A variant of the registry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VariantInfo {
    /// Name of the architecture.
    pub family: &'static str,
    /// Name of the variant.
    pub variant: &'static str,
    /// Trainable parameters.
    pub params: Option<usize>,
    /// Billions of multiply-accumulate operations for one image.
    pub gmacs: Option<f64>,
    /// Height and width of that image in pixels.
    pub size: usize,
    /// Top-1 accuracy of the best published weights, in percent.
    pub top1: Option<f64>,
    /// Tags of the published weights.
    pub weights: Vec<&'static str>,
}

impl VariantInfo {
    /// The facts about a variant.
    pub fn of(variant: &Variant<Config>) -> Self {
        Self {
            family: variant.config.family().name,
            variant: variant.name,
            params: variant.params,
            gmacs: variant.gmacs,
            size: variant.size,
            top1: variant.top1(),
            weights: variant.weights.iter().map(|weights| weights.tag).collect(),
        }
    }
}

/// One line of a table.
impl fmt::Display for VariantInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let params = self.params.map(|params| format!("{:.2} M", params as f64 / 1e6));
        write!(
            f,
            "{:<24} {:>12} {:>8} {:>6} {:>7}  {}",
            self.variant,
            params.unwrap_or_default(),
            self.gmacs.map_or_else(String::new, |gmacs| format!("{gmacs:.3}")),
            self.size,
            self.top1.map_or_else(|| "-".to_owned(), |top1| format!("{top1:.2}")),
            self.weights.join(" ")
        )
    }
}

/// A variant with its paper, its weights and its modules.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelInfo {
    /// The facts in the registry.
    #[serde(flatten)]
    pub variant: VariantInfo,
    /// Number of classes.
    pub num_classes: usize,
    /// Channels of the images.
    pub in_channels: usize,
    /// Authors, year, title and address of the paper.
    pub paper: String,
    /// The published weights.
    pub published: Vec<WeightsInfo>,
    /// The modules and their cost.
    #[serde(flatten)]
    pub summary: Summary,
}

/// Published weights of a variant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeightsInfo {
    /// The tag: `imagenet1k_v2`.
    pub tag: &'static str,
    /// The URL of the checkpoint.
    pub url: &'static str,
    /// The SHA-256 of the checkpoint, or its first digits.
    pub sha256: &'static str,
    /// Top-1 accuracy in percent.
    pub top1: Option<f64>,
    /// Top-5 accuracy in percent.
    pub top5: Option<f64>,
    /// The license.
    pub license: &'static str,
    /// The preprocessing of images.
    pub preprocess: Preprocess,
}

impl ModelInfo {
    /// The facts about the network `name`.
    ///
    /// # Errors
    ///
    /// When no network has this name.
    pub fn of(name: &str) -> Result<Self, Error> {
        let (variant, _) = published(name)?;
        let paper = variant.config.family().paper;
        let summary = summary(&variant.config, variant.size)?;
        let published = variant.weights.iter().map(|weights| WeightsInfo {
            tag: weights.tag,
            url: weights.url,
            sha256: weights.sha256,
            top1: weights.accuracy.map(|[top1, _]| top1),
            top5: weights.accuracy.map(|[_, top5]| top5),
            license: weights.license,
            preprocess: weights.preprocess,
        });
        Ok(Self {
            variant: VariantInfo { params: Some(summary.params), ..VariantInfo::of(&variant) },
            num_classes: variant.config.num_classes(),
            in_channels: variant.config.in_channels(),
            paper: format!("{}, {}: {}, {}", paper.authors, paper.year, paper.title, paper.url),
            published: published.collect(),
            summary,
        })
    }
}

impl fmt::Display for ModelInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { params, macs, modules, .. } = &self.summary;
        let size = self.variant.size;
        writeln!(f, "{}", self.variant.variant)?;
        writeln!(f, "  paper       {}", self.paper)?;
        let channels = counted(self.in_channels, "channel");
        writeln!(f, "  input       {channels}, {size} x {size} pixels")?;
        writeln!(f, "  classes     {}", self.num_classes)?;
        writeln!(f, "  parameters  {params}")?;
        writeln!(f, "  MACs        {:.3} G\n", *macs as f64 / 1e9)?;
        writeln!(
            f,
            "  {:<14} {:>6} {:>12} {:>10}  output",
            "part", "layers", "parameters", "MMACs"
        )?;
        for module in modules {
            writeln!(
                f,
                "  {:<14} {:>6} {:>12} {:>10.1}  {}",
                module.name,
                module.layers,
                module.params,
                module.macs as f64 / 1e6,
                module.shape()
            )?;
        }
        for weights in &self.published {
            writeln!(f, "\n  weights {}", weights.tag)?;
            if let (Some(top1), Some(top5)) = (weights.top1, weights.top5) {
                writeln!(f, "    accuracy  {top1:.2} % top-1, {top5:.2} % top-5")?;
            }
            writeln!(f, "    input     {}", weights.preprocess)?;
            writeln!(f, "    from      {}", weights.url)?;
            writeln!(f, "    sha256    {}…", weights.sha256)?;
            writeln!(f, "    license   {}", weights.license)?;
        }
        if self.published.is_empty() {
            writeln!(f, "\n  no weights are published for it here")?;
        }
        Ok(())
    }
}

/// The engine's plan for one image.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanInfo {
    /// The steps in the order of computation.
    pub steps: Vec<PlanStep>,
    instructions: &'static str,
    weight_bytes: usize,
    activation_bytes: usize,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanStep {
    /// Label of the step.
    pub step: String,
    /// Shape of its output.
    pub output: String,
    /// Millions of floating-point operations.
    pub mflops: f64,
    /// Kilobytes read and written.
    pub kbytes: f64,
}

impl PlanInfo {
    /// Compiles the plan of the network `name`.
    ///
    /// # Errors
    ///
    /// When no network has this name, or the engine lacks an operator for it.
    pub fn of(name: &str) -> Result<Self, Error> {
        let (variant, _) = published(name)?;
        let mut model = Model::for_benchmark(variant.name, &Backend::Cpu.device()?)?;
        let shape = [1, variant.config.in_channels(), variant.size, variant.size];
        if model.plan(shape)?.is_none() {
            let reason = model.session().lacking().map_or_else(String::new, ToString::to_string);
            return Err(Error::NoPlan(reason));
        }
        let plan = model.plan(shape)?.expect("it was compiled above");
        let step = |step: zoo_engine::StepInfo| PlanStep {
            output: shape_text(&step.shape),
            mflops: step.operations as f64 / 1e6,
            kbytes: step.bytes as f64 / 1e3,
            step: step.label,
        };
        Ok(Self {
            steps: plan.steps().into_iter().map(step).collect(),
            instructions: plan.instructions(),
            weight_bytes: plan.weight_bytes(),
            activation_bytes: plan.activation_bytes(),
        })
    }
}

impl fmt::Display for PlanInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<36} {:<20} {:>10} {:>10}", "step", "output", "MFLOP", "kB")?;
        for PlanStep { step, output, mflops, kbytes } in &self.steps {
            writeln!(f, "{step:<36} {output:<20} {mflops:>10.1} {kbytes:>10.1}")?;
        }
        writeln!(
            f,
            "{} steps, {} instructions, {:.1} MB of weights, {:.1} MB of activations",
            self.steps.len(),
            self.instructions,
            self.weight_bytes as f64 / 1e6,
            self.activation_bytes as f64 / 1e6
        )
    }
}
