"""The challenge's populations, against a loop over rows with the rules written out by hand."""

import csv
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from ssl_photoz.recipes.survey import select as recipe

from ssl_photoz import cli
from ssl_photoz.core.errors import ConfigError, DataError
from ssl_photoz.fetching.challenge.cuts import each_band
from ssl_photoz.fetching.challenge.sample import GROUPS, Sample, draw

ROWS = 600


def desi_like(seed=0):
    """A catalogue in which every cut of every population removes some rows and keeps others."""
    rng = np.random.default_rng(seed)

    def some(good, bad, share):
        return np.where(rng.random(ROWS) < share, bad, good)

    r_mag = rng.uniform(17, 21.5, ROWS)
    gr = rng.normal(0.7, 0.4, ROWS)
    columns = {
        "targetid": 39_600_000_000_000_000 + 5 * rng.integers(0, 500, ROWS),
        "survey": rng.choice(["main", "sv3"], ROWS),
        "program": rng.choice(["bright", "dark"], ROWS),
        "ra": rng.uniform(0, 360, ROWS),
        "dec": rng.uniform(-30, 80, ROWS),
        "z": some(rng.uniform(0, 0.5, ROWS), 1.7, 0.05),
        "zwarn": some(0, 4, 0.1),
        "deltachi2": rng.exponential(300, ROWS),
        "spectype": some("GALAXY", "QSO", 0.1),
        "allmask_r": some(0, 2, 0.1),
        "shape_r": some(rng.lognormal(0.5, 0.6, ROWS), 0.0, 0.1),
        "shape_r_ivar": some(rng.lognormal(5, 1, ROWS), 0.0, 0.05),
    }
    for name, mag in (("g", r_mag + gr), ("r", r_mag), ("z", r_mag - 0.5)):
        columns[f"flux_{name}"] = 10 ** ((22.5 - mag) / 2.5)
        columns[f"flux_ivar_{name}"] = some(rng.lognormal(3, 2, ROWS), 0.0, 0.03)
        columns[f"mw_transmission_{name}"] = rng.uniform(0.6, 1, ROWS)
        columns[f"rchisq_{name}"] = some(some(rng.uniform(0.6, 1.5, ROWS), 3.0, 0.2), 120.0, 0.1)
        columns[f"fracflux_{name}"] = rng.exponential(0.15, ROWS)
    columns["flux_g"][:20] *= -1
    columns["rchisq_r"][20:40] = np.nan
    return columns


def expected_group(row, dwarfs, taken):
    """What the challenge's script does with one row, cut by cut."""
    if row["zwarn"] != 0 or row["z"] >= 1.5 or row["allmask_r"] != 0:
        return ""
    if row["flux_r"] <= 10 ** ((22.5 - 21.2) / 2.5):
        return ""
    key = (row["targetid"], row["survey"], row["program"])
    if key in dwarfs:
        return GROUPS[0] if row["deltachi2"] > 40 else ""
    if row["spectype"] != "GALAXY" or not good_quality(row):
        return ""
    if row["deltachi2"] > 40 and nearby(row):
        taken.add(key)
        return GROUPS[1]
    return GROUPS[2] if row["targetid"] % 20 == 0 else ""


def good_quality(row):
    snr, fracflux, rchisq, clean = 0, 0, 0, 0
    for b in "grz":
        s = row[f"flux_{b}"] * math.sqrt(row[f"flux_ivar_{b}"]) if row[f"rchisq_{b}"] < 100 else 0
        snr += s >= 5
        fracflux += row[f"fracflux_{b}"] <= 0.35
        rchisq += row[f"rchisq_{b}"] <= 2
        clean += s >= 30 or row[f"rchisq_{b}"] <= 0.85
    if min(snr, fracflux, rchisq, clean) < 2 or row["flux_g"] < 0:
        return False
    return -2.5 * math.log10(row["flux_g"] / row["flux_r"]) > -0.1


