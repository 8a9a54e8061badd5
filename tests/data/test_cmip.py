"""Monthly rain: whatever the file looks like it becomes one normal form, or a clear refusal."""

import gzip
import pickle

import numpy as np
import pytest
import xarray as xr

from longwang_ray.data.cmip import (
    SourceError,
    open_monthly,
    require_period,
    require_region,
    splice,
)
from longwang_ray.domain.grid import era5_grid


def refusal(path, **options):
    with pytest.raises(SourceError) as caught:
        open_monthly(path, **options)
    message = str(caught.value)
    assert message.count(str(path)) <= 1, message
    return message


def in_mm(dataset):
    """What `monthly` holds, as the normal form has it."""
    return (dataset["pr"].values * np.float64(86400)).astype(np.float32)[:, ::-1]


# ---- one normal form ----


def test_plain_file(monthly, write):
    dataset = monthly()
    source = open_monthly(write(dataset))
    np.testing.assert_allclose(source.rain, in_mm(dataset), rtol=1e-6)
    assert source.rain.dtype == np.float32
    assert source.rain.flags.writeable is False
    assert source.grid.lat[0] == 85
    assert source.grid.lat_bounds[0].tolist() == [90, 80]
    assert source.grid.is_global_lon
    assert [str(m) for m in source.record.months] == ["1960-11", "1960-12", "1961-01"]
    assert source.attributes["source_id"] == "TEST"
    assert source.attributes["original_units"] == "kg m-2 s-1"


def shifted(dataset):
    """Longitudes −180..180."""
    rolled = dataset.roll(lon=dataset.sizes["lon"] // 2, roll_coords=True)
    lon = rolled["lon"].values
    turn = np.where(lon >= 180, 360, 0)
    rolled["lon"] = ("lon", lon - turn, dataset["lon"].attrs)
    if "lon_bnds" in rolled:
        rolled["lon_bnds"] = (("lon", "bnds"), rolled["lon_bnds"].values - turn[:, None])
    return rolled


def cyclic(dataset):
    """The first column once more at 360°E."""
    return xr.concat([dataset, dataset.isel(lon=[0])], "lon", data_vars="minimal").assign_coords(
        lon=("lon", np.append(dataset["lon"].values, 360.0), dataset["lon"].attrs)
    )


def scaled(dataset, units, factor):
    dataset = dataset.copy(deep=True)
    dataset["pr"] = (dataset["pr"].astype("f8") * factor).assign_attrs(units=units)
    return dataset


def monthly_bounds(dataset):
    """Bounds of latitude that some joined stores repeat for every month."""
    lat = dataset["lat"].values
    bounds = np.stack([lat - 5, lat + 5], axis=1)
    return ("time", "lat", "bnds"), np.stack([bounds] * dataset.sizes["time"])


def renamed(dataset):
    """The old names, and latitudes and longitudes without any attribute but degrees."""
    old = dataset.rename(lat="latitude", lon="longitude")
    old["latitude"].attrs = {"units": "Degrees", "axis": "Y"}
    old["longitude"].attrs = {"units": "Degrees", "axis": "X"}
    return old


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.isel(lat=slice(None, None, -1)),
        lambda d: d.isel(time=[2, 0, 1]),
        lambda d: d.transpose("lon", "time", "lat", ...),
        shifted,
        cyclic,
        renamed,
        lambda d: scaled(d, "mm/day", 86400),
        lambda d: scaled(d, "m s-1", 1e-3),
        lambda d: d.expand_dims(member_id=["r1"], axis=1).drop_vars("member_id"),
        lambda d: d.drop_vars("time_bnds"),
        lambda d: d.assign_coords(height=2.0),
        lambda d: d.assign(lat_bnds=monthly_bounds(d)),
    ],
    ids=[
        "rows",
        "time",
        "dims",
        "-180",
        "cyclic",
        "names",
        "mm/day",
        "m/s",
        "member",
        "stamps",
        "h",
        "bnds(t)",
    ],
)
def test_looks_do_not_matter(monthly, write, change):
    plain = monthly(bounds=False)
    expected = open_monthly(write(plain))
    if "bounds" not in plain["time"].attrs:
        plain["time_bnds"] = monthly()["time_bnds"]
    source = open_monthly(write(change(plain), "changed.nc"))
    np.testing.assert_allclose(source.rain, expected.rain, rtol=2e-6)
    assert source.grid == expected.grid
    assert source.record == expected.record


