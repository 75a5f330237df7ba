"""Tokens that a model generates: against sampling in float64, by the block, in pools and threads; what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import models
import numpy as np
import pytest
import sampling
import torch

import grurt
from grurt.errors import ConcurrentUseError, GrurtError, InputValueError, ModelError, StreamIdError

VOCABULARY = 37


def generator(size: int = VOCABULARY, seed: int = 0, *layers: Any, **options: Any) -> grurt.Model:
    """Return a model that reads tokens and gives a score for each."""
    rng = np.random.default_rng(seed)
    return models.layer_model(
        grurt.Embedding(name="embedding", vocabulary_size=size, size=8),
        grurt.GRU(name="gru", input_size=8, hidden_size=20),
        grurt.Linear(name="fc", input_size=20, output_size=size),
        *layers,
        rng=rng,
        inputs=[grurt.TokenInput("tokens", size)],
        **options,
    )


MODEL = generator()
PROMPT = [3, 1, 4, 1, 5]

OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "plain": {},
    "cold": {"temperature": 0.6},
    "hot": {"temperature": 3},
    "top_k": {"top_k": 5},
    "top_1": {"top_k": 1},
    "top_p": {"top_p": 0.7},
    "both": {"top_k": 9, "top_p": 0.5, "temperature": 1.3},
    "all": {"top_k": 1000, "top_p": 1.0},
    "penalty": {"repetition_penalty": 1.7, "temperature": 0.5},
    "greedy with penalty": {"repetition_penalty": 1.3, "temperature": 0},
    "allowed": {"allowed": np.arange(VOCABULARY) % 3 > 0, "top_k": 4},
    "allowed behind": {"allowed": (np.arange(VOCABULARY)[:, None] + np.arange(VOCABULARY)) % 5 < 2},
}


def assert_drawn(model: grurt.Model, tokens: Any, prompt: Any, seed: int, **options: Any) -> int:
    """Compare tokens with sampling in float64 of the scores that the model gives; return how many draws were near."""
    sampler = sampling.Sampler(seed, **options)
    sampler.seen.update(prompt)
    stream = model.stream()
    answers = [stream.step(token) for token in prompt]
    previous = prompt[-1]
    for number, token in enumerate(tokens):
        possible = sampler.tokens(answers[-1], previous, len(prompt) + number)
        assert int(token) in possible or sampler.near
        sampler.seen.add(int(token))
        previous = int(token)
        answers.append(stream.step(previous))
    return sampler.near


@pytest.mark.parametrize("name", OPTIONS)
def test_tokens_are_those_of_sampling_in_float64(name: str) -> None:
    near = 0
    for seed in range(10):
        prompt = [seed, 1, 4]
        tokens = MODEL.generate(prompt, 60, seed=seed, **OPTIONS[name])
        near += assert_drawn(MODEL, tokens, prompt, seed, **OPTIONS[name])
    assert near <= 2


@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 1000])
def test_vocabularies_of_any_size(size: int) -> None:
    model = generator(size)
    for options in ({}, {"top_k": 3}, {"top_p": 0.4}, {"repetition_penalty": 2.0}):
        assert_drawn(model, model.generate([0], 30, seed=5, **options), [0], 5, **options)


def test_the_framework_s_probabilities_give_the_same_tokens() -> None:
    """PyTorch's own network, in float64, with our numbers."""
    torch.manual_seed(0)
    embedding, gru, fc = torch.nn.Embedding(50, 16), torch.nn.GRU(16, 64, batch_first=True), torch.nn.Linear(64, 50)
    order = np.r_[64:128, 0:64, 128:192]
    weights = {
        "embedding.weight": embedding.weight,
        **{
            f"gru.{ours}": getattr(gru, f"{ours}_l0")[order]
            for ours in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        },
        "fc.weight": fc.weight,
        "fc.bias": fc.bias,
    }
    model = grurt.Model(
        layers=[
            grurt.Embedding(name="embedding", vocabulary_size=50, size=16),
            grurt.GRU(name="gru", input_size=16, hidden_size=64),
            grurt.Linear(name="fc", input_size=64, output_size=50),
        ],
        weights={name: tensor.detach().numpy() for name, tensor in weights.items()},
    )
    tokens = model.generate([7], 300, temperature=0.8, seed=11)
    sampler = sampling.Sampler(11, temperature=0.8)
    for module in (embedding, gru, fc):
        module.double()
    state, previous = None, 7
    with torch.no_grad():
        for number, token in enumerate(tokens):
            output, state = gru(embedding(torch.tensor([[previous]])), state)
            assert int(token) in sampler.tokens(fc(output)[0, 0].numpy(), previous, 1 + number)
            previous = int(token)
    assert sampler.near <= 1


