"""Boards that are emulated, and what compiles for them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grurt.native.c99.ports import Port, ports_of
from grurt.native.folder import write_files
from grurt.network.network import Network

FOLDER = Path(__file__).parent
N_STEPS = 100

_SEMIHOSTING = ("-semihosting-config", "enable=on,target=native")
_SCREENLESS = ("-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=0")


@dataclass(frozen=True)
class Machine:
    """A board.

    Parameters
    ----------
    name
        Its CPU.
    boards
        Boards that people have with such a CPU.
    compiler
        What compiles for it.
    startup
        The file that runs before main.
    emulator
        What runs a program.
    flash, ram
        Origin and length of its memories.
    instructions_per_tick
        Of what `counted` returns.
    """

    name: str
    boards: str
    compiler: tuple[str, ...]
    startup: str
    emulator: tuple[str, ...]
    flash: tuple[int, int]
    ram: tuple[int, int]
    instructions_per_tick: float = 1

    @property
    def missing(self) -> str | None:
        """The tool that is not installed; None if all are."""
        tools = (self.compiler[0], self.emulator[0])
        return next((tool for tool in tools if shutil.which(tool) is None), None)


def _arm(name: str, boards: str, machine: str, *flags: str, flash: int = 0, ram: int = 0x20000000) -> Machine:
    small = machine == "microbit"
    return Machine(
        name,
        boards,
        ("arm-none-eabi-gcc", f"-mcpu={name}", "-mthumb", *flags),
        "cortex_m.c",
        ("qemu-system-arm", "-M", machine, *_SCREENLESS, *_SEMIHOSTING, "-kernel"),
        (flash, 256 << 10 if small else 4 << 20),
        (ram, 16 << 10 if small else 2 << 20),
        # An instruction takes a nanosecond there, and a tick 62.5 or 40 or 50 of them.
        {"microbit": 62.5, "mps2-an505": 50}.get(machine, 40),
    )


_SINGLE = ("-mfloat-abi=hard", "-mfpu=fpv5-sp-d16")

MACHINES = (
    _arm("cortex-m0plus", "Raspberry Pi Pico, Arduino Zero, micro:bit", "microbit"),
    _arm("cortex-m3", "STM32F1 (Blue Pill), Arduino Due", "mps2-an385"),
    _arm("cortex-m4", "STM32F4, nRF52, Arduino Nano 33", "mps2-an386", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    _arm("cortex-m7", "Teensy 4, STM32H7, Portenta", "mps2-an500", *_SINGLE),
    _arm("cortex-m33", "Raspberry Pi Pico 2, nRF53, STM32U5", "mps2-an505", *_SINGLE, flash=0x10000000, ram=0x38000000),
    Machine(
        "rv32imc",
        "ESP32-C3, CH32V",
        ("riscv64-unknown-elf-gcc", "-march=rv32imc", "-mabi=ilp32", "--specs=picolibc.specs"),
        "riscv32.c",
        ("qemu-system-riscv32", "-M", "virt", "-bios", "none", *_SCREENLESS, *_SEMIHOSTING, "-kernel"),
        (0x80000000, 4 << 20),
        (0x80400000, 4 << 20),
    ),
)


class DoesNotFitError(RuntimeError):
    """A board has too little memory for a model."""


@dataclass(frozen=True)
class Measured:
    """What a model takes on a board: bytes, and instructions of a timestep."""

    flash: int
    ram: int
    stack: int
    instructions: int


def measure(
    machine: Machine, model: Network, files: Mapping[str, bytes], folder: Path, flags: Sequence[str] = ()
) -> Measured:
    """Compile a model, whose files in C are given, for a board, test it there, and return what it takes.

    Flash and static RAM are what a program has more with the model, its input and its output than without.

    Raises
    ------
    DoesNotFitError
        If the board has too little memory.
    RuntimeError
        If a tool fails, or the self-test does.
    """
    write_files(folder, dict(files))
    (folder / "program.h").write_text(_program_header(ports_of(model)))
    without = _compiled(machine, folder, "without", *flags)
    sized = _compiled(machine, folder, "sized", "-DWITH_MODEL", "-DM_NO_SELFTEST", *flags)
    tested = _compiled(machine, folder, "tested", "-DWITH_MODEL", "-DWITH_SELFTEST", *flags)
    printed = _run(*machine.emulator, tested, output="stderr")
    if not printed.endswith("done\n"):
        raise RuntimeError(f"{machine.name}: {printed}")
    found = {name: int(number) for name, number in (line.split() for line in printed.splitlines()[:-1])}
    (flash, ram), (least_flash, least_ram) = _sizes(machine, sized), _sizes(machine, without)
    instructions = round(found["counted"] * machine.instructions_per_tick / N_STEPS)
    stack = -(-found["stack"] // 4) * 4
    return Measured(flash - least_flash, ram - least_ram, stack, instructions)


def _program_header(ports: tuple[Port, ...]) -> str:
    arrays = "".join(f"static {port.type} {port.name}_[{port.count}];\n" for port in ports)
    arguments = ", ".join(f"{port.name}_" for port in ports)
    return f"{arrays}#define STEP m_step(&state, &scratch, {arguments})\n"


def _compiled(machine: Machine, folder: Path, name: str, *flags: str) -> Path:
    places = {"flash_origin": machine.flash[0], "flash_length": machine.flash[1]}
    places |= {"ram_origin": machine.ram[0], "ram_length": machine.ram[1]}
    model = [folder / "m.c"] if "-DWITH_MODEL" in flags else []
    out = folder / f"{machine.name}-{name}.elf"
    _run(
        *machine.compiler,
        *("-std=c99", "-Os", "-Wall", "-Wextra", "-Werror", "-ffunction-sections", "-fdata-sections"),
        *("-fno-math-errno", "-nostartfiles", "-Wl,--gc-sections", f"-I{FOLDER}", f"-I{folder}"),
        *(f"-Wl,--defsym={name}={place}" for name, place in places.items()),
        *("-T", FOLDER / "memory.ld", *flags),
        *(FOLDER / machine.startup, FOLDER / "program.c", *model),
        *("-o", out, "-lm"),
    )
    return out


def _sizes(machine: Machine, program: Path) -> tuple[int, int]:
    """Return the bytes of flash and of static RAM of a program."""
    tool = machine.compiler[0].removesuffix("gcc") + "size"
    text, data, bss = map(int, _run(tool, program).splitlines()[1].split()[:3])
    return text + data, data + bss


def _run(*command: str | Path, output: Literal["stdout", "stderr"] = "stdout") -> str:
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=300)
    if "will not fit in region" in finished.stderr:
        raise DoesNotFitError(finished.stderr.strip().splitlines()[-2])
    if finished.returncode:
        raise RuntimeError(f"{command[0]} has failed: {finished.stderr or finished.stdout}")
    return str(getattr(finished, output))