def test_the_digest_is_of_the_content_only(monthly, write):
    dataset = monthly()
    digest = open_monthly(write(dataset)).digest
    other = dataset.isel(lat=slice(None, None, -1), time=[1, 2, 0]).assign_attrs(title="other")
    assert open_monthly(write(other, "b.nc", "NETCDF3_CLASSIC")).digest == digest
    dataset["pr"][0, 0, 0] *= 1.01
    assert open_monthly(write(dataset, "c.nc")).digest != digest


def test_a_source_survives_pickling(monthly, write):
    source = open_monthly(write(monthly()))
    again = pickle.loads(pickle.dumps(source))
    assert again.digest == source.digest
    assert np.array_equal(again.rain, source.rain)


@pytest.mark.parametrize(
    "kind", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF4_CLASSIC"]
)
def test_every_netcdf_format(monthly, write, kind):
    assert open_monthly(write(monthly(), kind=kind)).rain.shape == (3, 18, 18)


@pytest.mark.parametrize("version", [2, 3])
def test_zarr(monthly, tmp_path, version):
    path = str(tmp_path / "store")
    dataset = monthly()
    dataset.to_zarr(path, zarr_format=version, consolidated=version == 2)
    np.testing.assert_allclose(open_monthly(path).rain, in_mm(dataset), rtol=1e-6)


def test_remote_files_and_stores(monthly, write):
    import fsspec

    memory = fsspec.filesystem("memory")
    dataset = monthly()
    with open(write(dataset), "rb") as file:
        memory.pipe_file("/data/one/pr.nc", file.read())
    dataset.to_zarr("memory://data/store", zarr_format=2, consolidated=True)
    expected = in_mm(dataset)
    for url in ("memory://data/one/pr.nc", "memory://data/one/*.nc", "memory://data/store"):
        np.testing.assert_allclose(open_monthly(url).rain, expected, rtol=1e-6)
    assert "no such file" in refusal("memory://data/nothing.nc")
    memory.rm("/data", recursive=True)


def test_several_files_make_one_record(monthly, write, tmp_path):
    whole = monthly(6)
    write(whole.isel(time=slice(3, 6)), "pr_a.nc")
    write(whole.isel(time=slice(0, 3)), "pr_b.nc")
    source = open_monthly(str(tmp_path / "pr_?.nc"))
    np.testing.assert_allclose(source.rain, in_mm(whole), rtol=1e-6)
    assert source.attributes["tracking_id"] == "hdl:1/2 hdl:1/2"
    write(monthly(6).isel(time=slice(2, 6)), "pr_c.nc")
    assert "duplicate months: 1961-01" in refusal(str(tmp_path / "pr_?.nc"))
    write(monthly(lat=np.arange(-80, 81, 10)), "pr_c.nc")
    assert "files of different models?" in refusal(str(tmp_path / "pr_?.nc"))
    write(monthly(calendar="360_day"), "pr_c.nc")
    assert "calendar" in refusal(str(tmp_path / "pr_?.nc"))


def test_fill_values_declared_or_not_are_missing(monthly, write):
    dataset = monthly()
    dataset["pr"].values[0, 0, 0] = 1e20
    dataset["pr"].values[0, 0, 1] = np.nan
    dataset["pr"].values[0, 0, 2] = -9.96921e36
    dataset["pr"].encoding["_FillValue"] = np.float32(-999)
    dataset["pr"].values[0, 0, 3] = -999
    rain = open_monthly(write(dataset)).rain
    assert np.isnan(rain[0, -1, :4]).all()
    assert np.isfinite(rain).sum() == rain.size - 4


