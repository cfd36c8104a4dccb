use rand::SeedableRng;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use zoo_models::{VARIANTS, unlisted};

use super::Candidate;
use super::judge::{Judge, Request, Stop, has_weights};
use crate::summary;

/// The share of the candidates that the next rung keeps is one in this number; it trains as many times longer.
const REDUCTION: usize = 3;

/// Rungs after the first one.
const RUNGS: u32 = ENDS.len() as u32 - 1;

/// Share of the budget after which each rung ends.
const ENDS: [f64; 3] = [0.5, 0.75, 1.0];

/// Candidates that are measured before the first of them is trained. The time may end after any of them.
const BATCH: usize = 8;

/// Shares of the usual image size that are candidates.
const SIZES: [f64; 3] = [1.0, 0.75, 0.5];

/// The networks of the registry that classify RGB images, at several image sizes. Those with weights on this machine come first.
pub(super) fn candidates() -> Vec<Candidate> {
    let mut candidates = Vec::new();
    // Beside the tables there are further widths and depths.
    for variant in VARIANTS.iter().cloned().chain(unlisted()) {
        if variant.config.in_channels() != 3 || !variant.config.is_classifier() {
            continue;
        }
        let mut sizes =
            SIZES.map(|share| (variant.size as f64 * share / 32.0).round() as usize * 32);
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let usual_gmacs = variant.gmacs.unwrap_or_else(|| {
            let summary = summary(&variant.config, variant.size);
            summary.map_or(f64::INFINITY, |summary| summary.macs as f64 / 1e9)
        });
        for (index, &image_size) in sizes.iter().enumerate() {
            if image_size >= 32 && !sizes[..index].contains(&image_size) {
                let share = (image_size as f64 / variant.size as f64).powi(2);
                let gmacs = share * usual_gmacs;
                let candidate = Candidate { network: variant.name.to_string(), image_size };
                candidates.push((gmacs, candidate));
            }
        }
    }
    // Cheap networks come first, so that a short budget sees many.
    candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
    candidates.sort_by_key(|(_, candidate)| !has_weights(&candidate.network));
    candidates.into_iter().map(|(_, candidate)| candidate).collect()
}

/// Successive halving: all candidates are trained for a few epochs, the best third for three times as many, and so on.
///
/// # Errors
///
/// When the judge stops, or no candidate meets the limits.
pub(super) fn run(epochs: usize, judge: &mut Judge<'_>) -> Result<(), Stop> {
    let (start, deadline) = (Instant::now(), judge.deadline);
    let budget = deadline.saturating_duration_since(start);
    let mut alive = candidates();
    for (rung, end) in (0..).zip(ENDS) {
        let epochs = epochs * REDUCTION.pow(rung);
        judge.deadline = start + budget.mul_f64(end);
        let mut scored = Vec::new();
        for candidates in alive.chunks(BATCH) {
            let request = |candidate: &Candidate| {
                let request = Request::new("search", candidate.clone());
                Request { generation: rung as usize, ..request }
            };
            let requests: Vec<_> = candidates.iter().map(request).collect();
            let assessed = judge.assess(&requests, epochs);
            // At the end of the time, a part of them is trained.
            let trained = requests.into_iter().filter_map(|request| {
                let accuracy = judge.accuracy(&request.candidate, epochs)?;
                Some((request.candidate, accuracy))
            });
            scored.extend(trained);
            match assessed {
                Ok(_) => {}
                Err(Stop::Budget) => break,
                Err(stop) => return Err(stop),
            }
        }
        if scored.is_empty() && rung == 0 {
            return Err(Stop::NothingFits);
        }
        scored.sort_by(|a, b| b.1.total_cmp(&a.1));
        scored.truncate(scored.len().div_ceil(REDUCTION));
        alive = scored.into_iter().map(|(candidate, _)| candidate).collect();
    }
    judge.deadline = deadline;
    Ok(())
}

/// Trains random candidates as long as the last rung does.
///
/// # Errors
///
/// When the judge stops.
pub(super) fn random(epochs: usize, seed: u64, judge: &mut Judge<'_>) -> Result<(), Stop> {
    let mut all = candidates();
    all.shuffle(&mut StdRng::seed_from_u64(seed));
    let epochs = epochs * REDUCTION.pow(RUNGS);
    for candidates in all.chunks(BATCH) {
        let requests: Vec<_> =
            candidates.iter().map(|candidate| Request::new("random", candidate.clone())).collect();
        judge.assess(&requests, epochs)?;
    }
    Ok(())
}
