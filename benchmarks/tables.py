"""Markdown tables of results, and the places in a text where they belong."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.results import by_contender

Results = Mapping[str, Any]
Size = tuple[int, int]


def render(text: str, results: Mapping[str, Results]) -> str:
    """Return a text with each table between its markers, where it has them; the rest is unchanged.

    Markers are such as ``<!-- streams: begin -->`` and ``<!-- streams: end -->``. What belongs to a suite without
    results stays as it stands.
    """
    for name, (suite, table) in TABLES.items():
        if suite in results and _marker(name, "begin") in text:
            text = between_markers(text, name, f"{table(results[suite])}\n\n{note(results[suite])}")
    for name, lines in results.get("networks", {}).get("printed", {}).items():
        if _marker(f"printed: {name}", "begin") in text:
            text = between_markers(text, f"printed: {name}", "\n".join(["```text", *lines, "```"]))
    return text


def _marker(name: str, end: str) -> str:
    return f"<!-- {name}: {end} -->"


def between_markers(text: str, name: str, content: str) -> str:
    """Return a text with other content between two markers, which it must have."""
    head, rest = text.split(_marker(name, "begin"))
    _, tail = rest.split(_marker(name, "end"))
    return f"{head}{_marker(name, 'begin')}\n{content}\n{_marker(name, 'end')}{tail}"


def note(results: Results) -> str:
    """Return the footnote of a table: machine, versions, command, date, and how much the processes differed."""
    made = results["environment"]
    versions = ", ".join(f"{engine} {version}" for engine, version in made["engines"].items())
    cores = (
        f"{made['cores']} cores"
        if results["suite"] in ("threads", "gpu", "step_pools", "spark")
        else "one thread, one core"
    )
    sentences = [
        f"{made['cpu']}, {', '.join(made['caches'])}; {cores}",
        f"{made['date']}; Python {made['python']}, {versions}",
        f"`{results['command']}`: {results.get('statistic', 'medians')} over {_repeated(results)}{_spread(results)}",
    ]
    if results["missing"]:
        sentences.append(f"not installed, and so left out: {', '.join(results['missing'])}")
    return f"<sub>{'. '.join(sentences)}.</sub>"


def _repeated(results: Results) -> str:
    if "turns" in results:
        return f"{results['turns']} turns"
    return f"{results['processes']} processes"


def _spread(results: Results) -> str:
    ranges = [record["range"] for record in results["records"] if "range" in record]
    if not ranges or results.get("processes", 1) < 2:
        return ""
    widths = sorted((high - low) / low for low, high in ranges)
    return f", which differ by up to {widths[-1]:.0%}, half of the figures by at most {widths[len(widths) // 2]:.0%}"


def step_table(results: Results) -> str:
    """Return the table of single timesteps: microseconds by contender and size."""
    figures = by_contender(results)
    ours = figures["grurt step"]
    ratios = [
        [f"*grurt step: times as fast as {peer}*", *_ratios(ours, figures[peer])]
        for peer in ("onnxruntime run", "LiteRT")
        if peer in figures
    ]
    return _by_size("us a timestep", figures, ratios)


def sequence_table(results: Results) -> str:
    """Return the table of whole sequences: microseconds a timestep."""
    figures = by_contender(results)
    ratios = [
        [f"*{ours}: times as fast as {peer}*", *_ratios(figures[ours], figures[peer])]
        for ours, peer in (("grurt Model.run", "onnxruntime run"),)
        if peer in figures
    ]
    return _by_size("us a timestep", figures, ratios)


def streams_table(results: Results) -> str:
    """Return the table of streams in lock-step: microseconds a timestep of all of them."""
    figures = by_contender(results)
    name = "grurt StreamPool.step"
    extra = []
    if "onnxruntime run" in figures:
        extra.append(["*grurt: times as fast as onnxruntime run*", *_ratios(figures[name], figures["onnxruntime run"])])
    peak = by_contender(results, "fraction_of_peak")[name]
    extra.append(["*grurt's share of the arithmetic peak*", *(f"*{share:.0%}*" for share in peak.values())])
    return _by_size(f"us a timestep of {results['settings']['n_streams']} streams", figures, extra)


def kernel_table(results: Results) -> str:
    """Return the table of the kernel: its time, what Python adds, and what the core allows at best."""
    records = results["records"]
    rows: list[tuple[str, str, Callable[[float], str]]] = [
        ("kernel, us", "microseconds", _microseconds),
        ("Python adds to `step`, us", "python_microseconds", "{:.2f}".format),
        ("Python adds to `step` with `out=`, us", "python_out_microseconds", "{:.2f}".format),
        ("Python adds to `advance`, us", "python_advance_microseconds", "{:.2f}".format),
        ("packed weights, KiB", "weight_bytes", lambda count: f"{count / 1024:,.0f}"),
        ("kernel reads weights, GB/s", "gigabytes_per_second", "{:.0f}".format),
        ("reading alone, the same bytes, GB/s", "read_gigabytes_per_second", "{:.0f}".format),
        ("*share of that*", "fraction_of_bandwidth", "*{:.0%}*".format),
        ("kernel, GFLOP/s", "gigaflops", "{:.0f}".format),
        ("multiply-adds alone, GFLOP/s", "peak_gigaflops", "{:.0f}".format),
    ]
    lines = [
        [title, *("" if _is_lost_in_noise(key, record) else show(record[key]) for record in records)]
        for title, key, show in rows
    ]
    return markdown_table(["", *(_head(record["size"]) for record in records)], lines)


def _is_lost_in_noise(key: str, record: Mapping[str, Any]) -> bool:
    """Whether a figure is a difference of times far greater than itself."""
    return key.startswith("python") and bool(record["microseconds"] > 5)


def quantized_table(results: Results) -> str:
    """Return the table of weights in fewer bits: microseconds, ratios, and the errors of the answers."""
    figures = by_contender(results)
    ratios = [
        [f"*{ours}: times as fast as {peer}*", *_ratios(figures[ours], figures[peer])]
        for ours, peer in QUANTIZED_LEADS
        if ours in figures and peer in figures
    ]
    errors = by_contender(results, "error")
    lost = [
        [f"largest error of {name}", *(f"{error:.0e}" for error in errors[name].values())]
        for name in ("grurt float16 step", "grurt int8 step", "grurt int4 step", "LiteRT int8")
        if name in errors
    ]
    steps = {name: times for name, times in figures.items() if "Pool" not in name}
    pools = {name: times for name, times in figures.items() if "Pool" in name}
    n_streams = results["settings"]["n_streams"]
    together = _by_size(f"us a timestep of {n_streams} streams", pools, []) if pools else ""
    return "\n\n".join([_by_size("us a timestep", steps, [*ratios, *lost]), together]).strip()


def tail_table(results: Results) -> str:
    """Return the tables of single steps' distribution, one for each size."""
    tables = []
    for size in dict.fromkeys(tuple(record["size"]) for record in results["records"]):
        records = [record for record in results["records"] if tuple(record["size"]) == size]
        lines = [
            [
                record["contender"],
                *(_microseconds(record[key]) for key in ("p50", "p99", "p99.9", "max")),
                f"{record['p99.9'] / record['p50']:.1f}",
            ]
            for record in records
        ]
        head = [f"us a timestep at {_head(size)}", "p50", "p99", "p99.9", "max", "p99.9 / p50"]
        tables.append(markdown_table(head, lines))
    return "\n\n".join(tables)


