"""What Keras files can hold that grurt refuses, by the name of the layer and with the reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from keras_files import DATA, edited, entries, layer_of

from grurt.converters import LayerDescription, convert
from grurt.errors import ConversionError, DescriptionError, UnsupportedError

Change = Callable[[dict[str, Any]], object]


def setting(layer: str, **values: Any) -> Change:
    """Return a change of some arguments of a layer."""
    return lambda config: layer_of(config, layer)["config"].update(values)


def turned(layer: str, kind: str) -> Change:
    """Return a change of a layer's class."""
    return lambda config: layer_of(config, layer).update(class_name=kind, module="keras.layers")


def calling(layer: str, **named: Any) -> Change:
    """Return a change of the arguments by name that a layer is called with."""
    return lambda config: layer_of(config, layer)["inbound_nodes"][0]["kwargs"].update(named)


def inside(layer: str, part: str, **values: Any) -> Change:
    """Return a change of some arguments of a layer in a wrapper."""
    return lambda config: layer_of(config, layer)["config"][part]["config"].update(values)


def without(layer: str, key: str) -> Change:
    """Return a change that removes an argument."""
    return lambda config: layer_of(config, layer)["config"].pop(key)


def refused(folder: Path, name: str, change: Change, message: str, error: type[Exception] = UnsupportedError) -> None:
    with pytest.raises(error, match=message):
        convert(edited(folder, name, change), reference=False)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("LSTM", "grurt runs GRU networks; train the model with a GRU"),
        ("SimpleRNN", "grurt runs GRU networks; train the model with a GRU"),
        ("Lambda", "it is code in the file, which grurt never runs"),
        ("RepeatVector", "got a sequence as its input; the layer can read a single vector"),
        ("UpSampling1D", "it makes more timesteps of fewer; leave it out"),
        ("GroupQueryAttention", "it looks at all timesteps at once"),
        ("Conv2D", "it works on images; grurt reads sequences of vectors"),
        ("StringLookup", "got a sequence as its input; texts must be an input of the model"),
        ("Convolution1D", "a convolution of Keras 1 cannot be causal"),
        ("GRUCell", "a cell alone has no sequence"),
        ("SomethingNew", "the layer is not supported: grurt knows Keras's own layers"),
    ],
)
def test_layers_without_a_counterpart(kind: str, reason: str, tmp_path: Path) -> None:
    refused(tmp_path, "k3_time_distributed", turned("gru", kind), rf"layer 'gru' \({kind}\).*{reason}")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "k3_two_layers",
            setting("gru", zoneout=0.1),
            r"layer 'gru' \(GRU\): got the argument 'zoneout', which is not known; please report it, with the version",
        ),
        ("k3_two_layers", setting("dense", lora_rank=4), "got the argument 'lora_rank'"),
        (
            "k3_two_layers",
            setting("gru", activation="sparsemax"),
            "got activation='sparsemax'; supported are hard_sig",
        ),
        (
            "k3_two_layers",
            setting("gru", activation="silu"),
            "got activation='silu' in a GRU; a gate needs one function",
        ),
        (
            "k3_two_layers",
            setting("gru", recurrent_activation="softmax"),
            "got recurrent_activation='softmax' in a GRU",
        ),
        ("k3_two_layers", setting("gru", time_major=True), "got time_major=True; transpose the sequences"),
        (
            "k3_two_layers",
            setting("dense", activation={"class_name": "Dense", "config": {}}),
            r"layer 'dense' \(Dense\): activation \(Dense\): got a layer that is no activation",
        ),
        (
            "k3_two_layers",
            setting("dense", dtype={"class_name": "QuantizedDTypePolicy", "config": {"name": "int8_from_float32"}}),
            "got the dtype policy 'int8_from_float32'; convert the model from before its quantization",
        ),
        ("k3_two_layers", setting("batch_normalization", axis=0), r"got axis=0; only the features of a timestep"),
        ("k3_two_layers", setting("batch_normalization", renorm=True), "got renorm=True; train without renorm"),
        (
            "k3_two_layers",
            setting("batch_normalization", virtual_batch_size=2),
            "got virtual_batch_size=2; train without virtual batches",
        ),
        (
            "k3_two_layers",
            setting("batch_normalization", mode=1),
            "got mode=1; only statistics of each feature are supported",
        ),
        ("k3_embedding_masked", setting("embedding", dropout=0.1), "got dropout=0.1; it is for training only"),
        ("k3_norms", setting("layer_normalization", axis=[1, 2]), r"got axis=\[1, 2\]; only the features"),
        (
            "k3_norms",
            setting("layer_normalization", rms_scaling=True),
            "got rms_scaling=True; it divides by the deviation of what it does not center; use RMSNorm",
        ),
        (
            "k3_masked_conv",
            setting("conv1d", data_format="channels_first"),
            "got data_format=channels_first; use data_format='channels_last'",
        ),
        ("k3_bi_concat", setting("bidirectional", merge_mode="max"), "got merge_mode='max'; supported are concat"),
        (
            "k3_bi_concat",
            lambda config: layer_of(config, "bidirectional")["config"]["layer"].update(class_name="LSTM"),
            r"layer 'bidirectional.forward' \(LSTM\): got a layer that is no GRU; grurt runs GRU networks",
        ),
        (
            "k3_cells",
            lambda c: layer_of(c, "rnn")["config"]["cell"]["config"]["cells"][0].update(class_name="LSTMCell"),
            "got a cell that is no GRUCell but LSTM; grurt runs GRU networks: train with GRU cells",
        ),
        (
            "k3_cells",
            inside("rnn", "cell", reverse_state_order=True),
            "got reverse_state_order=True; build the cells in order",
        ),
        ("k3_residual", setting("joined", axis=1), "got axis=1; only features can be joined"),
        ("k3_residual", calling("g1", initial_state=0.0), "got an initial state that is no tensor"),
        ("k3_residual", calling("g1", constants=[1]), "got the call argument 'constants'; call the layer without it"),
        ("k3_residual", calling("g1", training=True), "got a call with training=True; build the model for inference"),
        (
            "k3_functions",
            lambda c: layer_of(c, "get_item").update(class_name="Sort"),
            "got a function of keras.ops; supported are functions of the numbers or the features of a timestep",
        ),
        (
            "k3_functions",
            lambda c: layer_of(c, "get_item")["inbound_nodes"][0].update(
                args=[layer_of(c, "get_item")["inbound_nodes"][0]["args"][0], [0]]
            ),
            r"got the index \[0\]; supported are \[:, -1\], \[:, 0\]",
        ),
        (
            "k3_functions",
            lambda c: layer_of(c, "true_divide")["inbound_nodes"][0]["args"].__setitem__(1, 0),
            "got a division by zero",
        ),
        (
            "k3_functions",
            lambda c: layer_of(c, "true_divide")["inbound_nodes"][0]["args"].__setitem__(1, 10**400),
            "got a number beyond floating point; use a smaller one",
        ),
        ("k3_scalars", setting("reshape", target_shape=[2, 3]), r"got target_shape=\[2, 3\]; it joins timesteps"),
        (
            "k3_scalars",
            setting("reshape", target_shape=[7, 1]),
            r"got target_shape=\[7, 1\]; it joins timesteps",
        ),
        (
            "k3_padded_conv",
            setting("average_pooling1d", padding="same"),
            "got padding='same' with pool_size=4 and strides=1, of which Keras's backends compute different means",
        ),
        (
            "k3_padded_conv",
            setting("depthwise_conv1d", groups=2),
            "got groups=2; a depthwise convolution has a group for",
        ),
        (
            "k3_padded_conv",
            setting("separable_conv1d", groups=2),
            "got groups=2; a separable convolution has a group for",
        ),
        ("k3_adapted", setting("normalization_1", axis=[1]), r"got axis=\[1\]; only the features of a timestep can be"),
        ("k3_adapted", setting("normalization_1", axis=[1, 2]), r"got axis=\[1, 2\]; only the features of a timestep"),
        (
            "k3_unit_and_group_norms",
            setting("unit_normalization", axis=1),
            "got axis=1; only the features of a timestep",
        ),
        (
            "k3_unit_and_group_norms",
            lambda c: layer_of(c, "dense").update(
                class_name="GroupNormalization", config={"name": "dense", "groups": 1}
            ),
            "got a sequence as its input, over whose timesteps it takes the mean; put it inside of TimeDistributed",
        ),
        ("k3_moves", setting("permute", dims=[2, 1]), "got features before timesteps as its input; the layer can read"),
        (
            "k3_moves",
            setting("permute", dims=[2, 2]),
            r"the order of axes \[0, 2, 2\]; swap time and features, and back",
        ),
        (
            "k3_tensor_functions",
            setting("sum", axis=1),
            "got keepdims=True; leave the axis of time out: keepdims=False",
        ),
        ("k3_time_pooling", setting("max", initial=0.0), "got initial=0.0; reduce the timesteps themselves"),
        (
            "k3_moves",
            setting("reshape", target_shape=[6, 3, 1]),
            "it joins timesteps, which a stream has only one at a time; use the last timestep",
        ),
        ("k3_tensor_functions", setting("concatenate", axis=0), "got axis=0; a function can work on the features of a"),
        (
            "k3_tensor_functions",
            setting("expand_dims", axis=0),
            r"got a new axis elsewhere than behind \(batch, time\); use axis=-1",
        ),
        (
            "k3_tensor_functions",
            lambda c: layer_of(c, "maximum")["inbound_nodes"][0]["args"].__setitem__(1, "text"),
            "got something else than tensors and numbers; supported are tensors, numbers and arrays",
        ),
        (
            "k3_constants",
            lambda c: layer_of(c, "subtract")["inbound_nodes"][0]["args"][1]["config"].update(value=[1.0, 2.0]),
            r"got a constant of shape \(2,\); supported are one number, and one for each of 3 features",
        ),
        ("k3_activation_functions", setting("cast", dtype="int8"), "got dtype=int8; grurt computes in float32"),
        (
            "k3_activations",
            setting("softmax", axis=1),
            "got axis=1, which is that of the time; a function can work on the features of a timestep",
        ),
    ],
)
def test_arguments_that_are_refused(name: str, change: Change, message: str, tmp_path: Path) -> None:
    refused(tmp_path, name, change, message)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("k3_two_layers", setting("gru", units="eight"), "expected units to be a positive integer, got eight"),
        ("k3_two_layers", setting("gru", units=7), "expected weights for 7 units, got the shapes"),
        ("k3_two_layers", setting("gru", use_bias="no"), "expected use_bias to be true or false, got no"),
        ("k3_two_layers", setting("gru", use_bias=False), r"expected 2 weights \(kernel, recurrent_kernel\), got 3"),
        (
            "k3_two_layers",
            setting("gru", reset_after=False),
            "expected a bias for reset_after=False, got one of shape",
        ),
        ("k3_two_layers", setting("dense", units=9), r"expected a kernel of shape \(3, 9\), got \(3, 8\)"),
        ("k3_two_layers", setting("batch_normalization", epsilon="x"), "expected epsilon to be a number, got x"),
        ("k3_two_layers", setting("batch_normalization", scale=False), r"expected 3 weights \(beta, moving_mean"),
        ("k3_masked_conv", setting("conv1d", filters=5), r"expected a kernel of shape \(3, 3, 5\), got"),
        (
            "k3_embedding_masked",
            setting("embedding", input_dim=8),
            r"expected a matrix of shape \(8, 4\), got \(7, 4\)",
        ),
        (
            "k3_bi_concat",
            inside("bidirectional", "backward_layer", go_backwards=False),
            "expected two layers of opposite",
        ),
        ("k3_two_layers", lambda c: c["config"].update(layers=[]), "expected a list of layers, got none"),
        (
            "k3_padded_conv",
            setting("zero_padding1d", padding=[-1, 0]),
            "expected padding to be two numbers of timesteps",
        ),
        (
            "k3_windows",
            setting("cropping1d", cropping=[1, -2]),
            "expected cropping to be two numbers of timesteps",
        ),
        (
            "k3_padded_conv",
            setting("conv1d", padding="full"),
            "expected padding to be 'valid', 'same' or 'causal', got",
        ),
        (
            "k3_padded_conv",
            setting("conv1d", padding="causal"),
            "layer 'concatenate': expected inputs of one number of timesteps, got sequences that Unfold or Repeat",
        ),
        (
            "k3_padded_conv",
            setting("depthwise_conv1d", depth_multiplier=1),
            r"expected a kernel of shape \(2, 3, 1\), got \(2, 3, 2\)",
        ),
        (
            "k3_adapted",
            setting("normalization", mean=[1.0, 2.0], variance=[1.0, 1.0], axis=[-1]),
            r"expected numbers of shape \(3,\), got \(2,\)",
        ),
        ("k3_scaled", setting("normalization", variance=[1.0, -1.0, 1.0]), "expected a variance that is not negative"),
        ("k3_scaled", setting("rescaling", scale="1e3"), "expected scale to be numbers, got 1e3"),
        (
            "k3_unit_and_group_norms",
            lambda c: layer_of(c, "group_normalization_1")["config"].update(groups=3),
            "expected groups that divide 4 features, got 3",
        ),
        (
            "k3_tensor_functions",
            setting("split", indices_or_sections=[3, 3]),
            r"expected indices_or_sections to be parts of 6 features, got \[3, 3\]",
        ),
        (
            "k3_tensor_functions",
            setting("split_1", indices_or_sections=4),
            "expected indices_or_sections to be parts of",
        ),
        (
            "k3_activation_functions",
            setting("celu", alpha=0.0),
            "expected alpha to be a number other than 0, got 0.0",
        ),
        (
            "k3_two_layers",
            lambda c: c["config"]["layers"].pop(),
            "the file holds 2 weights that no layer reads: layers/dense_1",
        ),
        ("k3_two_layers", lambda c: c["config"]["layers"][0].pop("config"), "expected layers with a name each"),
        (
            "k3_residual",
            lambda c: c["config"].update(output_layers=["o", -1, 0]),
            r"expected a tensor as \[layer, call, ind",
        ),
        ("k3_residual", lambda c: c["config"].update(output_layers=None), "expected inputs and outputs, got None"),
        (
            "k3_residual",
            lambda c: layer_of(c, "d").update(inbound_nodes=layer_of(c, "g1")["inbound_nodes"]),
            "expected inputs for the layer 'd'",
        ),
        ("k3_norms", setting("layer_normalization", epsilon=10**400), "expected epsilon to be a number, got 1000"),
    ],
)
def test_files_that_contradict_themselves(name: str, change: Change, message: str, tmp_path: Path) -> None:
    refused(tmp_path, name, change, message, ConversionError)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("k3_two_layers", lambda c: c.update(class_name="MyModel"), "got a model of one's own, which is code"),
        (
            "k3_two_layers",
            lambda c: c["config"].pop("layers"),
            "got no layers in its configuration, as of a subclassed",
        ),
        (
            "k3_two_layers",
            lambda c: c["config"]["layers"][2].update(registered_name="mine>GRU"),
            "got a layer of one's own, 'mine>GRU'; only Keras's own layers can be converted",
        ),
        (
            "k3_two_layers",
            lambda c: c["config"]["layers"][0]["config"].update(batch_shape=[None, 6, 3, 1]),
            r"got an input 'x' of shape \[None, 6, 3, 1\]; inputs are \(batch, time, features\)",
        ),
        (
            "k3_two_layers",
            lambda c: c["config"]["layers"][0]["config"].update(batch_shape=[None, 6, None]),
            "got an input 'x' of an unknown number of features; fix the input's last axis",
        ),
        (
            "k3_two_layers",
            lambda c: c["config"]["layers"][0]["config"].update(sparse=True),
            "got a sparse or ragged input 'x'",
        ),
        (
            "k3_two_layers",
            lambda c: (
                (c["config"]["layers"].pop(0), c["config"].pop("build_input_shape"))
                and [item.pop("build_config", None) for item in c["config"]["layers"]]
            ),
            "got no shape of the input 'x'; give the model an Input layer, or call it once",
        ),
        (
            "k3_state_in_and_out",
            lambda c: layer_of(c, "gru")["inbound_nodes"][0].update(kwargs={}),
            "got the input 'h', which no layer reads; save the model without it",
        ),
        (
            "k3_bi_states",
            lambda c: layer_of(c, "bidirectional")["inbound_nodes"][0]["kwargs"]["initial_state"].pop(),
            "got an initial state that is no list for both directions",
        ),
        (
            "k3_state_in_and_out",
            lambda c: layer_of(c, "h")["config"].update(batch_shape=[None, 5]),
            "got the input 'h' as its initial state; the state has 4 numbers",
        ),
        (
            "k3_embedding_masked",
            lambda c: layer_of(c, "tokens")["config"].update(batch_shape=[None, None, 3]),
            "got a sequence as its input; tokens must be an input of the model",
        ),
    ],
)
def test_models_that_are_refused(name: str, change: Change, message: str, tmp_path: Path) -> None:
    refused(tmp_path, name, change, message)