def test_packed_integers(monthly, write):
    dataset = monthly()
    dataset["pr"] = (dataset["pr"] * 86400).assign_attrs(units="mm d-1")
    dataset["pr"].encoding = {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -32768}
    np.testing.assert_allclose(open_monthly(write(dataset)).rain, in_mm(monthly()), atol=0.006)


def test_negatives_within_noise_become_zero(monthly, write):
    dataset = monthly()
    dataset["pr"].values[0, 0, :2] = -1e-8
    source = open_monthly(write(dataset))
    assert (source.rain >= 0).all()
    assert source.attributes["negatives_set_to_zero"] == "2"


def test_a_single_month_with_a_scalar_time(monthly, write):
    assert open_monthly(write(monthly(1).isel(time=0))).rain.shape == (1, 18, 18)


# ---- refusals ----


def test_no_such_variable_says_what_is_there(monthly, write):
    message = refusal(write(monthly().rename(pr="prc")))
    assert "no variable 'pr'; there are: prc (kg m-2 s-1)" in message
    assert "lat_bnds" not in message


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ("furlong", "unknown units 'furlong'"),
        ("mm", "unknown units 'mm' (an amount, without the time in which it fell)"),
        (None, "has no units"),
    ],
)
def test_units(monthly, write, units, expected):
    dataset = monthly()
    dataset["pr"].attrs = {} if units is None else {"units": units}
    assert expected in refusal(write(dataset))


def test_wrong_units_show_in_the_global_mean(monthly, write):
    dataset = monthly()
    dataset["pr"].attrs["units"] = "mm/day"
    assert "global mean is 3." in refusal(write(dataset))
    assert "where Earth has about 2.7: are the units right?" in refusal(write(dataset))


def test_values(monthly, write):
    dataset = monthly()
    dataset["pr"].values[1, 2, 3] = 0.01
    message = refusal(write(dataset))
    assert "implausible monthly mean: 864 mm/day in 1960-12 at lat -65, lon 60" in message
    dataset["pr"].values[1, 2, 3] = -1e-6
    assert "negative rain beyond noise: -0.0864 mm/day in 1960-12" in refusal(write(dataset))
    dataset["pr"].values[1] = np.nan
    assert "no value at all in 1 of 3 months, first 1960-12" in refusal(write(dataset))
    dataset["pr"].values[:] = np.nan
    assert "every value is missing" in refusal(write(dataset))


def test_dimensions_that_are_a_choice(monthly, write):
    dataset = xr.concat([monthly(), monthly()], "realization")
    assert "pr has 2 entries along realization" in refusal(write(dataset))


def plane(dataset, rotated):
    dataset = dataset.rename(lat="y", lon="x").drop_vars(["y", "x"])
    where = np.zeros((18, 18))
    dataset["lat"] = (("y", "x"), where, {"units": "degrees_north"})
    dataset["lon"] = (("y", "x"), where, {"units": "degrees_east"})
    if rotated:
        dataset["crs"] = ((), 0, {"grid_mapping_name": "rotated_latitude_longitude"})
    return dataset


def test_grids_that_are_not_rectilinear(monthly, write):
    assert "rotated-pole grid: pr(time, y, x)" in refusal(
        write(plane(monthly(bounds=False), True))
    )
    message = refusal(write(plane(monthly(bounds=False), False), "b.nc"))
    assert "curvilinear grid: pr(time, y, x) has 2-D coordinates lat(y, x)" in message
    assert "cdo remapcon" in message
    cells = monthly(bounds=False).isel(lon=0, drop=True).rename(lat="cell").drop_vars("cell")
    cells["lat"] = ("cell", np.arange(18.0), {"units": "degrees_north"})
    cells["lon"] = ("cell", np.arange(18.0), {"units": "degrees_east"})
    assert "unstructured grid" in refusal(write(cells, "c.nc"))
    nothing = monthly(bounds=False).rename(lat="y", lon="x").drop_vars(["y", "x"])
    assert "no latitude and longitude axes found for pr(time, y, x)" in refusal(
        write(nothing, "d.nc")
    )