def silence_table(results: Results) -> str:
    """Return the table of steps after silence: the time of a step, and how many usual steps that is."""
    return _with_ratios(results, "us a timestep after silence", "times usual", "{:.2f}")


def calls_table(results: Results) -> str:
    """Return the table of ways in: the time of a call, and how many times as long onnxruntime takes for the same."""
    return _with_ratios(results, "us a call", "times as fast", "{:#.3g}")


def generation_table(results: Results) -> str:
    """Return the table of generators: the time of a token, and how many times as long onnxruntime and NumPy take."""
    return _with_ratios(results, "us a token", "times as fast", "{:#.3g}")


def steps_table(results: Results) -> str:
    """Return the table of step networks: how many numbers a frame and the states have, times, and their ratio."""
    lines = [
        [
            record["contender"],
            *(f"{count:,}" for count in record["size"]),
            *(_microseconds(record[key]) for key in ("peer_microseconds", "microseconds")),
            f"{record['ratio']:#.3g}",
            _microseconds(record["int8_microseconds"]),
            f"{record['int8_decibels']:.0f}",
        ]
        for record in results["records"]
    ]
    head = ["us a frame", "frame", "states", "onnxruntime", "grurt", "times as fast", "grurt int8", "dB"]
    return markdown_table(head, lines)


