"""``grurt serve``: a service that keeps the state of every client."""

import signal
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from grurt.cli import interrupts
from grurt.cli.exits import INTERRUPTED
from grurt.cli.parameters import READ, Command, Finite
from grurt.cli.printing import say, show
from grurt.errors import GrurtError
from grurt.installing import install_command

if TYPE_CHECKING:
    from grurt.model import Model
    from grurt.serving.access import Access
    from grurt.serving.reloading import ModelFile
    from grurt.serving.ways import MakeWay

EXAMPLE = """\b
Examples:
    grurt serve activity.grurt
    grurt serve activity.grurt denoise.onnx --state sqlite:///states.db
    grurt serve activity.grurt --grpc-port 8001
    grurt serve activity.grurt --mqtt mqtt://localhost --subscribe 'sensors/+/imu' --publish 'activity/{1}'
    grurt serve activity.grurt --host 0.0.0.0 --tokens tokens.txt --certificate cert.pem --key key.pem

\b
The page is at http://127.0.0.1:8000, sessions at ws://127.0.0.1:8000/ws?session=NAME&model=NAME, the Open
Inference Protocol below /v2, metrics at /metrics. docs/serving.md has the whole.
"""

_DAY = 86400.0


@click.command(cls=Command, epilog=EXAMPLE)
@click.argument("model_paths", metavar="MODEL...", type=READ, nargs=-1, required=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; see --tokens.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option(
    "--grpc-port",
    type=click.IntRange(0, 65535),
    help="Take gRPC at this port of the host, too (extra grpc); 0 takes a free one.",
)
@click.option(
    "--mqtt",
    metavar="ADDRESS",
    envvar="GRURT_MQTT",
    show_envvar=True,
    help="Take samples by an MQTT broker, too (extra mqtt): mqtt://[USER:PASSWORD@]HOST[:PORT], mqtts:// with TLS.",
)
@click.option(
    "--subscribe",
    metavar="[MODEL=]FILTER",
    multiple=True,
    help="Topics with samples, such as 'sensors/+/imu': what the wildcards match names the session. May be repeated.",
)
@click.option(
    "--publish",
    metavar="TOPIC",
    multiple=True,
    help="Where the answers to these go, such as 'activity/{1}', errors to TOPIC/error; once for each --subscribe.",
)
@click.option(
    "--mqtt-payload",
    type=click.Choice(["json", "binary"]),
    default="json",
    show_default=True,
    help="What payloads are that have no payload format indicator.",
)
@click.option(
    "--mqtt-client",
    metavar="NAME",
    help="By this name the broker keeps what comes while the service is away. Default: it keeps nothing.",
)
@click.option(
    "--state",
    metavar="ADDRESS",
    help="Keep states beyond the process: sqlite:///FILE, or redis://HOST. By default they end with it.",
)
@click.option(
    "--tokens",
    "tokens_path",
    metavar="FILE",
    type=READ,
    help="Tokens that clients need, one a line; behind it may stand how the names of its sessions begin.",
)
@click.option("--certificate", metavar="FILE", type=READ, help="Certificate for TLS, in PEM format.")
@click.option("--key", metavar="FILE", type=READ, help="Its private key. Default: in the same file.")
@click.option(
    "--insecure", is_flag=True, help="Listen and speak beyond this machine without tokens or TLS: behind a proxy."
)
@click.option(
    "--allow-host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="A name by which clients call the service; may be repeated. Default: localhost, and what --host says.",
)
@click.option(
    "--allow-origin",
    "origins",
    metavar="ORIGIN",
    multiple=True,
    help="Whose pages may connect, e.g. https://example.org; may be repeated. Default: the service's own.",
)
@click.option(
    "--on-model-change",
    "on_change",
    type=click.Choice(["finish", "reset"]),
    default="finish",
    show_default=True,
    help="What becomes of sessions whose model's file was replaced: they finish on the old model, or begin anew.",
)
@click.option("--watch-models", is_flag=True, help="Look for replaced files every second, and not at SIGHUP alone.")
@click.option("--max-sessions", type=click.IntRange(1), default=20_000, show_default=True, help="In memory.")
@click.option(
    "--idle",
    "idle",
    metavar="SECONDS",
    type=Finite(1000 * _DAY),
    default=3600.0,
    show_default=True,
    help="A session ends after so long without a sample.",
)
@click.option("--lifetime", metavar="SECONDS", type=Finite(1000 * _DAY), help="It ends after so long in any case.")
@click.option("--keep/--drop", default=True, show_default=True, help="A named session when its connection ends.")
@click.option("--max-message", metavar="BYTES", type=click.IntRange(256, 1 << 24), default=1 << 16, show_default=True)
@click.option("--max-body", metavar="BYTES", type=click.IntRange(256, 1 << 28), default=1 << 20, show_default=True)
@click.option(
    "--max-waiting",
    metavar="SAMPLES",
    type=click.IntRange(1, 1 << 20),
    default=32,
    show_default=True,
    help="Of a session; then nothing is read from its connection.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(2, 1 << 20),
    default=4096,
    show_default=True,
    help="Of a request to generate, those of its prompt among them.",
)
@click.option(
    "--max-generation",
    metavar="SECONDS",
    type=Finite(_DAY),
    default=30.0,
    show_default=True,
    help="Then nothing more is generated for a request.",
)
@click.option("--max-connections", type=click.IntRange(1), default=22_000, show_default=True)
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="For each model.")
@click.pass_context
def serve(ctx: click.Context, /, model_paths: tuple[Path, ...], **options: Any) -> None:
    """Serve models over the network, keeping every client's state.

    Sessions are there over WebSocket and HTTP, and over gRPC and MQTT where that is wished. A model's name is its
    file's, without the suffix. MODEL is a .grurt file, or one of another format that holds a whole network, which is
    converted at the start.

    Ctrl-C and SIGTERM end the service: what waits is answered, states are written, clients are told to come back.
    At SIGHUP, models whose files were replaced are loaded, and served to new sessions.
    """
    _expect_installed()
    from grurt.serving.limits import Limits
    from grurt.serving.server import Settings
    from grurt.serving.server import serve as run

    access = _access(**{name: options.pop(name) for name in ("tokens_path", "hosts", "origins")}, **options)
    limits = Limits(
        sessions=options["max_sessions"],
        idle=options["idle"],
        lifetime=options["lifetime"],
        keep=options["keep"],
        frame=options["max_message"],
        body=options["max_body"],
        waiting=options["max_waiting"],
        tokens=options["max_tokens"],
        generation=options["max_generation"],
        connections=options["max_connections"],
    )
    files = _files(model_paths)
    models = _load_models(files)
    names = ", ".join(models)
    ways = _grpc(**options) + _mqtt([*models], **options)
    ended_by = run(
        Settings(
            models=models,
            files=files,
            watches=options["watch_models"],
            renews=options["on_change"] == "reset",
            access=access,
            limits=limits,
            host=options["host"],
            port=options["port"],
            state=options["state"],
            certificate=options["certificate"],
            key=options["key"],
            threads=options["threads"],
            ways=ways,
            started=partial(_announce, names),
            told=show,
            warned=say,
        )
    )
    if ended_by == signal.SIGINT:
        ctx.exit(INTERRUPTED)


