#!/usr/bin/env python3
"""Imports what Keras saves, and compares what Keras computes.

    check_keras.py --zoo target/debug/zoo [NAME[@SIZE] ...]

Each network of `keras.applications` gets random weights and the statistics that go with them. It is
saved as `.keras`, `.weights.h5`, `.h5` and as the published files were, imported without
`--variant`, and must give Keras's logits within 1e-4 of the largest, or eight times what Keras's own
rounding is worth. So must a network with
another classifier and, for their features, one without. Exits with 1 and says what failed.

    check_keras.py --fixtures tests/fixtures/keras

writes the files that the tests have.
"""
import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import jax
import keras
import numpy as np
from keras import applications, layers
from safetensors.numpy import load_file, save_file

# The variant that each must be recognised as, and sizes whose maps have odd sides on the way.
NETWORKS = {
    "MobileNet": ("mobilenet_v1_1_0_keras", [224, 150]),
    "MobileNet_0.25": ("mobilenet_v1_0_25_keras", [128]),
    "MobileNetV2": ("mobilenet_v2_keras", [224, 150]),
    "MobileNetV2_0.35": ("mobilenet_v2_w0_35_keras", [96]),
    "MobileNetV2_1.4": ("mobilenet_v2_w1_4_keras", [96]),
    "Xception": ("xception_keras", [299, 128]),
    "InceptionV3": ("inception_v3_keras", [299, 160]),
    "InceptionResNetV2": ("inception_resnet_v2", [160]),
    "ResNet50": ("resnet50_keras", [224, 97]),
    "ResNet101": ("resnet101_keras", [96]),
    "ResNet152": ("resnet152_keras", [96]),
    "DenseNet121": ("densenet121_keras", [224, 97]),
    "DenseNet169": ("densenet169_keras", [96]),
    "DenseNet201": ("densenet201_keras", [96]),
    "EfficientNetB0": ("efficientnet_b0_keras", [224, 97]),
    "EfficientNetB1": ("efficientnet_b1_keras", [224]),
    "EfficientNetB2": ("efficientnet_b2_keras", [224]),
    "EfficientNetB3": ("efficientnet_b3_keras", [224]),
    "EfficientNetB4": ("efficientnet_b4_keras", [224]),
    # At 224 pixels this random network magnifies its own rounding to 15 %.
    "EfficientNetB5": ("efficientnet_b5_keras", [228]),
    "EfficientNetB6": ("efficientnet_b6_keras", [224]),
    "EfficientNetB7": ("efficientnet_b7_keras", [224]),
    "NASNetMobile": ("nasnet_a_mobile_keras", [224, 97]),
    "NASNetLarge": ("nasnet_a_large_keras", [96]),
    "VGG16": ("vgg16", [224]),
    "VGG19": ("vgg19", [224]),
}


class Failure(Exception):
    pass


def require(holds, what):
    if not holds:
        raise Failure(what)


def build(name, size, **options):
    name, _, alpha = name.partition("_")
    if alpha:
        options["alpha"] = float(alpha)
    if options.get("include_top", True):
        options["classifier_activation"] = None
    return getattr(applications, name)(weights=None, input_shape=(size, size, 3), **options)


def condition(model, size, rng):
    """Gives BatchNorm statistics that fit, but not exactly, and biases and scales at random."""
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    for layer in model.layers:
        for weight in layer.weights:
            kind = weight.path.rsplit("/", 1)[-1]
            if kind in ("bias", "beta"):
                weight.assign(rng.normal(0, 0.1, weight.shape))
            elif kind == "gamma":
                weight.assign(rng.uniform(0.5, 1.5, weight.shape))
            elif "kernel" in kind:
                # As much variance as ReLU takes, also where Keras would have more, which saturates
                # the gates of squeeze-and-excitation.
                is_depthwise = isinstance(layer, layers.DepthwiseConv2D) or "depthwise" in kind
                fan_in = np.prod(weight.shape[: 2 if is_depthwise else -1])
                weight.assign(rng.normal(0, np.sqrt(2 / fan_in), weight.shape))
    for norm in norms:
        norm.momentum = 0.0
    normalise(model)
    model(images_for(model, size, rng)[0], training=True)
    for norm in norms:
        variance = np.array(norm.moving_variance)
        norm.moving_mean.assign(
            np.array(norm.moving_mean) + rng.normal(0, 0.1, variance.shape) * np.sqrt(variance))
        norm.moving_variance.assign(variance * rng.uniform(0.8, 1.25, variance.shape))


