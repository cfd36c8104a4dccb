//! `zoo embed`: computes embeddings of image files, and finds similar ones, with
//! [`Model::embed_files`](burn_zoo::Model::embed_files).

use std::borrow::Cow;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{bail, ensure};
use burn_zoo::record::write_atomically;
use burn_zoo::{Embeddings, Error, counted};
use parquet::data_type::{ByteArray, ByteArrayType, FloatType};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Serialize;

use crate::Outcome;
use crate::images::{ImagePaths, read};
use crate::options::{Format, ModelOptions, RunOptions, load, positive, probability};
use crate::output::{json_lines, npy};
use crate::progress::images_bar;

/// `zoo embed`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An embedding is the mean of a network's features over all positions. Similar images have embeddings whose angle is small.

FILE ends in .npy, .safetensors, .csv or .parquet. Beside an .npy file, a .txt file of the same name has a path for each row. A .safetensors file \
has the tensor `embeddings`, and the paths in its metadata. A .parquet file has the columns `path` and `embedding`.

Exit codes: 0 all images were used, 1 some input was unusable, 2 failure.")]
pub(crate) struct Args {
    /// The images.
    #[command(flatten)]
    pub(crate) images: ImagePaths,

    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Options that choose the model.
    #[command(flatten)]
    pub(crate) model: ModelOptions,

    /// Options that choose the backend.
    #[command(flatten)]
    pub(crate) run: RunOptions,

    /// Scale each embedding to the length 1
    #[arg(long)]
    pub(crate) normalize: bool,

    /// Print the images that are most similar to this one
    #[arg(long, value_name = "IMAGE")]
    pub(crate) query: Option<PathBuf>,

    /// Number of similar images to print
    #[arg(long, value_name = "K", default_value_t = 5, requires = "query", value_parser = positive())]
    pub(crate) nearest: usize,

    /// Print the pairs of images that are at least this similar, from 0 to 1 [default: 0.95]
    #[arg(
        long, value_name = "SIMILARITY", num_args = 0..=1, require_equals = true, default_missing_value = "0.95",
        value_parser = probability::<f32>
    )]
    pub(crate) duplicates: Option<f32>,

    /// Write an HTML page that shows the images where their embeddings are, in two dimensions
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,

    /// Number of images in a batch
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = positive())]
    pub(crate) batch_size: usize,

    /// The format of what is printed
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// An image that is similar to the query, or a pair of similar images.
#[derive(Serialize)]
struct Similar {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<String>,
    similarity: f32,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let extension = args.output.as_deref().map(extension).transpose()?;
    ensure!(
        args.output.is_some()
            || args.plot.is_some()
            || args.query.is_some()
            || args.duplicates.is_some(),
        "there is nothing to do\nhint: --output FILE writes the embeddings, --plot FILE shows them, --query IMAGE and --duplicates find \
         similar images"
    );
    let paths = args.images.collect()?;
    let ModelOptions { model, weights } = &args.model;
    let mut model = load(model.as_deref(), weights.as_deref(), &args.run.device()?)?;
    let query = match &args.query {
        Some(path) => {
            let bytes = read(path).map_err(|source| Error::Read { path: path.clone(), source })?;
            let image = model.decode(&bytes)?;
            model.embed(&[image])?.pop()
        }
        None => None,
    };
    let bar = images_bar(paths.len());
    let mut outcome = Outcome::Done;
    let mut embeddings = model.embed_files(&paths, read, args.batch_size, |paths, errors| {
        for (path, error) in errors {
            outcome = Outcome::SomeInputWasBad;
            bar.suspend(|| eprintln!("zoo: {}: {error}", path.display()));
        }
        bar.inc(paths.len() as u64);
    })?;
    bar.finish_and_clear();
    if args.normalize {
        embeddings.normalize();
    }
    if let (Some(path), Some(extension)) = (&args.output, extension) {
        write(&embeddings, path, extension)?;
        eprintln!(
            "{}: {} of {} numbers",
            path.display(),
            counted(embeddings.paths.len(), "embedding"),
            embeddings.length
        );
    }
    if let Some(path) = &args.plot {
        let title =
            format!("{} by {}", counted(embeddings.paths.len(), "image"), model.card().variant);
        let page = embeddings.plot(&title, |row| model.open_image(&embeddings.paths[row]).ok());
        write_atomically(path, |file| file.write_all(page.as_bytes()))?;
        eprintln!("plot: {}", path.display());
    }
    let name = |index: usize| embeddings.paths[index].to_string_lossy().into_owned();
    if let Some(query) = query {
        let nearest = embeddings.nearest(&query, args.nearest).into_iter();
        let rows = nearest.map(|(index, similarity)| Similar {
            path: name(index),
            other: None,
            similarity,
        });
        print(args.format, &rows.collect::<Vec<_>>())?;
    }
    if let Some(least) = args.duplicates {
        let rows = embeddings.pairs(least).into_iter().map(|pair| {
            let [first, second] = pair.rows.map(name);
            Similar { path: first, other: Some(second), similarity: pair.similarity }
        });
        let rows: Vec<_> = rows.collect();
        print(args.format, &rows)?;
        eprintln!("{} with a similarity of at least {least}", counted(rows.len(), "pair"));
    }
    Ok(outcome)
}