def nearby(row):
    mags, errors = {}, {}
    for b in "gr":
        flux, ivar = max(row[f"flux_{b}"], 1e-9), max(row[f"flux_ivar_{b}"], 1e-9)
        mags[b] = 22.5 - 2.5 * math.log10(flux) + 2.5 * math.log10(row[f"mw_transmission_{b}"])
        errors[b] = 1.0857362047581294 / flux / math.sqrt(ivar)
    radius = row["shape_r"]
    if radius == 0:
        return False
    sigma_r = 1 / math.sqrt(max(row["shape_r_ivar"], 1e-9))
    mu = mags["r"] + 2.5 * math.log10(2 * math.pi * radius**2)
    sigma_mu = math.hypot(errors["r"], 2 * 1.0857362047581294 * sigma_r / radius)
    colour = mags["g"] - mags["r"] - math.hypot(errors["g"], errors["r"])
    faint = mags["r"] - 14
    return mu + sigma_mu - 0.7 * faint > 16.8 and colour + 0.06 * faint < 0.99


def by_hand(columns, dwarfs):
    seen, taken, groups = set(), set(), []
    for i in range(ROWS):
        row = {name: values[i].item() for name, values in columns.items()}
        key = (row["targetid"], row["survey"], row["program"])
        groups.append("" if key in seen else expected_group(row, dwarfs, taken))
        seen.add(key)
    return groups


@pytest.fixture
def columns():
    return desi_like()


@pytest.fixture
def dwarfs(columns, tmp_path):
    """Every ninth row is a dwarf; two of the list are masked, one is an ELG."""
    rows = np.arange(0, ROWS, 9)
    mask, warn = np.zeros(len(rows), int), np.zeros(len(rows), bool)
    sample = np.array(["BGS_BRIGHT"] * len(rows), dtype="S10")
    mask[0], warn[1], sample[2] = 3, True, b"ELG"
    table = Table({name.upper(): columns[name][rows] for name in ("targetid", "survey", "program")})
    table["RA"], table["DEC"] = columns["ra"][rows], columns["dec"][rows]
    table["DWARF_MASKBIT"], table["ZWARN"], table["SAMPLE"] = mask, warn, sample
    path = tmp_path / "dwarfs.fits"
    table.write(path)
    names = ("targetid", "survey", "program")
    return path, {tuple(columns[name][row].item() for name in names) for row in rows[3:]}


def select(*arguments):
    cli.run("select", [str(argument) for argument in arguments])


@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_populations_are_those_of_the_challenge(columns, dwarfs, tmp_path, case, capsys):
    path, listed = dwarfs
    Table({case(name): values for name, values in columns.items()}).write(tmp_path / "c.fits")
    out = tmp_path / "sample.parquet"
    select(f"catalogue={tmp_path / 'c.fits'}", f"dwarfs={path}", f"out={out}")
    expected = by_hand(columns, listed)
    assert min(expected.count(name) for name in GROUPS) >= 3
    sample = pq.read_table(out).to_pydict()
    assert sample["group"] == [name for name in expected if name]
    kept = [i for i in range(ROWS) if expected[i]]
    assert sample[case("targetid")] == columns["targetid"][kept].tolist()
    one = [{name: values[i].item() for name, values in columns.items()} for i in kept]
    assert sample["passes_df_cuts"] == [nearby(row) for row in one]
    said = capsys.readouterr().out
    assert f"{ROWS} rows in, {len(kept)} selected, {ROWS - len(kept)} removed" in said
    assert "1 fail SAMPLE is not ELG" in said
    assert "by TARGETID, survey and program" in said
    repeated = len(kept) - len(set(sample[case("targetid")]))
    assert f"{repeated} selected rows repeat a TARGETID" in said


