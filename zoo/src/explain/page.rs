use image::RgbImage;
use serde::Serialize;
use zoo_report::{jpeg, within};

use super::{Explanation, Method};

/// Largest side of a picture on the page, in pixels.
const SIDE: u32 = 480;

/// An HTML page with photographs and their heat maps.
#[derive(Debug, Clone, Default)]
pub struct Page {
    photographs: Vec<Photograph>,
}

#[derive(Debug, Clone, Serialize)]
struct Photograph {
    path: String,
    picture: String,
    maps: Vec<Map>,
}

#[derive(Debug, Clone, Serialize)]
struct Map {
    method: Method,
    label: String,
    probability: f32,
    range: [f32; 2],
    has_evidence: bool,
    picture: String,
    /// The lines of a check.
    notes: Vec<String>,
}

/// What the page's template shows.
#[derive(Serialize)]
struct Context<'a> {
    title: &'a str,
    photographs: &'a [Photograph],
}

impl Page {
    /// Adds a heat map of a photograph. The maps of a photograph come one after another. `notes` are shown below the map.
    ///
    /// # Panics
    ///
    /// When the map is for a photograph of another size.
    pub fn add(
        &mut self,
        path: &str,
        photograph: &RgbImage,
        method: Method,
        explanation: &Explanation,
        notes: Vec<String>,
    ) {
        let is_last = |last: &Photograph| last.path == path;
        if !self.photographs.last().is_some_and(is_last) {
            let (path, picture) = (path.to_owned(), picture(photograph));
            self.photographs.push(Photograph { path, picture, maps: Vec::new() });
        }
        let Explanation { label, probability, map, .. } = explanation;
        let map = Map {
            method,
            label: label.clone(),
            probability: *probability,
            range: map.range(),
            has_evidence: !map.is_without_evidence(),
            picture: picture(&map.overlay(photograph)),
            notes,
        };
        let last = self.photographs.last_mut().expect("there is one now");
        last.maps.push(map);
    }

    /// The page, which needs no other file.
    pub fn html(&self, title: &str) -> String {
        let context = Context { title, photographs: &self.photographs };
        zoo_report::page(include_str!("page.html"), &context)
    }
}

fn picture(image: &RgbImage) -> String {
    jpeg(&within(image, SIDE))
}