/// The formats of the file.
#[derive(Debug, Clone, Copy)]
enum Extension {
    Npy,
    Safetensors,
    Csv,
    Parquet,
}

fn extension(path: &Path) -> anyhow::Result<Extension> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("npy") => Ok(Extension::Npy),
        Some("safetensors") => Ok(Extension::Safetensors),
        Some("csv") => Ok(Extension::Csv),
        Some("parquet") => Ok(Extension::Parquet),
        _ => bail!(
            "{} does not name a format\nhint: end it in .npy, .safetensors, .csv or .parquet",
            path.display()
        ),
    }
}

fn write(embeddings: &Embeddings, path: &Path, extension: Extension) -> anyhow::Result<()> {
    let Embeddings { paths, values, length } = embeddings;
    let names: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
    let bytes = match extension {
        Extension::Npy => {
            let list = names.iter().map(|name| format!("{name}\n")).collect::<String>();
            write_atomically(&path.with_extension("txt"), |file| file.write_all(list.as_bytes()))?;
            npy(values, [paths.len(), *length])
        }
        Extension::Safetensors => {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let view = TensorView::new(Dtype::F32, vec![paths.len(), *length], &bytes)?;
            let metadata = [("paths".to_owned(), serde_json::to_string(&names)?)].into();
            safetensors::serialize([("embeddings", view)], Some(metadata))?
        }
        Extension::Csv => {
            let mut table = csv::Writer::from_writer(Vec::new());
            let columns = (0..*length).map(|index| index.to_string());
            table.write_record(std::iter::once("path".to_owned()).chain(columns))?;
            for (index, name) in names.iter().enumerate() {
                let row = embeddings.row(index).iter().map(ToString::to_string);
                table.write_record(std::iter::once(name.to_string()).chain(row))?;
            }
            table.into_inner()?
        }
        Extension::Parquet => parquet(embeddings, &names)?,
    };
    Ok(write_atomically(path, |file| file.write_all(&bytes))?)
}

/// A Parquet file with the columns `path` and `embedding`, a list of numbers.
fn parquet(embeddings: &Embeddings, names: &[Cow<'_, str>]) -> anyhow::Result<Vec<u8>> {
    const SCHEMA: &str = "message embeddings { required binary path (UTF8); required group embedding (LIST) { \
                          repeated group list { required float element; } } }";
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default())?;
    let mut rows = writer.next_row_group()?;
    if let Some(mut column) = rows.next_column()? {
        let paths: Vec<_> = names.iter().map(|name| ByteArray::from(&**name)).collect();
        column.typed::<ByteArrayType>().write_batch(&paths, None, None)?;
        column.close()?;
    }
    if let Some(mut column) = rows.next_column()? {
        // Each number is there, and the first one begins a new list.
        let defined = vec![1; embeddings.values.len()];
        let repeated: Vec<i16> = (0..embeddings.values.len())
            .map(|index| i16::from(index % embeddings.length != 0))
            .collect();
        let values = &embeddings.values;
        column.typed::<FloatType>().write_batch(values, Some(&defined), Some(&repeated))?;
        column.close()?;
    }
    rows.close()?;
    Ok(writer.into_inner()?)
}

fn print(format: Format, rows: &[Similar]) -> anyhow::Result<()> {
    match format {
        Format::Json => json_lines(&mut stdout(), rows)?,
        Format::Csv => {
            let mut table = csv::Writer::from_writer(stdout());
            table.write_record(["path", "other", "similarity"])?;
            for Similar { path, other, similarity } in rows {
                table.serialize((path, other, similarity))?;
            }
            table.flush()?;
        }
        Format::Text => {
            for Similar { path, other, similarity } in rows {
                let other = other.as_ref().map_or_else(String::new, |other| format!("  {other}"));
                writeln!(stdout(), "{similarity:.3}  {path}{other}")?;
            }
        }
    }
    Ok(())
}
