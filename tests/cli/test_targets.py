"""`grurt inspect --target` and `grurt export`: what a model takes on targets, and what is refused there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import commandline
import models
import numpy as np
import pytest
from paths import ROOT

import grurt
from grurt.demo import load_model
from grurt.native.c99.export import export_c99
from grurt.native.targets import PLATFORMS

DEMO = ROOT / "grurt" / "demo" / "activity.grurt"


def inspected(*options: str) -> str:
    return commandline.succeed("inspect", DEMO, "--target", "c99", *options)


def refused(*options: object) -> str:
    return commandline.fail("inspect", DEMO, "--target", "c99", *options)


def test_a_model_that_fits_is_shown() -> None:
    exported = export_c99(load_model())
    exactly = ("--flash", str(exported.flash_bytes), "--ram", str(exported.ram_bytes))
    assert inspected(*exactly) == inspected()
    assert inspected("--flash", "16K", "--ram", "1kb") == inspected()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--flash", "15703"), r"takes 15,704 bytes of flash, of 15,703; what would fit: --weights int8 \(5,160 bytes"),
        (("--ram", "287"), r"takes 288 bytes of RAM, of 287; what would fit: --weights int8 \(5,160 .*, 200 of RAM\)"),
        (("--flash", "4K"), r"what would fit: --weights int4 \(3,336 bytes of flash"),
        (
            ("--flash", "2K", "--ram", "100"),
            r"of 2,048, and 288 bytes of RAM, of 100; no format of weights fits",
        ),
    ],
)
def test_a_model_that_does_not_fit(options: tuple[str, ...], message: str) -> None:
    assert re.search(message, refused(*options))


def test_a_model_in_the_smallest_format(tmp_path: Path) -> None:
    """There is no format to advise."""
    path = tmp_path / "small.grurt"
    load_model().quantize("int4").save(path)
    message = commandline.fail("inspect", path, "--target", "c99", "--flash", "1K")
    assert message.rstrip().endswith("of 1,024; train a smaller network")


@pytest.mark.parametrize("size", ["", "0", "-1", "2.5K", "1G", "K", "9" * 20])
def test_sizes_that_are_none(size: str) -> None:
    assert "expected a number of bytes such as 2048, 32K or 1M" in refused("--flash", size)


@pytest.mark.parametrize("options", [(), ("--target", "all")])
def test_memory_is_that_of_a_target(options: tuple[str, ...]) -> None:
    assert "--flash and --ram need --target" in commandline.fail("inspect", DEMO, *options, "--flash", "1K")


def test_an_export_that_does_not_fit_writes_nothing(tmp_path: Path) -> None:
    command = ("export", DEMO, "-o", tmp_path / "out", "--target", "c99", "--flash", "4K")
    assert "what would fit: --weights int4" in commandline.fail(*command)
    assert not list(tmp_path.iterdir())
    commandline.succeed(*command, "--weights", "int4")
    assert (tmp_path / "out" / "model.c").exists()


@pytest.mark.slow
def test_a_table_of_all_targets() -> None:
    lines = commandline.succeed("inspect", DEMO, "--target", "all").splitlines()[-9:]
    assert lines[0].split() == ["target", "flash", "RAM"]
    assert [line.split()[0] for line in lines[1:-1]] == [*PLATFORMS, "c99"]
    assert lines[-2].split() == ["c99", "15,704*", "288"]
    assert "3,776 multiply-adds a timestep" in lines[-1]
    described = json.loads(commandline.succeed("inspect", DEMO, "--target", "all", "--json"))
    assert [each["target"].split()[0] for each in described["exported"]] == [*PLATFORMS, "c99"]


@pytest.mark.slow
def test_a_target_with_a_compiler_of_its_own() -> None:
    message = commandline.fail("inspect", DEMO, "--target", "thumbv7em-none-eabihf", "--ram", "512")
    assert "takes 872 bytes of RAM, of 512; no format of weights fits" in message
    assert message.rstrip().endswith("--target c99 takes less RAM")


def test_what_c_has_not_is_left_out_of_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "reverse.grurt"
    layer = grurt.GRU(name="gru", input_size=2, hidden_size=3, direction="reverse")
    models.layer_model(layer, rng=np.random.default_rng(0)).save(path)
    message = commandline.fail("inspect", path, "--target", "c99")
    assert "the model cannot be exported to C: layer 'gru' is a GRU in reverse direction" in message