def test_blocks_streams_and_pools_give_the_same() -> None:
    options: dict[str, Any] = {"temperature": 0.9, "top_k": 8, "repetition_penalty": 1.1}
    prompts = [[1], [2, 3, 4], [5] * 90, [6, 7]]
    expected = [MODEL.generate(prompt, 50, seed=9 + row, **options) for row, prompt in enumerate(prompts)]
    for block_size in (1, 7, 50, 100):
        blocks = [*MODEL.stream().generate(prompts[2], 50, seed=11, block_size=block_size, **options)]
        np.testing.assert_array_equal(np.concatenate(blocks), expected[2])
        assert [len(block) for block in blocks[:-1]] == [block_size] * (len(blocks) - 1)
    for threads in (1, 2):
        pool = MODEL.pool(6, threads=threads)
        found = pool.generate([5, 0, 3, 1], prompts, 50, seed=9, **options)
        for row, tokens in enumerate(found):
            np.testing.assert_array_equal(tokens, expected[row])
        named = MODEL.pool([*"abcd"], threads=threads)
        for row, tokens in enumerate(named.generate([*"dbca"], prompts, 50, seed=[9, 10, 11, 12], **options)):
            np.testing.assert_array_equal(tokens, expected[row])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_of_a_pool_share_the_streams(threads: int) -> None:
    """Of different prompts and seeds, some of which end early; twice, as threads that have slept are woken."""
    rng = np.random.default_rng(8)
    prompts = [rng.integers(0, MODEL.inputs[0].size, 1 + row % 5) for row in range(23)]
    pool = MODEL.pool(30, threads=threads)
    for first in (0, 7):
        for row in range(30):
            pool.reset(row)
        ids = [first + row for row in range(23)]
        found = pool.generate(ids, prompts, 40, seed=3, temperature=1.3, stop=(1, 4))
        for row, tokens in enumerate(found):
            stream = MODEL.stream()
            expected = [*stream.generate(prompts[row], 40, seed=3 + row, block_size=40, temperature=1.3, stop=(1, 4))]
            np.testing.assert_array_equal(tokens, expected[0])
            assert pool.steps(first + row) == stream.steps
            np.testing.assert_array_equal(pool.state(first + row)["gru"], stream.state["gru"])
    assert {len(tokens) for tokens in found} > {40}


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_first_row_that_is_stuck_is_named_whatever_thread_it_has(threads: int) -> None:
    pool = broken().pool(13, threads=threads)
    prompts = [[1]] * 5 + [[0, 2, 3], [1], [1], [1, 3], [1], [3, 3, 3, 3], [0, 3], [1]]
    with pytest.raises(InputValueError, match=r"as number 0 of row 8, got scores"):
        pool.generate(range(13), prompts, 5, temperature=0)
    assert [pool.steps(row) for row in range(13)] == [0] * 13
    assert len(pool.generate([0, 1], [[1], [1]], 3, prefix=[0, 2, 0], temperature=0)) == 2


def test_streams_are_where_all_tokens_but_the_last_were_read() -> None:
    stream, pool = MODEL.stream(), MODEL.pool(3)
    (tokens,) = stream.generate(PROMPT, 9, seed=1)
    pool.generate([2, 1], [PROMPT, [8]], 9, seed=1)
    read = MODEL.stream()
    read.run(np.array([*PROMPT, *tokens[:-1]]))
    assert stream.snapshot() == read.snapshot() == pool.snapshot(2)
    assert (pool.steps(0), pool.steps(1), pool.steps(2)) == (0, 9, 13)
    (others,) = stream.generate(tokens[-1], 5, seed=1)
    np.testing.assert_array_equal(np.concatenate([tokens, others]), MODEL.generate(PROMPT, 14, seed=1))


