"""A bucket of a keyed stream that must stay readable.

``python tests/helpers/golden_bucket.py`` writes ``tests/data/spark/bucket.hex``: to be done again only when the format
or what identifies a model changes on purpose, because every checkpoint that users keep becomes unreadable then.
"""

from __future__ import annotations

import golden_snapshot
import numpy as np
from keyed_rows import Row, settings_of, table_of
from paths import DATA

from grurt.spark.advance import Moment, advance
from grurt.spark.bucket import Bucket, empty, encode
from grurt.spark.pool import BucketPool

FILE = DATA / "spark" / "bucket.hex"
MODEL = golden_snapshot.model()
RULES = settings_of(MODEL, lateness=5)
NUMBER = 3


def bucket() -> Bucket:
    """Return a bucket of three keys, one of them with two rows, and a row that is held back."""
    keys, orders = ["a", "Ä", "", "a", "later"], [1, 2, 3, 4, 30]
    frames = np.arange(10, dtype=np.float32).reshape(5, 2) / 16
    rows = [Row(key, (at,), {"x": x}) for key, at, x in zip(keys, orders, frames, strict=True)]
    _, after = advance(empty(RULES, NUMBER), table_of(rows, RULES), Moment(20, 77), RULES, BucketPool(MODEL, "refuse"))
    return after._replace(timer=30)


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(encode(bucket(), RULES).hex("\n", -40) + "\n")