def step_pools_table(results: Results) -> str:
    """Return the table of a pool of a step network: microseconds of a frame of one stream."""
    figures = {record["contender"]: record["microseconds"] for record in results["records"]}
    alone = next(iter(figures.values()))
    lines = [[name, _microseconds(time), f"{alone / time:#.3g}"] for name, time in figures.items()]
    return markdown_table(["us a frame of GTCRN", "", "times as fast"], lines)


def networks_table(results: Results) -> str:
    """Return the table of whole networks: their size, how near they are to their framework, and how fast."""
    lines = []
    for record in results["records"]:
        theirs, ours, step = (record[f"{key}microseconds"] for key in ("peer_", "", "step_"))
        name = f"{record['name'].replace('_', ', ')} ({record['framework']})"
        ratio = f"{theirs / ours:,.0f}" if theirs > 100 * ours else f"{theirs / ours:#.3g}"
        times = [_microseconds(theirs), _microseconds(ours), ratio, "" if step is None else _microseconds(step)]
        lines.append([name, f"{record['parameters']:,}", f"{record['difference']:.0e}", *times])
    head = ["us an answer", "weights", "largest difference", "framework", "grurt", "times as fast", "grurt, a step"]
    return markdown_table(head, lines)


def _with_ratios(results: Results, title: str, ratio: str, shown: str) -> str:
    figures, ratios = by_contender(results), by_contender(results, "ratio")
    sizes = list(next(iter(figures.values())))
    head = [title, *(column for size in sizes for column in (_head(size), ratio))]
    lines = [
        [
            name,
            *(
                cell
                for size in sizes
                for cell in (
                    _microseconds(times[size]),
                    "" if ratios[name][size] is None else shown.format(ratios[name][size]),
                )
            ),
        ]
        for name, times in figures.items()
    ]
    return markdown_table(head, lines)


def threads_table(results: Results) -> str:
    """Return the table of pools on several threads: microseconds, and how many times as fast as on one."""
    figures = by_contender(results)
    alone = figures["1 thread"]
    ratios = [
        [f"*{name}: times as fast as 1*", *_ratios(times, alone)] for name, times in figures.items() if times != alone
    ]
    return _by_size(f"us a timestep of {results['settings']['n_streams']:,} streams", figures, ratios)


def gpu_table(results: Results) -> str:
    """Return the table of all cores beside a GPU: microseconds, and how many times as fast the GPU is."""
    figures = by_contender(results)
    ours, *others = figures.values()
    ratios = [["*the GPU: times as fast*", *_ratios(theirs, ours)] for theirs in others]
    return _by_size(f"us a timestep of {results['settings']['n_streams']:,} streams", figures, ratios)


def startup_table(results: Results) -> str:
    """Return the table of starts: milliseconds to the first answer, and memory."""
    lines = [
        [record["contender"], f"{record['milliseconds']:.0f}", f"{record['megabytes']:.0f}"]
        for record in results["records"]
    ]
    return markdown_table(["from the start of a process to its first answer", "ms", "MB in memory"], lines)


def serving_table(results: Results) -> str:
    """Return the tables of the service: messages, requests and latency, and the memory of idle clients."""
    by_kind: dict[int, list[Mapping[str, Any]]] = {}
    for record in results["records"]:
        by_kind.setdefault(record["size"][1], []).append(record)
    messages, fairness, requests, memory = (by_kind[kind] for kind in range(4))
    latency = [
        [record["contender"], *(_microseconds(record[key]) for key in ("p50", "p99")), f"{record['load_cores']:.2f}"]
        for record in fairness
    ]
    rate = f"us to an answer, {fairness[0]['size'][0]} clients, 1,000 samples/s"
    n_idle, held = memory[0]["size"][0], memory[0]["bytes"] / 1e6
    load, n_cores = results["environment"]["load_average"], results["environment"]["cores"]
    sentence = f"{n_idle:,} clients that are connected, and idle: {held:.0f} MB, interpreter and kernels included."
    if load and load[0] > n_cores:
        sentence += f" The machine was busy with other work: its load average was {load[0]:.0f} on {n_cores} cores."
    return "\n\n".join(
        [
            _shares("server's CPU time, us a message", messages),
            _shares("server's CPU time, us a request", requests),
            markdown_table([rate, "p50", "p99", "cores of the load generator"], latency),
            sentence,
        ]
    )