def test_a_fork_draws_what_its_parent_would_have_drawn() -> None:
    stream = MODEL.stream()
    (tokens,) = stream.generate(PROMPT, 6, seed=3)
    twin, later = stream.fork(), MODEL.stream()
    later.restore(stream.snapshot())
    found = [np.concatenate([*each.generate(tokens[-1:], 20, seed=3)]) for each in (stream, twin, later)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_stop_tokens_end_rows_and_the_others_go_on() -> None:
    pool = MODEL.pool(80)
    prompts = [[row % VOCABULARY] for row in range(80)]
    whole = [MODEL.generate(prompt, 40, seed=row) for row, prompt in enumerate(prompts)]
    found = pool.generate(range(80), prompts, 40, seed=0, stop=(4, 9))
    lengths = set()
    for tokens, all_tokens in zip(found, whole, strict=True):
        stops = np.flatnonzero(np.isin(all_tokens, (4, 9)))
        end = stops[0] + 1 if stops.size else 40
        np.testing.assert_array_equal(tokens, all_tokens[:end])
        lengths.add(end)
    assert len(lengths) > 10
    assert MODEL.generate([1], 40, stop=int(whole[1][0]), seed=1).tolist() == [whole[1][0]]


def test_a_prefix_is_given_whatever_the_scores() -> None:
    tokens = MODEL.generate(PROMPT, 10, prefix=[30, 31], seed=4)
    assert tokens[:2].tolist() == [30, 31]
    np.testing.assert_array_equal(tokens[2:], MODEL.generate([*PROMPT, 30, 31], 8, seed=4))
    assert MODEL.generate(PROMPT, 10, prefix=[30, 31], stop=30).tolist() == [30]
    pool = MODEL.pool(2)
    found = pool.generate([0, 1], [PROMPT, PROMPT], 10, prefix=[[30, 31], []], seed=[4, 4])
    np.testing.assert_array_equal(found[0], tokens)
    np.testing.assert_array_equal(found[1], MODEL.generate(PROMPT, 10, seed=4))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [(grurt.Softmax(), "logits"), (grurt.LogSoftmax(), "logits"), (grurt.Affine(1.0, 3.0), "logits")],
)
def test_probabilities_and_their_logarithms_are_scores_too(layer: Any, expected: str) -> None:
    """Only a constant apart, they draw the same."""
    model = generator(VOCABULARY, 0, grurt.Activation(name="last", function=layer))
    for seed in range(5):
        np.testing.assert_array_equal(
            model.generate(PROMPT, 40, seed=seed, top_p=0.9), MODEL.generate(PROMPT, 40, seed=seed, top_p=0.9)
        )


def one_hot_model() -> grurt.Model:
    rng = np.random.default_rng(4)
    return models.layer_model(
        grurt.GRU(name="gru", input_size=9, hidden_size=20),
        grurt.Linear(name="fc", input_size=20, output_size=9),
        rng=rng,
    )


def test_one_hot_vectors_are_tokens_too() -> None:
    model = one_hot_model()
    stream = model.stream()
    (tokens,) = stream.generate([2, 3], 12, temperature=0)
    sampler, reader = sampling.Sampler(0, temperature=0), model.stream()
    read = [2, 3, *tokens]
    answers = reader.run(np.eye(9, dtype=np.float32)[read])
    for number, token in enumerate(tokens):
        assert int(token) in sampler.tokens(answers[1 + number], 0, 0)
    found = model.pool(2).generate([0, 1], [[2, 3], [4]], 12, temperature=0)
    np.testing.assert_array_equal(found[0], tokens)


def conditioned() -> grurt.Model:
    rng = np.random.default_rng(5)
    return models.layer_model(
        grurt.Embedding(name="embedding", inputs=("tokens",), vocabulary_size=11, size=6),
        grurt.Concat(name="both", inputs=("embedding", "speaker")),
        grurt.GRU(name="gru", input_size=10, hidden_size=12),
        grurt.Linear(name="fc", input_size=12, output_size=11),
        rng=rng,
        inputs=[grurt.TokenInput("tokens", 11), grurt.Input("speaker", 4)],
    )


def test_other_inputs_are_the_same_at_every_timestep() -> None:
    model = conditioned()
    speakers = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    alone = [model.generate([row], 25, inputs={"speaker": speakers[row]}, seed=row, stop=3) for row in range(6)]
    found = model.pool(6).generate(range(6), [[row] for row in range(6)], 25, inputs={"speaker": speakers}, stop=3)
    assert len({len(tokens) for tokens in alone}) > 2  # so that rows move up
    for one, other in zip(alone, found, strict=True):
        np.testing.assert_array_equal(one, other)
    same = model.pool(2).generate([0, 1], [[0], [0]], 25, inputs={"speaker": speakers[0]}, seed=[0, 0], stop=3)
    np.testing.assert_array_equal(same[1], alone[0])