@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT_DATA"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.99])
def test_torn_files(monthly, write, tmp_path, kind, share):
    with open(write(monthly(), kind=kind), "rb") as file:
        content = file.read()
    torn = tmp_path / "torn.nc"
    torn.write_bytes(content[: int(len(content) * share)])
    assert "torn" in refusal(str(torn))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty (0 bytes)"),
        (
            b"\n<!DOCTYPE html><html><body>Please log in</body>",
            "a web page was saved in its place",
        ),
        (b"<?xml version='1.0'?><Error>NoSuchKey</Error>", "a web page"),
        (b"GRIB\x00\x00", "a GRIB file"),
        (gzip.compress(b"CDF"), "compressed by gzip"),
        (b"time,lat,lon,pr\n1,2,3,4\n", "not NetCDF: it begins with b'time,lat,lon,pr"),
        (b"CDF\x01\x00", "torn within its header"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "torn"),
    ],
)
def test_files_that_are_no_netcdf(tmp_path, content, expected):
    path = tmp_path / "pr.nc"
    path.write_bytes(content)
    assert expected in refusal(str(path))


def test_nothing_there(tmp_path):
    assert "no such file or store" in refusal(str(tmp_path / "pr.nc"))
    assert "nor any that matches" in refusal(str(tmp_path / "*.nc"))
    (tmp_path / "a.txt").write_text("x")
    assert "a folder, but no Zarr store" in refusal(str(tmp_path))
    assert "fsspec cannot open such a URL" in refusal("nowhere://x/y.nc")
    (tmp_path / "zarr.json").write_text("{")
    assert "not readable" in refusal(str(tmp_path))


def test_a_zarr_store_that_lacks_a_chunk(monthly, tmp_path):
    path = tmp_path / "store"
    dataset = monthly()
    dataset.to_zarr(
        path, zarr_format=2, consolidated=True, encoding={"pr": {"chunks": (1, 18, 18)}}
    )
    (path / "pr" / "1.0.0").unlink()
    assert "no value at all in 1 of 3 months" in refusal(str(path))
    (path / "pr" / "1.0.0").write_bytes(b"broken")
    assert "not readable, probably torn" in refusal(str(path))


# ---- what a run asks for ----


def test_require_period(monthly, write):
    source = open_monthly(write(monthly(14)))
    assert require_period(source, None) == range(14)
    assert require_period(source, ("1961-01", "1961-12")) == range(2, 14)
    for period in [("1960-10", "1960-11"), ("1961-12", "1962-01"), ("1960-13", "1961-01")]:
        with pytest.raises(SourceError, match=f"period {period[0]} to {period[1]}"):
            require_period(source, period)
    with pytest.raises(SourceError, match="ends before it begins"):
        require_period(source, ("1961-02", "1961-01"))
    with pytest.raises(SourceError, match="1960-11 … 1961-12"):
        require_period(source, ("1850-01", "1850-02"))


def test_require_region_of_a_global_source(monthly, write):
    source, fine = open_monthly(write(monthly())), era5_grid()
    assert require_region(source, fine) == ((0, 720), (0, 1440))
    assert require_region(source, fine, (-10, 40), (350, 10)) == ((201, 200), (1400, 80))
    with pytest.raises(SourceError, match="region: no cell centre"):
        require_region(source, fine, (10.1, 10.2), (0, 1))


@pytest.mark.parametrize("west", [20.0, 340.0, -20.0, 350.0])
def test_require_region_of_a_regional_source(monthly, write, west):
    lon = west + 5 + 10 * np.arange(5)
    source = open_monthly(write(monthly(lat=np.arange(-15.0, 26, 10), lon=lon)))
    fine = era5_grid()
    assert (np.diff(source.grid.lon) > 0).all()
    assert not source.grid.is_global_lon
    rows, columns = require_region(source, fine, (-19.75, 29.75), (west + 0.25, west + 49.75))
    assert (rows[1], columns[1]) == (198, 198)
    assert columns[0] == ((west + 0.25) % 360) / 0.25
    with pytest.raises(SourceError, match=r"region\.lat .* 2 of 200 cells lie outside"):
        require_region(source, fine, (-20.25, 29.75), (west + 1, west + 20))
    with pytest.raises(
        SourceError, match=r"region\.lon .* 1 of 40 cells lie outside .* lat -20 to 30"
    ):
        require_region(source, fine, (0, 10), (west, west + 10))
    with pytest.raises(SourceError, match=r"region\.lon .* outside"):
        require_region(source, fine, (0, 10), (west + 100, west + 110))
    with pytest.raises(SourceError, match=r"region\.lat \(the whole globe\)"):
        require_region(source, fine)


