"""Reading state dicts from checkpoints of every kind."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.utils.prune
from checkpoints import DATA

from grurt.converters import read_state_dict
from grurt.errors import ConversionError, UnsupportedError


def expected() -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """Return the weights that most of the stored checkpoints hold."""
    weights = checkpoints.stored("sd_views.npz")
    return {name: array for name, array in weights.items() if name.startswith(("gru.", "fc."))}


@pytest.mark.parametrize(
    ("name", "prefix", "file_format"),
    [
        ("sd_zip.pt", "", "torch"),
        ("sd_legacy.pt", "", "torch"),
        ("sd_dataparallel.pt", "module.", "torch"),
        ("ckpt_lightning.ckpt", "model.", "torch"),
        ("full_module.pt", "", "torch"),
        ("model.safetensors", "", "safetensors"),
    ],
)
def test_stored_checkpoints_hold_the_expected_weights(name: str, prefix: str, file_format: str) -> None:
    found = read_state_dict(DATA / name)
    assert (found.prefix, found.format) == (prefix, file_format)
    assert list(found) == (sorted(expected()) if file_format == "safetensors" else list(expected()))
    for key, array in expected().items():
        np.testing.assert_array_equal(found[key], array)
        assert found[key].dtype == np.float32
        assert not found[key].flags.writeable


def test_views_shared_storages_scalars_and_integers() -> None:
    found = read_state_dict(DATA / "sd_views.pt")
    arrays = checkpoints.stored("sd_views.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.bool]
)
def test_dtypes(dtype: torch.dtype, legacy: bool, tmp_path: Path) -> None:
    values = torch.randn(5, 7, generator=torch.Generator().manual_seed(1)).mul(50).to(dtype)
    torch.save({"w": values}, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    found = read_state_dict(tmp_path / "w.pt")["w"]
    np.testing.assert_array_equal(found, values.float().numpy())
    assert (found.dtype == np.float32) is dtype.is_floating_point


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64])
def test_safetensors_dtypes(dtype: torch.dtype, tmp_path: Path) -> None:
    values = torch.randn(5, 7, generator=torch.Generator().manual_seed(1)).mul(50).to(dtype)
    safetensors.torch.save_file({"w": values}, tmp_path / "w.safetensors")
    np.testing.assert_array_equal(read_state_dict(tmp_path / "w.safetensors")["w"], values.float().numpy())


@pytest.mark.parametrize("protocol", [2, 4])
def test_pickle_protocols(protocol: int, tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "w.pt", pickle_protocol=protocol)
    assert read_state_dict(tmp_path / "w.pt")["weight"].shape == (2, 3)


def test_big_endian_storages() -> None:
    files = checkpoints.entries(DATA / "sd_zip.pt")
    swapped = {
        name: np.frombuffer(data, "<f4").astype(">f4").tobytes() if "/data/" in name else data
        for name, data in files.items()
    }
    swapped["sd_zip/byteorder"] = b"big"
    path = DATA / "sd_zip.pt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "read", lambda self, entry: swapped[getattr(entry, "filename", entry)])
        found = read_state_dict(path)
    np.testing.assert_array_equal(found["fc.weight"], expected()["fc.weight"])


def save(tmp_path: Path, checkpoint: object) -> Path:
    torch.save(checkpoint, tmp_path / "checkpoint.pt")
    return tmp_path / "checkpoint.pt"


WEIGHTS = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net", "anything"])
def test_wrapped_state_dicts_are_found(key: str, tmp_path: Path) -> None:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(3))])
    optimizer.param_groups[0]["params"][0].sum().backward()
    optimizer.step()
    path = save(tmp_path, {key: WEIGHTS, "optimizer": optimizer.state_dict(), "epoch": 3, "args": {"lr": 0.1}})
    assert list(read_state_dict(path)) == list(WEIGHTS)


LINEAR = {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}


def test_one_of_several_state_dicts_is_named(tmp_path: Path) -> None:
    path = save(tmp_path, {"model": WEIGHTS, "nested": {"ema": LINEAR}})
    assert list(read_state_dict(path, entry="nested.ema")) == list(LINEAR)
    assert list(read_state_dict(path, entry="nested")) == list(LINEAR)
    found = read_state_dict(path, entry="model")
    assert (list(found), found.others) == (list(WEIGHTS), ("nested.ema",))
    with pytest.raises(ConversionError) as caught:
        read_state_dict(path)
    assert str(caught.value).splitlines() == [
        (
            "checkpoint.pt: checkpoint: expected one state dict, got 2; say which to convert: --entry NAME on the "
            "command line, entry=NAME in Python"
        ),
        "  model: 2 tensors: fc.weight (2, 3), fc.bias (2,)",
        "  nested.ema: 2 tensors: weight (1, 2), bias (1,)",
    ]
    with pytest.raises(ConversionError, match="expected a state dict, or a module in one, called 'other', got 2; say"):
        read_state_dict(path, entry="other")


def test_more_state_dicts_than_an_error_lists(tmp_path: Path) -> None:
    path = save(tmp_path, {f"{'n' * 90}{index}": {f"{'t' * 90}.weight": torch.ones(index + 1)} for index in range(30)})
    with pytest.raises(
        ConversionError, match=r"got 30; say which to convert: --entry NAME on the command line"
    ) as caught:
        read_state_dict(path)
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[-1]) == (10, "  and 22 more")


def test_an_entry_may_be_a_module_of_a_state_dict(tmp_path: Path) -> None:
    """As in checkpoints of two networks that are one module: what belongs to the others lies beside."""
    both = {f"actor.{name}": tensor for name, tensor in WEIGHTS.items()} | {"critic.weight": torch.ones(1, 3)}
    for checkpoint in (both, {"state_dict": both, "epoch": 3}, {f"model.{name}": both[name] for name in both}):
        path = save(tmp_path, checkpoint)
        for entry in ("actor", "state_dict.actor") if "epoch" in checkpoint else ("actor",):
            found = read_state_dict(path, entry=entry)
            assert (list(found), found.prefix.endswith("actor.")) == (list(WEIGHTS), True)
            np.testing.assert_array_equal(found.beside["critic.weight"], np.ones((1, 3)))
    safetensors.torch.save_file(both, tmp_path / "both.safetensors")
    assert set(read_state_dict(tmp_path / "both.safetensors", entry="actor")) == set(WEIGHTS)
    with pytest.raises(
        ConversionError, match="entry: expected a module of the state dict, got 'acto'; there are actor, c"
    ):
        read_state_dict(tmp_path / "both.safetensors", entry="acto")


class Statistics:
    """Running statistics, pickled whole, as reinforcement learning keeps them beside its policy."""

    def __init__(self) -> None:
        self.mean = np.arange(3.0)
        self.var = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
        self.big = np.arange(3, dtype=">i4")
        self.count = np.float64(7)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch, which is told the protocol
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_what_lies_beside_the_weights(protocol: int, legacy: bool, tmp_path: Path) -> None:
    """It makes no file unreadable, whatever it is; it can be asked for, and optimizers are left alone."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], momentum=0.9)
    optimizer.param_groups[0]["params"][0].sum().backward()
    optimizer.step()
    checkpoint = {
        "epoch": 3,
        "loss": torch.tensor(0.5),
        "best": 0.25,
        "state_dict": WEIGHTS,
        "optimizer": optimizer.state_dict(),
        "obs_rms": Statistics(),
        "ema": [torch.ones(2), torch.ones(1)],
        "names": ["a", "b"],
        "class_weights": torch.ones(4),
        "nothing": np.array(["text"]),
    }
    torch.save(
        checkpoint,
        tmp_path / "checkpoint.pt",
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=not legacy,
    )
    found = read_state_dict(tmp_path / "checkpoint.pt")
    assert (list(found), found.others, found.unread) == (list(WEIGHTS), (), ())
    statistics = Statistics()
    expected = {
        "epoch": 3,
        "loss": 0.5,
        "best": 0.25,
        "obs_rms.mean": statistics.mean,
        "obs_rms.var": statistics.var,
        "obs_rms.big": statistics.big,
        "obs_rms.count": 7,
        "ema.0": np.ones(2),
        "ema.1": np.ones(1),
        "class_weights": np.ones(4),
    }
    assert found.beside.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found.beside[name], value)
        assert found.beside[name].shape == found.beside.shapes[name] == np.shape(value)
    with pytest.raises(KeyError):
        found.beside["optimizer"]