def normalise(model):
    """ImageNet's mean and variance for networks that prepare their images."""
    for layer in model.layers:
        if isinstance(layer, layers.Normalization):
            mean, variance = [v for v in layer.weights if v.path.endswith(("mean", "variance"))]
            mean.assign(np.array([0.485, 0.456, 0.406]).reshape(mean.shape))
            variance.assign(np.array([0.05, 0.06, 0.07]).reshape(variance.shape))
            layer.finalize_state()


def save_published(model, path):
    """What `tf.keras` 2 wrote, as the files that Keras publishes are."""
    def kind(layer, weight):
        kind = weight.path.rsplit("/", 1)[-1]
        is_depthwise = isinstance(layer, layers.DepthwiseConv2D) and kind == "kernel"
        return "depthwise_kernel" if is_depthwise else kind

    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.1.0"
        for layer in model.layers:
            group = file.create_group(layer.name)
            weights = [weight for weight in layer.weights if "seed" not in weight.path]
            names = [f"{layer.name}/{kind(layer, weight)}:0" for weight in weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, weights):
                group.create_dataset(name, data=np.array(weight))


def strip_names(path):
    """A `.keras` file without the names that its weights have since Keras 3.6."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO(members["model.weights.h5"])
    with h5py.File(buffer, "r+") as file:
        file.visititems(lambda _, item: item.attrs.pop("name", None))
    members["model.weights.h5"] = buffer.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def images_for(model, size, rng):
    """What Keras is given, and what the network behind its own preparation is given."""
    if any(isinstance(layer, layers.Normalization) for layer in model.layers):
        images = rng.uniform(0, 255, [2, size, size, 3]).astype("float32")
        scaled = images / 255 - np.float32([0.485, 0.456, 0.406])
        return images, scaled / np.sqrt(np.float32([0.05, 0.06, 0.07]))
    images = rng.uniform(-1, 1, [2, size, size, 3]).astype("float32")
    return images, images


def compare(model, size, file, expected, run, folder, rng, output="logits"):
    seen = run("import", file, "-o", "record.bpk")
    variant = re.search(r" as (\w+)$", seen, re.M).group(1)
    require(variant == expected, f"{file} was read as {variant}")
    images, scaled = images_for(model, size, rng)
    save_file({"input": np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))}, folder / "in")
    run("forward", variant, "-w", "record.bpk", "-i", "in", "-o", "out")
    found = load_file(folder / "out")[output]
    wanted = keras.ops.convert_to_numpy(model(images, training=False))
    if wanted.ndim == 4:
        wanted = wanted.transpose(0, 3, 1, 2)
    require(found.shape == wanted.shape, f"{file}: {found.shape} instead of {wanted.shape}")
    require(wanted[0].std() > 0 and np.abs(wanted[0] - wanted[1]).max() > 1e-3 * np.abs(wanted).max(),
            "the images make no difference")
    error = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    require(error <= 1e-4 or error <= 8 * own_error(getattr(model, "network", model), images),
            f"{file}: off by {error:.1e} of the largest {output}")
    return error


def own_error(model, images):
    """How far Keras is off in single precision, as a share of what is largest in double."""
    single = keras.ops.convert_to_numpy(model(images, training=False))
    with jax.enable_x64(True):
        double = type(model).from_config(
            json.loads(json.dumps(model.get_config()).replace("float32", "float64")))
        double.set_weights([np.float64(weight) for weight in model.get_weights()])
        normalise(double)
        double = keras.ops.convert_to_numpy(double(np.float64(images), training=False))
    error = float(np.abs(single - double).max() / np.abs(double).max())
    require(error <= 1e-3, f"rounding alone is worth {error:.1e}: such a network shows nothing")
    return error


def check(name, size, run, folder, quick):
    expected, _ = NETWORKS[name]
    rng = np.random.default_rng(len(name) + size)
    model = build(name, size, classes=1000)
    condition(model, size, rng)
    model.save(folder / "model.keras")
    errors = [compare(model, size, "model.keras", expected, run, folder, rng)]
    if quick:
        return max(errors)
    model.save_weights(folder / "model.weights.h5")
    model.save(folder / "model.h5")
    save_published(model, folder / "published.h5")
    strip_names(folder / "model.keras")
    for file in ["model.weights.h5", "model.h5", "published.h5", "model.keras"]:
        errors.append(compare(model, size, file, expected, run, folder, rng))
    if name.startswith("VGG"):
        return max(errors)  # its classifier is three layers, and none without them

    # The trunk alone, and with another classifier on it: as one network and as one in another.
    trunk = build(name, size, include_top=False)
    for layer, source in zip(trunk.layers, model.layers):
        layer.set_weights(source.get_weights())
    normalise(trunk)
    trunk.save(folder / "trunk.keras")
    features = "features" if not name.startswith("DenseNet") else None
    if features:
        errors.append(compare(trunk, size, "trunk.keras", expected, run, folder, rng, features))
    else:
        run("import", "trunk.keras", "-o", "record.bpk")  # features before the last activation
    pooled = layers.GlobalAveragePooling2D()(trunk.output)
    flat = keras.Model(trunk.input, layers.Dense(7)(layers.Dropout(0.2)(pooled)))
    flat.save(folder / "flat.keras")
    errors.append(compare(flat, size, "flat.keras", expected, run, folder, rng))
    nested = keras.Sequential(
        [keras.Input((size, size, 3)), trunk, layers.GlobalAveragePooling2D(), layers.Dense(3)])
    for file in ["nested.keras", "nested.weights.h5", "nested.h5"]:
        (nested.save_weights if "weights" in file else nested.save)(folder / file)
        images = compare_nested(nested, trunk, size, file, expected, run, folder, rng)
        errors.append(images)
    return max(errors)


def compare_nested(nested, trunk, size, file, expected, run, folder, rng):
    class Prepared:  # a network whose preparation is that of the one inside it
        layers, network = trunk.layers, nested

        def __call__(self, images, training):
            return nested(images, training=training)

    return compare(Prepared(), size, file, expected, run, folder, rng)


def write_fixtures(folder):
    """A network of each kind of layer in each format, the names of all networks, and a small one."""
    networks = folder / "networks"
    networks.mkdir(parents=True, exist_ok=True)
    x = images = keras.Input((6, 6, 3))
    x = layers.Conv2D(4, 3, name="first")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.DepthwiseConv2D(3)(x)
    x = layers.SeparableConv2D(5, 1, name="both")(x)
    x = layers.BatchNormalization(scale=False)(x)
    model = keras.Model(images, layers.Dense(2)(layers.Flatten()(layers.Dropout(0.5)(x))))
    for layer in model.layers:  # values that tell their place
        layer.set_weights([np.arange(w.size, dtype=w.dtype).reshape(w.shape) for w in layer.get_weights()])
    for name in ["layers.keras", "layers.h5"]:
        model.save(folder / name)
    model.save_weights(folder / "layers.weights.h5")
    save_published(model, folder / "published.h5")
    with h5py.File(folder / "published.h5") as source:
        for name, options in [("latest.h5", {}), ("gzip.h5", {"compression": "gzip", "shuffle": True})]:
            with h5py.File(folder / name, "w", libver="latest" if options == {} else None) as file:
                copy(source, file, lambda target, name, item: target.create_dataset(
                    name, data=item[()], **(options if item.size else {})))
    strip_names(folder / "layers.keras")
    with h5py.File(folder / "other.h5", "w") as file:
        file.create_dataset("measurements", data=np.arange(4.0))

    for name in ["MobileNetV2", "Xception", "InceptionV3", "InceptionResNetV2", "ResNet50",
                 "DenseNet121", "EfficientNetB0", "NASNetMobile"]:
        keras.utils.clear_session(free_memory=True)
        model = build(name, 224)
        model.save(networks / f"{name}.keras")
        only_names(networks / f"{name}.keras")

    write_mobilenet(folder)


def write_mobilenet(folder):
    """A small network with its logits, as many as the tests can have."""
    model, size = build("MobileNet_0.1", 51, classes=5), 51
    rng = np.random.default_rng(1)
    condition(model, size, rng)
    for layer in model.layers:  # eight binary digits, which pack well
        layer.set_weights([(w.astype("float32").view("uint32") & 0xFFFF0000).view("float32")
                           for w in layer.get_weights()])
    model.save(folder / "mobilenet.keras")
    with zipfile.ZipFile(folder / "mobilenet.keras") as archive:
        members = {name: archive.read(name) for name in ["config.json", "model.weights.h5"]}
    pack(folder / "mobilenet.keras", members)
    row, column, channel = np.indices([size, size, 3])
    image = np.sin(0.1 * row + 0.2 * column + channel)[None].astype("float32")
    logits = keras.ops.convert_to_numpy(model(image, training=False))[0]
    (folder / "mobilenet.json").write_text(json.dumps([float(logit) for logit in logits]))


def copy(source, target, dataset):
    """Copies groups and attributes, and what `dataset` makes of datasets."""
    target.attrs.update(source.attrs)
    for name, item in source.items():
        if isinstance(item, h5py.Group):
            copy(item, target.create_group(name), dataset)
        else:
            dataset(target, name, item)


def only_names(path):
    """Takes everything out of a `.keras` file but what layers and weights are called."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
        weights = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:  # without most values, which are zero then
        copy(weights, file, lambda target, name, item: target.create_dataset(
            name, item.shape, item.dtype, item[()] if item.size <= 3 else None))
    layers = [{"class_name": layer["class_name"], "config": {"name": layer["config"]["name"]}}
              for layer in config["config"]["layers"]]
    config = json.dumps({"config": {"layers": layers}})
    pack(path, {"config.json": config, "model.weights.h5": buffer.getvalue()})


