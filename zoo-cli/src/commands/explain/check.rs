//! Checks of heat maps.

use std::fmt;

use burn_zoo::explain::{ExplainOptions, Explanation, Order, Randomized};
use burn_zoo::{Error, Model, Network};
use image::RgbImage;
use serde::Serialize;

/// The networks with random weights that heat maps are compared with.
pub(super) struct Random {
    classifier: Model,
    all: Model,
}

/// The results for a heat map.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Check {
    /// `None` for a segmenter.
    #[serde(skip_serializing_if = "Option::is_none")]
    areas: Option<Areas>,
    randomized: Correlations,
}

/// The areas under the curves of an order of pixels.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Areas {
    deletion: f32,
    insertion: f32,
    random_deletion: f32,
    random_insertion: f32,
    center_deletion: f32,
    center_insertion: f32,
}

/// The rank correlations with the maps of networks with random weights.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Correlations {
    classifier: f64,
    all: f64,
}

impl Random {
    /// The seed of the random weights.
    const SEED: u64 = 0;

    pub(super) fn of(model: &Model) -> Result<Self, Error> {
        Ok(Self {
            classifier: model.randomized(Randomized::Classifier, Self::SEED)?,
            all: model.randomized(Randomized::All, Self::SEED)?,
        })
    }

    /// Checks the explanation of an image.
    pub(super) fn check(
        &mut self,
        model: &mut Model,
        image: &RgbImage,
        explanation: &Explanation,
        options: &ExplainOptions,
    ) -> Result<Check, Error> {
        let areas = match model.network() {
            Network::Classifier(_) => Some(Areas::of(model, image, explanation)?),
            Network::Segmenter(_) => None,
        };
        let correlation = |random: &mut Model| -> Result<f64, Error> {
            let map = random.explain_again(image, explanation, options)?;
            Ok(explanation.map.rank_correlation(&map))
        };
        let classifier = correlation(&mut self.classifier)?;
        let all = correlation(&mut self.all)?;
        Ok(Check { areas, randomized: Correlations { classifier, all } })
    }
}

impl Areas {
    fn of(model: &mut Model, image: &RgbImage, explanation: &Explanation) -> Result<Self, Error> {
        let Explanation { class, map, .. } = explanation;
        let side = model.preprocess().crop as usize;
        let mut areas = |order: &Order| -> Result<[f32; 2], Error> {
            let deletion = model.deletion(image, *class, order)?.area();
            Ok([deletion, model.insertion(image, *class, order)?.area()])
        };
        let [deletion, insertion] = areas(&Order::of_map(map, side))?;
        let [random_deletion, random_insertion] = areas(&Order::of_random_map(map, side, 0))?;
        let [center_deletion, center_insertion] = areas(&Order::from_center(side))?;
        Ok(Self {
            deletion,
            insertion,
            random_deletion,
            random_insertion,
            center_deletion,
            center_insertion,
        })
    }
}

impl Check {
    /// The means of the results for several images.
    pub(super) fn mean(checks: &[Self]) -> Self {
        let count = checks.len() as f32;
        let areas: Vec<Areas> = checks.iter().filter_map(|check| check.areas).collect();
        let area = |of: fn(&Areas) -> f32| areas.iter().map(of).sum::<f32>() / count;
        let correlation = |of: fn(&Correlations) -> f64| {
            checks.iter().map(|check| of(&check.randomized)).sum::<f64>() / f64::from(count)
        };
        Self {
            areas: (!areas.is_empty()).then(|| Areas {
                deletion: area(|it| it.deletion),
                insertion: area(|it| it.insertion),
                random_deletion: area(|it| it.random_deletion),
                random_insertion: area(|it| it.random_insertion),
                center_deletion: area(|it| it.center_deletion),
                center_insertion: area(|it| it.center_insertion),
            }),
            randomized: Correlations {
                classifier: correlation(|it| it.classifier),
                all: correlation(|it| it.all),
            },
        }
    }

    /// The results, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let areas = self.areas.iter().map(|areas| {
            format!(
                "area under deletion {:.3} (random {:.3}, center {:.3}), under insertion {:.3} (random {:.3}, center {:.3})",
                areas.deletion,
                areas.random_deletion,
                areas.center_deletion,
                areas.insertion,
                areas.random_insertion,
                areas.center_insertion
            )
        });
        let Correlations { classifier, all } = self.randomized;
        let correlations = format!(
            "rank correlation with the map of a random classifier {classifier:.3}, of random weights {all:.3}"
        );
        areas.chain([correlations]).collect()
    }
}

/// Indented lines.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.lines().into_iter().map(|line| format!("  {line}")).collect();
        f.write_str(&lines.join("\n"))
    }
}