def test_a_module_and_its_state_dict_are_one(tmp_path: Path) -> None:
    module = torch.nn.Linear(3, 2)
    path = save(tmp_path, {"net": module, "state_dict": module.state_dict(), "again": module})
    found = read_state_dict(path)
    assert (list(found), found.others) == (["weight", "bias"], ())
    assert list(read_state_dict(path, entry="again")) == ["weight", "bias"]


def test_state_dicts_in_lists_and_objects(tmp_path: Path) -> None:
    """`[module, statistics]` is what some libraries save."""
    found = read_state_dict(save(tmp_path, [torch.nn.Linear(3, 2), Statistics()]))
    assert (list(found), found.beside["1.count"]) == (["weight", "bias"], 7)


def test_a_dictionary_inside_of_a_state_dict_is_no_state_dict(tmp_path: Path) -> None:
    """But one that has the names of weights may be; an entry says that the other is meant."""
    path = save(tmp_path, {**WEIGHTS, "bn._extra_state": {"amax": torch.ones(1)}, "version": "2"})
    found = read_state_dict(path)
    assert (list(found), list(found.beside)) == (list(WEIGHTS), ["bn._extra_state.amax"])
    path = save(tmp_path, {**WEIGHTS, "ema": WEIGHTS | {"fc.bias": torch.ones(2)}})
    with pytest.raises(
        ConversionError, match=r"expected one state dict, got 2(.|\n)*  \.: 2 tensors(.|\n)*  ema: 2 tensors"
    ):
        read_state_dict(path)
    assert read_state_dict(path, entry=".")["fc.bias"][0] == 0
    assert read_state_dict(path, entry="ema")["fc.bias"][0] == 1


