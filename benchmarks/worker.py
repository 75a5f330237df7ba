"""One process that measures: started by `benchmarks.__main__`, with one thread for every library."""

import json
import sys
from pathlib import Path

from benchmarks.suites import SUITES, Settings
from benchmarks.timing import pin, quiet


def main(job_path: Path, result_path: Path) -> None:
    """Run the job of a JSON file, and write its records to another."""
    job = json.loads(job_path.read_text())
    core = pin(job["core"])
    settings = Settings(**job["settings"] | {"sizes": tuple(map(tuple, job["settings"]["sizes"]))})
    with quiet():
        records = SUITES[job["suite"]].measure(settings)
    result_path.write_text(json.dumps({"core": core, "records": records}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