def test_every_removed_row_is_counted(columns, dwarfs, tmp_path):
    Table(columns).write(tmp_path / "c.fits")
    select(f"catalogue={tmp_path / 'c.fits'}", f"dwarfs={dwarfs[0]}", f"out={tmp_path / 's.csv'}")
    with (tmp_path / "s.cuts.csv").open() as file:
        steps = list(csv.DictReader(file))
    after = {"every population": ROWS}
    for step in steps:
        start = after.get(step["group"], after["every population"])
        assert int(step["rows_before"]) == start
        assert int(step["rows_after"]) == start - int(step["removed"])
        after[step["group"]] = int(step["rows_after"])
    assert {step["cut"] for step in steps} == {
        step["cut"] for step in steps if int(step["removed"]) > 0
    }
    sample = Table.read(tmp_path / "s.csv")
    for name in GROUPS:
        assert after[name] == int((sample["group"] == name).sum())


def test_one_row_per_galaxy(columns, dwarfs, tmp_path):
    Table(columns).write(tmp_path / "c.fits")
    arguments = [f"catalogue={tmp_path / 'c.fits'}", f"dwarfs={dwarfs[0]}"]
    select(*arguments, f"out={tmp_path / 'all.fits'}")
    select(*arguments, f"out={tmp_path / 'one.fits'}", "repeats=first")
    every, one = (Table.read(tmp_path / name) for name in ("all.fits", "one.fits"))
    assert len(every) > len(one) == len(set(one["targetid"].tolist()))
    assert set(one["targetid"].tolist()) == set(every["targetid"].tolist())


def test_a_cut_without_its_columns_is_refused_or_left_out_aloud(columns, tmp_path, capsys):
    for name in each_band("rchisq"):
        del columns[name]
    Table(columns).write(tmp_path / "c.fits")
    arguments = [f"catalogue={tmp_path / 'c.fits'}", f"out={tmp_path / 's.fits'}"]
    said = r"\(signal: rchisq_g, rchisq_r, rchisq_z; rchisq: .*without=\[signal,rchisq,clean\]"
    with pytest.raises(DataError, match=said):
        select(*arguments)
    select(*arguments, "without=[signal,rchisq,clean]")
    said = capsys.readouterr().out
    assert said.count("NOT APPLIED") == 6
    assert "population 1 stays empty" in said
    with pytest.raises(ConfigError, match="without= names chisq; cuts are zwarn"):
        select(*arguments, "without=[chisq]")


def test_a_draw_does_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(3)
    keys = np.array([f"k{i:03}" for i in range(200)])
    group = rng.choice(np.array([*GROUPS, ""]), 200)
    every = Sample(group, np.zeros(200, bool), ())
    order = rng.permutation(200)
    mixed = Sample(group[order], np.zeros(200, bool), ())
    drawn = draw(every, keys, per_group=7, seed=1)
    again = draw(mixed, keys[order], per_group=7, seed=1)
    for name in GROUPS:
        picked = set(keys[drawn.group == name])
        assert len(picked) == 7
        assert picked == set(keys[order][again.group == name])
    other = draw(every, keys, per_group=7, seed=2)
    assert set(keys[other.group != ""]) != set(keys[drawn.group != ""])
    assert sum(step.removed for step in drawn.steps) == int((group != "").sum()) - 21


def test_nothing_selected_is_an_error(columns, tmp_path):
    columns["zwarn"][:] = 1
    Table(columns).write(tmp_path / "c.fits")
    with pytest.raises(DataError, match="no row of"):
        select(f"catalogue={tmp_path / 'c.fits'}", f"out={tmp_path / 's.fits'}")
    assert not (tmp_path / "s.fits").exists()


def test_the_function_takes_text_and_gives_the_path(columns, dwarfs, tmp_path):
    Table(columns).write(tmp_path / "c.fits")
    out = recipe.select(str(tmp_path / "c.fits"), str(tmp_path / "s.csv"), dwarfs=str(dwarfs[0]))
    assert out == tmp_path / "s.csv"
    assert out.exists()
    with pytest.raises(ConfigError, match="per_group is 0"):
        recipe.select(tmp_path / "c.fits", out, per_group=0)