def test_splice(monthly, write):
    whole = monthly(8)
    parent = open_monthly(write(whole.isel(time=slice(0, 5)), "a.nc"))
    child = open_monthly(write(whole.isel(time=slice(5, 8)), "b.nc"))
    both = splice(parent, child)
    assert both.digest == open_monthly(write(whole, "c.nc")).digest
    assert both.attributes["parent_digest"] == parent.digest
    late = open_monthly(write(whole.isel(time=slice(6, 8)), "d.nc"))
    with pytest.raises(SourceError, match="1960-11 to 1961-03 and the scenario begins 1961-05"):
        splice(parent, late)
    other = open_monthly(write(monthly(lat=np.arange(-80, 81, 10)), "e.nc"))
    with pytest.raises(SourceError, match="use one grid_label"):
        splice(parent, other)
    with pytest.raises(SourceError, match="calendar"):
        splice(parent, open_monthly(write(monthly(calendar="360_day"), "f.nc")))


# ---- real files ----


@pytest.mark.parametrize(
    ("name", "shape", "calendar", "first", "last", "mean"),
    [
        ("*CMCC-CM2-SR5*", (1, 192, 288), "noleap", "1960-11", "1960-11", 2.897),
        ("*NorESM1-ME*", (12, 96, 144), "standard", "2000-01", "2000-12", 2.785),
        ("CCSM3*", (1, 128, 256), "noleap", "2000-05", "2000-05", 2.848),
        ("*ACCESS*", (180, 19, 36), "proleptic_gregorian", "2000-01", "2014-12", 3.125),
        ("*MRI-CGCM3*", (12, 72, 144), "standard", "2000-01", "2000-12", 2.903),
        ("*INCA_historical*", (432, 8, 5), "noleap", "1979-01", "2014-12", 1.532),
        ("*INCA_ssp370*", (432, 8, 5), "noleap", "2015-01", "2050-12", 1.443),
    ],
)
def test_real_files(real, name, shape, calendar, first, last, mean):
    source = open_monthly(real(f"cmip/{name}"))
    months = source.record.months
    assert source.rain.shape == shape
    assert (source.record.calendar, str(months[0]), str(months[-1])) == (calendar, first, last)
    area = source.grid.areas()
    weighted = (source.rain * area).sum() / area.sum() / len(months)
    assert weighted == pytest.approx(mean, abs=1e-3)
    assert (np.diff(source.grid.lat) < 0).all()
    if shape[1] > 8:
        assert area.sum() == pytest.approx(1, abs=1e-6)
        assert require_region(source, era5_grid()) == ((0, 720), (0, 1440))
    assert ("climatology" in source.attributes) == (len(months) == 12)


def test_real_scenario_pair_splices(real):
    parent = open_monthly(real("cmip/*INCA_historical*"))
    child = open_monthly(real("cmip/*INCA_ssp370*"))
    both = splice(parent, child)
    assert len(both.record.months) == 864
    require_region(both, era5_grid(), (35, 48), (2, 20.25))
    with pytest.raises(
        SourceError, match=r"covers lat 34\.1053 to 49\.2632, lon 1\.875 to 20\.625"
    ):
        require_region(both, era5_grid(), (30, 40), (2, 20))


def test_real_rotated_file_is_refused(real):
    message = refusal(real("cmip/pr_EURO-rotated*"))
    assert "rotated-pole grid: pr(time, rlat, rlon)" in message
    assert "cdo remapcon" in message
