"""What docs/spark.md shows first runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import ROOT

from grurt.demo import load_model, load_recordings


@pytest.mark.slow
def test_the_first_example(spark: Any, tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "spark.md").read_text(), re.DOTALL)[0]
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert said.returncode == 0, said.stderr[-2000:]
    assert said.stdout.count("|watch-7|") == 3
    answers = spark.read.parquet(str(tmp_path / "answers")).where("device = 'watch-7'").orderBy("time").collect()
    expected = load_model().stream().run(load_recordings().samples[7])
    assert np.array([row.probabilities for row in answers], np.float32).tobytes() == expected.tobytes()