def test_streams_of_several_threads() -> None:
    expected = [MODEL.generate(PROMPT, 300, seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        found = [*threads.map(lambda seed: MODEL.generate(PROMPT, 300, seed=seed), range(4))]
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_many_tokens_take_several_calls_into_the_kernels() -> None:
    (whole,) = MODEL.stream().generate(PROMPT, 1_000, seed=2, block_size=1_000)
    np.testing.assert_array_equal(np.concatenate([*MODEL.stream().generate(PROMPT, 1_000, seed=2)]), whole)


def test_seeds_are_integers_of_64_bits() -> None:
    found = {seed: MODEL.generate(PROMPT, 30, seed=seed).tolist() for seed in (0, 1, 2**32, 2**63, 2**64 - 1)}
    assert len({tuple(tokens) for tokens in found.values()}) == 5
    assert MODEL.generate(PROMPT, 30, seed=-1).tolist() == found[2**64 - 1]
    assert MODEL.generate(PROMPT, 30, seed=2**64).tolist() == found[0]
    for seed in (2**32, 2**63):
        assert_drawn(MODEL, found[seed], PROMPT, seed)


def broken() -> grurt.Model:
    """Return a model whose scores are all minus infinity once it has read the token 3."""
    rng = np.random.default_rng(0)
    weights = np.zeros((5, 5), np.float32)
    weights[3] = 1
    return models.layer_model(
        grurt.Embedding(name="embedding", vocabulary_size=5, size=5),
        grurt.Activation(name="zeros", function=grurt.Affine(-1.0, 1.0)),
        grurt.Activation(name="infinite", function=grurt.Log()),
        rng=rng,
        inputs=[grurt.TokenInput("tokens", 5)],
    ).replaced(weights={"embedding.weight": weights}, signature=None)


def test_where_nothing_can_be_chosen_the_state_is_what_it_was() -> None:
    model = broken()
    stream = model.stream()
    stream.step(1)
    blocks = stream.generate([1], 10, prefix=[0, 2, 3], block_size=2, temperature=0)
    assert next(blocks).tolist() == [0, 2]
    before = stream.snapshot()
    with pytest.raises(InputValueError, match="expected a token that can be chosen as number 3, got scores that are a"):
        next(blocks)
    assert stream.snapshot() == before
    pool = model.pool(2)
    with pytest.raises(InputValueError, match=r"StreamPool.generate: .* as number 0 of row 1, got scores"):
        pool.generate([0, 1], [[1], [3]], 5, temperature=0)
    assert (pool.steps(0), pool.steps(1)) == (0, 0)


def test_nan_is_never_chosen() -> None:
    layers = [grurt.Activation(name="root", function=grurt.Sqrt())]
    model = grurt.Model(layers=layers, weights={}, inputs=[grurt.Input("x", 4)])
    assert model.generate([2], 3, temperature=0).tolist() == [2, 2, 2]
    assert set(model.generate([2], 50).tolist()) == {0, 1, 2, 3}


def test_a_stream_that_was_advanced_between_blocks() -> None:
    stream = MODEL.stream()
    blocks = stream.generate(PROMPT, 20, block_size=5)
    next(blocks)
    stream.step(1)
    with pytest.raises(ConcurrentUseError, match="expected the stream where the last block has left it, at timestep 9"):
        next(blocks)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"prompt": []}, "prompt: expected at least 1 token, got 0"),
    ({"prompt": [37]}, r"prompt\[0\]: expected a token id in \[0, 37\), got 37"),
    ({"prompt": [0, -1]}, r"prompt\[1\]: expected a token id in \[0, 37\), got -1"),
    ({"prompt": [0.5]}, "prompt: expected token ids of an integer dtype"),
    ({"prompt": [[1, 2]]}, r"prompt: expected shape \(n,\), got \(1, 2\)"),
    ({"max_tokens": 0}, "max_tokens: expected an integer of at least 1, got 0"),
    ({"max_tokens": 2.5}, "max_tokens: expected an integer of at least 1, got 2.5"),
    ({"max_tokens": 1 << 60}, "expected at most 2"),
    ({"temperature": -1}, "temperature: expected a number of at least 0, got -1"),
    ({"temperature": float("nan")}, "temperature: expected a number of at least 0, got nan"),
    ({"temperature": "warm"}, "temperature: expected a number of at least 0, got 'warm'"),
    ({"top_k": 0}, "top_k: expected an integer of at least 1, got 0"),
    ({"top_p": 0}, "top_p: expected a number above 0, up to 1, got 0"),
    ({"top_p": 1.1}, "top_p: expected a number above 0, up to 1, got 1.1"),
    ({"repetition_penalty": 0}, "generate: repetition_penalty: expected a number above 0, got 0"),
    ({"stop": [40]}, r"stop\[0\]: expected a token id in \[0, 37\), got 40"),
    ({"prefix": [1] * 11}, "prefix: expected at most max_tokens=10 tokens, got 11"),
    ({"allowed": np.ones(36, bool)}, r"allowed: expected the shape \(37,\), or \(37, 37\) with a row for each token"),
    ({"allowed": np.ones(37)}, "allowed: expected booleans, got dtype float64"),
    ({"allowed": np.zeros(37, bool)}, "allowed: expected at least one token that is allowed, got none"),
    ({"allowed": np.arange(37)[:, None] + np.zeros(37) != 5}, "expected at least one token that is allowed behind tok"),
    ({"seed": 0.5}, "expected seed to be an integer, or one for each of 1 streams, got 0.5"),
    ({"block_size": 0}, "block_size: expected an integer of at least 1, got 0"),
    ({"inputs": {"x": 1}}, r"inputs: expected what the model reads beside its tokens, \[\], got \['x'\]"),
    ({"output": "z"}, r"expected output to be one of \['y'\], got 'z'"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[str(changes)[:40] for changes, _ in BAD])