def test_keys_that_lead_to_two_things(tmp_path: Path) -> None:
    path = save(tmp_path, {"a": {"b": WEIGHTS}, "a.b": LINEAR})
    with pytest.raises(ConversionError, match=r"expected one thing under 'a.b', got two; give its keys other names"):
        read_state_dict(path, entry="a.b")
    with pytest.raises(ConversionError, match=r"expected one thing under 'a\.b', got two"):
        read_state_dict(path)
    path = save(tmp_path, {"net": WEIGHTS, "a": {"b": torch.ones(2)}, "a.b": torch.zeros(1)})
    assert "a.b" not in read_state_dict(path).beside


def test_names_that_no_module_gave(tmp_path: Path) -> None:
    """Then the matrices are the weights, wherever they lie."""
    path = save(tmp_path, {"loss": torch.tensor(1.0), "net": {"W": torch.ones(2, 3), "b": torch.ones(2)}})
    assert list(read_state_dict(path)) == ["W", "b"]
    path = save(tmp_path, {"loss": torch.tensor(1.0), "net": {"slope": torch.ones(2)}})
    assert list(read_state_dict(path)) == ["slope"]
    path = save(tmp_path, {"W": np.ones((2, 3)), "U": np.ones((2, 2), np.float16)})
    assert read_state_dict(path)["U"].dtype == np.float32


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.", "model.module."])
def test_prefixes_of_wrappers_are_taken_off(prefix: str, tmp_path: Path) -> None:
    path = save(tmp_path, {prefix + name: tensor for name, tensor in WEIGHTS.items()})
    found = read_state_dict(path)
    assert list(found) == list(WEIGHTS)
    assert found.prefix == prefix.replace("_orig_mod.", "")


def test_prefix_of_some_names_only_stays(tmp_path: Path) -> None:
    path = save(tmp_path, {"model.fc.weight": torch.ones(2, 3), "other": torch.ones(1)})
    assert list(read_state_dict(path)) == ["model.fc.weight", "other"]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated")
def test_weight_norm_is_resolved(tmp_path: Path) -> None:
    torch.manual_seed(3)
    for normalize in (torch.nn.utils.weight_norm, torch.nn.utils.parametrizations.weight_norm):
        for dim in (0, 1, None):
            module = torch.nn.Linear(5, 4)
            normalize(module, dim=dim)
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.copy_(torch.randn_like(parameter))
            module(torch.zeros(5))
            found = read_state_dict(save(tmp_path, module.state_dict()))
            assert found.keys() == {"weight", "bias"}
            np.testing.assert_allclose(found["weight"], module.weight.detach().numpy(), atol=2e-7)


def test_pruned_weights_are_resolved(tmp_path: Path) -> None:
    module = torch.nn.Linear(5, 4)
    torch.nn.utils.prune.l1_unstructured(module, "weight", 0.5)
    found = read_state_dict(save(tmp_path, module.state_dict()))
    np.testing.assert_array_equal(found["weight"], module.weight.detach().numpy())
    assert (found["weight"] == 0).sum() == 10


def test_weights_in_whole_and_in_parts_are_left_alone(tmp_path: Path) -> None:
    path = save(tmp_path, {"w": torch.ones(3, 4), "w_g": torch.ones(3, 1), "w_v": torch.ones(3, 4)})
    assert read_state_dict(path).keys() == {"w", "w_g", "w_v"}