def _shares(title: str, records: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of times by number of connections, each with the share of it that the first one takes."""
    times: dict[str, dict[int, float]] = {}
    most = max(record["load_cores"] for record in records)
    for record in records:
        times.setdefault(record["contender"], {})[record["size"][0]] = record["microseconds"]
    first = next(iter(times.values()))
    lines = [
        [
            name,
            *(
                cell
                for number, time in found.items()
                for cell in (_microseconds(time), f"*{first[number] / time:.2f}*")
            ),
        ]
        for name, found in times.items()
    ]
    head = [title, *(cell for number in first for cell in (f"{number:,} connections", "share"))]
    note = f"The load generator took {most:.2f} of its core at most."
    return f"{markdown_table(head, lines)}\n\n{note}"


QUANTIZED_LEADS = (
    ("grurt int8 step", "onnxruntime run"),
    ("grurt int8 step", "LiteRT int8"),
    ("grurt int8 step", "grurt step"),
    ("grurt int4 step", "grurt int8 step"),
    ("grurt float16 step", "grurt step"),
)


def spark_table(results: Results) -> str:
    """Return the table of keyed streams on Spark, by contender and size: rows a second, and their part of a core.

    Under it, how much is kept, and how much memory a worker of Python has had.
    """
    records = results["records"]
    names = list(dict.fromkeys(record["contender"] for record in records))
    sizes = list(dict.fromkeys(tuple(record["size"]) for record in records))
    rates = {(record["contender"], tuple(record["size"])): record["rows_a_second"] for record in records}
    costs = {(record["contender"], tuple(record["size"])): record["cpu_seconds_a_million"] for record in records}
    heads = [f"{n_rows:,} rows, {keys:,} keys, {buckets:,} buckets" for n_rows, keys, buckets in sizes]
    rows = [
        [
            name,
            *(f"{rates[name, size]:,.0f}; {costs[name, size]:.1f}" if (name, size) in rates else "" for size in sizes),
        ]
        for name in names
    ]
    if {"grurt", "identity"} <= {*names}:
        shares = [
            f"*{rates['grurt', size] / rates['identity', size]:.2f}; "
            f"{costs['identity', size] / costs['grurt', size]:.2f}*"
            for size in sizes
        ]
        rows.append(["*grurt: share of the identity*", *shares])
    ours = {tuple(record["size"]): record for record in records if record["contender"] == "grurt"}
    kept = [f"{ours[size]['state_bytes'] / 1e6:,.0f} MB" for size in sizes if size in ours]
    workers = [f"{ours[size]['worker_bytes'] / 1e6:,.0f} MB" for size in sizes if size in ours]
    rows += [["grurt: state in RocksDB's files", *kept], ["largest Python worker", *workers]] if ours else []
    return markdown_table(["rows a second; seconds of a core a million rows", *heads], rows)


TABLES: dict[str, tuple[str, Callable[[Results], str]]] = {
    "step-latency": ("step", step_table),
    "sequences": ("sequence", sequence_table),
    "streams": ("streams", streams_table),
    "quantized": ("quantized", quantized_table),
    "kernel": ("kernel", kernel_table),
    "tail": ("tail", tail_table),
    "busy": ("busy", tail_table),
    "calls": ("calls", calls_table),
    "generation": ("generation", generation_table),
    "networks": ("networks", networks_table),
    "steps": ("steps", steps_table),
    "step-pools": ("step_pools", step_pools_table),
    "threads": ("threads", threads_table),
    "gpu": ("gpu", gpu_table),
    "silence": ("silence", silence_table),
    "startup": ("startup", startup_table),
    "spark": ("spark", spark_table),
    "serving": ("serving", serving_table),
}
"""By the name of the markers: the suite, and what makes a table of its results."""


def _by_size(title: str, figures: Mapping[str, Mapping[Size, float]], extra: Sequence[Sequence[str]]) -> str:
    sizes = list(next(iter(figures.values())))
    best = {size: min(times[size] for times in figures.values()) for size in sizes}
    lines = [
        [name, *(_emphasised(_microseconds(times[size]), times[size] == best[size]) for size in sizes)]
        for name, times in figures.items()
    ]
    return markdown_table([title, *map(_head, sizes)], [*lines, *extra])


def _emphasised(cell: str, is_best: bool) -> str:
    return f"**{cell}**" if is_best else cell


def _ratios(ours: Mapping[Size, float], theirs: Mapping[Size, float]) -> list[str]:
    return [f"*{theirs[size] / ours[size]:#.3g}*" for size in ours]


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, all columns but the first aligned to the right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines))


def _head(size: Sequence[int]) -> str:
    return f"{size[0]},{size[1]}"


def _microseconds(time: float) -> str:
    return f"{time:.2f}" if time < 10 else f"{time:.1f}" if time < 100 else f"{time:.0f}"