def _expect_installed() -> None:
    for name in ("httptools", "orjson", "picows", "prometheus_client", "starlette", "uvicorn", "uvloop"):
        if find_spec(name) is None:
            raise GrurtError(f"grurt serve needs {name}, which is not installed: {install_command('serve')}")


def _announce(names: str, address: str, *ways: str) -> None:
    show(f"serving {names} at {address}")
    for way in ways:
        show(way)


def _grpc(
    *, host: str, certificate: Path | None, key: Path | None, grpc_port: int | None, **options: Any
) -> "list[MakeWay]":
    """Return the way in over gRPC, if it is wished."""
    if grpc_port is None:
        return []
    _expect_extra("--grpc-port", "grpc", "grpc", "google.protobuf")
    from grurt.serving.grpc.server import GrpcServer

    return [partial(GrpcServer, host=host, port=grpc_port, certificate=certificate, key=key)]


def _mqtt(
    models: list[str], *, mqtt: str | None, subscribe: tuple[str, ...], publish: tuple[str, ...], **options: Any
) -> "list[MakeWay]":
    """Return the way in over MQTT, if it is wished."""
    if mqtt is None:
        if subscribe or publish or options["mqtt_client"] is not None:
            raise click.UsageError("--subscribe, --publish and --mqtt-client: give --mqtt, too")
        return []
    _expect_extra("--mqtt", "mqtt", "aiomqtt")
    from grurt.serving.access import LOOPBACK
    from grurt.serving.mqtt.bridge import MqttBridge, MqttSettings
    from grurt.serving.mqtt.broker import check_client_name, read_address
    from grurt.serving.mqtt.topics import read_routes

    address = read_address(mqtt)
    if address.host not in LOOPBACK and not address.is_secure and not options["insecure"]:
        raise click.UsageError(
            f"--mqtt {address}: what goes there can be read on its way: use mqtts://, or --insecure where something "
            "else protects it"
        )
    settings = MqttSettings(
        address=address,
        routes=read_routes([*subscribe], [*publish], models),
        is_text=options["mqtt_payload"] == "json",
        name=None if options["mqtt_client"] is None else check_client_name(options["mqtt_client"]),
        tell=say,
    )
    return [partial(MqttBridge, settings=settings)]


def _expect_extra(option: str, extra: str, *packages: str) -> None:
    for name in packages:
        if not _is_installed(name):
            raise GrurtError(f"{option} needs the package {name}: {install_command(extra)}")


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package around it is not there
        return False


def _access(
    *, tokens_path: Path | None, insecure: bool, hosts: tuple[str, ...], origins: tuple[str, ...], **options: Any
) -> "Access":
    from grurt.serving.access import LOOPBACK, Access, read_tokens

    host, certificate = options["host"], options["certificate"]
    if host not in LOOPBACK and not insecure and (tokens_path is None or certificate is None):
        raise click.UsageError(
            f"--host {host} lets other machines in: give --tokens and --certificate, or --insecure where something "
            "else protects the service"
        )
    if options["key"] is not None and certificate is None:
        raise click.UsageError("--key: give --certificate, too")
    permits = None if tokens_path is None else read_tokens(tokens_path)
    is_any = host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    if is_any and not hosts:
        say(f"note: --host {host} has no name: clients may call the service by any, unless --allow-host names them")
        return Access(hosts=None, origins=origins, permits=permits)
    return Access(hosts={*hosts, host}, origins=origins, permits=permits)


def _files(paths: tuple[Path, ...]) -> "dict[str, ModelFile]":
    from grurt.serving.models import name_of
    from grurt.serving.reloading import ModelFile

    files: dict[str, ModelFile] = {}
    for path in paths:
        name = name_of(path)
        if name in files:
            raise click.UsageError(f"{path}: there is a model {name} already: rename one of the files")
        files[name] = ModelFile(path)
    return files


def _load_models(files: "dict[str, ModelFile]") -> "dict[str, Model]":
    models = {}
    for name, file in files.items():
        models[name] = file.load()
        interrupts.check()
    return models