def test_masks_that_keras_leaves_in_order_are_refused() -> None:
    with pytest.raises(
        UnsupportedError, match="got a masked sequence that go_backwards=True has reversed, with a mask"
    ):
        convert(DATA / "k3_masked_backwards.keras")


def test_products_of_masked_sequences_in_reverse_order(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        last = layer_of(config, "gru_1")
        last.update(class_name="Multiply", config={"name": "gru_1"})
        (node,) = last["inbound_nodes"]
        node["args"] = [[node["args"][0]] * 2]

    refused(tmp_path, "k3_masked_backwards", change, "'gru_1' .Multiply.: got a masked sequence that go_backwards=True")


def test_masked_sequences_that_early_keras_3_merged(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"got masked sequences that Keras before 3\.4 merges without regard"):
        convert(edited(tmp_path, "k3_masked_merge", lambda config: None, version="3.3.3"))


def test_sequences_in_both_orders_are_not_merged(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        layer_of(config, "g1")["config"]["go_backwards"] = True

    refused(tmp_path, "k3_residual", change, "got a sequence that go_backwards=True has reversed beside one in order")


def test_convolutions_of_what_goes_backwards(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        convolution = {"filters": 4, "kernel_size": [2], "padding": "causal", "name": "dense"}
        layer_of(config, "dense").update(class_name="Conv1D", config=convolution)

    refused(
        tmp_path,
        "k3_backwards_twice",
        change,
        "got a sequence that go_backwards=True has reversed as its input; reverse the sequence back first",
    )


def test_flatten_of_a_sequence(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        layer_of(config, "time_distributed_3").update(class_name="Flatten", config={"name": "flatten"})

    refused(tmp_path, "k3_time_distributed", change, "got a sequence as its input; it joins timesteps")


def test_weights_without_an_architecture() -> None:
    with pytest.raises(DescriptionError, match=r"layers: expected the architecture of these weights.*model\.to_json"):
        convert(DATA / "k3_residual.weights.h5")


def test_an_architecture_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DescriptionError, match=r"nothing\.json: expected a file that can be read"):
        convert(DATA / "k3_residual.weights.h5", layers=str(tmp_path / "nothing.json"))


def test_whole_models_need_no_architecture() -> None:
    with pytest.raises(DescriptionError, match="the file holds the whole model; leave the architecture out"):
        convert(DATA / "k3_residual.h5", layers=str(DATA / "k3_residual.json"))


def test_descriptions_of_layers_are_for_state_dicts() -> None:
    with pytest.raises(DescriptionError, match="weights of Keras need the path of a JSON file"):
        convert(DATA / "k3_residual.weights.h5", layers=[LayerDescription(module="gru")])


def test_weights_of_another_model() -> None:
    with pytest.raises(ConversionError, match=r"expected 1 weights \(embeddings\), got 0"):
        convert(DATA / "k3_residual.weights.h5", layers=str(DATA / "k2_masked.json"))


def test_masked_bidirectional_layers_of_old_versions(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        return None

    with pytest.raises(UnsupportedError, match=r"got a masked sequence, from a version of Keras before 2\.4"):
        convert(edited(tmp_path, "k2_masked", change, version="2.2.4"))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    files = entries(DATA / "k3_two_layers.keras")
    (tmp_path / "empty.h5").write_bytes(files["model.weights.h5"].replace(b"layers\0", b"lawyer\0"))
    with pytest.raises(ConversionError, match="expected the layers of a Keras model, got"):
        convert(tmp_path / "empty.h5", layers=str(DATA / "k3_residual.json"))


def test_what_a_file_is_follows_from_its_content(tmp_path: Path) -> None:
    shutil.copy(DATA / "k3_two_layers.keras", tmp_path / "model.onnx")
    assert convert(tmp_path / "model.onnx", reference=False).source.format == "keras"