def test_damaged_safetensors(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((8).to_bytes(8, "little") + b'{"a": 1}')
    with pytest.raises(ConversionError, match="safetensors: expected a sound file, got damage: "):
        read_state_dict(tmp_path / "model.safetensors")


def test_safetensors_of_one_name(tmp_path: Path) -> None:
    entry = '"w":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = f"{{{entry},{entry}}}".encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ConversionError, match="safetensors: expected one value for each name of an object, got a name"):
        read_state_dict(tmp_path / "model.safetensors")


@pytest.mark.slow
def test_more_tensors_than_any_network_has(tmp_path: Path) -> None:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"t{index}": empty for index in range(65_537)}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ConversionError, match="checkpoint: expected at most 65536 tensors, got 65537"):
        read_state_dict(tmp_path / "model.safetensors")


def test_other_parametrizations_are_refused(tmp_path: Path) -> None:
    module = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(4, 4))
    with pytest.raises(UnsupportedError, match="as the only parametrization, got another; call torch"):
        read_state_dict(save(tmp_path, module.state_dict()))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch calls this spectral_norm old
def test_spectral_normalization_is_refused(tmp_path: Path) -> None:
    module = torch.nn.utils.spectral_norm(torch.nn.Linear(3, 4))
    with pytest.raises(UnsupportedError, match=r"got spectral_norm; call torch\.nn\.utils\.remove_spectral_norm"):
        read_state_dict(save(tmp_path, module.state_dict()))


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConversionError, match=r"tensor 'w': expected a magnitude for each row of \(3, 4\), got \(2, 1\)"
    ):
        read_state_dict(save(tmp_path, {"w_g": torch.ones(2, 1), "w_v": torch.ones(3, 4)}))
    with pytest.raises(ConversionError, match=r"tensor 'w': expected a mask of shape \(3, 4\), got \(4,\)"):
        read_state_dict(save(tmp_path, {"w_orig": torch.ones(3, 4), "w_mask": torch.ones(4)}))


def test_quantized_checkpoints_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="got a weight that torch has quantized; convert the float model"):
        read_state_dict(DATA / "sd_dynquant.pt")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # torch's quantization warns of itself
@pytest.mark.parametrize("scripted", [False, True])
def test_quantized_modules_are_refused(scripted: bool, tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GRU(4, 5))
    quantized = torch.ao.quantization.quantize_dynamic(module, {torch.nn.Linear, torch.nn.GRU})
    path = tmp_path / "model.pt"
    torch.jit.script(quantized).save(path) if scripted else torch.save(quantized, path)
    with pytest.raises(UnsupportedError, match=r"module '.+': expected floating point, got a weight that torch has"):
        read_state_dict(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit
def test_frozen_programs_are_refused(tmp_path: Path) -> None:
    torch.jit.freeze(torch.jit.script(torch.nn.Linear(3, 4).eval())).save(tmp_path / "model.pt")
    with pytest.raises(ConversionError, match="got one without, such as a TorchScript program that was frozen"):
        read_state_dict(tmp_path / "model.pt")


def test_tensors_without_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="got a list of tensors, without names"):
        read_state_dict(DATA / "list_params.pt")
    with pytest.raises(UnsupportedError, match="got a tensor, without names"):
        read_state_dict(save(tmp_path, torch.ones(3)))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_legacy_files_of_every_protocol(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"w": torch.ones(3)}, path, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(read_state_dict(path)["w"], [1, 1, 1])


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ({"epoch": 3}, "got an object of type 'dict' without tensors"),
        (3, "got an object of type 'int'"),
        ({"w": torch.ones(2, dtype=torch.complex64)}, "tensor 'w': expected one of the dtypes float64"),
        ({"w" * 300: torch.ones(2)}, "expected names of 1 to 200 printable characters"),
        ({"a.w": torch.ones(2), "a._orig_mod.w": torch.ones(2)}, "expected names that differ by more than '_orig_mod"),
        ({"w\x1b[2J": torch.ones(2)}, "expected names of 1 to 200 printable characters"),
    ],
)
def test_what_is_no_state_dict_is_refused(checkpoint: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=message):
        read_state_dict(save(tmp_path, checkpoint))


def test_legacy_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    magic = (DATA / "sd_legacy.pt").read_bytes()[:15]
    path.write_bytes(magic + pickle.dumps(1000, 2))
    with pytest.raises(ConversionError, match="expected torch's magic number, got another pickle"):
        read_state_dict(path)


@pytest.mark.parametrize("end", [1, 20, 100, 1000, 3000, 4600])
@pytest.mark.parametrize("name", ["sd_legacy.pt", "sd_zip.pt", "model.safetensors"])
def test_truncated_files_are_refused(name: str, end: int, tmp_path: Path) -> None:
    path = tmp_path / name
    content = (DATA / name).read_bytes()
    path.write_bytes(content[: min(end, len(content) - 1)])
    with pytest.raises(ConversionError, match=r"damage|incomplete"):
        read_state_dict(path)
