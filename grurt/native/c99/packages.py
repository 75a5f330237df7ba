"""Folders that build tools take as they are: CMake, Arduino and PlatformIO."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from grurt.native.c99.example import sensor_sketch
from grurt.native.c99.text import kept_apart, named
from grurt.version import VERSION

if TYPE_CHECKING:
    from grurt.native.c99.ports import Given, Port

Package = Literal["arduino", "cmake", "platformio"]
"""As ``grurt export --package`` takes it."""

_SENTENCE = "A neural network that runs one timestep at a time, in C, without allocation."

_CMAKE = """\
cmake_minimum_required(VERSION 3.13)
project(grurt_model LANGUAGES C)

add_library(grurt_model src/grurt_model.c)
target_include_directories(grurt_model PUBLIC
    $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/src>
    $<INSTALL_INTERFACE:include>)
target_compile_features(grurt_model PUBLIC c_std_99)
set_target_properties(grurt_model PROPERTIES PUBLIC_HEADER src/grurt_model.h)
find_library(GRURT_LIBM m)
if(GRURT_LIBM)
    target_link_libraries(grurt_model PUBLIC m)
endif()

include(GNUInstallDirs)
install(TARGETS grurt_model)

# On its own, the folder also builds the example, which is its test.
if(CMAKE_SOURCE_DIR STREQUAL CMAKE_CURRENT_SOURCE_DIR)
    enable_testing()
    add_executable(grurt_model_example examples/main.c)
    target_link_libraries(grurt_model_example PRIVATE grurt_model)
    add_test(NAME grurt_model_selftest COMMAND grurt_model_example)
endif()
"""

_ARDUINO = """\
name=grurt_model
version={version}
author=grurt
maintainer=grurt
sentence={sentence}
paragraph=Exported by grurt {version}, fingerprint {fingerprint}.
category=Data Processing
url=https://github.com/grurt/grurt
architectures=*
includes=grurt_model.h
"""


def packaged(
    package: Package,
    name: str,
    files: dict[str, bytes],
    ports: tuple[Port, ...],
    given: tuple[Given, ...],
    fingerprint: str,
) -> dict[str, bytes]:
    """Return the files of a package, by their paths in it.

    Parameters
    ----------
    package
        The tool.
    name, files
        The model's name, and its files as they are without a package.
    ports, given
        Its inputs and outputs, and what streams are given once.
    fingerprint
        What identifies it, as text.
    """
    sources = {f"src/{name}.{suffix}": files[f"{name}.{suffix}"] for suffix in ("c", "h")}
    if package == "cmake":
        return sources | {
            "CMakeLists.txt": _CMAKE.replace("grurt_model", name).encode(),
            "examples/main.c": files["main.c"],
        }
    sketch = named(kept_apart(sensor_sketch(ports, given), name), name).replace("<grurt.h>", f"<{name}.h>")
    if package == "platformio":
        return sources | {
            "library.json": _library_json(name, fingerprint).encode(),
            f"examples/{name}_sensor/{name}_sensor.cpp": f"#include <Arduino.h>\n{sketch}".encode(),
        }
    properties = _ARDUINO.format(version=VERSION, sentence=_SENTENCE, fingerprint=fingerprint)
    return sources | {
        "library.properties": properties.replace("grurt_model", name).encode(),
        f"examples/{name}_sensor/{name}_sensor.ino": sketch.encode(),
    }


def _library_json(name: str, fingerprint: str) -> str:
    described = {
        "name": name,
        "version": VERSION,
        "description": _SENTENCE,
        "keywords": ["neural-network", "gru", fingerprint],
        "frameworks": "*",
        "platforms": "*",
        "headers": f"{name}.h",
        "examples": [{"name": "sensor", "base": f"examples/{name}_sensor", "files": [f"{name}_sensor.cpp"]}],
    }
    return json.dumps(described, indent=2) + "\n"