def test_what_makes_no_sense_leaves_no_trace(changes: dict[str, Any], message: str) -> None:
    stream = MODEL.stream()
    stream.step(1)
    before = stream.snapshot()
    with pytest.raises(GrurtError, match=message):
        stream.generate(**({"prompt": PROMPT, "max_tokens": 10} | changes))
    assert stream.snapshot() == before


def test_options_that_there_are_not() -> None:
    with pytest.raises(TypeError, match=r"expected some of allowed, .*, got beams"):
        MODEL.generate(PROMPT, 5, beams=4)  # type: ignore[call-arg]


def test_a_stop_token_may_allow_nothing_behind_it() -> None:
    allowed = np.arange(37)[:, None] + np.zeros(37) != 5
    tokens = MODEL.generate([1], 200, allowed=allowed, stop=5, seed=1)
    assert tokens[-1] == 5
    assert 5 not in tokens[:-1]


def test_other_inputs_that_do_not_fit() -> None:
    model = conditioned()
    for speaker, message in [
        (np.zeros(3), r"inputs: 'speaker': expected shape \(4,\), got \(3,\)"),
        (np.full(4, np.nan), "inputs: 'speaker': expected finite numbers, got NaN or infinity"),
    ]:
        with pytest.raises(GrurtError, match=message):
            model.generate([1], 5, inputs={"speaker": speaker})


def test_calls_of_pools_that_do_not_fit() -> None:
    pool = MODEL.pool(3)
    assert pool.generate([], [], 5) == []
    for error, ids, prompts, message in [
        (StreamIdError, [7], [[1]], "there is no stream 7"),
        (StreamIdError, [1, 1], [[1], [2]], "expected each target once, got one twice"),
        (GrurtError, [0, 1], [[1]], "prompts: expected tokens for each of 2 streams, got 1"),
        (GrurtError, [0], 5, "prompts: expected tokens for each of 1 streams, got 5"),
        (GrurtError, [0, 1], [[1], []], r"prompts\[1\]: expected at least 1 token, got 0"),
    ]:
        with pytest.raises(error, match=message):
            pool.generate(ids, prompts, 5)
    assert [pool.steps(row) for row in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (models.gru_model(3, 5, np.random.default_rng(0)), "none of input 'x' of 3, output 'y' of 5"),
        (
            models.layer_model(
                grurt.GRU(name="a", input_size=4, hidden_size=4),
                grurt.GRU(name="b", input_size=4, hidden_size=4),
                rng=np.random.default_rng(0),
                outputs=[grurt.Output("a", "a"), grurt.Output("b", "b")],
            ),
            "several of input 'x' of 4, output 'a' of 4, output 'b' of 4: name the output",
        ),
    ],
)
def test_models_that_do_not_generate(model: grurt.Model, found: str) -> None:
    with pytest.raises(ModelError, match=f"one output with a score for each token, got {found}"):
        model.generate([1], 5)


def test_one_of_several_outputs() -> None:
    two = MODEL.replaced(
        outputs=[grurt.Output("states", "gru"), grurt.Output("scores", "fc"), grurt.Output("twice", "fc")],
        signature=None,
    )
    np.testing.assert_array_equal(two.generate(PROMPT, 20, output="scores"), MODEL.generate(PROMPT, 20))
