use burn_zoo::{Backend, Error, Model};

fn main() -> Result<(), Error> {
    for backend in [Backend::Cpu, Backend::Ndarray] {
        let mut model = Model::load("efficientnet_lite0", &backend.device()?)?;
        let image = model.open_image("../../../assets/images/coffee.png")?;
        let best = &model.classify(&[image], 5)?[0][0];
        println!("{backend}: {}, {:.1} %", best.label, 100.0 * best.probability);
    }
    Ok(())
}
