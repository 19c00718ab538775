import h5py
import numpy as np
import pyarrow.parquet as pq

from ssl_photoz.cutouts import batches
from ssl_photoz.cutouts.quality import ALL_ZERO, NOT_FINITE
from ssl_photoz.cutouts.reader import Cutouts
from ssl_photoz.training.row_selection import RowSelection

ROWS = 10


def test_what_a_run_does_without_is_listed_and_survives_it(tmp_path, monkeypatch):
    path = tmp_path / "cutouts.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        file["images"] = rng.normal(0, 0.01, (ROWS, 3, 16, 16)).astype("f4")
        file["images"][3] = 0
        file["TARGETID"] = np.arange(ROWS) + 2**60
        file["RA"], file["DEC"] = rng.uniform(0, 360, ROWS), rng.uniform(-60, 60, ROWS)
    good = [row for row in range(ROWS) if row != 3]
    plain = Cutouts.open(path)
    account = RowSelection(plain, tmp_path)
    plain.close()
    assert account.rows.tolist() == good
    with h5py.File(path, "r+") as file:
        file["images"][6, 1, 2, 2] = np.nan
    account.cutouts.read(account.rows)
    assert account.counts == {"rows_rejected": 1, "rows_bad_in_training": 0, "processes": 1}
    account.write()
    assert account.counts == {"rows_rejected": 1, "rows_bad_in_training": 1, "processes": 1}
    columns = {"row": [3, 6], "id": [str(2**60 + 3), str(2**60 + 6)]}
    columns |= {"reason": [ALL_ZERO, NOT_FINITE], "found": ["scan", "training"]}
    assert pq.read_table(tmp_path / "rejects.parquet").to_pydict() == columns

    monkeypatch.setattr(batches, "reject_reasons", None)  # nothing is looked at a second time
    again = RowSelection(Cutouts.open(path), tmp_path)
    assert again.rows.tolist() == good  # the same batches as before, with row 6 in them
    assert again.counts == account.counts