def pack(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, 9)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", type=Path, help="the program")
    parser.add_argument("--fixtures", type=Path, help="where to write the tests' files")
    parser.add_argument("--quick", action="store_true", help="`.keras` files alone")
    parser.add_argument("names", nargs="*", help="NAME or NAME@SIZE")
    args = parser.parse_args()
    if args.fixtures:
        return write_fixtures(args.fixtures)
    specs = args.names or list(NETWORKS)
    failed = []
    for spec in specs:
        name, _, size = spec.partition("@")
        for index, size in enumerate([int(size)] if size else NETWORKS[name][1]):
            with tempfile.TemporaryDirectory() as folder:
                folder = Path(folder)

                def run(*arguments):
                    done = subprocess.run([args.zoo.resolve(), *arguments], cwd=folder,
                                          capture_output=True, text=True)
                    require(done.returncode == 0,
                            f"zoo {' '.join(arguments)}: {done.stderr.strip()}")
                    return done.stderr

                try:
                    error = check(name, size, run, folder, args.quick or index > 0)
                    print(f"{name}@{size}: within {error:.1e}", flush=True)
                except Exception as error:  # whatever goes wrong is a finding
                    failed.append(f"{name}@{size}")
                    print(f"{name}@{size}: {type(error).__name__}: {error}", flush=True)
            keras.utils.clear_session(free_memory=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
